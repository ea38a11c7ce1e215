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
import * as NetAddress from "effect/net/NetAddress"
import * as Socket from "effect/socket/Socket"
import * as SocketServer from "effect/socket/SocketServer"
import type { Link } from "holdfast"
import { closed, type End, failed, makeWire, type Wire, type WireOptions } from "./MemoryWire.ts"

export type { Direction, Wire } from "./MemoryWire.ts"

export interface Options extends WireOptions {
  /** Links offer neither `destroy` nor `progress`: any socket must do. */
  readonly plain?: boolean | undefined
  /** Called for each new connection, for instance to place faults on it. */
  readonly onConnect?: ((wire: Wire) => void) | undefined
}

export interface Network {
  /** The client's end. Opening it dials a new connection each time. */
  readonly link: Link.Link
  /** The same for one more client: a link knows one connection at a time. */
  readonly newLink: () => Link.Link
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

export const make = (options: Options = {}): Effect.Effect<Network> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const waiting = yield* Queue.unbounded<Link.Link>()
    const wires: Array<Wire> = []
    const dialable = Latch.makeUnsafe(true)
    let refusals = 0

    const dial = Effect.gen(function* () {
      yield* dialable.await
      if (options.latency !== undefined)
        yield* Effect.sleep(Duration.times(Duration.fromInputUnsafe(options.latency), 2))
      if (refusals > 0) {
        refusals--
        const cause = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" })
        return yield* Effect.fail(
          new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause }) })
        )
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
        Effect.gen(function* () {
          for (;;) {
            const socket = yield* accept
            yield* Effect.forkScoped(Effect.ignoreCause(handler(socket)))
          }
        }).pipe(Effect.scoped) as Effect.Effect<never>
    }

    return {
      link: linkOf(dial, options),
      newLink: () => linkOf(dial, options),
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
export const makePair = (
  options: Options = {}
): Effect.Effect<{
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

const linkOf = (connect: Effect.Effect<End, Socket.SocketError>, options: Options): Link.Link => {
  let end: End | undefined
  const connected = Latch.makeUnsafe(false)
  const reader = Effect.gen(function* () {
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
  const writer = Effect.gen(function* () {
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

const bytesOf = (chunk: Uint8Array | string): Uint8Array =>
  typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk
