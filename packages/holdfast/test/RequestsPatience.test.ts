import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Fiber, Schedule, Scope } from "effect"
import { ConnectionError, type Patience } from "holdfast"
import { asking, byHand, counting, Narrow, Prices, serving } from "./RequestsTesting.ts"
import { inScope, now, pair, type PairOptions } from "./SessionPair.ts"
import { flowing, settle } from "./SessionTesting.ts"
import { unsteady, until } from "./TestTime.ts"

const patient: PairOptions = {
  client: { policy: { silence: "2 hours" } },
  server: { policy: { silence: "2 hours" } }
}

/** A client with a patience and a handler that answers by hand; `from` is when it begins. */
const begin = Effect.fnUntraced(function* (patience: Patience.Patience, definition: typeof Prices = Prices) {
  const ends = yield* pair(patient)
  const hand = byHand()
  yield* serving(definition.serve(ends.theirs, hand.handler))
  const prices = yield* definition.client(ends.client, { patience })
  yield* settle
  const from = yield* now
  return { ...ends, hand, prices, from, after: (millis: number) => until(from + millis) }
})

const overdueOf = (error: unknown) => {
  assert.instanceOf(error, ConnectionError.ConnectionError)
  assert.instanceOf(error.reason, ConnectionError.AnswerOverdue)
  const { asked, missingFor, unanswered } = error.reason
  return { asked, missingFor: Duration.toMillis(missingFor), unanswered }
}

describe("Patience with a request", () => {
  it.effect("of 5 s is over at 5,000 ms and not before; the handler is interrupted, and the next one is answered", () =>
    inScope(
      Effect.gen(function* () {
        const { after, hand, prices } = yield* begin("5 seconds")
        const late = yield* asking(prices.ask("late"))
        const soon = yield* asking(prices.ask("soon"))
        yield* after(4999)
        yield* hand.answer("soon", 1)
        assert.deepStrictEqual([late.outcome(), soon.outcome()], ["pending", 1])
        yield* after(5000)
        assert.strictEqual(late.outcome(), "AnswerOverdue")
        assert.deepStrictEqual(overdueOf(late.error()), { asked: 0, missingFor: 5000, unanswered: 1 })
        assert.deepStrictEqual([hand.interrupted, yield* prices.outstanding], [["late"], 0])
        const next = yield* asking(prices.ask("next"))
        yield* settle
        yield* hand.answer("next", 2)
        assert.strictEqual(next.outcome(), 2)
      })
    )
  )

  it.effect("is each request's own: a shorter one is over first, though it was asked last", () =>
    inScope(
      Effect.gen(function* () {
        const { after, prices } = yield* begin("3 seconds")
        const long = yield* asking(prices.ask("long", { patience: "1 minute" }))
        const middle = yield* asking(prices.ask("middle"))
        yield* after(1000)
        const short = yield* asking(prices.ask("short", { patience: "1500 millis" }))
        const never = yield* asking(prices.ask("never", { patience: "Infinity" }))
        const outcomes = () => [long, middle, short, never].map(({ outcome }) => outcome())
        yield* after(2499)
        assert.deepStrictEqual(outcomes(), ["pending", "pending", "pending", "pending"])
        yield* after(2500)
        assert.deepStrictEqual(outcomes(), ["pending", "pending", "AnswerOverdue", "pending"])
        yield* after(2999)
        assert.strictEqual(middle.outcome(), "pending")
        yield* after(3000)
        assert.strictEqual(middle.outcome(), "AnswerOverdue")
        yield* after(59_999)
        assert.strictEqual(long.outcome(), "pending")
        yield* after(60_000)
        assert.deepStrictEqual(outcomes(), ["AnswerOverdue", "AnswerOverdue", "AnswerOverdue", "pending"])
        yield* after(3_600_000)
        assert.strictEqual(never.outcome(), "pending")
      })
    )
  )

  it.effect("as a Schedule is the sum of its delays, anew for each request", () =>
    inScope(
      Effect.gen(function* () {
        const twice = Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 2 }))
        const { after, prices } = yield* begin(twice)
        const first = yield* asking(prices.ask("first"))
        yield* after(500)
        const second = yield* asking(prices.ask("second"))
        const own = yield* asking(
          prices.ask("own", { patience: Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 3 })) })
        )
        yield* after(1999)
        assert.strictEqual(first.outcome(), "pending")
        yield* after(2000)
        assert.strictEqual(first.outcome(), "AnswerOverdue")
        assert.deepStrictEqual(overdueOf(first.error()), { asked: 1, missingFor: 2000, unanswered: 3 })
        yield* after(2499)
        assert.strictEqual(second.outcome(), "pending")
        yield* after(2500)
        assert.deepStrictEqual([second.outcome(), own.outcome()], ["AnswerOverdue", "pending"])
        yield* after(3500)
        assert.deepStrictEqual(overdueOf(own.error()), { asked: 2, missingFor: 3000, unanswered: 1 })
      })
    )
  )

  it.effect("counts while a request waits for a slot, and nobody sees it then", () =>
    inScope(
      Effect.gen(function* () {
        const { after, hand, prices } = yield* begin("Infinity", Narrow)
        yield* asking(prices.ask("a"))
        yield* asking(prices.ask("b"))
        const waiting = yield* asking(prices.ask("c", { patience: "1 second" }))
        yield* after(999)
        assert.strictEqual(waiting.outcome(), "pending")
        yield* after(1000)
        assert.strictEqual(waiting.outcome(), "AnswerOverdue")
        yield* hand.answer("a", 1)
        assert.deepStrictEqual(hand.begun, ["a", "b"])
      })
    )
  )

  it.effect("goes on while there is no link, and a request that is over by then is withdrawn at the other side", () =>
    inScope(
      Effect.gen(function* () {
        const { after, hand, network, prices } = yield* begin("900 millis")
        const asked = yield* asking(prices.ask("one"))
        yield* settle
        network.wire().cut()
        yield* after(899)
        assert.strictEqual(asked.outcome(), "pending")
        yield* after(900)
        assert.strictEqual(asked.outcome(), "AnswerOverdue")
        assert.deepStrictEqual(hand.interrupted, [])
        yield* flowing(Effect.sleep("2 seconds"))
        assert.deepStrictEqual([hand.begun, hand.interrupted], [["one"], ["one"]])
      })
    )
  )

  it.effect("is prolonged once by a machine that was late, and not by a little lateness", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair(patient)
        const hand = byHand()
        yield* serving(Prices.serve(ends.theirs, hand.handler))
        const from = yield* now
        const { clock } = yield* unsteady([from + 900, from + 3000], [from + 5900, from + 6050])
        const prices = yield* Effect.provideService(
          Prices.client(ends.client, { patience: "1 second" }),
          Clock.Clock,
          clock
        )
        const late = yield* asking(prices.ask("late"))
        yield* until(from + 3000)
        assert.strictEqual(late.outcome(), "pending")
        yield* until(from + 3999)
        assert.strictEqual(late.outcome(), "pending")
        yield* until(from + 4000)
        assert.strictEqual(late.outcome(), "AnswerOverdue")
        assert.deepStrictEqual(overdueOf(late.error()), { asked: 0, missingFor: 4000, unanswered: 1 })
        yield* until(from + 5000)
        const little = yield* asking(prices.ask("little")) // due at 6000, and woken at 6050
        yield* until(from + 6049)
        assert.strictEqual(little.outcome(), "pending")
        yield* until(from + 6050)
        assert.strictEqual(little.outcome(), "AnswerOverdue")
      })
    )
  )

  it.effect("whose Schedule dies is a defect of the client, which all are told of", () =>
    inScope(
      Effect.gen(function* () {
        const { after, hand, prices } = yield* begin("Infinity")
        const dies = Schedule.spaced("1 second").pipe(
          Schedule.modifyDelay((n) => (n.attempt > 1 ? Effect.die("no more") : Effect.succeed(Duration.seconds(1))))
        )
        const other = yield* asking(prices.ask("other"))
        const asked = yield* asking(prices.ask("one", { patience: dies }))
        yield* after(999)
        assert.deepStrictEqual([asked.outcome(), other.outcome()], ["pending", "pending"])
        yield* after(1000)
        assert.deepStrictEqual([asked.outcome(), other.outcome()], ["no typed failure", "no typed failure"])
        assert.deepStrictEqual(hand.running(), [])
      })
    )
  )
})

