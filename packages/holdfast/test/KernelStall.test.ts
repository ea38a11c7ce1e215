/** What a watchdog makes of the kernel's figures, for a peer that has no ping and acknowledges nothing itself. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Fiber, Schedule } from "effect"
import { type Link, Policy, Presets, Watchdog } from "holdfast"
import { settle, until } from "./TestTime.ts"

/** A kernel whose figures the test sets: what was written, what was acknowledged and when, and what was not answered. */
interface Kernel {
  writtenBytes: number
  acknowledgedBytes: number
  acknowledgedAt: number
  unanswered: number
  reads: number
}

interface Setup {
  readonly policy?: Policy.Options
  readonly progress?: ((kernel: Kernel, now: number) => Link.Progress) | undefined
}

const figures = (kernel: Kernel, now: number): Link.Progress => ({
  source: "kernel",
  queuedBytes: 0,
  unacknowledgedBytes: kernel.writtenBytes - kernel.acknowledgedBytes,
  acknowledgedBytes: kernel.acknowledgedBytes + 1, // the kernel counts the SYN
  acknowledgedAgoMillis: now - kernel.acknowledgedAt,
  unanswered: kernel.unanswered
})

/** A watchdog over such a kernel, and what a link would do: hand bytes over, have them acknowledged, be cut off. */
const watched = Effect.fnUntraced(function* ({ policy: options, progress = figures }: Setup = {}) {
  const clock = yield* Clock.Clock
  const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  const kernel: Kernel = { writtenBytes: 0, acknowledgedBytes: 0, acknowledgedAt: now(), unanswered: 0, reads: 0 }
  const stalled: Array<number | undefined> = []
  const policy = yield* Policy.make({ heartbeat: "Infinity", ...Presets.withoutPing, ...options })
  const watchdog = yield* Watchdog.make({
    policy: () => policy,
    probe: () => undefined,
    beat: () => undefined,
    onStalled: (since) => stalled.push(since),
    progress: () => {
      kernel.reads++
      return progress(kernel, now())
    }
  })
  const running = yield* Effect.forkScoped(Effect.flip(watchdog.run))
  yield* settle
  return {
    kernel,
    stalled,
    watchdog,
    write: (bytes: number) => {
      watchdog.writing(bytes)
      kernel.writtenBytes += bytes
      watchdog.written(bytes)
    },
    acknowledge: (bytes = kernel.writtenBytes - kernel.acknowledgedBytes) => {
      kernel.acknowledgedBytes += bytes
      kernel.acknowledgedAt = now()
      kernel.unanswered = 0
    },
    isUp: () => running.pollUnsafe() === undefined,
    verdict: Effect.map(Fiber.join(running), ({ reason }) => ({ reason, at: now() }))
  }
})

