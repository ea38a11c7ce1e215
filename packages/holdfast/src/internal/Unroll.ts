/** What a Schedule's delays are, without waiting for them: in ideal time and under a fixed seed. */
import { Duration, Effect, Pull, Random, Schedule } from "effect"

/** Delays in milliseconds; `ends` says whether the schedule was done after them or merely cut off. */
export interface Unrolled {
  readonly delays: ReadonlyArray<number>
  readonly ends: boolean
}

/** One step of a schedule: the delay in milliseconds, or `undefined` when the schedule is done. */
export const nextDelay = (
  step: Pull.Pull<[unknown, Duration.Duration], never, unknown>
): Effect.Effect<number | undefined> =>
  step.pipe(
    Effect.map(([, delay]): number | undefined => Duration.toMillis(delay)),
    Pull.catchDone(() => Effect.succeed(undefined))
  )

/**
 * Unrolls a schedule. Nothing sleeps, but effects inside the schedule run. `input` gets the milliseconds that have
 * passed in ideal time and the number of delays taken.
 */
export const unroll = <Input>(
  schedule: Schedule.Schedule<unknown, Input>,
  input: (elapsedMillis: number, place: number) => Input,
  delaysMax: number
): Effect.Effect<Unrolled> =>
  Effect.gen(function* () {
    const step = yield* Schedule.toStep(schedule)
    const delays: Array<number> = []
    let elapsed = 0
    for (;;) {
      const delay = yield* nextDelay(step(elapsed, input(elapsed, delays.length)))
      if (delay === undefined) return { delays, ends: true }
      if (delays.length === delaysMax) return { delays, ends: false }
      delays.push(delay)
      elapsed += delay
    }
  }).pipe(Random.withSeed("holdfast"))
