/** Programs as people write them over plain sockets, for machines of a simulation. */
import { SimHost, type SimNetwork } from "@holdfast/testing"
import { Effect } from "effect"
import type { Scope } from "effect"
import type * as Socket from "effect/socket/Socket"
import { Link } from "holdfast"

export const port = 7000

/** A machine that hands out what connects to it, in order. */
export const accepting = Effect.fnUntraced(function* (
  host: SimHost.SimHost,
  options: Partial<SimHost.ListenOptions> = {}
) {
  const accepted: Array<Socket.Socket> = []
  yield* host.run(
    Effect.gen(function* () {
      const server = yield* SimHost.listen({ port, ...options })
      yield* Effect.forkScoped(
        server.run((socket) => {
          accepted.push(socket)
          return Effect.never
        })
      )
    })
  )
  return accepted
})

/** What plain code believes of its connection, and what it was told. */
export interface Believer {
  readonly link: Link.Link
  readonly opened: Link.Opened
  /** When the kernel or the peer told it that the connection is over, in milliseconds, and how. */
  ended: { readonly at: number; readonly how: string } | undefined
  received: number
}

/** Dials, and reads whatever comes until it is over. */
export const dialing = (
  network: SimNetwork.SimNetwork,
  host: SimHost.SimHost,
  options: Partial<SimHost.DialOptions> = {}
): Effect.Effect<Believer, unknown> =>
  host.run(
    Effect.gen(function* () {
      const link = yield* SimHost.dial({ host: "server", port, ...options })
      return yield* believing(network, link)
    })
  )

/** Opens a socket and reads whatever comes until it is over. */
export const believing = Effect.fnUntraced(function* (
  network: SimNetwork.SimNetwork,
  link: Link.Link
): Effect.fn.Return<Believer, unknown, Scope.Scope> {
  const opened = yield* Link.open(link)
  const believer: Believer = { link, opened, ended: undefined, received: 0 }
  yield* Effect.forkScoped(reading(network, believer))
  return believer
})

const reading = (network: SimNetwork.SimNetwork, believer: Believer) =>
  Effect.gen(function* () {
    while (true) {
      for (const chunk of yield* believer.opened.pull) believer.received += chunk.length
    }
  }).pipe(
    Effect.catch(({ reason }) =>
      Effect.sync(() => {
        const how = reason._tag === "LinkFailed" ? (reason.code ?? "?") : reason._tag
        believer.ended = { at: network.now(), how }
      })
    )
  )

/** Writes so many bytes every so often, for ever. */
export const writing = (host: SimHost.SimHost, believer: Believer, bytes: number, everyMillis: number) =>
  host.run(
    Effect.forkScoped(
      Effect.gen(function* () {
        while (true) {
          yield* believer.opened.write([new Uint8Array(bytes)])
          yield* Effect.sleep(everyMillis)
        }
      }).pipe(Effect.ignore)
    )
  )

/** Lets all programs go on without time passing. */
export const settle: Effect.Effect<void> = Effect.sleep(0).pipe(Effect.repeat({ times: 20 }), Effect.asVoid)
