/**
 * A network in memory: one server, any number of connections, and every harm that a real one does to them.
 *
 * It behaves like TCP, because the tests above it are only worth something if it does:
 * - bytes, not messages; a direction holds `capacityBytes` that were written and not read, then `write` waits
 * - `wire.cut()` resets: both ends fail with ECONNRESET, what was not read is lost
 * - `wire.close("client")` ends one direction in good order: the other end reads what is left, then a close of code 1000
 * - `direction.blackhole(true)` holds bytes, ends and resets back, silently; `false` delivers what was held
 * - `direction.stall(true)`: the process at the far end does not read
 * - `direction.cutAfter(n)`: the far end reads exactly n more bytes, then the wire is cut
 * - a process that closes with unread input, or gets input after it closed, resets its peer, as Linux does
 * - `destroy` resets at once and takes back what the peer has not read; a blackhole hides it from the peer
 *
 * Time comes from the Clock, so latency and rate work under TestClock; with neither, bytes arrive without time passing.
 *
 * ```ts
 * const network = yield* MemoryLink.make({ capacityBytes: 1024 })
 * const client = yield* Link.open(network.link) // `network.link` is what a session dials, once for each incarnation
 * const server = yield* Link.open(yield* network.accept) // or give `network.server` to whatever serves
 * network.wires[0]?.cut()
 * ```
 */
import { Clock, Duration, Effect, Latch, Layer, Queue } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as NetAddress from "effect/net/NetAddress"
import * as Socket from "effect/socket/Socket"
import * as SocketServer from "effect/socket/SocketServer"
import type { Link } from "holdfast"

export interface Options {
  /** Bytes that a direction holds between a write and the read of it. Default 64 KiB. */
  readonly capacityBytes?: number | undefined
  /** One way. A dial takes twice as long. Default none. */
  readonly latency?: Duration.Input | undefined
  /** Default without limit. */
  readonly bytesPerSecond?: number | undefined
  /** Keep all that was read, for `direction.recorded`. */
  readonly record?: boolean | undefined
  /** Links offer neither `destroy` nor `progress`: any socket must do. */
  readonly plain?: boolean | undefined
  /** Called for each new connection, for instance to place faults on it. */
  readonly onConnect?: ((wire: Wire) => void) | undefined
}

export interface Network {
  /** The client's end. Opening it dials a new connection each time. */
  readonly link: Link.Link
  /** The server's end of the next connection. */
  readonly accept: Effect.Effect<Link.Link>
  /** The same as a service: runs a handler for each connection. */
  readonly server: SocketServer.SocketServer["Service"]
  readonly serverLayer: Layer.Layer<SocketServer.SocketServer>
  /** All connections ever made, oldest first. */
  readonly wires: ReadonlyArray<Wire>
  /** The latest connection; dies if there is none. */
  readonly wire: () => Wire
  /** The next dials fail at once with ECONNREFUSED. */
  readonly refuse: (dials: number) => void
  /** Dials do not complete while this is on: packets vanish on the way. */
  readonly hang: (on: boolean) => void
}

export interface Wire {
  readonly toServer: Direction
  readonly toClient: Direction
  /** Resets both ends. */
  readonly cut: () => void
  /** One end says that it will write no more; the other reads the rest and then the end. */
  readonly close: (by: "client" | "server") => void
  /** Both directions. */
  readonly blackhole: (on: boolean) => void
  /** Whether neither end has failed or closed. */
  readonly isOpen: () => boolean
}

export interface Direction {
  /** Bytes that were accepted from the writer. */
  readonly written: () => number
  /** Bytes that the far end has read. */
  readonly read: () => number
  readonly queued: () => number
  readonly recorded: () => Uint8Array
  readonly blackhole: (on: boolean) => void
  readonly stall: (on: boolean) => void
  readonly cutAfter: (bytes: number) => void
}

