import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Schema } from "effect"
import { Requests } from "holdfast"
import { asking, byHand, counting, echoing, Narrow, Prices, serving, Unknown } from "./RequestsTesting.ts"
import { inScope, now, pair, steady } from "./SessionPair.ts"
import { bytes, flowing, settle } from "./SessionTesting.ts"
import { until } from "./TestTime.ts"

const forEver = { patience: "Infinity" } as const

/** A client of two slots, and a handler that answers by hand. */
const begin = Effect.gen(function* () {
  const ends = yield* pair()
  const hand = byHand()
  yield* serving(Narrow.serve(ends.theirs, hand.handler))
  const prices = yield* Narrow.client(ends.client, forEver)
  return { ...ends, hand, prices }
})

describe("Requests that are asked together", () => {
  it.effect("get their responses in the order in which they were asked, whatever order these come in", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        const handle = (name: string) => Effect.delay(Effect.succeed(Number(name)), 500 - Number(name))
        yield* serving(Prices.serve(ends.theirs, handle))
        const prices = yield* Prices.client(ends.client, forEver)
        const numbers = Array.from({ length: 400 }, (_, i) => i) // more than there are slots
        assert.deepStrictEqual(yield* flowing(prices.askAll(numbers.map(String)), "1 millis"), numbers)
        assert.deepStrictEqual(yield* prices.askAll([]), [])
        assert.strictEqual(yield* prices.outstanding, 0)
      })
    )
  )

  it.effect("carry bytes as they are, and go out in one write", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        const { echo } = yield* echoing(ends)
        yield* flowing(echo.ask(bytes("first")))
        yield* flowing(Effect.sleep("1 second")) // until all is acknowledged
        const { toServer } = ends.network.wire()
        const before = toServer.written()
        toServer.stall(true)
        const all = yield* Effect.forkChild(echo.askAll([bytes("ab"), bytes("cd"), new Uint8Array(0)]))
        yield* settle
        const written = toServer.written() - before
        assert.isAtLeast(written, 3 * 6 + 4)
        assert.isBelow(written, 3 * 6 + 4 + 30)
        toServer.stall(false)
        assert.deepStrictEqual(yield* flowing(Fiber.join(all)), [bytes("ba"), bytes("dc"), new Uint8Array(0)])
        const none = yield* Effect.flip(echo.askAll([bytes("ab"), "text" as unknown as Uint8Array]))
        assert.deepInclude(none.reason, { _tag: "MessageInvalid", direction: "send" })
      })
    )
  )

  it.effect("fail as soon as one does, and the others are withdrawn", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        const hand = byHand()
        const handler = (name: string) => (name === "bad" ? new Unknown({ symbol: name }) : hand.handler(name))
        yield* serving(Prices.serve(ends.theirs, handler))
        const prices = yield* Prices.client(ends.client, forEver)
        const asked = yield* asking(prices.askAll(["a", "bad", "b"]))
        yield* settle
        yield* settle
        assert.deepStrictEqual(asked.error(), new Unknown({ symbol: "bad" }))
        assert.deepStrictEqual(
          [hand.begun, hand.interrupted],
          [
            ["a", "b"],
            ["a", "b"]
          ]
        )
        assert.strictEqual(yield* prices.outstanding, 0)
        const next = yield* asking(prices.askAll(["c"]))
        yield* settle
        yield* hand.answer("c", 3)
        assert.deepStrictEqual(next.outcome(), [3])
      })
    )
  )

  it.effect("fail where one is too large, and what was asked behind it is withdrawn", () =>
    inScope(
      Effect.gen(function* () {
        const policy = { ...steady, backlog: { bytesMax: 1000 } }
        const ends = yield* pair({ client: { policy }, server: { policy } })
        const Sent = Requests.make("sent", { request: Schema.String, response: Schema.Number })
        yield* serving(Sent.serve(ends.theirs, () => Effect.never))
        const sent = yield* Sent.client(ends.client, forEver)
        const failed = yield* flowing(Effect.flip(sent.askAll(["x", "x".repeat(2000), "y"])))
        assert.strictEqual(failed.reason._tag, "BacklogExceeded")
        yield* flowing(Effect.repeat(sent.outstanding, { until: (count) => count === 0 }), "10 millis")
      })
    )
  )

  it.effect("are withdrawn by an interruption, those too that wait for a slot", () =>
    inScope(
      Effect.gen(function* () {
        const { hand, prices } = yield* begin
        const asked = yield* asking(prices.askAll(["a", "b", "c", "d"]))
        yield* settle
        assert.deepStrictEqual([hand.running(), yield* prices.outstanding], [["a", "b"], 4])
        yield* Fiber.interrupt(asked.fiber)
        yield* settle
        assert.deepStrictEqual(
          [hand.begun, hand.interrupted],
          [
            ["a", "b"],
            ["a", "b"]
          ]
        )
        assert.strictEqual(yield* prices.outstanding, 0)
      })
    )
  )

  it.effect("are overdue when one is, at its millisecond", () =>
    inScope(
      Effect.gen(function* () {
        const { hand, prices } = yield* begin
        const from = yield* now
        const asked = yield* asking(prices.askAll(["a", "b", "c"], { patience: "3 seconds" }))
        yield* settle
        yield* hand.answer("a", 1)
        yield* until(from + 2999)
        assert.strictEqual(asked.outcome(), "pending")
        yield* until(from + 3000)
        assert.strictEqual(asked.outcome(), "AnswerOverdue")
        assert.deepStrictEqual([hand.interrupted, yield* prices.outstanding], [["b", "c"], 0])
      })
    )
  )

  it.effect("settle with the channel's end", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        const server = yield* serving(Prices.serve(ends.theirs, () => Effect.never))
        const prices = yield* Prices.client(ends.client, forEver)
        const asked = yield* asking(prices.askAll(["a", "b"]))
        yield* settle
        yield* flowing(Fiber.interrupt(server))
        yield* settle
        assert.strictEqual(asked.outcome(), "ChannelReset")
        assert.isTrue(Exit.isFailure(yield* Effect.exit(prices.askAll(["c"]))))
      })
    )
  )

  it.effect("have one fiber that waits for them, and none for handlers that are done at once", () =>
    counting((alive) =>
      inScope(
        Effect.gen(function* () {
          const ends = yield* pair()
          yield* serving(Prices.serve(ends.theirs, () => Effect.sync(() => 1)))
          const prices = yield* Prices.client(ends.client, forEver)
          yield* flowing(prices.ask("first"))
          yield* settle
          const before = alive()
          let most = 0
          const watching = yield* Effect.forkChild(
            Effect.forever(
              Effect.andThen(
                Effect.sync(() => {
                  most = Math.max(most, alive() - before)
                }),
                Effect.yieldNow
              )
            )
          )
          const names = Array.from({ length: 200 }, (_, i) => String(i))
          assert.strictEqual((yield* flowing(prices.askAll(names))).length, 200)
          yield* Fiber.interrupt(watching)
          assert.isAtLeast(most, 1)
          assert.isBelow(most, 20)
        })
      )
    )
  )
})
