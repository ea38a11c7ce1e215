/**
 * A TCP relay that does harm when it is told to.
 *
 * Each connection it takes becomes a pair of sockets with a pump for each direction. Toward the receiver it passes at
 * most `bytesPerSecond`. It strikes where it was told to by a count of bytes, and only while it holds bytes of the
 * sender that the receiver has not got, so every fault has something to lose.
 */
import { Clock, Deferred, Duration, Effect, Scope } from "effect"
import * as Net from "node:net"
import type { Fault } from "./faults.ts"

export interface Strike {
  readonly fault: Fault
  /** wall clock, ms */
  readonly at: number
  /** bytes for the receiver that the relay held at that instant */
  readonly heldBytes: number
}

export interface Relay {
  readonly port: number
  /** Strikes once `fault.afterBytes` more have passed to the receiver. One at a time. */
  readonly strike: (fault: Fault) => Effect.Effect<Strike>
  /** Resets every link there is: the end of a fault that nobody has noticed. */
  readonly resetAll: Effect.Effect<void>
  /** From here on the relay passes as fast as it can. */
  readonly unlimit: Effect.Effect<void>
}

export interface RelayOptions {
  readonly targetPort: number
  readonly bytesPerSecond: number
}

export const make = Effect.fnUntraced(function* (options: RelayOptions): Effect.fn.Return<Relay, never, Scope.Scope> {
  const scope = yield* Effect.scope
  const clock = yield* Clock.Clock
  const pairs = new Set<Pair>()
  const run = Effect.runForkWith(yield* Effect.context())
  const pace = makePace(options.bytesPerSecond, clock)
  let armed: { readonly fault: Fault; bytesLeft: number; readonly struck: Deferred.Deferred<Strike> } | undefined
  let darkUntil = 0

  const strikes = (pair: Pair, piece: Uint8Array): boolean => {
    if (armed === undefined || !isWhole(pair)) return false
    armed.bytesLeft -= piece.length
    if (armed.bytesLeft > 0 || piece.length < heldBytesMin) return false
    const { fault, struck } = armed
    const at = clock.currentTimeMillisUnsafe()
    armed = undefined
    if (fault.kind === "blackholeBoth") darkUntil = at + fault.lastsMs
    harm(pair, fault, at)
    run(Deferred.succeed(struck, { fault, at, heldBytes: piece.length }))
    return true
  }

  const pumpToServer = Effect.fnUntraced(function* (pair: Pair) {
    while (true) {
      const bytes = yield* read(pair.client)
      if (typeof bytes === "string") return ended(pair, pair.client, pair.server, bytes, pair.toServer)
      for (let start = 0; start < bytes.length; start += pieceBytes) {
        let piece: Uint8Array = bytes.subarray(start, start + pieceBytes)
        yield* pace.take(piece.length)
        strikes(pair, piece)
        while (pair.toServer.trickleUntil > clock.currentTimeMillisUnsafe() && piece.length > trickleBytes) {
          yield* write(pair.server, piece.subarray(0, trickleBytes))
          piece = piece.subarray(trickleBytes)
          yield* Effect.sleep(trickleInterval)
        }
        if (pair.toServer.stopped) return
        if (!pair.toServer.dark) yield* write(pair.server, piece)
      }
    }
  })

  const pumpToClient = Effect.fnUntraced(function* (pair: Pair) {
    while (true) {
      const bytes = yield* read(pair.server)
      if (typeof bytes === "string") return ended(pair, pair.server, pair.client, bytes, pair.toClient)
      if (pair.toClient.stopped) return
      if (!pair.toClient.dark) yield* write(pair.client, bytes)
    }
  })

  const accept = Effect.fnUntraced(function* (client: Net.Socket) {
    const dark = clock.currentTimeMillisUnsafe() < darkUntil
    const server = Net.connect({ host: "127.0.0.1", port: options.targetPort, allowHalfOpen: true, noDelay: true })
    server.on("error", ignored)
    const flow = () => ({ dark, stopped: false, trickleUntil: 0 })
    const pair: Pair = { client, server, toServer: flow(), toClient: flow() }
    pairs.add(pair)
    yield* Effect.all([pumpToServer(pair), pumpToClient(pair)], { concurrency: 2 }).pipe(
      // a side that was left open lingers until it goes by itself
      Effect.andThen(Effect.all([closed(client), closed(server)], { concurrency: 2 })),
      Effect.ensuring(
        Effect.sync(() => {
          reset(pair)
          pairs.delete(pair)
        })
      )
    )
  })

  const listener = yield* Effect.acquireRelease(
    listen((client) => {
      client.on("error", ignored)
      run(accept(client).pipe(Effect.forkIn(scope)))
    }),
    ({ server }) => Effect.sync(() => server.close())
  )

  return {
    port: listener.port,
    strike: (fault) =>
      Effect.gen(function* () {
        const struck = yield* Deferred.make<Strike>()
        armed = { fault, bytesLeft: fault.afterBytes, struck }
        return yield* Deferred.await(struck)
      }),
    resetAll: Effect.sync(() => pairs.forEach(reset)),
    unlimit: Effect.sync(() => pace.unlimit())
  }
})

/** The two sockets of one connection, and what becomes of the bytes in each direction. */
interface Pair {
  readonly client: Net.Socket
  readonly server: Net.Socket
  readonly toServer: Flow
  readonly toClient: Flow
}

