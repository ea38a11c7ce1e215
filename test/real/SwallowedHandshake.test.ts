// The 120-second hang on a real kernel: only the first packet of a dial arrives, so `connect` and `write` succeed, and the
// server's program never hears of it. A session gives the dial up at `open` and succeeds once dials arrive again.
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawn } from "./harness/Child.ts"
import * as Conversation from "./harness/Conversation.ts"
import * as Kernel from "./harness/Kernel.ts"
import * as Namespace from "./harness/Namespace.ts"
import type * as PlainSender from "./harness/roles/plain-sender.ts"
import type * as Sink from "./harness/roles/sink.ts"

if (Namespace.missing !== undefined && process.env["CI"] !== undefined) throw new Error(Namespace.missing)

const onCable = it.live.skipIf(Namespace.missing !== undefined)

const port = 7000

describe("a handshake that is swallowed after connect", () => {
  onCable("is not noticed by a plain socket: connected, every write succeeds, and nobody is there", () =>
    Effect.gen(function* () {
      const { left, right, swallow } = yield* Namespace.cable
      const at = { host: right.address, port }
      const sink = yield* spawn<Sink.Fact>("sink", { reads: true, ...at } satisfies Sink.Argument, right)
      yield* sink.fact("Listening")
      yield* swallow
      const sender = yield* spawn<PlainSender.Fact>("plain-sender", at satisfies PlainSender.Argument, left)
      yield* sender.fact("Connected")
      yield* Effect.sleep("3 seconds")
      assert.isAtLeast(sender.facts.filter(({ _tag }) => _tag === "Written").length, 10)
      assert.isFalse(sender.facts.some(({ _tag }) => _tag === "Failed"))
      assert.isFalse(sink.facts.some(({ _tag }) => _tag === "Received"))
      assert.isAbove(Kernel.sockets("dport", port, left)[0]!.sendQueueBytes, 0)
    })
  )

  onCable("is given up by a session at its `open`, again and again, and the first dial that arrives is the last", () =>
    Effect.gen(function* () {
      const { heal, left, right, swallow } = yield* Namespace.cable
      yield* swallow
      const conversation = yield* Conversation.start({
        sends: { count: 20, everyMillis: 10 },
        places: { sender: left, receiver: right }
      })
      const { sender } = conversation
      const first = yield* sender.fact("Retrying")
      assert.strictEqual(first.reason, "OpenTimedOut")
      const second = yield* sender.fact("Retrying", ({ at }) => at > first.at)
      assert.strictEqual(second.reason, "OpenTimedOut")
      // `open` is a second, and the next dial comes 200 ms later.
      assert.isAtLeast(second.at - first.at, 1000)
      assert.isAtMost(second.at - first.at, 3000)
      yield* heal
      yield* Conversation.complete(conversation, 20)
      assert.deepStrictEqual(Conversation.openings(sender), ["Fresh"])
    })
  )
})
