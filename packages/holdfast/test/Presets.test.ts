import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Pull, Random, Schedule } from "effect"
import { ConnectionError, Patience, Presets } from "holdfast"
import { until } from "./TestTime.ts"

/** Attempts that fail at once: a retry schedule waits from the end of an attempt. */
const failure = (times?: ConnectionError.Times) =>
  ConnectionError.make(new ConnectionError.LinkFailed({ cause: "refused", during: "dial" }), times)

/** The first delays in milliseconds, and "done" when the schedule is. */
const delaysOf = <Input>(schedule: Schedule.Schedule<unknown, Input>, input: Input, count: number) =>
  Effect.gen(function* () {
    const step = yield* Schedule.toStep(schedule)
    const delays: Array<number | "done"> = []
    let now = 0
    while (delays.length < count && delays.at(-1) !== "done") {
      const delay = yield* step(now, input).pipe(
        Effect.map(([, delay]): number | "done" => Math.round(Duration.toMillis(delay))),
        Pull.catchDone(() => Effect.succeed("done" as const))
      )
      delays.push(delay)
      if (delay !== "done") now += delay
    }
    return delays
  })

/** The instants at which a patience asks and is over, each checked a millisecond before. */
const instants = Effect.fnUntraced(function* (patience: Patience.Patience, asks: ReadonlyArray<number>, over: number) {
  const seen: Array<number> = []
  const watch = Patience.watch({
    patience,
    anchor: 0,
    ask: ({ missingFor }) => seen.push(Duration.toMillis(missingFor))
  })
  const running = yield* Effect.forkScoped(watch.run)
  for (const [place, instant] of asks.entries()) {
    yield* until(instant - 1)
    assert.deepStrictEqual(seen, asks.slice(0, place))
    yield* until(instant)
    assert.deepStrictEqual(seen, asks.slice(0, place + 1))
  }
  yield* until(over - 1)
  assert.isUndefined(running.pollUnsafe())
  yield* until(over)
  assert.isDefined(running.pollUnsafe())
  assert.deepStrictEqual(seen, asks)
})

/** Randomness that always gives the same part of its range: 0 the least, 1 (nearly) the most. */
const always = (part: number) =>
  Effect.provideService(Random.Random, { nextIntUnsafe: () => 0, nextDoubleUnsafe: () => part })

