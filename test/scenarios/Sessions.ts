/** Numbered messages over sessions between simulated machines, and what both ends were told. */
import { assert } from "@effect/vitest"
import { SimHost, SimNetwork } from "@holdfast/testing"
import { Effect, Layer, type Scope, Stream } from "effect"
import * as SocketServer from "effect/socket/SocketServer"
import { type Link, Session } from "holdfast"

export const port = 7000

export class Numbers extends Session.Service<Numbers>()("scenarios/Numbers") {}

export type NumbersSession = Session.Session<Uint8Array, Uint8Array>

/** A message of so many bytes that begins with its number. */
export const message = (n: number, bytes = 100): Uint8Array => {
  const message = new Uint8Array(bytes)
  new DataView(message.buffer).setUint32(0, n)
  return message
}

export const numberOf = (message: Uint8Array): number => new DataView(message.buffer, message.byteOffset).getUint32(0)

export const upTo = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, n) => n)

/** A network of two machines, `client` and `server`, and whatever else is asked for. */
export const simulate = <A, E>(
  body: (network: SimNetwork.SimNetwork) => Effect.Effect<A, E, Scope.Scope>,
  options?: Partial<SimNetwork.Options>
): Effect.Effect<A, E> =>
  SimNetwork.run({ seed: 1, ...options }, (network) => {
    for (const machine of ["client", "server"]) network.host(machine)
    return body(network)
  })

/** What a server took, over all its sessions and lives. */
export interface Served {
  readonly taken: Array<number>
  readonly sessions: Array<NumbersSession>
  readonly events: Array<Session.ServerEvent & { readonly worldAt: number }>
  /** Links as they were accepted, whatever became of them. */
  readonly links: Array<Link.Link>
}

export interface ServingOptions extends Session.ServerOptions<never, never> {
  /** What the application does with each message before it has taken it. Default: nothing. */
  readonly taking?: ((n: number) => Effect.Effect<unknown>) | undefined
  readonly listen?: Partial<SimHost.ListenOptions> | undefined
  /** Between the listener and the session. */
  readonly admit?: ((link: Link.Link, nth: number) => Effect.Effect<void>) | undefined
}

/** Boots a server that takes every number; booted again after a crash it knows nothing. */
export const serving = Effect.fnUntraced(function* (
  network: SimNetwork.SimNetwork,
  { admit, listen, taking = () => Effect.void, ...options }: ServingOptions = {}
): Effect.fn.Return<Served> {
  const served: Served = { taken: [], sessions: [], events: [], links: [] }
  const listener = Effect.map(SimHost.listen({ port, ...listen }), ({ address, run }) =>
    SocketServer.SocketServer.of({
      address,
      run: (handler) =>
        run((socket) => {
          served.links.push(socket)
          const admitted = admit?.(socket, served.links.length) ?? Effect.void
          return Effect.andThen(admitted, handler(socket))
        })
    })
  )
  const server = Numbers.serve(
    (session) => {
      served.sessions.push(session)
      return session.handle((message) =>
        Effect.andThen(
          taking(numberOf(message)),
          Effect.sync(() => served.taken.push(numberOf(message)))
        )
      )
    },
    {
      ...options,
      onEvent: (event) => Effect.sync(() => void served.events.push({ ...event, worldAt: network.now() }))
    }
  )
  const program = Layer.build(server.pipe(Layer.provide(Layer.effect(SocketServer.SocketServer, listener))))
  yield* network.host("server").boot(Effect.orDie(program))
  return served
})

/** A client's session, and everything that it told, with the instant of the world. */
export interface Client {
  readonly host: SimHost.SimHost
  readonly session: NumbersSession
  readonly told: ReadonlyArray<Session.SessionEvent & { readonly worldAt: number }>
}

export type ClientOptions = Partial<Session.ClientOptions<Uint8Array, SimHost.CurrentHost, never, never>>

export const connecting = Effect.fnUntraced(function* (
  network: SimNetwork.SimNetwork,
  options: ClientOptions = {},
  name = "client"
) {
  const host = network.host(name)
  const told: Array<Session.SessionEvent & { readonly worldAt: number }> = []
  const session = yield* host.run(
    Effect.gen(function* () {
      const session = yield* Numbers.make({ link: SimHost.dial({ host: "server", port }), ...options })
      yield* Effect.forkScoped(
        Stream.runForEach(session.events, (event) =>
          Effect.sync(() => void told.push({ ...event, worldAt: network.now() }))
        ),
        { startImmediately: true }
      )
      return session
    })
  )
  const client: Client = { host, session, told }
  return client
})

/** The events of one kind. */
export const toldOf = <Tag extends Session.SessionEvent["_tag"]>({ told }: Client, tag: Tag) =>
  told.filter((event): event is Extract<(typeof told)[number], { readonly _tag: Tag }> => event._tag === tag)

/** How links have ended, in order. */
export const endings = (client: Client): ReadonlyArray<string> =>
  toldOf(client, "Ended").map(({ error }) => error.reason._tag)

/** Sends numbers one after the other with a pause between. */
export const sending = ({ host, session }: Client, count: number, everyMillis = 0, bytes?: number, from = 0) =>
  host.run(
    Effect.gen(function* () {
      for (let n = from; n < from + count; n++) {
        yield* session.send(message(n, bytes))
        if (everyMillis > 0) yield* Effect.sleep(everyMillis)
      }
    })
  )

/** Lets the client close, and checks that everything was taken once and in order. */
export const complete = Effect.fnUntraced(function* ({ host, session }: Client, { taken }: Served, count: number) {
  yield* host.run(session.close)
  assert.deepStrictEqual(taken, upTo(count))
})

/** When the last byte arrived at a machine, up to now. */
export const lastArrivalAt = (network: SimNetwork.SimNetwork, at: string): number =>
  Math.max(
    0,
    ...network.transcript.flatMap((entry) =>
      entry._tag === "Packet" && entry.to === at && entry.bytes > 0 && (entry.arrivesAt ?? Infinity) <= network.now()
        ? [entry.arrivesAt!]
        : []
    )
  )

/** Instants of the dials from a machine, or from all. */
export const dialsOf = (network: SimNetwork.SimNetwork, host?: string): ReadonlyArray<number> =>
  network.transcript.flatMap((entry) =>
    entry._tag === "Dialed" && (host === undefined || entry.host === host) ? [entry.at] : []
  )
