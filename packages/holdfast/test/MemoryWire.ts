/** The wire of a `MemoryLink`: two directions with a due time for each byte, and an end for each process. */
import type { NonEmptyReadonlyArray } from "effect/Array"
import { type Clock, Duration, Effect, Latch } from "effect"
import * as Socket from "effect/socket/Socket"

/** What bytes meet on their way. */
export interface WireOptions {
  /** Bytes that a direction holds between a write and the read of it. Default 64 KiB. */
  readonly capacityBytes?: number | undefined
  /** One way. A dial takes twice as long. Default none. */
  readonly latency?: Duration.Input | undefined
  /** Default without limit. */
  readonly bytesPerSecond?: number | undefined
  /** Keep all that was read, for `direction.recorded`. */
  readonly record?: boolean | undefined
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

  constructor(clock: Clock.Clock, options: WireOptions) {
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
export class End {
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

export const makeWire = (clock: Clock.Clock, options: WireOptions) => {
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

export const closed = (code: number, closeReason?: string) =>
  new Socket.SocketError({ reason: new Socket.SocketCloseError({ code, closeReason }) })

export const failed = (during: "read" | "write", code: string) => {
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