export const make = (options: Options = {}): Effect.Effect<Network> =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const waiting = yield* Queue.unbounded<Link.Link>()
    const wires: Array<Wire> = []
    const dialable = Latch.makeUnsafe(true)
    let refusals = 0

    const dial = Effect.gen(function*() {
      yield* dialable.await
      if (options.latency !== undefined) yield* Effect.sleep(Duration.times(Duration.fromInputUnsafe(options.latency), 2))
      if (refusals > 0) {
        refusals--
        const cause = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" })
        return yield* Effect.fail(new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause }) }))
      }
      const { client, server, wire } = makeWire(clock, options)
      wires.push(wire)
      options.onConnect?.(wire)
      yield* Queue.offer(waiting, linkOf(Effect.succeed(server), options))
      return client
    })

    const accept = Queue.take(waiting)
    const server: Network["server"] = {
      address: NetAddress.unixPathAddress("memory"),
      run: (handler) =>
        Effect.gen(function*() {
          for (;;) {
            const socket = yield* accept
            yield* Effect.forkScoped(Effect.ignoreCause(handler(socket)))
          }
        }).pipe(Effect.scoped) as Effect.Effect<never>
    }

    return {
      link: linkOf(dial, options),
      accept,
      server,
      serverLayer: Layer.succeed(SocketServer.SocketServer, server),
      wires,
      wire: () => {
        const wire = wires.at(-1)
        if (wire === undefined) throw new Error("no connection was made yet")
        return wire
      },
      refuse(dials) {
        refusals = dials
      },
      hang(on) {
        if (on) dialable.closeUnsafe()
        else dialable.openUnsafe()
      }
    }
  })

/** A connected pair for tests that need no dialling. */
export const makePair = (options: Options = {}): Effect.Effect<{
  readonly client: Link.Link
  readonly server: Link.Link
  readonly wire: Wire
}> =>
  Effect.map(Clock.Clock, (clock) => {
    const { client, server, wire } = makeWire(clock, options)
    return {
      client: linkOf(Effect.succeed(client), options),
      server: linkOf(Effect.succeed(server), options),
      wire
    }
  })

/** One direction of a wire: a queue of bytes with a due time each. */
class Pipe {
  readonly readable = Latch.makeUnsafe(false)
  readonly writable = Latch.makeUnsafe(false)
  readonly capacityBytes: number
  readonly clock: Clock.Clock
  readonly latencyMillis: number
  readonly millisPerByte: number
  readonly kept: Array<Uint8Array> = []
  readonly record: boolean
  written = 0
  read = 0
  queuedBytes = 0
  held = false
  stalled = false
  cutAt: number | undefined
  end: Socket.SocketError | undefined
  queue: Array<{ bytes: Uint8Array; dueAt: number }> = []
  clearAt = 0

  constructor(clock: Clock.Clock, options: Options) {
    this.clock = clock
    this.capacityBytes = options.capacityBytes ?? 65_536
    this.latencyMillis = Duration.toMillis(options.latency ?? 0)
    this.millisPerByte = options.bytesPerSecond === undefined ? 0 : 1000 / options.bytesPerSecond
    this.record = options.record === true
  }

  now(): number {
    return Number(this.clock.monotonicTimeNanosUnsafe()) / 1e6
  }

  /** Takes what there is room for and returns the rest. */
  push(bytes: Uint8Array): Uint8Array {
    const taken = bytes.slice(0, Math.max(0, this.capacityBytes - this.queuedBytes))
    if (taken.length > 0) {
      this.clearAt = Math.max(this.clearAt, this.now()) + taken.length * this.millisPerByte
      this.queue.push({ bytes: taken, dueAt: this.clearAt + this.latencyMillis })
      this.queuedBytes += taken.length
      this.written += taken.length
    }
    return bytes.subarray(taken.length)
  }

