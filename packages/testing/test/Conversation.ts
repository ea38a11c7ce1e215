/** A session over the simulated network: a server that takes what comes, and a client. */
import { SimHost, type SimNetwork } from "@holdfast/testing"
import { Effect, Layer } from "effect"
import { Session } from "holdfast"
import { port } from "./Programs.ts"

export class Plain extends Session.Service<Plain>()("test/Plain") {}

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
export const text = (message: Uint8Array): string => new TextDecoder().decode(message)

/** What a server takes, over all its sessions and lives, and the sessions themselves. */
export interface Served {
  readonly taken: Array<string>
  readonly sessions: Array<Session.Session<Uint8Array, Uint8Array>>
}

/** Boots a server that takes every message. */
export const serving = Effect.fnUntraced(function* (
  host: SimHost.SimHost,
  options?: Session.ServerOptions<never, never>
): Effect.fn.Return<Served> {
  const served: Served = { taken: [], sessions: [] }
  const server = Plain.serve((session) => {
    served.sessions.push(session)
    return session.handle((message) => Effect.sync(() => served.taken.push(text(message))))
  }, options)
  yield* host.boot(Layer.build(server.pipe(Layer.provide(SimHost.layerListener({ port })))).pipe(Effect.orDie))
  return served
})

export const connecting = (
  host: SimHost.SimHost,
  options?: Partial<Session.ClientOptions<Uint8Array, never, never, never>>
) => host.run(Plain.make({ link: SimHost.dial({ host: "server", port }), ...options }))

/** A server and a client on two machines. */
export const conversing = Effect.fnUntraced(function* (
  network: SimNetwork.SimNetwork,
  options?: Partial<Session.ClientOptions<Uint8Array, never, never, never>>
) {
  const server = network.host("server")
  const client = network.host("client")
  const served = yield* serving(server)
  const session = yield* connecting(client, options)
  return { server, client, served, session }
})
