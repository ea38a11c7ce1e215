// A cable that is pulled, in both directions or in one: the kernel goes on retransmitting for a quarter of an hour and tells
// nobody. A session gives up within its policy's bound, leaves no socket behind, and resumes when the cable is back.
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawn } from "./harness/Child.ts"
import * as Conversation from "./harness/Conversation.ts"
import * as Kernel from "./harness/Kernel.ts"
import * as Namespace from "./harness/Namespace.ts"
import { noticedWithinMillis } from "./harness/Numbers.ts"
import * as Plain from "./harness/Plain.ts"
import type * as PlainSender from "./harness/roles/plain-sender.ts"
import type * as Sink from "./harness/roles/sink.ts"

if (Namespace.missing !== undefined && process.env["CI"] !== undefined) throw new Error(Namespace.missing)

const onCable = it.live.skipIf(Namespace.missing !== undefined)

const port = 7000

const gaveUp = ["PeerSilent", "WriteStuck"]

describe(`a cable between two machines${Namespace.missing === undefined ? "" : `: ${Namespace.missing}`}`, () => {
  for (const direction of ["both", "to right"] as const) {
    onCable(`when cut (${direction}) is not noticed by a plain socket: every write succeeds`, () =>
      Effect.gen(function* () {
        const { cut, left, right } = yield* Namespace.cable
        const at = { host: right.address, port }
        const sink = yield* spawn<Sink.Fact>("sink", { reads: true, ...at } satisfies Sink.Argument, right)
        yield* sink.fact("Listening")
        const sender = yield* spawn<PlainSender.Fact>("plain-sender", at satisfies PlainSender.Argument, left)
        yield* sink.fact("Received")
        yield* cut(direction)
        const cutAt = Date.now()
        yield* Effect.sleep("3 seconds")
        assert.isFalse(sender.facts.some((fact) => fact._tag === "Failed"))
        assert.isAtLeast(sender.facts.filter((fact) => fact._tag === "Written" && fact.at > cutAt).length, 10)
        // What was on the way when the cable was cut may still be reported.
        assert.isFalse(sink.facts.some((fact) => fact._tag === "Received" && fact.at > cutAt + 1000))
        assert.isAbove(Kernel.sockets("dport", port, left)[0]!.sendQueueBytes, 0)
      })
    )
  }

  for (const direction of ["both", "to right", "to left"] as const) {
    onCable(
      `when cut (${direction}) is noticed by a session in time; it leaves no socket, and resumes afterwards`,
      () =>
        Effect.gen(function* () {
          const { cut, heal, left, right } = yield* Namespace.cable
          const conversation = yield* Conversation.start({
            sends: { count: 100, everyMillis: 50 },
            places: { sender: left, receiver: right }
          })
          const { port, receiver, sender } = conversation
          yield* Conversation.taken(conversation, 10)
          const [before] = Kernel.sockets("dport", port, left)
          yield* cut(direction)
          const cutAt = Date.now()
          const { at, reason } = yield* Conversation.verdict(conversation, cutAt)
          Conversation.noticedInTime(cutAt, at, noticedWithinMillis)
          // No orphan, which would go on retransmitting for a minute: what is there soon is a later dial.
          const isGone = () => Kernel.sockets("dport", port, left).every(({ local }) => local !== before!.local)
          yield* Effect.timeout(Plain.until(isGone), "2 seconds")
          // Whoever hears nothing any more gives up; its reset reaches the other one where that direction still works.
          const { reason: reasonOfServer } = yield* receiver.fact("LinkEnded")
          assert.include(direction === "to right" ? [...gaveUp, "LinkFailed"] : gaveUp, reason)
          assert.include(direction === "to left" ? [...gaveUp, "LinkFailed"] : gaveUp, reasonOfServer)

          yield* Effect.sleep("1 second")
          yield* heal
          yield* sender.fact("Opened", (fact) => fact.opened === "Resumed")
          yield* Conversation.complete(conversation, 100)
          assert.deepStrictEqual(Conversation.openings(sender).slice(0, 2), ["Fresh", "Resumed"])
        })
    )
  }
})
