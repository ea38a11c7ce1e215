/** How long a patience is, in ideal time. */
import { Duration, Effect, Option, Pull, Schedule } from "effect"
import { Patience, type Policy } from "holdfast"

export interface Length {
  readonly totalMillis: number
  readonly longestMillis: number
}

export const lengthOf = Effect.fnUntraced(function* (patience: Policy.Patience): Effect.fn.Return<Length> {
  const step = yield* Schedule.toStep(Patience.toSchedule(patience))
  let totalMillis = 0
  let longestMillis = 0
  for (let asked = 0; asked < delaysMax && totalMillis < Infinity; asked++) {
    const evidence = { missingFor: Duration.millis(totalMillis), asked, roundTripTime: Option.none() }
    const next = yield* Pull.catchDone(step(totalMillis, evidence), () => Effect.undefined)
    if (next === undefined) break
    const millis = Duration.toMillis(next[1])
    totalMillis += millis
    longestMillis = Math.max(longestMillis, millis)
  }
  return { totalMillis, longestMillis }
})

const delaysMax = 1000
