// A receiver that is killed loses its memory, so it cannot say what it had taken. Whoever comes back to the one that was
// started in its place is told so, typed, with all that it must decide about. Never silence, never a new session by stealth.
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Conversation from "./harness/Conversation.ts"

/** Kills the receiver while numbers are on the way, and starts another one on the same port. */
const killAndRestart = Effect.fnUntraced(function* (conversation: Conversation.Conversation) {
  yield* Conversation.taken(conversation, 10)
  yield* conversation.receiver.kill
  const restarted = yield* Conversation.listen({ host: "127.0.0.1", port: conversation.port })
  return restarted
})

describe("a receiver that was killed and started again", () => {
  it.live(
    "gives its client a typed SessionLost with the number of messages in doubt, and gets nothing by stealth",
    () =>
      Effect.gen(function* () {
        const conversation = yield* Conversation.start({ sends: { count: 200, everyMillis: 10 } })
        const restarted = yield* killAndRestart(conversation)
        const failed = yield* conversation.sender.fact("Failed")
        assert.strictEqual(failed.reason, "SessionLost")
        assert.match(failed.message, /the peer does not know it .* the fate of \d+ is unknown/)
        yield* Effect.sleep("500 millis")
        assert.deepStrictEqual(Conversation.numbersTaken(restarted), [])
        assert.deepStrictEqual(Conversation.openings(conversation.sender), ["Fresh"])
      })
  )

  it.live("opens with a Gap where the client chose to go on, and every number is taken or was named as in doubt", () =>
    Effect.gen(function* () {
      const count = 200
      const conversation = yield* Conversation.start({ sends: { count, everyMillis: 10, repeatsLost: true } })
      const restarted = yield* killAndRestart(conversation)
      const lost = yield* conversation.sender.fact("Lost")
      yield* Conversation.flushed(conversation.sender, restarted, count - 1)
      assert.deepStrictEqual(Conversation.openings(conversation.sender), ["Fresh", "Gap"])

      const before = Conversation.numbersTaken(conversation.receiver)
      const after = Conversation.numbersTaken(restarted)
      assert.deepStrictEqual(
        before,
        before.map((_, n) => n)
      )
      const first = after[0] ?? count
      assert.deepStrictEqual(
        after,
        after.map((_, index) => first + index)
      )
      // What was neither taken before nor sent again has vanished: there is no such number.
      assert.strictEqual(after.at(-1), count - 1)
      assert.isAtMost(first, before.length)
      // And what both took had been named as in doubt.
      for (const n of before.slice(first)) assert.include(lost.fateUnknown, n)
    })
  )
})
