// A peer whose process is frozen: its kernel goes on acknowledging, so writes succeed and nobody is told. A session asks,
// gives up within its policy's bound, and resumes when the peer thaws.
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Policy } from "holdfast"
import * as Net from "node:net"
import { spawn } from "./harness/Child.ts"
import * as Conversation from "./harness/Conversation.ts"
import { noticedWithinMillis } from "./harness/Numbers.ts"
import * as Plain from "./harness/Plain.ts"
import type * as Sink from "./harness/roles/sink.ts"

describe("a frozen peer", () => {
  it.live("is not noticed by a plain socket: every write succeeds, and the application gets nothing", () =>
    Effect.gen(function* () {
      const sink = yield* spawn<Sink.Fact>("sink", { reads: true } satisfies Sink.Argument)
      const { port } = yield* sink.fact("Listening")
      const belief = Plain.believe(Net.connect(port, "127.0.0.1"))
      yield* sink.fact("Accepted")
      yield* sink.freeze
      const write = Effect.sync(() => Plain.write(belief, new Uint8Array(1000).fill(1)))
      yield* Effect.repeat(Effect.andThen(write, Effect.sleep("100 millis")), { times: 29 })
      assert.isUndefined(belief.error)
      assert.strictEqual(belief.writtenBytes, 30_000)
      assert.isFalse(sink.facts.some((fact) => fact._tag === "Received"))
    })
  )

  it.live(
    "is noticed by a session within its policy's bound; it resumes when the peer thaws, and nothing is lost",
    () =>
      Effect.gen(function* () {
        const conversation = yield* Conversation.start({ sends: { count: 100, everyMillis: 50 } })
        const { receiver, sender } = conversation
        yield* Conversation.taken(conversation, 10)
        yield* receiver.freeze
        const frozenAt = Date.now()
        const { at, reason } = yield* Conversation.verdict(conversation, frozenAt)
        assert.include(["PeerSilent", "WriteStuck"], reason)
        Conversation.noticedInTime(frozenAt, at, noticedWithinMillis)
        // The frozen peer's kernel answers: a connection is up when the peer has answered, not when connect returns.
        yield* sender.fact("Retrying", (fact) => fact.reason === "OpenTimedOut")
        assert.deepStrictEqual(Conversation.openings(sender), ["Fresh"])

        yield* receiver.thaw
        yield* sender.fact("Opened", (fact) => fact.opened === "Resumed")
        yield* Conversation.complete(conversation, 100)
      })
  )

  it.live("is noticed by the server of a session as well, when it is the client that froze", () =>
    Effect.gen(function* () {
      const conversation = yield* Conversation.start({ sends: { count: 100, everyMillis: 50 } })
      const { receiver, sender } = conversation
      yield* Conversation.taken(conversation, 10)
      yield* sender.freeze
      const frozenAt = Date.now()
      const { at, reason } = yield* receiver.fact("LinkEnded")
      assert.strictEqual(reason, "PeerSilent")
      Conversation.noticedInTime(frozenAt, at, noticedWithinMillis)

      yield* sender.thaw
      yield* Conversation.complete(conversation, 100)
      assert.strictEqual(Conversation.openings(sender).at(-1), "Resumed")
    })
  )

  it.live("costs its sender no more memory than the backlog, however much there is to send", () =>
    Effect.gen(function* () {
      const count = 1000
      const sends = { count, everyMillis: 0, paddingBytes: 64 * 1024 }
      // Taken so slowly that most of it is still to come whenever the receiver is frozen.
      const conversation = yield* Conversation.start({ sends, takeMillis: 2 })
      const { receiver, sender } = conversation
      yield* Conversation.taken(conversation, 10)
      yield* receiver.freeze
      yield* Conversation.verdict(conversation, Date.now())
      yield* Effect.sleep("1 second")
      const sent = sender.facts.filter((fact) => fact._tag === "Sent").length
      const messagesOfBacklog = Policy.defaults.backlog.bytesMax / (64 * 1024)
      assert.isBelow(sent, count)
      assert.isAtMost(sent - Conversation.numbersTaken(receiver).length, messagesOfBacklog + takenUnseen)

      yield* receiver.thaw
      yield* Conversation.complete(conversation, count)
    })
  )
})

/** Numbers that the receiver had taken when it was frozen, and could not report any more. */
const takenUnseen = 64