describe("Presets", () => {
  describe("patience", () => {
    it.effect("Open vSwitch, 5 s: probe at 5 s, given up at 10 s", () =>
      instants(Presets.openVSwitch("5 seconds"), [5000], 10_000)
    )

    it.effect("gRPC keepalive, 20 s and 10 s: ping at 20 s, given up at 30 s", () =>
      instants(Presets.grpcKeepalive("20 seconds", "10 seconds"), [20_000], 30_000)
    )

    it.effect("TCP keepalive of Linux: nine probes, the first after two hours, given up 75 s after the last", () =>
      instants(
        Presets.tcpKeepalive("2 hours", "75 seconds", 9),
        Array.from({ length: 9 }, (_, i) => 7_200_000 + i * 75_000),
        7_200_000 + 9 * 75_000
      )
    )

    it.effect("zrepl: heartbeats every 5 s, silent or stuck for 10 s is the end, without a question", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(Presets.zrepl.heartbeat, "5 seconds")
        assert.strictEqual(Presets.zrepl.stall, Presets.zrepl.silence)
        yield* instants(Presets.zrepl.silence, [], 10_000)
      })
    )

    it.effect("SignalR: keep-alive every 15 s, silent for 30 s is the end", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(Presets.signalR.heartbeat, "15 seconds")
        yield* instants(Presets.signalR.silence, [], 30_000)
      })
    )

    it.effect("Socket.IO's client: silent for 45 s is the end, it never asks", () =>
      instants(Presets.socketIoClient.silence, [], 45_000)
    )

    it.effect("Socket.IO's server: ping at 25 s, given up at 45 s", () =>
      instants(Presets.socketIoServer.silence, [25_000], 45_000)
    )

    it.effect("within: 5 s within 12 s is 5, 5, 2, and within 10 s is 5, 5", () =>
      Effect.gen(function* () {
        const within = (total: Duration.Input) => Schedule.spaced("5 seconds").pipe(Presets.within(total))
        assert.deepStrictEqual(yield* delaysOf(within("12 seconds"), undefined, 9), [5000, 5000, 2000, "done"])
        assert.deepStrictEqual(yield* delaysOf(within("10 seconds"), undefined, 9), [5000, 5000, "done"])
      })
    )
  })

  describe("reconnect", () => {
    it.effect("Open vSwitch backs off 1, 2, 4, 8, 8 s", () =>
      Effect.gen(function* () {
        const delays = yield* delaysOf(Presets.openVSwitchBackoff(), undefined, 6)
        assert.deepStrictEqual(delays, [1000, 2000, 4000, 8000, 8000, 8000])
      })
    )

    it.effect("Open vSwitch counts from the end of an attempt: what it took changes nothing", () =>
      Effect.gen(function* () {
        const took = failure({ openingFor: "900 millis" })
        assert.deepStrictEqual(yield* delaysOf(Presets.openVSwitchBackoff(), took, 2), [1000, 2000])
      })
    )

    it.effect("Open vSwitch with limits that are not powers of two goes to the maximum from half of it on", () =>
      Effect.gen(function* () {
        const delays = yield* delaysOf(Presets.openVSwitchBackoff("1 second", "10 seconds"), undefined, 6)
        assert.deepStrictEqual(delays, [1000, 2000, 4000, 8000, 10_000, 10_000])
      })
    )

    const grpc = (jitter: number) =>
      [1000, ...Array.from({ length: 12 }, (_, i) => Math.min(1000 * 1.6 ** (i + 1), 120_000) * jitter)].map(Math.round)

    it.effect("gRPC backs off 1 s, then x 1.6 up to 120 s, all but the first between -20 and +20 %", () =>
      Effect.gen(function* () {
        for (const [part, jitter] of [
          [0, 0.8],
          [0.5, 1],
          [1, 1.2]
        ] as const) {
          assert.deepStrictEqual(yield* delaysOf(Presets.grpcBackoff, failure(), 13).pipe(always(part)), grpc(jitter))
        }
        assert.strictEqual(grpc(1.2).at(-1), 144_000)
      })
    )

    it.effect("gRPC counts from the start of an attempt: what it took is subtracted, down to nothing", () =>
      Effect.gen(function* () {
        const took = failure({ openingFor: "900 millis", upFor: "200 millis" })
        const delays = yield* delaysOf(Presets.grpcBackoff, took, 4).pipe(always(0.5))
        assert.deepStrictEqual(delays, [0, 500, 1460, 2996])
      })
    )

    it.effect("SignalR retries after 0, 2, 10 and 30 s, then gives up", () =>
      Effect.gen(function* () {
        const delays = yield* delaysOf(Presets.signalRReconnect, undefined, 9)
        assert.deepStrictEqual(delays, [0, 2000, 10_000, 30_000, "done"])
      })
    )

    it.effect("Phoenix retries after 10, 50, 100, 150, 200, 250, 500, 1000, 2000 ms, then every 5 s", () =>
      Effect.gen(function* () {
        const delays = yield* delaysOf(Presets.phoenixReconnect, undefined, 12)
        assert.deepStrictEqual(delays, [10, 50, 100, 150, 200, 250, 500, 1000, 2000, 5000, 5000, 5000])
      })
    )

    it.effect("full jitter: anything from nothing to the capped exponential delay, from the first retry", () =>
      Effect.gen(function* () {
        const schedule = Presets.fullJitter("1 second", "6 seconds")
        assert.deepStrictEqual(yield* delaysOf(schedule, undefined, 5).pipe(always(1)), [1000, 2000, 4000, 6000, 6000])
        assert.deepStrictEqual(yield* delaysOf(schedule, undefined, 5).pipe(always(0.5)), [500, 1000, 2000, 3000, 3000])
        assert.deepStrictEqual(yield* delaysOf(schedule, undefined, 3).pipe(always(0)), [0, 0, 0])
      })
    )

    it.effect("decorrelated jitter: from the base to three times the delay before, at most the cap", () =>
      Effect.gen(function* () {
        const schedule = Presets.decorrelatedJitter("1 second", "20 seconds")
        assert.deepStrictEqual(yield* delaysOf(schedule, undefined, 4).pipe(always(1)), [3000, 9000, 20_000, 20_000])
        assert.deepStrictEqual(yield* delaysOf(schedule, undefined, 3).pipe(always(0)), [1000, 1000, 1000])
        assert.deepStrictEqual(yield* delaysOf(schedule, undefined, 3).pipe(always(0.5)), [2000, 3500, 5750])
      })
    )
  })
})
