import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Duration, Effect, Exit, Fiber, Latch, Option, Random, Schedule } from "effect"
import { ConnectionError, Policy, Presets, Supervisor } from "holdfast"
import { settle, until } from "./TestTime.ts"

const failed = (times?: ConnectionError.Times) =>
  ConnectionError.make(new ConnectionError.LinkFailed({ cause: "gone", during: "read" }), times)

const unauthorized = ConnectionError.make(
  new ConnectionError.Refused({ code: "Unauthorized", detail: "bad token", retryAfter: Option.none() })
)

const away = (after: Duration.Input | undefined) =>
  ConnectionError.make(
    new ConnectionError.GoneAway({ retryAfter: Option.map(Option.fromNullishOr(after), Duration.fromInputUnsafe) })
  )

/** A life: how many milliseconds it was up, and how it ended. */
type Life = readonly [upMillis: number, end: ConnectionError.ConnectionError | "ended"]

/** Supervises incarnations that live as told (the last life repeats) and logs every dial, end and wait. */
const supervised = Effect.fnUntraced(function* (
  policy: Policy.Options,
  lives: ReadonlyArray<Life>,
  hintMax?: Duration.Input
) {
  const log: Array<string> = []
  const note = (what: string) => Effect.map(Clock.currentTimeMillis, (now) => void log.push(`${what}@${now}`))
  const wake = yield* Latch.make(false)
  let inForce = yield* Policy.make(policy)
  let count = 0
  const incarnation = Effect.gen(function* () {
    const [upMillis, end] = lives[Math.min(count++, lives.length - 1)]!
    yield* note("dial")
    yield* Effect.addFinalizer(() => note("released"))
    yield* Effect.sleep(upMillis)
    if (end === "ended") return "ended"
    return yield* ConnectionError.make(end.reason, { upFor: upMillis })
  })
  const running = yield* Effect.forkScoped(
    Supervisor.run({
      policy: () => inForce,
      wake,
      incarnation,
      hintMax,
      onWaiting: (error, delay, retryAt) =>
        note(`${error.reason._tag} waits ${Duration.toMillis(delay)} until ${retryAt}`)
    })
  )
  yield* settle
  return {
    log,
    wake,
    running,
    dials: () => log.filter((line) => line.startsWith("dial@")).map((line) => Number(line.slice(5))),
    setPolicy: (options: Policy.Options) =>
      Effect.map(Policy.make(options, inForce), (policy) => void (inForce = policy))
  }
})

const exponential = Schedule.exponential("1 second")

