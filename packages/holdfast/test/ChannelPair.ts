/** Both ends of a channel, for tests. */
import { Effect, type Schema, Stream } from "effect"
import type { ConnectionError, SessionChannel } from "holdfast"
import type { Ends, PairOptions } from "./SessionPair.ts"
import { flowing } from "./SessionTesting.ts"

export type Bytes = SessionChannel.SessionChannel<Uint8Array, Uint8Array>

type Options = SessionChannel.Options<typeof Schema.Uint8Array, typeof Schema.Uint8Array>

/** The next channel that the other side opens. */
export const next = (session: Ends): Effect.Effect<SessionChannel.Incoming, ConnectionError.ConnectionError> =>
  session.channels.pipe(
    Stream.take(1),
    Stream.runCollect,
    Effect.map(([first]) => first!)
  )

/** Both ends of one channel. */
export const channel = Effect.fnUntraced(function* (
  ends: { readonly client: Ends; readonly theirs: Ends },
  name = "one",
  opened: Options = {},
  accepted: Options = {}
) {
  const ours: Bytes = yield* ends.client.open(name, opened)
  const incoming = yield* flowing(next(ends.theirs))
  const theirs: Bytes = yield* incoming.accept(accepted)
  return { ours, theirs, incoming }
})

/** Nobody says anything unless there is something to say. */
export const quiet: PairOptions = {
  client: { policy: { silence: "1 hour" } },
  server: { policy: { silence: "1 hour" } }
}