describe("a link whose kernel tells", () => {
  it.effect("that is cut off is up 1 ms before 30 s after the last acknowledgement, and stuck at 30 s", () =>
    Effect.gen(function* () {
      const { acknowledge, isUp, kernel, stalled, verdict, write } = yield* watched()
      yield* until(1000)
      write(500)
      yield* until(3700)
      acknowledge(200)
      kernel.unanswered = 7
      yield* until(33_699)
      assert.isTrue(isUp())
      yield* until(33_700)
      const { at, reason } = yield* verdict
      assert(reason._tag === "WriteStuck")
      assert.deepStrictEqual(
        [at, Duration.toMillis(reason.missingFor), reason.outstandingBytes, reason.unanswered],
        [33_700, 30_000, 300, 7]
      )
      assert.deepStrictEqual(stalled, [3700])
      assert.include(reason.message, "repeated itself 7 times")
    })
  )

  it.effect("is given up whatever arrives, when what we write is not acknowledged", () =>
    Effect.gen(function* () {
      const { isUp, kernel, verdict, watchdog, write } = yield* watched()
      write(500)
      kernel.unanswered = 2
      for (let at = 500; at < 30_000; at += 500) {
        yield* until(at)
        watchdog.received()
      }
      yield* until(29_999)
      assert.isTrue(isUp())
      yield* until(30_000)
      assert.strictEqual((yield* verdict).reason._tag, "WriteStuck")
    })
  )

  it.effect("is not given up for one unanswered repetition, but at the end of the delay in which there are two", () =>
    Effect.gen(function* () {
      const { isUp, kernel, verdict, write } = yield* watched()
      write(500)
      kernel.unanswered = 1
      yield* until(41_000)
      assert.isTrue(isUp())
      kernel.unanswered = 2
      yield* until(49_999)
      assert.isTrue(isUp())
      yield* until(50_000)
      assert.strictEqual((yield* verdict).at, 50_000)
    })
  )

  it.effect("whose closed window answers every probe is called stalled and not given up for a day", () =>
    Effect.gen(function* () {
      const { isUp, stalled, write } = yield* watched()
      write(500)
      yield* until(24 * 60 * 60 * 1000)
      assert.deepStrictEqual([isUp(), stalled], [true, [0]])
    })
  )

  it.effect("and that stands still for as long as stalledLimit is Stalled, although its peer has nothing to say", () =>
    Effect.gen(function* () {
      const { isUp, verdict, write } = yield* watched({ policy: { stalledLimit: "1 minute" } })
      write(500)
      yield* until(59_999)
      assert.isTrue(isUp())
      yield* until(60_000)
      assert.strictEqual((yield* verdict).reason._tag, "Stalled")
    })
  )

  it.effect("and that moves one byte in each delay is not even called stalled, however much waits", () =>
    Effect.gen(function* () {
      const { acknowledge, isUp, kernel, stalled, write } = yield* watched()
      write(1_000_000)
      for (let at = 9000; at <= 180_000; at += 9000) {
        yield* until(at)
        acknowledge(1)
        kernel.unanswered = 3 // repeated meanwhile, and moving all the same
        write(1000)
      }
      assert.deepStrictEqual([isUp(), stalled], [true, []])
    })
  )

  it.effect("and that is idle is not looked at", () =>
    Effect.gen(function* () {
      const { acknowledge, isUp, kernel, write } = yield* watched()
      write(500)
      acknowledge()
      yield* until(10_000)
      const { reads } = kernel
      kernel.unanswered = 9 // probes of keepalive, which the kernel counts itself
      yield* until(24 * 60 * 60 * 1000)
      assert.deepStrictEqual([isUp(), kernel.reads], [true, reads])
    })
  )

  it.effect("is looked at once for each delay, however many writes there are in it", () =>
    Effect.gen(function* () {
      const { acknowledge, kernel, write } = yield* watched()
      write(1)
      const { reads } = kernel
      for (let at = 100; at <= 29_900; at += 100) {
        yield* until(at)
        acknowledge()
        write(1)
      }
      // At 10 s; then 10 s after the last acknowledgement that was seen: at 19.9 s and 29.8 s.
      assert.strictEqual(kernel.reads - reads, 3)
    })
  )

  it.effect("counts from the write that is outstanding, not from an earlier one that was acknowledged unseen", () =>
    Effect.gen(function* () {
      const { acknowledge, isUp, kernel, verdict, write } = yield* watched({ policy: { stall: "30 seconds" } })
      write(500)
      yield* until(100)
      acknowledge()
      yield* until(29_000)
      write(500)
      kernel.unanswered = 2
      yield* until(58_999)
      assert.isTrue(isUp())
      yield* until(59_000)
      assert.strictEqual((yield* verdict).at, 59_000)
    })
  )

  it.effect("and whose kernel begins to tell only later is judged all the same", () =>
    Effect.gen(function* () {
      const { isUp, kernel, verdict, write } = yield* watched({
        progress: (kernel, now) => (now < 15_000 ? { queuedBytes: 1, source: "node" } : figures(kernel, now))
      })
      write(500)
      kernel.unanswered = 3
      yield* until(29_999)
      assert.isTrue(isUp())
      yield* until(30_000)
      assert.strictEqual((yield* verdict).reason._tag, "WriteStuck")
    })
  )
})

describe("a link whose kernel does not tell", () => {
  const policy: Policy.Options = { stall: Schedule.spaced("5 seconds").pipe(Schedule.upTo({ times: 2 })) }

  it.effect("is stuck 10 s after a write began that never settles, unless the peer gives a sign of life", () =>
    Effect.gen(function* () {
      for (const lives of [false, true]) {
        const { isUp, watchdog } = yield* watched({ policy, progress: () => ({ queuedBytes: 0 }) })
        const start = yield* Clock.currentTimeMillis
        watchdog.writing(500)
        yield* until(start + 7000)
        if (lives) watchdog.received()
        yield* until(start + 9999)
        assert.isTrue(isUp())
        yield* until(start + 10_000)
        assert.strictEqual(isUp(), lives)
      }
    })
  )

  it.effect("has nothing outstanding once the write has settled and the transport's queue is empty", () =>
    Effect.gen(function* () {
      let queuedBytes = 300
      const { isUp, watchdog } = yield* watched({ policy, progress: () => ({ queuedBytes }) })
      watchdog.writing(500)
      watchdog.written(500)
      yield* until(9000)
      queuedBytes = 0
      yield* until(60_000)
      assert.isTrue(isUp())
    })
  )

  it.effect("is stuck when the queue of the transport stands still", () =>
    Effect.gen(function* () {
      const { isUp, verdict, watchdog } = yield* watched({ policy, progress: () => ({ queuedBytes: 300 }) })
      watchdog.writing(500)
      watchdog.written(500)
      yield* until(9999)
      assert.isTrue(isUp())
      yield* until(10_000)
      const { reason } = yield* verdict
      assert(reason._tag === "WriteStuck")
      assert.deepStrictEqual([reason.outstandingBytes, reason.unanswered], [300, undefined])
      assert.include(reason.message, "no sign of life")
    })
  )
})

describe("Presets.withoutPing", () => {
  it.effect("gives nobody up for being silent, and looks at nothing before something was written", () =>
    Effect.gen(function* () {
      const { isUp, kernel } = yield* watched()
      const { reads } = kernel
      yield* until(60 * 60 * 1000)
      assert.deepStrictEqual([isUp(), kernel.reads], [true, reads])
    })
  )
})
