// A receiver that stalls and goes on sending heartbeats is slow, not dead (zrepl's report). A write deadline kills it, a
// watchdog does not; but one that neither reads nor gives a sign of life is stuck.
import { NodeLink } from "@holdfast/node"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Schedule } from "effect"
import { Link, Policy, Watchdog } from "holdfast"
import type { WriteStuck } from "holdfast/ConnectionError"
import type * as Net from "node:net"
import * as Conversation from "./harness/Conversation.ts"
import * as Plain from "./harness/Plain.ts"

const chunk = new Uint8Array(64 * 1024).fill(7)

/** Never reads; sends a heartbeat every 100 ms for as long as told. */
const stalled = (beats: () => boolean) => (socket: Net.Socket) => {
  socket.pause()
  const beating = setInterval(() => {
    if (beats()) socket.write("heartbeat\n")
  }, 100)
  socket.on("close", () => clearInterval(beating))
}

/** Writes without a pause under a watchdog with so much patience before and after it calls the peer stalled, until its verdict. */
const watched = Effect.fnUntraced(function* (
  port: number,
  patience: "300 millis" | "1 second",
  stalledSince: (sinceMillis: number | undefined) => void
) {
  const link = yield* NodeLink.tcp({ port })
  const { pull, write } = yield* Link.open(link)
  const policy = yield* Policy.make({
    silence: "20 seconds",
    stall: Schedule.spaced(patience).pipe(Schedule.upTo({ times: 2 }))
  })
  const watchdog = yield* Watchdog.make({
    policy: () => policy,
    probe: () => undefined,
    beat: () => undefined,
    onStalled: stalledSince
  })
  let acceptedBytes = 0
  const writing = Effect.suspend(() => {
    acceptedBytes += chunk.length
    return write([chunk])
  })
  const measuring = Effect.sync(() => {
    const { queuedBytes } = link.progress()
    watchdog.moved(acceptedBytes - queuedBytes, queuedBytes)
  })
  const error = yield* Effect.flip(
    Effect.raceAllFirst([
      Effect.forever(Effect.tap(pull, () => Effect.sync(watchdog.received))),
      Effect.forever(writing),
      Effect.andThen(Effect.repeat(measuring, Schedule.spaced("20 millis")), Effect.never),
      watchdog.run
    ])
  )
  yield* link.destroy
  return error.reason
}, Effect.scoped)

describe("a peer that stalls and sends heartbeats", () => {
  it.live("is killed by a write deadline, although its last heartbeat has just arrived", () =>
    Effect.gen(function* () {
      const server = yield* Plain.listen(stalled(() => true))
      const link = yield* NodeLink.tcp({ port: server.port })
      const { pull, write } = yield* Link.open(link)
      let heartbeatAt = 0
      yield* Effect.forkChild(Effect.forever(Effect.tap(pull, () => Effect.sync(() => (heartbeatAt = Date.now())))))
      const error = yield* Effect.flip(Effect.forever(Effect.timeout(write([chunk]), "1 second")))
      assert.strictEqual(error._tag, "TimeoutError")
      assert.isBelow(Date.now() - heartbeatAt, 1000)
    })
  )

  it.live("is called stalled by a watchdog and not killed, and stuck as soon as its heartbeats stop too", () =>
    Effect.gen(function* () {
      let beats = true
      let stalledSince: number | undefined
      const server = yield* Plain.listen(stalled(() => beats))
      const verdict = yield* Effect.forkChild(watched(server.port, "300 millis", (since) => (stalledSince = since)))
      yield* Plain.until(() => stalledSince !== undefined)
      yield* Effect.sleep("2 seconds")
      assert.isUndefined(verdict.pollUnsafe())
      assert.isDefined(stalledSince)

      beats = false
      const { _tag, ...evidence } = yield* Fiber.join(verdict)
      assert.strictEqual(_tag, "WriteStuck")
      assert.isAtLeast(Duration.toMillis((evidence as WriteStuck).missingFor), 2000)
      assert.isAbove((evidence as WriteStuck).outstandingBytes, 0)
    })
  )

  it.live("is not even called stalled when it reads slowly", () =>
    Effect.gen(function* () {
      let stalledSince: number | undefined
      const server = yield* Plain.listen((socket) => {
        const reading = setInterval(() => socket.read(), 10)
        socket.on("readable", () => undefined)
        socket.on("close", () => clearInterval(reading))
      })
      // More than this process may stand still, and the reader in it.
      const verdict = yield* Effect.forkChild(watched(server.port, "1 second", (since) => (stalledSince = since)))
      yield* Effect.sleep("3 seconds")
      assert.isUndefined(verdict.pollUnsafe())
      assert.isUndefined(stalledSince)
    })
  )
})

describe("a session whose application stalls", () => {
  it.live("lives in one incarnation for as long as it takes, and is not called stalled", () =>
    Effect.gen(function* () {
      const sends = { count: 5, everyMillis: 0, paddingBytes: 1_000_000 }
      // Each number takes twice the patience of `stall`, and fills the window alone.
      const conversation = yield* Conversation.start({ sends, takeMillis: 2000 })
      yield* Conversation.complete(conversation, sends.count)
      const { receiver, sender } = conversation
      assert.deepStrictEqual(Conversation.openings(sender), ["Fresh"])
      assert.isFalse(sender.facts.some((fact) => fact._tag === "Ended" || fact._tag === "Stalled"))
      assert.isFalse(receiver.facts.some((fact) => fact._tag === "LinkEnded"))
    })
  )
})
