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

/** Something that is waited for. Instants are monotonic milliseconds. */
export abstract class Wait {
  readonly step: Step | undefined
  readonly since: number
  delay: number
  due: number
  asked = 0
  isGraced = false
  /** It is not waited for any more. */
  isOver = false

  constructor({ delay, step }: Deadline, now: number) {
    this.step = step
    this.since = now
    this.delay = delay
    this.due = now + delay
  }

  /** Patience is over. */
  abstract overdue(evidence: Evidence): void
}

export class Deadlines {
  /** Ascending by `due`. Those that are over leave it in bulk. */
  private waits: Array<Wait> = []
  private overCount = 0
  private readonly isEarlier = Latch.makeUnsafe(false)
  private readonly clock: Clock.Clock
  private wakesAt = Infinity

  constructor(clock: Clock.Clock) {
    this.clock = clock
  }

  /** Monotonic milliseconds. */
  now(): number {
    return monotonicMillis(this.clock)
  }

  /** Watches over a wait that has just begun. */
  begin(wait: Wait): void {
    if (wait.due < Infinity) this.add(wait)
  }

  /** It is not waited for any more. */
  end(wait: Wait): void {
    if (wait.isOver) return
    wait.isOver = true
    if (wait.due < Infinity && ++this.overCount > overMin && this.overCount * 2 > this.waits.length) this.sweep()
  }

  /** Watches; never ends. */
  get run(): Effect.Effect<never> {
    return Effect.gen({ self: this }, function* () {
      while (true) {
        this.sweep()
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
        const wait = this.waits.shift()!
        if (wait.isOver) continue
        const { asked, delay, due, isGraced, since, step } = wait
        const late = isLate(now - due, delay)
        if (late && !isGraced) {
          wait.isGraced = true
          wait.due = now + delay
          this.add(wait)
          continue
        }
        const evidence = evidenceOf(now - since, asked)
        const wall = this.clock.currentTimeMillisUnsafe() - (now - due)
        const next = step === undefined ? undefined : yield* nextDelay(step(wall, evidence))
        if (wait.isOver) continue
        if (next === undefined) {
          wait.isOver = true
          wait.overdue(evidence)
          continue
        }
        wait.asked++
        wait.delay = next
        wait.due = (late ? now : due) + next
        this.add(wait)
      }
    })
  }

  private add(wait: Wait): void {
    const last = this.waits.at(-1)
    if (last === undefined || last.due <= wait.due) this.waits.push(wait)
    else this.waits.splice(this.placeOf(wait.due), 0, wait)
    if (wait.due < this.wakesAt) this.isEarlier.openUnsafe()
  }

  private sweep(): void {
    if (this.overCount === 0) return
    this.waits = this.waits.filter(({ isOver }) => !isOver)
    this.overCount = 0
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
}

/** So many waits that are over are kept before it is worth looking for them. */
const overMin = 64

const evidenceOf = (missingForMillis: number, asked: number): Evidence => ({
  missingFor: Duration.millis(missingForMillis),
  asked,
  roundTripTime: Option.none()
})