describe("Supervisor", () => {
  it.effect("retries the first attempt like any other, each delay exact", () =>
    Effect.gen(function* () {
      const { dials } = yield* supervised({ reconnect: exponential }, [[0, failed()]])
      yield* until(999)
      assert.deepStrictEqual(dials(), [0])
      yield* until(7000)
      assert.deepStrictEqual(dials(), [0, 1000, 3000, 7000])
    })
  )

  it.effect("releases everything of an incarnation before it waits and before the next begins", () =>
    Effect.gen(function* () {
      const { log } = yield* supervised({ reconnect: exponential }, [[500, failed()]])
      yield* until(1500)
      assert.deepStrictEqual(log, ["dial@0", "released@500", "LinkFailed waits 1000 until 1500@500", "dial@1500"])
    })
  )

  it.effect("succeeds when an incarnation ends in good order", () =>
    Effect.gen(function* () {
      const { running } = yield* supervised({ reconnect: exponential }, [
        [0, failed()],
        [100, "ended"]
      ])
      yield* until(1100)
      assert.strictEqual(yield* Fiber.join(running), "ended")
    })
  )

  it.effect("starts the schedule anew after ten stable seconds", () =>
    Effect.gen(function* () {
      const { dials } = yield* supervised({ reconnect: exponential }, [
        [0, failed()],
        [0, failed()],
        [10_000, failed()],
        [0, failed()]
      ])
      yield* until(20_000)
      assert.deepStrictEqual(dials(), [0, 1000, 3000, 14_000, 16_000, 20_000])
    })
  )

  it.effect("goes on backing off after a millisecond less", () =>
    Effect.gen(function* () {
      const { dials } = yield* supervised({ reconnect: exponential }, [
        [0, failed()],
        [0, failed()],
        [9999, failed()],
        [0, failed()]
      ])
      yield* until(30_000)
      assert.deepStrictEqual(dials(), [0, 1000, 3000, 16_999, 24_999])
    })
  )

  it.effect("jitters from the first retry: a crowd that lost its server at once comes back spread out", () =>
    Effect.gen(function* () {
      const delays: Array<number> = []
      for (let seed = 0; seed < 40; seed++) {
        yield* Supervisor.run({
          policy: () => Policy.defaults,
          wake: Latch.makeUnsafe(false),
          incarnation: Effect.fail(failed()),
          onWaiting: (_error, delay) =>
            Effect.andThen(
              Effect.sync(() => delays.push(Duration.toMillis(delay))),
              Effect.interrupt
            )
        }).pipe(Random.withSeed(`client ${seed}`), Effect.exit)
      }
      assert.strictEqual(new Set(delays).size, 40)
      assert.isBelow(Math.max(...delays), 500)
      assert.isAbove(Math.max(...delays) - Math.min(...delays), 250)
    })
  )

  it.effect("a wake-up ends the wait at once", () =>
    Effect.gen(function* () {
      const { dials, wake } = yield* supervised({ reconnect: Schedule.spaced("1 hour") }, [[0, failed()]])
      yield* until(1234)
      yield* wake.open
      yield* settle
      assert.deepStrictEqual(dials(), [0, 1234])
      yield* until(3_601_233)
      assert.deepStrictEqual(dials(), [0, 1234])
    })
  )

  it.effect("a wake-up while an incarnation runs does not cut the next wait", () =>
    Effect.gen(function* () {
      const { dials, wake } = yield* supervised({ reconnect: exponential }, [[500, failed()]])
      yield* wake.open
      yield* until(1499)
      assert.deepStrictEqual(dials(), [0])
      yield* until(1500)
      assert.deepStrictEqual(dials(), [0, 1500])
    })
  )

  it.effect("a wake-up from whoever is told of the wait is not lost", () =>
    Effect.gen(function* () {
      const wake = yield* Latch.make(false)
      let dials = 0
      const running = yield* Effect.forkScoped(
        Supervisor.run({
          policy: () => Policy.defaults,
          wake,
          incarnation: Effect.suspend(() => (++dials < 3 ? Effect.fail(failed()) : Effect.succeed(dials))),
          onWaiting: () => Effect.asVoid(wake.open)
        })
      )
      yield* settle
      assert.deepStrictEqual(running.pollUnsafe(), Exit.succeed(3))
    })
  )

  it.effect("a server's hint is a floor, which a wake-up does not undercut", () =>
    Effect.gen(function* () {
      const { dials, wake } = yield* supervised({ reconnect: exponential }, [[0, away("30 seconds")]])
      yield* until(2000)
      yield* wake.open
      yield* until(29_999)
      assert.deepStrictEqual(dials(), [0])
      yield* until(30_000)
      assert.deepStrictEqual(dials(), [0, 30_000])
    })
  )

  it.effect("a hint below the schedule's delay changes nothing, nor does none", () =>
    Effect.gen(function* () {
      for (const after of ["500 millis", undefined] as const) {
        const { dials } = yield* supervised({ reconnect: exponential }, [[0, away(after)]])
        const start = yield* Clock.currentTimeMillis
        yield* until(start + 1000)
        assert.deepStrictEqual(dials(), [start, start + 1000])
      }
    })
  )

  it.effect("a hint is clamped to five minutes, or to what the user says", () =>
    Effect.gen(function* () {
      for (const [hintMax, millis] of [
        [undefined, 300_000],
        ["10 seconds", 10_000]
      ] as const) {
        const { dials } = yield* supervised({ reconnect: exponential }, [[0, away("1 day")]], hintMax)
        const start = yield* Clock.currentTimeMillis
        yield* until(start + millis - 1)
        assert.deepStrictEqual(dials(), [start])
        yield* until(start + millis)
        assert.deepStrictEqual(dials(), [start, start + millis])
      }
    })
  )

  it.effect("what another attempt cannot help is not retried", () =>
    Effect.gen(function* () {
      const { dials, running } = yield* supervised({ reconnect: exponential }, [
        [0, failed()],
        [0, unauthorized]
      ])
      yield* until(1000)
      const error = yield* Effect.flip(Fiber.join(running))
      assert.deepStrictEqual([error.reason._tag, dials()], ["Refused", [0, 1000]])
    })
  )

  it.effect("a schedule that is done ends it, with the number of attempts and the last error", () =>
    Effect.gen(function* () {
      const reconnect = exponential.pipe(Schedule.upTo({ times: 2 }))
      const { running } = yield* supervised({ reconnect }, [[0, failed()]])
      yield* until(3000)
      const { reason } = yield* Effect.flip(Fiber.join(running))
      assert(reason._tag === "RetriesExhausted")
      assert.deepStrictEqual([reason.attempts, reason.last.reason._tag], [3, "LinkFailed"])
    })
  )

  it.effect("attempts count from the last stable incarnation", () =>
    Effect.gen(function* () {
      const reconnect = exponential.pipe(Schedule.upTo({ times: 2 }))
      const { running } = yield* supervised({ reconnect }, [
        [0, failed()],
        [20_000, failed()],
        [0, failed()]
      ])
      yield* until(30_000)
      const { reason } = yield* Effect.flip(Fiber.join(running))
      assert.strictEqual(reason._tag === "RetriesExhausted" && reason.attempts, 3)
    })
  )

  it.effect(
    "a replaced schedule is taken up with the next wait; replacing anything else goes on with the present one",
    () =>
      Effect.gen(function* () {
        const { dials, setPolicy } = yield* supervised({ reconnect: exponential }, [
          [0, failed()],
          [2000, failed()],
          [0, failed()]
        ])
        yield* until(1500)
        yield* setPolicy({ close: "1 minute" })
        yield* until(6000)
        assert.deepStrictEqual(dials(), [0, 1000, 5000])
        yield* setPolicy({ reconnect: Schedule.spaced("7 seconds") })
        yield* until(23_000)
        assert.deepStrictEqual(dials(), [0, 1000, 5000, 9000, 16_000, 23_000])
      })
  )

  it.effect("gRPC's backoff counts from the start of an attempt", () =>
    Effect.gen(function* () {
      const dials: Array<number> = []
      const open = Effect.gen(function* () {
        dials.push(yield* Clock.currentTimeMillis)
        yield* Effect.sleep("700 millis")
        return yield* failed()
      })
      yield* Supervisor.run({
        policy: () => ({ ...Policy.defaults, reconnect: Presets.grpcBackoff }),
        wake: Latch.makeUnsafe(false),
        incarnation: Supervisor.incarnation(open, () => Effect.never)
      }).pipe(
        Effect.provideService(Random.Random, { nextIntUnsafe: () => 0, nextDoubleUnsafe: () => 0.5 }),
        Effect.forkScoped
      )
      yield* until(10_000)
      assert.deepStrictEqual(dials.map(Math.round), [0, 1000, 2600, 5160, 9256])
    })
  )

  it.effect("a defect is not retried", () =>
    Effect.gen(function* () {
      let dials = 0
      const exit = yield* Supervisor.run({
        policy: () => Policy.defaults,
        wake: Latch.makeUnsafe(false),
        incarnation: Effect.suspend(() => {
          dials++
          return Effect.die("bug")
        })
      }).pipe(Effect.exit)
      assert.deepStrictEqual([dials, Exit.isFailure(exit) && Cause.squash(exit.cause)], [1, "bug"])
    })
  )

  it.effect("interruption ends an incarnation or a wait, and nothing follows", () =>
    Effect.gen(function* () {
      for (const at of [500, 1500]) {
        const { log, running } = yield* supervised({ reconnect: Schedule.spaced("10 seconds") }, [[1000, failed()]])
        const start = yield* Clock.currentTimeMillis
        yield* until(start + at)
        yield* Fiber.interrupt(running)
        const before = [...log]
        assert.include(before, `released@${start + Math.min(at, 1000)}`)
        yield* until(start + 60_000)
        assert.deepStrictEqual(log, before)
      }
    })
  )

  it.effect("the incarnation can read the number of its attempt", () =>
    Effect.gen(function* () {
      const attempts: Array<number> = []
      const running = yield* Effect.forkScoped(
        Supervisor.run({
          policy: () => Policy.defaults,
          wake: Latch.makeUnsafe(true),
          incarnation: Effect.gen(function* () {
            attempts.push((yield* Schedule.CurrentMetadata).attempt)
            if (attempts.length < 3) return yield* failed()
          })
        })
      )
      yield* until(60_000)
      yield* Fiber.join(running)
      assert.deepStrictEqual(attempts, [0, 1, 2])
    })
  )

  describe("incarnation", () => {
    const timesOf = (incarnation: Effect.Effect<unknown, ConnectionError.ConnectionError>) =>
      Effect.gen(function* () {
        const running = yield* Effect.forkScoped(Effect.flip(incarnation))
        yield* until(10_000)
        const { openingFor, upFor } = yield* Fiber.join(running)
        return [Duration.toMillis(openingFor), Duration.toMillis(upFor)]
      })

    it.effect("tells how long opening took when it fails", () =>
      Effect.gen(function* () {
        const open = Effect.delay(Effect.fail(failed()), "300 millis")
        assert.deepStrictEqual(yield* timesOf(Supervisor.incarnation(open, () => Effect.never)), [300, 0])
      })
    )

    it.effect("tells how long opening took and how long it was up when it ends later", () =>
      Effect.gen(function* () {
        const open = Effect.delay(Effect.succeed("link"), "300 millis")
        const use = () => Effect.delay(Effect.fail(failed()), "2 seconds")
        assert.deepStrictEqual(yield* timesOf(Supervisor.incarnation(open, use)), [300, 2000])
      })
    )
  })
})
