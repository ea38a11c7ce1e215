import { assert, describe, it } from "@effect/vitest"
import { Data, Effect, Fiber, Schedule, Stream } from "effect"
import { TestClock } from "effect/testing"
import type { Session } from "holdfast"
import { begin, type Ends, inScope, now, numbered, pair, reasonOf, tagOf } from "./SessionPair.ts"
import { bytes, flowing, settle, text } from "./SessionTesting.ts"

class Broken extends Data.TaggedError("Broken")<{ readonly at: string }> {}

/** Handles messages and fails on those that it is told to; says what it saw, and how it ended. */
const handling = Effect.fnUntraced(function* (
  session: Ends,
  broken: (message: string) => boolean,
  options?: Session.HandleOptions<Broken>
) {
  const seen: Array<string> = []
  const handler = session.handle((message) => {
    seen.push(text(message))
    return broken(text(message)) ? Effect.fail(new Broken({ at: text(message) })) : Effect.void
  }, options)
  const fiber = yield* Effect.forkChild(Effect.result(handler))
  return { seen, fiber }
})

const never = () => false

describe("Session.messages", () => {
  it.effect("takes a batch when the next one is pulled, not before", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        yield* client.sendAll(numbered(3))
        yield* settle
        const delivered = yield* begin(client.deliver(bytes("3")))
        const gate = yield* begin(Effect.never)
        const seen: Array<string> = []
        yield* theirs.messages.pipe(
          Stream.runForEach((message) =>
            Effect.andThen(
              Effect.sync(() => seen.push(text(message))),
              text(message) === "3" ? Effect.sleep("1 minute") : Effect.void
            )
          ),
          Effect.forkChild
        )
        yield* TestClock.adjust("59999 millis")
        yield* settle
        assert.deepStrictEqual([seen, delivered.outcome()], [["0", "1", "2", "3"], "pending"])
        yield* TestClock.adjust("20 millis")
        assert.strictEqual(delivered.outcome(), "succeeded")
        yield* Fiber.interrupt(gate.fiber)
      })
    )
  )

  it.effect("leaves a batch to the next consumer when one stops inside it", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        yield* client.sendAll(numbered(3))
        yield* settle
        const first = yield* theirs.messages.pipe(Stream.map(text), Stream.take(2), Stream.runCollect)
        assert.deepStrictEqual(first, ["0", "1"])
        const next = yield* theirs.messages.pipe(Stream.map(text), Stream.take(3), Stream.runCollect)
        assert.deepStrictEqual(next, ["0", "1", "2"])
        assert.strictEqual((yield* begin(client.flush)).outcome(), "pending")
      })
    )
  )

  it.effect("have one consumer at a time: a second one waits, and gets what the first one leaves", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        const first = yield* handling(theirs, (message) => message === "1")
        yield* settle
        const second = yield* handling(theirs, never)
        yield* client.sendAll(numbered(3))
        yield* flowing(client.flush)
        assert.deepStrictEqual(
          [first.seen, second.seen],
          [
            ["0", "1"],
            ["1", "2"]
          ]
        )
      })
    )
  )

  it.effect("pass by a consumer that was interrupted while another one had its turn", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        const first = yield* handling(theirs, never)
        yield* settle
        const second = yield* handling(theirs, never)
        const third = yield* handling(theirs, never)
        yield* settle
        yield* Fiber.interrupt(second.fiber)
        yield* Fiber.interrupt(first.fiber)
        yield* flowing(client.deliver(bytes("0")))
        assert.deepStrictEqual([first.seen, second.seen, third.seen], [[], [], ["0"]])
        yield* Fiber.interrupt(third.fiber)
        const fourth = yield* handling(theirs, never)
        yield* flowing(client.deliver(bytes("1")))
        assert.deepStrictEqual([third.seen, fourth.seen], [["0"], ["1"]])
      })
    )
  )

  it.effect("of a consumer that is interrupted while it waits go to the next one", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        const first = yield* handling(theirs, never)
        yield* settle
        yield* Fiber.interrupt(first.fiber)
        const second = yield* handling(theirs, never)
        yield* flowing(client.deliver(bytes("0")))
        assert.deepStrictEqual([first.seen, second.seen], [[], ["0"]])
      })
    )
  )
})