/** A session's detectors have some fibers more while they wait for something than while they rest. */
const sessionsOwn = 8

describe("Fibers of requests", () => {
  it.effect("for patience there is one, however many are asked and whatever their patience", () =>
    counting((alive) =>
      inScope(
        Effect.gen(function* () {
          const ends = yield* pair(patient)
          yield* serving(Prices.serve(ends.theirs, () => Effect.never))
          const prices = yield* Prices.client(ends.client, { patience: "1 hour" })
          const ask = (i: number) =>
            Effect.forkChild(Effect.exit(prices.ask(String(i), i % 2 === 0 ? { patience: 100_000 + i } : undefined)))
          yield* ask(0)
          yield* flowing(Effect.sleep("1 second"))
          yield* settle
          const before = alive()
          const fibers = yield* Effect.forEach(
            Array.from({ length: 1000 }, (_, i) => i),
            ask
          )
          yield* settle
          yield* settle
          // 255 more are being handled, and each has somebody who asked.
          assert.closeTo(alive() - before, 1000 + 255, sessionsOwn)
          yield* Fiber.interruptAll(fibers)
          yield* flowing(Effect.sleep("1 second"))
          yield* settle
          assert.closeTo(alive(), before, sessionsOwn)
        })
      )
    )
  )

  for (const how of ["answered", "overdue", "asked when the scope closes"]) {
    it.effect(`none is left of a client and its requests that were ${how}`, () =>
      counting((alive) =>
        inScope(
          Effect.gen(function* () {
            const ends = yield* pair(patient)
            yield* serving(Prices.serve(ends.theirs, () => (how === "answered" ? Effect.succeed(1) : Effect.never)))
            let before = 0 // while there was one client
            for (let i = 0; i < 20; i++) {
              const scope = yield* Scope.make()
              const prices = yield* Scope.provide(Prices.client(ends.client, { patience: "50 millis" }), scope)
              const asked = yield* Effect.forEach(["a", "b", "c"], (name) => asking(prices.ask(name)))
              if (how !== "asked when the scope closes") {
                yield* flowing(Effect.all(asked.map(({ fiber }) => Fiber.join(fiber))))
              }
              yield* Scope.close(scope, Exit.void)
              yield* flowing(Effect.all(asked.map(({ fiber }) => Fiber.join(fiber))))
              const expected = { answered: 1, overdue: "AnswerOverdue" }[how] ?? "Closed"
              assert.deepStrictEqual(
                asked.map(({ outcome }) => outcome()),
                [expected, expected, expected]
              )
              yield* flowing(Effect.sleep("1 second"))
              yield* settle
              if (i === 0) before = alive()
              assert.closeTo(alive(), before, sessionsOwn)
            }
          })
        )
      )
    )
  }
})
