import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Option, Random, Schedule } from "effect"
import { Policy, Presets } from "holdfast"

const refused = (options: Policy.Options) => Effect.flip(Policy.make(options))

describe("Policy", () => {
  it.effect("the defaults can work and are what make gives when nothing is asked for", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* Policy.make(), Policy.defaults)
    })
  )

  it.effect("what is not given comes from the base, limits of the backlog one by one", () =>
    Effect.gen(function* () {
      const base = yield* Policy.make({ close: "1 minute", backlog: { messagesMax: 10 } })
      const policy = yield* Policy.make({ open: "3 seconds", close: undefined, backlog: { whenFull: "fail" } }, base)
      assert.deepStrictEqual([policy.open, policy.close], ["3 seconds", "1 minute"])
      assert.deepStrictEqual(policy.backlog, {
        messagesMax: 10,
        bytesMax: 16_777_216,
        whenFull: "fail",
        patience: "Infinity"
      })
    })
  )

  describe("refuses", () => {
    for (const field of ["open", "silence", "stall", "close"] as const) {
      it.effect(`a ${field} that never ends, and says how to bound it`, () =>
        Effect.gen(function* () {
          const error = yield* refused({ [field]: Schedule.spaced("5 seconds") })
          assert.deepStrictEqual(error.fields, [field])
          assert.include(error.message, `${field} does not end within 1000 delays`)
          assert.include(error.message, "Schedule.upTo({ times: 2 })")
        })
      )

      it.effect(`a ${field} without any delay`, () =>
        Effect.gen(function* () {
          const error = yield* refused({ [field]: Schedule.recurs(2) })
          assert.deepStrictEqual(error.fields, [field])
          assert.include(error.message, `${field} has no delay`)
          assert.deepStrictEqual((yield* refused({ [field]: 0 })).fields, [field])
        })
      )

      it.effect(`a ${field} that is no Duration`, () =>
        Effect.gen(function* () {
          assert.deepStrictEqual((yield* refused({ [field]: "soon" as Duration.Input })).fields, [field])
          assert.deepStrictEqual((yield* refused({ [field]: -1 })).fields, [field])
        })
      )
    }

    it.effect("1,001 delays, not 1,000", () =>
      Effect.gen(function* () {
        const times = (times: number) => Schedule.spaced("1 milli").pipe(Schedule.upTo({ times }))
        yield* Policy.make({ silence: times(1000) })
        assert.deepStrictEqual((yield* refused({ silence: times(1001) })).fields, ["silence"])
      })
    )

    it.effect("a heartbeat whose first three delays are nothing, not one whose third is something", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual((yield* refused({ heartbeat: Schedule.forever })).fields, ["heartbeat"])
        assert.deepStrictEqual((yield* refused({ heartbeat: 0 })).fields, ["heartbeat"])
        yield* Policy.make({ heartbeat: Presets.steps([0, 0, 1000], 1000) })
      })
    )

    it.effect("an endless reconnect whose first three delays are nothing, not one that ends", () =>
      Effect.gen(function* () {
        const error = yield* refused({ reconnect: Schedule.forever })
        assert.deepStrictEqual(error.fields, ["reconnect"])
        assert.include(error.message, "dial without a pause")
        yield* Policy.make({ reconnect: Schedule.recurs(3) })
        yield* Policy.make({ reconnect: Presets.signalRReconnect })
      })
    )

    it.effect("a stability or stalledLimit that is not positive", () =>
      Effect.gen(function* () {
        for (const value of [0, -1, Number.NaN]) {
          assert.deepStrictEqual((yield* refused({ stability: value })).fields, ["stability"])
          assert.include((yield* refused({ stalledLimit: value })).fields, "stalledLimit")
        }
      })
    )

    it.effect("a stalledLimit shorter than stall, not one as long", () =>
      Effect.gen(function* () {
        const error = yield* refused({ stall: "10 seconds", stalledLimit: 9999 })
        assert.deepStrictEqual(error.fields, ["stalledLimit", "stall"])
        assert.include(error.message, "stalledLimit (9s 999ms) is shorter than stall (10s)")
        yield* Policy.make({ stall: "10 seconds", stalledLimit: "10 seconds" })
      })
    )

    it.effect("limits of the backlog that are not positive", () =>
      Effect.gen(function* () {
        for (const limit of [0, -1, Number.NaN]) {
          assert.deepStrictEqual((yield* refused({ backlog: { messagesMax: limit } })).fields, ["backlog"])
          assert.deepStrictEqual((yield* refused({ backlog: { bytesMax: limit } })).fields, ["backlog"])
        }
      })
    )

    it.effect("everything at once, each field named once", () =>
      Effect.gen(function* () {
        const error = yield* refused({
          silence: Schedule.forever,
          stability: 0,
          backlog: { messagesMax: 0, bytesMax: 0 }
        })
        assert.deepStrictEqual(error.fields, ["silence", "stability", "backlog"])
      })
    )

    it.effect("a setPolicy that would break the policy in force", () =>
      Effect.gen(function* () {
        const base = yield* Policy.make({ stalledLimit: "1 minute" })
        assert.deepStrictEqual((yield* Effect.flip(Policy.make({ stall: "2 minutes" }, base))).fields, [
          "stalledLimit",
          "stall"
        ])
      })
    )
  })

  describe("accepts", () => {
    it.effect("Infinity, which says aloud that a clock is off", () =>
      Effect.asVoid(Policy.make({ open: "Infinity", silence: "Infinity", stall: "Infinity", close: "Infinity" }))
    )

    it.effect("every preset", () =>
      Effect.gen(function* () {
        for (const options of [Presets.zrepl, Presets.signalR, Presets.socketIoClient, Presets.socketIoServer]) {
          yield* Policy.make(options)
        }
        for (const reconnect of [
          Presets.grpcBackoff,
          Presets.openVSwitchBackoff(),
          Presets.phoenixReconnect,
          Presets.signalRReconnect,
          Presets.fullJitter("1 second", "10 seconds"),
          Presets.decorrelatedJitter("1 second", "10 seconds")
        ])
          yield* Policy.make({ reconnect })
      })
    )
  })

  it.effect("is checked under a fixed seed, so the same policy is always judged alike", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      const silence = Schedule.spaced("1 second").pipe(
        Schedule.modifyDelay(() =>
          Effect.map(Random.next, (part) => {
            seen.push(part)
            return Duration.seconds(part)
          })
        ),
        Schedule.upTo({ times: 2 })
      )
      yield* Policy.make({ silence })
      yield* Policy.make({ silence })
      assert.strictEqual(seen.length % 2, 0)
      assert.deepStrictEqual(seen.slice(0, seen.length / 2), seen.slice(seen.length / 2))
    })
  )

  it.effect("a schedule that dies is a defect at construction, not a refusal", () =>
    Effect.gen(function* () {
      const silence = Schedule.spaced("1 second").pipe(Schedule.modifyDelay(() => Effect.die("bug")))
      const exit = yield* Effect.exit(Policy.make({ silence }))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
    })
  )

  describe("what is announced of the heartbeat", () => {
    const announced = (heartbeat: Policy.Patience) =>
      Effect.map(Policy.heartbeatMax({ ...Policy.defaults, heartbeat }), Option.map(Duration.toMillis))

    it.effect("a Duration repeats", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* announced("2 seconds"), Option.some(2000))
      })
    )

    it.effect("the longest of the first hundred delays", () =>
      Effect.gen(function* () {
        const delays = Array.from({ length: 99 }, (_, i) => i + 1)
        assert.deepStrictEqual(yield* announced(Presets.steps([...delays, 5000], 9000)), Option.some(5000))
      })
    )

    it.effect("nothing when heartbeats end or are off", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* announced(Presets.steps([1000, 1000])), Option.none())
        assert.deepStrictEqual(yield* announced("Infinity"), Option.none())
      })
    )
  })

  describe("the rule of the handshake", () => {
    const check = (silence: Policy.Patience, peerHeartbeat: number | undefined) =>
      Policy.checkPeer(
        { ...Policy.defaults, silence },
        Option.map(Option.fromNullishOr(peerHeartbeat), Duration.millis)
      )

    it.effect("refuses a silence that never asks and is not longer than the peer's heartbeat", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(check("10 seconds", 10_000))
        assert.deepStrictEqual(error.fields, ["silence"])
        assert.include(error.message, "never asks, but the peer sends a heartbeat every 10s")
        yield* check("10 seconds", 9999)
      })
    )

    it.effect("refuses a silence that never asks when the peer announces no bound", () =>
      Effect.gen(function* () {
        assert.include((yield* Effect.flip(check("10 seconds", undefined))).message, "announces no bound")
      })
    )

    it.effect("one that asks needs no heartbeats, and one that is off needs nothing", () =>
      Effect.gen(function* () {
        yield* check(Presets.openVSwitch("5 seconds"), undefined)
        yield* check(Presets.openVSwitch("5 seconds"), 3_600_000)
        yield* check("Infinity", undefined)
      })
    )
  })
})