  /** All that may be read now. */
  take(): Array<Uint8Array> {
    const batch: Array<Uint8Array> = []
    if (this.held || this.stalled) return batch
    let left = (this.cutAt ?? Infinity) - this.read
    for (let head = this.queue[0]; head !== undefined && head.dueAt <= this.now() && left > 0; head = this.queue[0]) {
      const bytes = head.bytes.subarray(0, left)
      if (bytes.length === head.bytes.length) this.queue.shift()
      else head.bytes = head.bytes.subarray(bytes.length)
      left -= bytes.length
      this.queuedBytes -= bytes.length
      this.read += bytes.length
      if (this.record) this.kept.push(bytes)
      batch.push(bytes)
    }
    return batch
  }

  /** How the direction ended in good order, once everything before the end was read. */
  ended(): Socket.SocketError | undefined {
    return this.held || this.stalled || this.queue.length > 0 ? undefined : this.end
  }

  waitMillis(): number {
    const head = this.queue[0]
    return this.held || this.stalled || head === undefined ? Infinity : Math.ceil(head.dueAt - this.now())
  }

  drop(): void {
    this.queue = []
    this.queuedBytes = 0
  }

  signal(): void {
    this.readable.openUnsafe()
    this.writable.openUnsafe()
  }
}

/** One end of a wire. `lost` is why it can be used no more. */
class End {
  readonly incoming: Pipe
  readonly outgoing: Pipe
  peer: End | undefined
  lost: Socket.SocketError | undefined

  constructor(incoming: Pipe, outgoing: Pipe) {
    this.incoming = incoming
    this.outgoing = outgoing
  }

  lose(error: Socket.SocketError): void {
    if (this.lost !== undefined) return
    this.lost = error
    this.incoming.drop()
    this.incoming.signal()
    this.outgoing.signal()
  }

  reset(): void {
    this.lose(failed("read", "ECONNRESET"))
    this.peer?.lose(failed("read", "ECONNRESET"))
  }

  /** Ends both directions at once. The peer learns of it unless packets to it vanish. */
  destroy(seenByPeer: Socket.SocketError): void {
    if (this.lost !== undefined) return
    this.lose(closed(1006))
    this.outgoing.drop()
    if (!this.outgoing.held) this.peer?.lose(seenByPeer)
  }

  finish(): void {
    this.outgoing.end ??= closed(1000)
    this.outgoing.readable.openUnsafe()
  }

  /** What a closing process does. */
  close(): void {
    if (this.lost !== undefined) return
    const unread = this.incoming.queuedBytes > 0 && !this.incoming.held
    this.lose(closed(1006))
    if (unread && !this.outgoing.held) this.peer?.lose(failed("read", "ECONNRESET"))
    else this.finish()
  }

  readonly pull: Effect.Effect<NonEmptyReadonlyArray<Uint8Array>, Socket.SocketError> = Effect.suspend(() => {
    if (this.lost !== undefined) return Effect.fail(this.lost)
    const [first, ...rest] = this.incoming.take()
    if (first !== undefined) {
      if (this.incoming.read === this.incoming.cutAt) this.reset()
      return Effect.as(this.incoming.writable.open, [first, ...rest] as const)
    }
    const end = this.incoming.ended()
    if (end !== undefined) return Effect.fail(end)
    this.incoming.readable.closeUnsafe()
    const wait = this.incoming.waitMillis()
    const ready = this.incoming.readable.await
    return Effect.andThen(wait === Infinity ? ready : Effect.raceFirst(Effect.sleep(wait), ready), this.pull)
  })

  write(bytes: Uint8Array): Effect.Effect<void, Socket.SocketError> {
    return Effect.suspend(() => {
      if (this.lost !== undefined || this.outgoing.end !== undefined) return Effect.fail(failed("write", "EPIPE"))
      if (this.peer?.lost !== undefined && !this.outgoing.held) {
        this.reset() // nobody is there any more
        return Effect.fail(failed("write", "EPIPE"))
      }
      const rest = this.outgoing.push(bytes)
      const told = this.outgoing.readable.open
      if (rest.length === 0) return told
      this.outgoing.writable.closeUnsafe()
      return told.pipe(Effect.andThen(this.outgoing.writable.await), Effect.andThen(this.write(rest)))
    })
  }
}

