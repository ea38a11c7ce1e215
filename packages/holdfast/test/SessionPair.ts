/**
 * Two ends of one session over a network in memory, and what tests ask of them. A test's scope is closed while time
 * flows, since a session that is released waits for its last acknowledgements.
 */
import { Clock, Effect, Exit, Layer, Queue, Random, Schedule, Scope } from "effect"
import type { ConnectionError, Policy, Session } from "holdfast"
import * as MemoryLink from "./MemoryLink.ts"
import { bytes, crypto, flowing, Plain, settle } from "./SessionTesting.ts"

export type Ends = Session.Session<Uint8Array, Uint8Array>

export interface PairOptions<ToServer = Uint8Array> {
  readonly network?: MemoryLink.Options | undefined
  readonly client?: Partial<Session.ClientOptions<ToServer, never, never, never>> | undefined
  readonly server?: Session.ServerOptions<never, never> | undefined
}

/** Dials again every second, so that instants can be told. */
export const steady: Policy.Options = { reconnect: Schedule.spaced("1 second") }

/** Runs a test in a scope of its own, which is closed while time flows. */
export const inScope = <A, E>(body: Effect.Effect<A, E, Scope.Scope>): Effect.Effect<A, E> =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const exit = yield* Effect.exit(Scope.provide(body, scope))
    yield* flowing(Scope.close(scope, exit), "1 second")
    return yield* exit
  })

/** A client and its server's end, connected. */
export const pairOf =
  <Self, Id extends string, ToServer, ToClient>(service: Session.ServiceClass<Self, Id, ToServer, ToClient, never>) =>
  (options: PairOptions<ToServer> = {}) =>
    Effect.gen(function* () {
      const network = yield* MemoryLink.make(options.network)
      const server = yield* serveOf(service)(network, options.server)
      const client = yield* service
        .make({
          link: Effect.succeed(network.link),
          ...options.client,
          policy: { ...steady, ...options.client?.policy }
        })
        .pipe(Effect.provide(crypto))
      const theirs = yield* flowing(server.next)
      yield* settle
      return { network, server, client, theirs }
    })

/** A server whose sessions come out of a queue; each handler lasts until its session ends. */
export const serveOf =
  <Self, Id extends string, ToServer, ToClient>(service: Session.ServiceClass<Self, Id, ToServer, ToClient, never>) =>
  (network: MemoryLink.Network, options: Session.ServerOptions<never, never> = {}) =>
    Effect.gen(function* () {
      const sessions = yield* Queue.unbounded<Session.Session<ToClient, ToServer>>()
      yield* Layer.build(
        service
          .serve((session) => Effect.andThen(Queue.offer(sessions, session), Effect.exit(session.join)), {
            ...options,
            policy: { ...steady, ...options.policy }
          })
          .pipe(Layer.provide(network.serverLayer), Layer.provide(crypto))
      )
      return { next: Queue.take(sessions) }
    })

/** Both ends of plain bytes. */
export const pair = pairOf(Plain)

/** The reason with which an operation fails. */
export const reasonOf = <A>(
  operation: Effect.Effect<A, ConnectionError.ConnectionError>
): Effect.Effect<ConnectionError.Reason | "succeeded"> =>
  Effect.match(operation, { onFailure: ({ reason }) => reason, onSuccess: () => "succeeded" as const })

/** Its tag. */
export const tagOf = (operation: Effect.Effect<unknown, ConnectionError.ConnectionError>) =>
  Effect.map(reasonOf(operation), (reason) => (reason === "succeeded" ? reason : reason._tag))

/** Starts an operation and says, whenever asked, how it ended: its reason's tag, "succeeded", or "pending". */
export const begin = Effect.fnUntraced(function* (operation: Effect.Effect<unknown, ConnectionError.ConnectionError>) {
  let outcome = "pending"
  let at = -1
  const fiber = yield* tagOf(operation).pipe(
    Effect.exit,
    Effect.flatMap((exit) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        outcome = Exit.isSuccess(exit) ? exit.value : "died"
        at = now
      })
    ),
    Effect.forkChild({ startImmediately: true })
  )
  return { fiber, outcome: () => outcome, at: () => at }
})

/** The picture of a session that is up. */
export const upOf = (session: Ends): Effect.Effect<Session.Up> =>
  Effect.map(session.state, (state) => {
    if (state._tag !== "Up") throw new Error(`the session is ${state._tag}`)
    return state
  })

/** Numbered messages. */
export const numbered = (count: number, from = 0): Array<Uint8Array> =>
  Array.from({ length: count }, (_, i) => bytes(String(from + i)))

/** A message of so many bytes. */
export const large = (size: number, fill = 7): Uint8Array => new Uint8Array(size).fill(fill)

/** An instant of virtual time, in milliseconds. */
export const now: Effect.Effect<number> = Clock.currentTimeMillis

/** A number from 0 to below `max`. */
export const below = (max: number): Effect.Effect<number> =>
  Effect.map(Random.next, (random) => Math.floor(random * max))
