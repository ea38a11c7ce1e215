/**
 * The patience of many waits at once, each with its own: one fiber sleeps until the earliest may be over. As with any
 * patience nobody is judged before input that was waiting has been read, and a machine that was late waits that delay
 * once more.
 */
import { Clock, Duration, Effect, Latch, Option, Schedule } from "effect"
import { type Evidence, monotonicMillis, type Patience } from "../Patience.ts"
import { isLate } from "./lateness.ts"
import { nextDelay } from "./Unroll.ts"

/** How long something may take that begins now. */
export interface Deadline {
  /** The present delay, in milliseconds. */
  readonly delay: number
  /** What comes after it. A Duration has no more. */
  readonly step: Step | undefined
}

type Step = Effect.Success<ReturnType<typeof Schedule.toStep<unknown, Evidence, never, never>>>

/** The deadline of a Duration is found once, that of a Schedule is stepped for each wait. */
export const deadlineOf = (patience: Patience): Effect.Effect<Deadline> => {
  if (!Schedule.isSchedule(patience)) {
    return Effect.succeed({ delay: Duration.toMillis(Duration.fromInputUnsafe(patience)), step: undefined })
  }
  return Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const step = yield* Schedule.toStep(patience)
    const delay = yield* nextDelay(step(clock.currentTimeMillisUnsafe(), evidenceOf(0, 0)))
    return { delay: delay ?? 0, step: delay === undefined ? undefined : step }
  })
}

export class Deadlines {
  /** Ascending by `due`. */
  private readonly waits: Array<Entry> = []
  private readonly isEarlier = Latch.makeUnsafe(false)
  private readonly clock: Clock.Clock
  private wakesAt = Infinity

  constructor(clock: Clock.Clock) {
    this.clock = clock
  }

  /** Begins a wait. Returns what ends it; `undefined` where patience never ends. */
  begin({ delay, step }: Deadline, overdue: (evidence: Evidence) => void): (() => void) | undefined {
    if (delay === Infinity) return undefined
    const since = this.now()
    const entry: Entry = { since, due: since + delay, delay, step, asked: 0, isGraced: false, overdue, isOver: false }
    this.add(entry)
    return () => {
      entry.isOver = true
      this.remove(entry)
    }
  }

  /** Watches; never ends. */
  get run(): Effect.Effect<never> {
    return Effect.gen({ self: this }, function* () {
      while (true) {
        const first = this.waits[0]
        this.isEarlier.closeUnsafe()
        this.wakesAt = first?.due ?? Infinity
        if (first === undefined) yield* this.isEarlier.await
        else if (this.now() < first.due) {
          yield* Effect.raceFirst(Effect.sleep(Math.ceil(first.due - this.now())), this.isEarlier.await)
        } else {
          yield* Effect.yieldNow // a turn of the event loop: answers that wait in the kernel are read first
          yield* this.judge(this.now())
        }
      }
    })
  }

  /** Those whose delay is over take their next one; patience with the others is over. */
  private judge(now: number): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      while (this.waits.length > 0 && this.waits[0]!.due <= now) {
        const entry = this.waits.shift()!
        const { asked, delay, due, isGraced, since, step } = entry
        const late = isLate(now - due, delay)
        if (late && !isGraced) {
          entry.isGraced = true
          entry.due = now + delay
          this.add(entry)
          continue
        }
        const evidence = evidenceOf(now - since, asked)
        const wall = this.clock.currentTimeMillisUnsafe() - (now - due)
        const next = step === undefined ? undefined : yield* nextDelay(step(wall, evidence))
        if (entry.isOver) continue
        if (next === undefined) {
          entry.overdue(evidence)
          continue
        }
        entry.asked++
        entry.delay = next
        entry.due = (late ? now : due) + next
        this.add(entry)
      }
    })
  }

  private add(entry: Entry): void {
    const last = this.waits.at(-1)
    if (last === undefined || last.due <= entry.due) this.waits.push(entry)
    else this.waits.splice(this.placeOf(entry.due), 0, entry)
    if (entry.due < this.wakesAt) this.isEarlier.openUnsafe()
  }

  private remove(entry: Entry): void {
    const at = this.waits.indexOf(entry, this.placeOf(entry.due))
    if (at >= 0) this.waits.splice(at, 1)
  }

  /** Of the first wait that is not due before. */
  private placeOf(due: number): number {
    let low = 0
    let high = this.waits.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.waits[middle]!.due < due) low = middle + 1
      else high = middle
    }
    return low
  }

  private now(): number {
    return monotonicMillis(this.clock)
  }
}

/** Something that is waited for. Instants are monotonic milliseconds. */
interface Entry {
  readonly since: number
  readonly step: Step | undefined
  readonly overdue: (evidence: Evidence) => void
  due: number
  delay: number
  asked: number
  isGraced: boolean
  /** It is not waited for any more. */
  isOver: boolean
}

const evidenceOf = (missingForMillis: number, asked: number): Evidence => ({
  missingFor: Duration.millis(missingForMillis),
  asked,
  roundTripTime: Option.none()
})
