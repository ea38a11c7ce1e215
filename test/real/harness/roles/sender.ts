// The client of a session: sends numbers at a steady pace and reports what becomes of its links and of the numbers.
import { NodeRuntime } from "@effect/platform-node"
import { NodeLink } from "@holdfast/node"
import { Duration, Effect, Stream } from "effect"
import type { ConnectionError, Session } from "holdfast"
import { type Message, Numbers, policy } from "../Numbers.ts"
import * as Role from "../Role.ts"

export interface Argument {
  readonly host: string
  readonly port: number
  /** How many numbers to send, one after the other with this pause. */
  readonly count: number
  readonly everyMillis: number
  readonly paddingBytes?: number | undefined
  /** Begin a fresh session when the server has lost ours, with everything that it may not have taken. */
  readonly repeatsLost?: boolean | undefined
}

export type Fact =
  | { readonly _tag: "Sent"; readonly n: number }
  | { readonly _tag: "Opened"; readonly incarnation: number; readonly opened: Session.Opened }
  | { readonly _tag: "Ended"; readonly incarnation: number; readonly reason: string }
  | { readonly _tag: "Retrying"; readonly reason: string }
  | { readonly _tag: "Stalled" }
  | { readonly _tag: "Lost"; readonly fateUnknown: ReadonlyArray<number>; readonly notSent: ReadonlyArray<number> }
  /** Everything was taken. */
  | { readonly _tag: "Flushed" }
  /** The session has ended for good. */
  | { readonly _tag: "Failed"; readonly reason: ConnectionError.Reason["_tag"]; readonly message: string }

const { count, everyMillis, host, paddingBytes = 0, port, repeatsLost = false } = Role.argument as Argument

const report = (fact: Fact) => Effect.sync(() => Role.report(fact))

const fact = (event: Session.SessionEvent): Fact | undefined => {
  switch (event._tag) {
    case "Opened":
      return { _tag: "Opened", incarnation: event.incarnation, opened: event.opened }
    case "Ended":
      return { _tag: "Ended", incarnation: event.incarnation, reason: event.error.reason._tag }
    case "Retrying":
      return { _tag: "Retrying", reason: event.error.reason._tag }
    case "Stalled":
      return { _tag: "Stalled" }
    default:
      return undefined
  }
}

const padding = "x".repeat(paddingBytes)

const sending = Effect.gen(function* () {
  const session = yield* Numbers
  for (let n = 0; n < count; n++) {
    yield* session.send({ n, padding })
    yield* report({ _tag: "Sent", n })
    if (everyMillis > 0) yield* Effect.sleep(Duration.millis(everyMillis))
  }
  yield* session.flush
  yield* report({ _tag: "Flushed" })
  yield* session.join
})

const watching = Effect.gen(function* () {
  const session = yield* Numbers
  yield* Stream.runForEach(session.events, (event) => {
    const told = fact(event)
    return told === undefined ? Effect.void : report(told)
  })
  return yield* Effect.never
})

const Client = Numbers.layer({
  link: NodeLink.tcp({ host, port, plaintext: true }),
  policy,
  ...(repeatsLost && {
    onLost: ({ fateUnknown, notSent }: Session.Gap<Message>) =>
      Effect.as(
        report({ _tag: "Lost", fateUnknown: fateUnknown.map(({ n }) => n), notSent: notSent.map(({ n }) => n) }),
        [...fateUnknown, ...notSent]
      )
  })
})

Effect.raceFirst(watching, sending).pipe(
  Effect.catchTag("ConnectionError", ({ message, reason }) => report({ _tag: "Failed", reason: reason._tag, message })),
  Effect.andThen(Effect.never),
  Effect.provide(Client),
  NodeRuntime.runMain
)
