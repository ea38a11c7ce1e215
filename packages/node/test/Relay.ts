/** A relay between the two ends of a link, which does harm to whatever passes: it knows bytes, and not what they mean. */
import { Effect, type Scope } from "effect"
import * as Net from "node:net"

export interface Relay {
  /** How many connections were dialled so far. */
  readonly dials: () => number
  /** How many of them a client still holds open. */
  readonly open: () => number
  /** Resets both sides of every connection; a unix socket is closed. */
  readonly cut: () => void
  /** Ends both directions of every connection in good order, although neither side has asked for it. */
  readonly close: () => void
  /** Passes nothing on in either direction, and tells nobody; later connections are left alone. */
  readonly swallow: () => void
  /** So many of the next connections are accepted and never passed on. */
  readonly ignore: (connections: number) => void
}

export type Address = { readonly port: number; readonly host: string } | { readonly path: string }

/** Listens at one address and passes on to the other. */
export const listen = (
  from: Address,
  to: Address
): Effect.Effect<Relay & { readonly port: number }, never, Scope.Scope> =>
  Effect.gen(function* () {
    const pairs = new Set<readonly [Net.Socket, Net.Socket]>()
    const ignored = new Set<Net.Socket>()
    let dials = 0
    let open = 0
    let ignoring = 0
    const server = Net.createServer({ allowHalfOpen: true }, (client) => {
      dials++
      open++
      client.once("close", () => open--)
      client.on("error", () => {})
      if (ignoring > 0) {
        ignoring--
        // A dial that is given up before it knows that it was accepted ends in good order, and not with a reset.
        ignored.add(client.resume().once("end", () => client.destroy()))
        return
      }
      const target = Net.connect({ ...to, allowHalfOpen: true })
      const pair = [client, target] as const
      pairs.add(pair)
      for (const [one, other] of [pair, [target, client]] as const) {
        one.on("error", () => reset(other))
        one.on("close", () => {
          pairs.delete(pair)
          other.destroySoon()
        })
        one.pipe(other)
      }
    })
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => void server.listen(from, () => resume(Effect.void))),
      () =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          for (const socket of [...[...pairs].flat(), ...ignored]) socket.destroy()
        })
    )
    const all = (harm: (socket: Net.Socket) => void) => () => {
      for (const pair of pairs) pair.forEach((socket) => harm(socket))
    }
    const address = server.address()
    return {
      port: typeof address === "object" && address !== null ? address.port : 0,
      dials: () => dials,
      open: () => open,
      cut: all(reset),
      close: all((socket) => socket.end()),
      swallow: all((socket) => {
        socket.unpipe()
        socket.removeAllListeners("close")
        socket.removeAllListeners("error")
        socket.on("error", () => {})
        socket.pause()
      }),
      ignore: (connections) => {
        ignoring = connections
      }
    }
  })

/** Node keeps the handle of a socket for ever that is reset while its end is on the way. */
const reset = (socket: Net.Socket): void => {
  if (socket.remoteFamily === undefined || socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}