describe("Session.handle", () => {
  it.effect("takes each message after its handler succeeded, and not the one in work", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        const deliveries = yield* Effect.forEach(numbered(3), (message) => begin(client.deliver(message)))
        yield* Effect.forkChild(theirs.handle(() => Effect.sleep("1 second")))
        yield* TestClock.adjust("1999 millis")
        const outcomes = () => deliveries.map(({ outcome }) => outcome())
        assert.deepStrictEqual(outcomes(), ["succeeded", "pending", "pending"])
        yield* TestClock.adjust("20 millis")
        assert.deepStrictEqual(outcomes(), ["succeeded", "succeeded", "pending"])
      })
    )
  )

  it.effect("fails with the handler's error, and leaves that message and no earlier one to the next consumer", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        yield* client.sendAll(numbered(4))
        const first = yield* handling(theirs, (message) => message === "2")
        const failure = yield* Effect.flip(Effect.flatMap(Fiber.join(first.fiber), Effect.fromResult))
        assert.deepStrictEqual([first.seen, failure], [["0", "1", "2"], new Broken({ at: "2" })])
        const second = yield* handling(theirs, never)
        yield* flowing(client.flush)
        assert.deepStrictEqual(second.seen, ["2", "3"])
      })
    )
  )

  it.effect("tries a message again by a Schedule, and takes it once", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        let failures = 2
        const { seen } = yield* handling(theirs, (message) => message === "1" && failures-- > 0, {
          retry: Schedule.spaced("1 second")
        })
        const start = yield* now
        const delivered = yield* Effect.forEach(numbered(3), (message) => begin(client.deliver(message)))
        yield* flowing(Fiber.await(delivered[2]!.fiber))
        assert.deepStrictEqual(seen, ["0", "1", "1", "1", "2"])
        assert.deepStrictEqual(
          delivered.map(({ at, outcome }) => [outcome(), Math.floor((at() - start) / 1000)]),
          [
            ["succeeded", 0],
            ["succeeded", 2],
            ["succeeded", 2]
          ]
        )
      })
    )
  )

  it.effect("skips a message and tells its sender, and nobody else, that it was rejected", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        const { seen } = yield* handling(theirs, (message) => message === "1", { onFailure: "skip" })
        const deliveries = yield* Effect.forEach(numbered(3), (message) => begin(client.deliver(message)))
        const flushed = yield* begin(client.flush)
        yield* flowing(Fiber.await(flushed.fiber))
        assert.deepStrictEqual(seen, ["0", "1", "2"])
        assert.deepStrictEqual(
          deliveries.map(({ outcome }) => outcome()),
          ["succeeded", "MessageRejected", "succeeded"]
        )
        assert.strictEqual(flushed.outcome(), "succeeded") // it was taken, and nothing was done with it
      })
    )
  )

  it.effect("skips a message, and its sender learns of it although the link was cut meanwhile", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network, theirs } = yield* pair()
        yield* handling(theirs, (message) => message === "1", { onFailure: "skip" })
        network.wire().toClient.blackhole(true)
        const deliveries = yield* Effect.forEach(numbered(3), (message) => begin(client.deliver(message)))
        yield* settle
        network.wire().cut()
        yield* flowing(Fiber.await(deliveries[2]!.fiber), "50 millis")
        assert.deepStrictEqual(
          deliveries.map(({ outcome }) => outcome()),
          ["succeeded", "MessageRejected", "succeeded"]
        )
        assert.strictEqual(network.wires.length, 2)
      })
    )
  )

  it.effect("skips 3,000 messages in a row, although only so many can be unconfirmed", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        const { seen } = yield* handling(theirs, () => true, { onFailure: "skip" })
        const deliveries = yield* Effect.forEach(numbered(3000), (message) => begin(client.deliver(message)))
        yield* flowing(client.flush)
        assert.strictEqual(seen.length, 3000)
        assert.isTrue(deliveries.every(({ outcome }) => outcome() === "MessageRejected"))
      })
    )
  )

  it.effect("ends the session for both sides where told to, and the sender learns why", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        const { fiber, seen } = yield* handling(theirs, (message) => message === "1", { onFailure: "end" })
        const delivering = yield* Effect.forEach(numbered(3), (message) => begin(client.deliver(message)))
        const ended = yield* flowing(reasonOf(client.join))
        assert.deepInclude(ended, { _tag: "EndedByPeer", code: "Failed" })
        assert.strictEqual(yield* tagOf(theirs.join), "Closed")
        assert.deepStrictEqual(seen, ["0", "1"])
        assert.strictEqual((yield* Fiber.join(fiber))._tag, "Failure")
        assert.deepStrictEqual(
          delivering.map(({ outcome }) => outcome()),
          ["succeeded", "EndedByPeer", "EndedByPeer"]
        )
      })
    )
  )

  it.effect("succeeds when the other direction has ended, after the last message", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        const { fiber, seen } = yield* handling(theirs, never)
        yield* client.sendAll(numbered(2))
        yield* settle
        assert.isUndefined(fiber.pollUnsafe())
        yield* client.end
        yield* flowing(client.flush)
        assert.strictEqual((yield* Fiber.join(fiber))._tag, "Success")
        assert.deepStrictEqual(seen, ["0", "1"])
      })
    )
  )
})
