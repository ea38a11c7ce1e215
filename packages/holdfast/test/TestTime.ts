/** Time for tests: letting fibers settle, and a clock that wakes late or jumps, which a plain TestClock cannot do. */
import { Clock, Duration, Effect } from "effect"
import * as TestClock from "effect/testing/TestClock"

/** Lets fibers that were forked or woken get as far as they can without time passing. */
export const settle: Effect.Effect<void> = Effect.yieldNow.pipe(Effect.repeat({ times: 60 }), Effect.asVoid)

/** Moves the clock to an absolute instant in milliseconds, then settles. */
export const until = (millis: number): Effect.Effect<void> =>
  Effect.gen(function* () {
    yield* settle
    yield* TestClock.adjust(millis - (yield* Clock.currentTimeMillis))
    yield* settle
  })

export interface Unsteady {
  readonly clock: Clock.Clock
  /** Sets the wall clock forward (or back) from now on; monotonic time goes on. */
  readonly jump: (millis: number) => void
}

/**
 * The test's clock, but while the event loop is blocked (`from` to `to`, in milliseconds) no timer fires: what is due
 * then fires at `to`.
 */
export const unsteady = (...blocked: ReadonlyArray<readonly [from: number, to: number]>): Effect.Effect<Unsteady> =>
  Effect.map(Clock.Clock, (test) => {
    let jumped = 0
    const currentTimeMillisUnsafe = () => test.currentTimeMillisUnsafe() + jumped
    const clock: Clock.Clock = {
      ...test,
      currentTimeMillisUnsafe,
      currentTimeMillis: Effect.sync(currentTimeMillisUnsafe),
      sleep: (duration) =>
        Effect.suspend(() => {
          const now = test.currentTimeMillisUnsafe()
          const due = now + Duration.toMillis(duration)
          const block = blocked.find(([from, to]) => due > from && due < to)
          return test.sleep(block === undefined ? duration : Duration.millis(block[1] - now))
        })
    }
    return {
      clock,
      jump(millis) {
        jumped += millis
      }
    }
  })
