import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Duration, Effect, Exit, Fiber, Option, Random, Schedule, Schema } from "effect"
import * as TestClock from "effect/testing/TestClock"
import { Patience, Presets } from "holdfast"
import { settle, unsteady, until } from "./TestTime.ts"

interface Seen {
  readonly asks: Array<number>
  over: number | undefined
  evidence: Patience.Evidence | undefined
}

interface Scenario {
  readonly patience: Patience.Patience
  /** What happens at which millisecond. */
  readonly script?: ReadonlyArray<readonly [atMillis: number, happens: (watch: Patience.Watch, at: number) => void]>
  readonly blocked?: ReadonlyArray<readonly [from: number, to: number]>
}

const arrives = (watch: Patience.Watch, at: number) => watch.arrived(at)

/** Starts a watch at 0; the effect it returns moves time to an instant, following the script, and tells what was seen. */
const start = Effect.fnUntraced(function* ({ blocked = [], patience, script = [] }: Scenario) {
  const { clock } = yield* unsteady(...blocked)
  const now = () => Patience.monotonicMillis(clock)
  const seen: Seen = { asks: [], over: undefined, evidence: undefined }
  const watch = Patience.watch({ patience, anchor: 0, ask: () => seen.asks.push(now()) })
  yield* watch.run.pipe(
    Effect.tap((evidence) =>
      Effect.sync(() => {
        seen.over = now()
        seen.evidence = evidence
      })
    ),
    Effect.provideService(Clock.Clock, clock),
    Effect.forkScoped
  )
  let done = 0
  return Effect.fnUntraced(function* (millis: number) {
    for (; done < script.length; done++) {
      const [at, happens] = script[done]!
      if (at > millis) break
      yield* until(at)
      happens(watch, at)
      yield* settle
    }
    yield* until(millis)
    return seen
  })
})

/** Checks every instant at its boundary: a millisecond before it nothing, at it the question or the end. */
const holds = Effect.fnUntraced(function* (scenario: Scenario, asks: ReadonlyArray<number>, over: number) {
  const at = yield* start(scenario)
  for (const [place, instant] of asks.entries()) {
    assert.deepStrictEqual((yield* at(instant - 1)).asks, asks.slice(0, place), `a millisecond before ${instant}`)
    assert.deepStrictEqual((yield* at(instant)).asks, asks.slice(0, place + 1), `at ${instant}`)
  }
  assert.isUndefined((yield* at(over - 1)).over)
  const { asks: asked, evidence, over: overAt } = yield* at(over)
  assert.deepStrictEqual([overAt, asked], [over, [...asks]])
  assert.strictEqual(evidence?.asked, asks.length)
  return evidence
})

const every = (millis: number, count: number, happens: (watch: Patience.Watch, at: number) => void) =>
  Array.from({ length: count }, (_, i) => [(i + 1) * millis, happens] as const)

const openVSwitch = Presets.openVSwitch("5 seconds")
const exponential = Schedule.exponential("1 second").pipe(Schedule.upTo({ times: 4 }))

