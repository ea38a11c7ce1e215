// After a verdict nothing of ours is left: no orphan in the kernel, and no byte that reaches the peer's application later.
import { NodeLink } from "@holdfast/node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as Net from "node:net"
import { spawn } from "./harness/Child.ts"
import * as Kernel from "./harness/Kernel.ts"
import * as Plain from "./harness/Plain.ts"
import type * as Sink from "./harness/roles/sink.ts"

const chunk = new Uint8Array(64 * 1024).fill(7)

/** A sink whose process is frozen after it has accepted. */
const frozenSink = spawn<Sink.Fact>("sink", { reads: true } satisfies Sink.Argument).pipe(
  Effect.bindTo("sink"),
  Effect.bind("port", ({ sink }) => Effect.map(sink.fact("Listening"), ({ port }) => port))
)

/** What has reached the kernel of the peer; nobody can take that back. */
const arrivedBytes = (port: number) => Kernel.sockets("sport", port)[0]?.receiveQueueBytes ?? 0

const receivedBytes = (facts: ReadonlyArray<Sink.Fact>) =>
  facts.reduce((most, fact) => (fact._tag === "Received" ? Math.max(most, fact.bytes) : most), 0)

describe("after a verdict", () => {
  it.live("a link that was destroyed leaves no socket, and no later byte reaches the frozen peer", () =>
    Effect.gen(function* () {
      const { port, sink } = yield* frozenSink
      const link = yield* NodeLink.tcp({ port })
      yield* link.reader
      const { write } = yield* link.writer
      yield* sink.fact("Accepted")
      yield* sink.freeze
      const writing = yield* Effect.forkChild(Effect.ignore(Effect.forever(write(chunk))))
      yield* stuck(link.progress)
      assert.isAbove(Kernel.sockets("dport", port)[0]!.sendQueueBytes, 0)
      const arrived = arrivedBytes(port)

      yield* link.destroy
      assert.deepStrictEqual(Kernel.sockets("dport", port), [])
      yield* Fiber.join(writing)

      yield* sink.thaw
      const { how } = yield* sink.fact("Ended")
      assert.strictEqual(how, "ECONNRESET")
      assert.isAtMost(receivedBytes(sink.facts), arrived)
    })
  )

  it.live("a plain socket that was closed leaves an orphan, whose bytes arrive when the peer thaws", () =>
    Effect.gen(function* () {
      const { port, sink } = yield* frozenSink
      const belief = Plain.believe(Net.connect(port, "127.0.0.1"))
      yield* sink.fact("Accepted")
      yield* sink.freeze
      yield* stuck(() => {
        while (belief.socket.writableLength === 0) Plain.write(belief, chunk) // a kernel's buffers grow for a while
        return { queuedBytes: belief.socket.writableLength }
      })
      const arrived = arrivedBytes(port)

      belief.socket.destroy()
      yield* Plain.until(() => belief.closed)
      const orphan = Kernel.sockets("dport", port)[0]!
      assert.strictEqual(orphan.state, "FIN-WAIT-1")
      assert.isAbove(orphan.sendQueueBytes, 0)

      yield* sink.thaw
      yield* sink.fact("Ended")
      assert.isAbove(receivedBytes(sink.facts), arrived)
    })
  )
})

/** Waits until the queue holds something and does not change any more, whenever it is looked at. */
const stuck = Effect.fnUntraced(function* (progress: () => { readonly queuedBytes: number }) {
  let before = 0
  for (let looks = 0; looks < 10; looks++) {
    yield* Effect.sleep("10 millis")
    const { queuedBytes } = progress()
    if (queuedBytes === 0 || queuedBytes !== before) looks = 0
    before = queuedBytes
  }
})