interface Flow {
  /** what is read is thrown away, and nobody is told of an end */
  dark: boolean
  /** nothing is read any more */
  stopped: boolean
  trickleUntil: number
}

const harm = (pair: Pair, fault: Fault, at: number): void => {
  const { client, server, toClient, toServer } = pair
  switch (fault.kind) {
    case "reset":
      toServer.stopped = toClient.stopped = true
      return reset(pair)
    case "closeWithoutReading":
      toServer.stopped = toClient.stopped = true
      closeInGoodOrder(client)
      return closeInGoodOrder(server)
    case "blackholeToServer":
      toServer.dark = true
      return
    case "blackholeToClient":
      toClient.dark = true
      return
    case "blackholeBoth":
      toServer.dark = toClient.dark = true
      return
    case "slowReader":
      toServer.trickleUntil = at + fault.lastsMs
      return
    case "halfOpenAtSender":
      toServer.dark = toClient.dark = true
      return cut(server)
    case "halfOpenAtReceiver":
      toServer.dark = toClient.dark = true
      return cut(client)
    case "frozenReceiver":
      return // the process is stopped, not the link
  }
}

/** Neither struck nor ended: there is something left to harm. */
const isWhole = ({ client, server, toServer }: Pair): boolean =>
  !client.destroyed && !server.destroyed && !toServer.dark && !toServer.stopped

/** One side has ended or was reset: the other is told, unless nothing passes that way any more. */
const ended = (pair: Pair, from: Net.Socket, to: Net.Socket, how: "end" | "reset", flow: Flow): void => {
  if (flow.dark || flow.stopped) {
    from.destroy()
  } else if (how === "reset") {
    reset(pair)
  } else {
    to.end()
  }
}

const reset = (pair: Pair): void => {
  cut(pair.client)
  cut(pair.server)
}

/**
 * Resets at once. `resetAndDestroy` alone waits until all that was written has gone, which may be never; and while its
 * FIN is on the way a socket cannot be reset: Node would say EINVAL and keep the descriptor for ever.
 */
const cut = (socket: Net.Socket): void => {
  if (!socket.writableEnded || socket.writableFinished) socket.resetAndDestroy()
  socket.destroy()
}

/** What a server does that ends without reading: FIN at once, and the socket goes a little later. */
const closeInGoodOrder = (socket: Net.Socket): void => {
  socket.end()
  setTimeout(() => socket.destroy(), 300)
}

/** What is there, waiting until something is. */
const read = (socket: Net.Socket): Effect.Effect<Uint8Array | "end" | "reset"> =>
  Effect.callback((resume) => {
    const look = () => {
      const bytes: Uint8Array | null = socket.read()
      const found = bytes ?? (socket.readableEnded ? "end" : socket.destroyed ? "reset" : null)
      if (found === null) return
      forget()
      resume(Effect.succeed(found))
    }
    const forget = () => arrivals.forEach((event) => socket.off(event, look))
    arrivals.forEach((event) => socket.on(event, look))
    look()
    return Effect.sync(forget)
  })

/** Hands bytes to a socket; returns when it wants more, or is gone. */
const write = (socket: Net.Socket, bytes: Uint8Array): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (socket.destroyed || socket.writableEnded || socket.write(bytes)) return resume(Effect.void)
    const done = () => {
      socket.off("drain", done).off("close", done)
      resume(Effect.void)
    }
    socket.on("drain", done).on("close", done)
    return Effect.sync(() => socket.off("drain", done).off("close", done))
  })

const closed = (socket: Net.Socket): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (socket.closed) return resume(Effect.void)
    const done = () => resume(Effect.void)
    socket.once("close", done)
    return Effect.sync(() => socket.off("close", done))
  })

interface Listener {
  readonly server: Net.Server
  readonly port: number
}

const listen = (accept: (client: Net.Socket) => void): Effect.Effect<Listener> =>
  Effect.callback((resume) => {
    const server = Net.createServer({ allowHalfOpen: true, noDelay: true }, accept)
    server.once("error", (error) => resume(Effect.die(error)))
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      if (address !== null && typeof address === "object") resume(Effect.succeed({ server, port: address.port }))
    })
  })

/** One budget for all links: a piece waits until what went before it has had its time. */
const makePace = (bytesPerSecond: number, clock: Clock.Clock) => {
  let rate = bytesPerSecond
  let freeAt = 0
  return {
    take: (bytes: number): Effect.Effect<void> =>
      Effect.suspend(() => {
        const now = clock.currentTimeMillisUnsafe()
        freeAt = Math.max(now, freeAt) + (bytes * 1000) / rate
        return freeAt - now < 1 ? Effect.void : Effect.sleep(Duration.millis(freeAt - now))
      }),
    unlimit: () => {
      rate = Infinity
      freeAt = 0
    }
  }
}

/** `read` looks at the state of a socket; without a listener an error would end the process */
const ignored = () => {}
const arrivals = ["readable", "end", "close", "error"] as const
const pieceBytes = 16_384
/** less is heartbeats and receipts, not something worth striking */
const heldBytesMin = 128
const trickleBytes = 16
/** shorter than the silence that the policy bears, or the receiver would rightly call the sender dead */
const trickleInterval = Duration.millis(300)