describe("Patience", () => {
  describe("the table of instants", () => {
    it.effect("Open vSwitch, 5 s: nothing arrives: asks at 5 s, over at 10 s", () =>
      Effect.asVoid(holds({ patience: openVSwitch }, [5000], 10_000))
    )

    it.effect("Open vSwitch, 5 s: a byte at 9.999 s: asks at 5 and 14.999 s, over at 19.999 s", () =>
      Effect.gen(function* () {
        const at = yield* start({ patience: openVSwitch, script: [[9999, arrives]] })
        assert.deepStrictEqual((yield* at(14_998)).asks, [5000])
        assert.deepStrictEqual((yield* at(14_999)).asks, [5000, 14_999])
        assert.isUndefined((yield* at(19_998)).over)
        assert.strictEqual((yield* at(19_999)).over, 19_999)
      })
    )

    it.effect("replaced by 2 s at 3 s: asks at 3 s, over at 5 s", () =>
      Effect.asVoid(
        holds(
          { patience: openVSwitch, script: [[3000, (watch) => watch.replace(Presets.openVSwitch("2 seconds"))]] },
          [3000],
          5000
        )
      )
    )

    it.effect("replaced by 8 s at 3 s: asks at 8 s, over at 16 s", () =>
      Effect.asVoid(
        holds(
          { patience: openVSwitch, script: [[3000, (watch) => watch.replace(Presets.openVSwitch("8 seconds"))]] },
          [8000],
          16_000
        )
      )
    )

    it.effect("replaced by itself every second: asks at 5 s, over at 10 s", () =>
      Effect.asVoid(
        holds({ patience: openVSwitch, script: every(1000, 9, (watch) => watch.replace(openVSwitch)) }, [5000], 10_000)
      )
    )

    it.effect("event loop blocked from 4 to 24 s: asks at 24 and 29 s, over at 34 s", () =>
      Effect.asVoid(holds({ patience: openVSwitch, blocked: [[4000, 24_000]] }, [24_000, 29_000], 34_000))
    )

    it.effect("event loop blocked from 9 to 30 s: asks at 5 and 30 s, over at 35 s", () =>
      Effect.asVoid(holds({ patience: openVSwitch, blocked: [[9000, 30_000]] }, [5000, 30_000], 35_000))
    )

    it.effect("10 s: nothing arrives: never asks, over at 10 s", () =>
      Effect.asVoid(holds({ patience: "10 seconds" }, [], 10_000))
    )

    it.effect("10 s, blocked from 9 to 30 s: asks at 30 s, over at 40 s", () =>
      Effect.asVoid(holds({ patience: "10 seconds", blocked: [[9000, 30_000]] }, [30_000], 40_000))
    )

    it.effect("gRPC keepalive 20 s, 10 s: asks at 20 s, over at 30 s", () =>
      Effect.asVoid(holds({ patience: Presets.grpcKeepalive("20 seconds", "10 seconds") }, [20_000], 30_000))
    )

    it.effect("TCP keepalive 10 s, 5 s, 3: asks at 10, 15 and 20 s, over at 25 s", () =>
      Effect.asVoid(
        holds({ patience: Presets.tcpKeepalive("10 seconds", "5 seconds", 3) }, [10_000, 15_000, 20_000], 25_000)
      )
    )

    it.effect("exponential 1 s, four delays: asks at 1, 3 and 7 s, over at 15 s", () =>
      Effect.asVoid(holds({ patience: exponential }, [1000, 3000, 7000], 15_000))
    )

    it.effect("exponential 1 s, a byte at 4 s: asks at 1, 3, 5, 7 and 11 s, over at 19 s", () =>
      Effect.gen(function* () {
        const at = yield* start({ patience: exponential, script: [[4000, arrives]] })
        assert.deepStrictEqual((yield* at(4999)).asks, [1000, 3000])
        assert.deepStrictEqual((yield* at(5000)).asks, [1000, 3000, 5000])
        assert.isUndefined((yield* at(18_999)).over)
        const seen = yield* at(19_000)
        assert.deepStrictEqual([seen.asks, seen.over], [[1000, 3000, 5000, 7000, 11_000], 19_000])
      })
    )
  })

  describe("what arrives", () => {
    it.effect("the healthy opposite: arrivals every 4.999 s are never asked about", () =>
      Effect.gen(function* () {
        const at = yield* start({ patience: openVSwitch, script: every(4999, 30, arrives) })
        const seen = yield* at(30 * 4999)
        assert.deepStrictEqual([seen.asks, seen.over], [[], undefined])
      })
    )

    it.effect("evidence tells for how long it was missing and how often it was asked for", () =>
      Effect.gen(function* () {
        const evidence = yield* holds({ patience: openVSwitch }, [5000], 10_000)
        assert.strictEqual(Duration.toMillis(evidence?.missingFor ?? 0), 10_000)
      })
    )

    it.effect("a patience adapts to the round trip that the evidence tells", () =>
      Effect.gen(function* () {
        const asks: Array<number> = []
        const patience = Schedule.spaced("10 seconds").pipe(
          Schedule.setInputType<Patience.Evidence>(),
          Schedule.modifyDelay(({ duration, input }) =>
            Effect.succeed(Option.match(input.roundTripTime, { onNone: () => duration, onSome: Duration.times(3) }))
          ),
          Schedule.upTo({ times: 2 })
        )
        const watch = Patience.watch({
          patience,
          anchor: 0,
          roundTripTime: () => Option.some(Duration.millis(500)),
          ask: ({ missingFor }) => asks.push(Duration.toMillis(missingFor))
        })
        const running = yield* Effect.forkScoped(watch.run)
        yield* until(2999)
        assert.isUndefined(running.pollUnsafe())
        yield* until(3000)
        assert.strictEqual(Duration.toMillis((yield* Fiber.join(running)).missingFor), 3000)
        assert.deepStrictEqual(asks, [1500])
      })
    )

    it.effect("nothing is missing while at rest, and the run counts from what arrives next", () =>
      Effect.gen(function* () {
        const at = yield* start({
          patience: openVSwitch,
          script: [
            [6000, (watch) => watch.rest()],
            [100_000, arrives]
          ]
        })
        assert.deepStrictEqual((yield* at(104_999)).asks, [5000])
        assert.deepStrictEqual((yield* at(105_000)).asks, [5000, 105_000])
        assert.strictEqual((yield* at(110_000)).over, 110_000)
      })
    )

    it.effect("Infinity never asks and is never over", () =>
      Effect.gen(function* () {
        const at = yield* start({ patience: "Infinity" })
        const seen = yield* at(1e9)
        assert.deepStrictEqual([seen.asks, seen.over], [[], undefined])
      })
    )

    it.effect("a Schedule with a clock of its own gets ideal time, so fixed equals spaced", () =>
      Effect.gen(function* () {
        yield* holds({ patience: Schedule.fixed("5 seconds").pipe(Schedule.upTo({ times: 2 })) }, [5000], 10_000)
      })
    )

    it.effect("within cuts the last delay: 5 s within 12 s asks at 5 and 10 s, over at 12 s", () =>
      Effect.asVoid(
        holds({ patience: Schedule.spaced("5 seconds").pipe(Presets.within("12 seconds")) }, [5000, 10_000], 12_000)
      )
    )
  })

  describe("late, and asleep", () => {
    it.effect("a wake up to 100 ms late is ordinary: 1 s is over at 1.1 s, without a question", () =>
      Effect.asVoid(holds({ patience: "1 second", blocked: [[999, 1100]] }, [], 1100))
    )

    it.effect("a millisecond more is late: it asks and waits the delay once more", () =>
      Effect.asVoid(holds({ patience: "1 second", blocked: [[999, 1101]] }, [1101], 2101))
    )

    it.effect("a tenth of a long delay is ordinary too", () =>
      Effect.gen(function* () {
        yield* holds({ patience: "10 seconds", blocked: [[9000, 11_000]] }, [], 11_000)
      })
    )

    it.effect("more than a tenth of a long delay is late", () =>
      Effect.asVoid(holds({ patience: "10 seconds", blocked: [[9000, 11_001]] }, [11_001], 21_001))
    )

    it.effect("one grace for each silence: the repetition counts even if it is late too", () =>
      Effect.asVoid(
        holds(
          {
            patience: openVSwitch,
            blocked: [
              [4000, 24_000],
              [25_000, 50_000]
            ]
          },
          [24_000, 50_000],
          55_000
        )
      )
    )

    it.effect("the next silence has its own grace", () =>
      Effect.gen(function* () {
        const at = yield* start({
          patience: "10 seconds",
          blocked: [
            [9000, 30_000],
            [44_000, 60_000]
          ],
          script: [[35_000, arrives]]
        })
        assert.deepStrictEqual((yield* at(60_000)).asks, [30_000, 60_000])
        assert.isUndefined((yield* at(69_999)).over)
        assert.strictEqual((yield* at(70_000)).over, 70_000)
      })
    )

    it.effect("a run that begins behind a late wake is late itself: a byte at 3 s, blocked from 4 to 24 s", () =>
      Effect.asVoid(
        holds({ patience: openVSwitch, blocked: [[4000, 24_000]], script: [[3000, arrives]] }, [24_000, 29_000], 34_000)
      )
    )

    it.effect("input that waited while the loop was blocked is read before anybody is judged", () =>
      Effect.gen(function* () {
        const { clock: late } = yield* unsteady([9000, 30_000])
        const asks: Array<number> = []
        const watch = Patience.watch({ patience: "10 seconds", anchor: 0, ask: () => asks.push(1) })
        // As when the loop is free again: first the timer that is due, then the input, before the next turn.
        const input = Effect.sync(() => queueMicrotask(() => watch.arrived(30_000)))
        const clock = { ...late, sleep: (delay: Duration.Duration) => Effect.tap(late.sleep(delay), () => input) }
        const running = yield* Effect.forkScoped(Effect.provideService(watch.run, Clock.Clock, clock))
        yield* until(30_000)
        assert.deepStrictEqual([asks.length, running.pollUnsafe()], [0, undefined])
      })
    )

    it.effect("a question at once changes nothing else", () =>
      Effect.gen(function* () {
        const at = yield* start({ patience: openVSwitch, script: [[3000, (watch) => watch.question()]] })
        assert.deepStrictEqual((yield* at(4999)).asks, [3000])
        assert.deepStrictEqual((yield* at(5000)).asks, [3000, 5000])
        assert.isUndefined((yield* at(9999)).over)
        assert.strictEqual((yield* at(10_000)).over, 10_000)
      })
    )

    it.effect("the wall clock may jump by a day: neither silence nor life", () =>
      Effect.gen(function* () {
        const { clock, jump } = yield* unsteady()
        const watch = Patience.watch({ patience: "10 seconds", anchor: 0 })
        const running = yield* Effect.forkScoped(Effect.provideService(watch.run, Clock.Clock, clock))
        yield* until(5000)
        jump(86_400_000)
        yield* until(9999)
        assert.isUndefined(running.pollUnsafe())
        jump(-2 * 86_400_000)
        yield* until(10_000)
        assert.strictEqual(Duration.toMillis((yield* Fiber.join(running)).missingFor), 10_000)
      })
    )
  })

  describe("replacement", () => {
    it.effect("a delay that is over by the new length ends now, however late that is, and has its grace still", () =>
      Effect.asVoid(
        holds(
          {
            patience: Presets.openVSwitch("60 seconds"),
            script: [[50_000, (watch) => watch.replace(openVSwitch)]],
            blocked: [[54_000, 70_000]]
          },
          [50_000, 70_000],
          75_000
        )
      )
    )

    it.effect("a place that the new schedule does not have is over at the new schedule's end", () =>
      Effect.asVoid(
        holds({ patience: openVSwitch, script: [[6000, (watch) => watch.replace("8 seconds")]] }, [5000], 8000)
      )
    )

    it.effect("or at once, if that has passed", () =>
      Effect.asVoid(
        holds({ patience: openVSwitch, script: [[6000, (watch) => watch.replace("2 seconds")]] }, [5000], 6000)
      )
    )

    it.effect(
      "a schedule that looks at the time spent goes on with it: 5 s within 12 s, replaced by itself at 6 s",
      () => {
        const patience = Schedule.spaced("5 seconds").pipe(Presets.within("12 seconds"))
        return Effect.asVoid(
          holds({ patience, script: [[6000, (watch) => watch.replace(patience)]] }, [5000, 10_000], 12_000)
        )
      }
    )

    it.effect("replacing while late keeps the repeated delay and its place", () =>
      Effect.asVoid(
        holds(
          {
            patience: openVSwitch,
            blocked: [[4000, 24_000]],
            script: [[26_000, (watch) => watch.replace(openVSwitch)]]
          },
          [24_000, 29_000],
          34_000
        )
      )
    )

    it.effect("what is replaced at rest counts from the next run", () =>
      Effect.gen(function* () {
        const at = yield* start({
          patience: openVSwitch,
          script: [
            [1000, (watch) => watch.rest()],
            [2000, (watch) => watch.replace("3 seconds")],
            [4000, arrives]
          ]
        })
        assert.isUndefined((yield* at(6999)).over)
        assert.strictEqual((yield* at(7000)).over, 7000)
      })
    )
  })

  it.effect("a step that dies is a defect of whoever waits", () =>
    Effect.gen(function* () {
      const broken = Schedule.spaced("1 second").pipe(Schedule.modifyDelay(() => Effect.die("bug")))
      const exit = yield* Effect.exit(Patience.watch({ patience: broken, anchor: 0 }).run)
      assert.deepStrictEqual(Exit.isFailure(exit) && Cause.squash(exit.cause), "bug")
    })
  )

  it.effect(
    "three hundred watches share one timer: each is over at its own instant, and one that is given up never",
    () =>
      Effect.gen(function* () {
        const clock = yield* Clock.Clock
        const over: Array<readonly [place: number, at: number]> = []
        const delayOf = (place: number) => ((place * 7919) % 300) + 1
        const watches = yield* Effect.forEach(
          Array.from({ length: 300 }, (_, place) => place),
          (place) =>
            Patience.watch({ patience: delayOf(place), anchor: 0 }).run.pipe(
              Effect.andThen(Effect.sync(() => over.push([place, Patience.monotonicMillis(clock)]))),
              Effect.forkChild({ startImmediately: true })
            )
        )
        yield* Fiber.interruptAll(watches.filter((_, place) => place % 3 === 0))
        yield* TestClock.adjust("1 second")
        assert.strictEqual(over.length, 200)
        assert.deepStrictEqual(
          over,
          over.map(([place]) => [place, delayOf(place)] as const).toSorted(([, a], [, b]) => a - b)
        )
      })
  )

  it.effect("watching is free: a million arrivals wake no fiber and cost no timer", () =>
    Effect.gen(function* () {
      const test = yield* Clock.Clock
      let sleeps = 0
      const clock: Clock.Clock = {
        ...test,
        sleep: (duration) => Effect.suspend(() => (sleeps++, test.sleep(duration)))
      }
      const watch = Patience.watch({ patience: openVSwitch, anchor: 0 })
      yield* Effect.forkScoped(Effect.provideService(watch.run, Clock.Clock, clock))
      yield* until(1000)
      for (let i = 0; i < 1_000_000; i++) watch.arrived(1000 + i / 1e6)
      yield* until(4999)
      assert.strictEqual(sleeps, 1)
    })
  )

  describe("within", () => {
    const within = (millis: number) =>
      Effect.sleep(millis).pipe(
        Effect.as("done"),
        Patience.within({ patience: "10 seconds", onOver: ({ missingFor }) => Duration.toMillis(missingFor) }),
        Effect.result
      )

    it.effect("what takes 9.999 s succeeds within 10 s", () =>
      Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(within(9999))
        yield* until(9999)
        assert.strictEqual((yield* Fiber.join(fiber))._tag, "Success")
      })
    )

    it.effect("what takes longer fails at exactly 10 s, counted from its start", () =>
      Effect.gen(function* () {
        yield* TestClock.adjust("1 hour")
        const fiber = yield* Effect.forkChild(within(10_001))
        yield* until(3_609_999)
        assert.isUndefined(fiber.pollUnsafe())
        yield* until(3_610_000)
        const result = yield* Fiber.join(fiber)
        assert.deepStrictEqual(result._tag === "Failure" && result.failure, 10_000)
      })
    )

    it.effect("its questions only tell", () =>
      Effect.gen(function* () {
        const asks: Array<number> = []
        const fiber = yield* Effect.sleep("7 seconds").pipe(
          Patience.within({ patience: openVSwitch, onOver: () => "over", ask: ({ asked }) => asks.push(asked) }),
          Effect.forkChild
        )
        yield* until(7000)
        yield* Fiber.join(fiber)
        assert.deepStrictEqual(asks, [1])
      })
    )
  })
})