const makeWire = (clock: Clock.Clock, options: Options) => {
  const [up, down] = [new Pipe(clock, options), new Pipe(clock, options)]
  const [client, server] = [new End(down, up), new End(up, down)]
  client.peer = server
  server.peer = client
  const direction = (pipe: Pipe): Direction => ({
    written: () => pipe.written,
    read: () => pipe.read,
    queued: () => pipe.queuedBytes,
    recorded: () => concat(pipe.kept),
    blackhole(on) {
      pipe.held = on
      pipe.signal()
    },
    stall(on) {
      pipe.stalled = on
      pipe.signal()
    },
    cutAfter(bytes) {
      pipe.cutAt = pipe.read + bytes
      pipe.signal()
    }
  })
  const wire: Wire = {
    toServer: direction(up),
    toClient: direction(down),
    cut: () => client.reset(),
    close: (by) => (by === "client" ? client : server).finish(),
    blackhole(on) {
      wire.toServer.blackhole(on)
      wire.toClient.blackhole(on)
    },
    isOpen: () => [client, server].every((end) => end.lost === undefined && end.outgoing.end === undefined)
  }
  return { client, server, wire }
}

const linkOf = (connect: Effect.Effect<End, Socket.SocketError>, options: Options): Link.Link => {
  let end: End | undefined
  const connected = Latch.makeUnsafe(false)
  const reader = Effect.gen(function*() {
    const mine = yield* connect
    end = mine
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        if (end === mine) {
          end = undefined
          connected.closeUnsafe()
        }
        mine.close()
      })
    )
    connected.openUnsafe()
    return { pull: mine.pull, upgrade: Socket.SocketUpgradeError.unsupported }
  })
  // Like the sockets of Effect: what is written while there is no connection waits for the next one.
  const whenConnected = <A, E>(use: (end: End) => Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => (end === undefined ? connected.whenOpen(whenConnected(use)) : use(end)))
  const writeAll = (chunks: ReadonlyArray<Uint8Array | string>) =>
    whenConnected((end) => Effect.forEach(chunks, (chunk) => end.write(bytesOf(chunk)), { discard: true }))
  const write: Socket.Writer["write"] = (chunk) =>
    Socket.isCloseEvent(chunk)
      ? whenConnected((end) => Effect.sync(() => end.destroy(closed(chunk.code, chunk.reason))))
      : writeAll([chunk])
  const writer = Effect.gen(function*() {
    yield* Effect.addFinalizer(() => Effect.sync(() => end?.finish()))
    return { write, writeAll }
  })
  const socket = Socket.make({ reader, writer })
  if (options.plain === true) return socket
  return {
    ...socket,
    destroy: Effect.sync(() => end?.destroy(failed("read", "ECONNRESET"))),
    progress: () => ({ queuedBytes: end?.outgoing.queuedBytes ?? 0 })
  }
}

const closed = (code: number, closeReason?: string) =>
  new Socket.SocketError({ reason: new Socket.SocketCloseError({ code, closeReason }) })

const failed = (during: "read" | "write", code: string) => {
  const cause = Object.assign(new Error(`${during} ${code}`), { code })
  return new Socket.SocketError({
    reason: during === "read" ? new Socket.SocketReadError({ cause }) : new Socket.SocketWriteError({ cause })
  })
}

const concat = (chunks: ReadonlyArray<Uint8Array>): Uint8Array => {
  const whole = new Uint8Array(chunks.reduce((length, chunk) => length + chunk.length, 0))
  let at = 0
  for (const chunk of chunks) {
    whole.set(chunk, at)
    at += chunk.length
  }
  return whole
}

const bytesOf = (chunk: Uint8Array | string): Uint8Array =>
  typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk
