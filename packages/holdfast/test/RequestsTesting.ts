/** What tests of requests share: definitions, both ends of one, and handlers that tell what becomes of them. */
import { Deferred, Effect, Exit, Metric, Schema, Stream } from "effect"
import { ConnectionError, Requests, type SessionChannel } from "holdfast"
import type { Ends } from "./SessionPair.ts"
import { flowing, settle } from "./SessionTesting.ts"

/** A typed failure. */
export class Unknown extends Schema.TaggedError<Unknown>()("Unknown", { symbol: Schema.String }) {}

/** Names to numbers. */
export const Prices = Requests.make("prices", { request: Schema.String, response: Schema.Number, failure: Unknown })

/** The same with two slots. */
export const Narrow = Requests.make("prices", {
  request: Schema.String,
  response: Schema.Number,
  failure: Unknown,
  outstandingMax: 2
})

/** A handler that the test answers by hand, and what it has seen. */
export const byHand = () => {
  const begun: Array<string> = []
  const interrupted: Array<string> = []
  const open = new Map<string, Deferred.Deferred<number>>()
  const handler = (request: string) =>
    Effect.suspend(() => {
      const answer = Deferred.makeUnsafe<number>()
      begun.push(request)
      open.set(request, answer)
      return Deferred.await(answer)
    }).pipe(
      Effect.onInterrupt(() => Effect.sync(() => interrupted.push(request))),
      Effect.ensuring(Effect.sync(() => open.delete(request)))
    )
  const answer = (request: string, response: number) =>
    Effect.andThen(Deferred.succeed(open.get(request)!, response), settle)
  return { begun, interrupted, handler, answer, running: () => [...open.keys()] }
}

/** Starts to answer beside the test. */
export const serving = <E, R>(serve: Effect.Effect<void, E, R>) =>
  Effect.forkChild(Effect.exit(serve), { startImmediately: true })

/** Bytes that come back turned round. */
export const echoing = Effect.fnUntraced(function* ({ client, theirs }: Record<"client" | "theirs", Ends>) {
  const Echo = Requests.make("echo")
  yield* serving(Echo.serve(theirs, (request) => Effect.succeed(request.toReversed())))
  return { echo: yield* Echo.client(client, { patience: "Infinity" }) }
})

/** A request that was begun, and how it ended: its answer, the tag of its failure, or "pending". */
export const asking = Effect.fnUntraced(function* <A, E extends { readonly _tag: string }>(ask: Effect.Effect<A, E>) {
  let outcome: A | string = "pending"
  let error: unknown
  const fiber = yield* ask.pipe(
    Effect.matchCause({
      onFailure: (cause) => {
        const failure = Exit.findErrorOption(Exit.failCause(cause))
        error = failure._tag === "Some" ? failure.value : cause
        outcome = failure._tag === "None" ? "no typed failure" : tagOf(failure.value)
      },
      onSuccess: (answer) => {
        outcome = answer
      }
    }),
    Effect.forkChild({ startImmediately: true })
  )
  return { fiber, outcome: () => outcome, error: () => error }
})

const tagOf = (failure: { readonly _tag: string }): string =>
  failure instanceof ConnectionError.ConnectionError ? failure.reason._tag : failure._tag

/** The next channel that the other side opens. */
export const incoming = (session: Ends): Effect.Effect<SessionChannel.Incoming, ConnectionError.ConnectionError> =>
  flowing(
    session.channels.pipe(
      Stream.take(1),
      Stream.runCollect,
      Effect.map(([first]) => first!)
    )
  )

/** Counts the fibers that have begun and not ended. */
export const counting = <A, E, R>(body: (alive: () => number) => Effect.Effect<A, E, R>) => {
  let alive = 0
  return Effect.provideService(
    body(() => alive),
    Metric.FiberRuntimeMetrics,
    { recordFiberStart: () => void alive++, recordFiberEnd: () => void alive-- }
  )
}