describe("Hundreds of waits on one clock", () => {
  it.effect.prop(
    "are over each at its own instant, whatever arrives or is given up meanwhile",
    { seed: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 100_000 })) },
    ({ seed }) =>
      Effect.gen(function* () {
        const lastMillis = 120
        const waits = yield* Effect.forEach(
          Array.from({ length: 300 }, (_, i) => i),
          Effect.fnUntraced(function* () {
            const millis = yield* Random.nextIntBetween(1, lastMillis)
            const watch = Patience.watch({ patience: millis, anchor: 0 })
            const wait = { watch, millis, expected: millis, overAt: Number.NaN, isGivenUp: false }
            const over = Effect.map(Clock.monotonicTimeNanos, (nanos) => {
              wait.overAt = Number(nanos) / 1e6
            })
            return { wait, fiber: yield* Effect.forkScoped(Effect.andThen(watch.run, over)) }
          })
        )
        yield* settle
        for (let at = 1; at <= lastMillis * 2; at++) {
          yield* TestClock.adjust(1)
          yield* settle
          for (const { fiber, wait } of waits) {
            const chance = yield* Random.next
            if (at >= wait.expected || at >= lastMillis || chance > 0.05) continue
            if (chance < 0.005) {
              wait.isGivenUp = true
              yield* Fiber.interrupt(fiber)
            } else {
              wait.watch.arrived(at)
              wait.expected = at + wait.millis
            }
          }
        }
        for (const { wait } of waits) if (!wait.isGivenUp) assert.strictEqual(wait.overAt, wait.expected)
        for (const { wait } of waits) if (wait.isGivenUp) assert.isNaN(wait.overAt)
        assert.isTrue(waits.some(({ wait }) => wait.isGivenUp))
      }).pipe(Random.withSeed(seed), Effect.scoped),
    { arbitrary: { runs: 5, seed: 7 } }
  )
})
