// A peer whose process is frozen: its kernel goes on acknowledging, so writes succeed and nobody is told. A session asks,
// gives up within its policy's bound, and resumes when the peer thaws.
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Net from "node:net"
import { spawn } from "./harness/Child.ts"
import * as Plain from "./harness/Plain.ts"
import type * as Sink from "./harness/roles/sink.ts"

describe("a frozen peer", () => {
  it.live("is not noticed by a plain socket: every write succeeds, and the application gets nothing", () =>
    Effect.gen(function* () {
      const sink = yield* spawn<Sink.Fact>("sink", { reads: true } satisfies Sink.Argument)
      const { port } = yield* sink.fact((fact) => fact._tag === "Listening")
      const belief = Plain.believe(Net.connect(port, "127.0.0.1"))
      yield* sink.fact((fact) => fact._tag === "Accepted")
      yield* sink.freeze
      const write = Effect.sync(() => Plain.write(belief, new Uint8Array(1000).fill(1)))
      yield* Effect.repeat(Effect.andThen(write, Effect.sleep("100 millis")), { times: 29 })
      assert.isUndefined(belief.error)
      assert.strictEqual(belief.writtenBytes, 30_000)
      assert.isFalse(sink.facts.some((fact) => fact._tag === "Received"))
    })
  )
})
