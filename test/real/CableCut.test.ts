// A cable that is pulled, in both directions or in one: the kernel goes on retransmitting for a quarter of an hour and tells
// nobody. A session gives up within its policy's bound, leaves no socket behind, and resumes when the cable is back.
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawn } from "./harness/Child.ts"
import * as Kernel from "./harness/Kernel.ts"
import * as Namespace from "./harness/Namespace.ts"
import type * as PlainSender from "./harness/roles/plain-sender.ts"
import type * as Sink from "./harness/roles/sink.ts"

if (Namespace.missing !== undefined && process.env["CI"] !== undefined) throw new Error(Namespace.missing)

const onCable = it.live.skipIf(Namespace.missing !== undefined)

const port = 7000

describe(`a cable between two machines${Namespace.missing === undefined ? "" : `: ${Namespace.missing}`}`, () => {
  for (const direction of ["both", "to right"] as const) {
    onCable(`when cut (${direction}) is not noticed by a plain socket: every write succeeds`, () =>
      Effect.gen(function* () {
        const { cut, left, right } = yield* Namespace.cable
        const at = { host: right.address, port }
        const sink = yield* spawn<Sink.Fact>("sink", { reads: true, ...at } satisfies Sink.Argument, right)
        yield* sink.fact((fact) => fact._tag === "Listening")
        const sender = yield* spawn<PlainSender.Fact>("plain-sender", at satisfies PlainSender.Argument, left)
        yield* sink.fact((fact) => fact._tag === "Received")
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
})
