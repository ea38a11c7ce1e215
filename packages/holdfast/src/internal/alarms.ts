/**
 * Plain calls at an instant, for many waits at once: one fiber for each clock sleeps until the earliest. As with any
 * patience nobody is called before input that was waiting has been read: a turn of the event loop after the instant.
 */
import { Clock, type Context, Effect, type Fiber } from "effect"

/** One wait. It is set and cleared by `Alarms`. */
export interface Alarm {
  /** The monotonic instant in milliseconds. */
  due: number
  /** Its place among those that are set; -1: none. */
  place: number
  /** A plain call: it must not wait and must not throw. */
  readonly ring: () => void
}

/** All waits on one clock. */
export class Alarms {
  private readonly clock: Clock.Clock
  private readonly context: Context.Context<never>
  /** A binary heap, the earliest first. */
  private readonly alarms: Array<Alarm> = []
  private sleeper: Fiber.Fiber<void> | undefined
  private sleepsUntil = Infinity

  constructor(clock: Clock.Clock, context: Context.Context<never>) {
    this.clock = clock
    this.context = context
  }

  /** Monotonic milliseconds. */
  now(): number {
    return Number(this.clock.monotonicTimeNanosUnsafe()) / 1e6
  }

  /** Wall time in milliseconds. */
  wall(): number {
    return this.clock.currentTimeMillisUnsafe()
  }

  /** From now on it rings at this instant and at no other. */
  set(alarm: Alarm, due: number): void {
    if (due === Infinity) return this.clear(alarm)
    this.remove(alarm)
    alarm.due = due
    alarm.place = this.alarms.length
    this.alarms.push(alarm)
    this.up(alarm)
    if (due < this.sleepsUntil) this.sleep()
  }

  /** It does not ring. */
  clear(alarm: Alarm): void {
    this.remove(alarm)
    if (this.alarms.length === 0 && this.sleeper !== undefined) this.sleep()
  }

  private remove(alarm: Alarm): void {
    const { place } = alarm
    if (place < 0) {
      alarm.place = -1
      return
    }
    alarm.place = -1
    const last = this.alarms.pop()!
    if (last === alarm) return
    this.alarms[place] = last
    last.place = place
    this.up(last)
    this.down(last)
  }

  /** Sleeps until the earliest one. A later one that is cleared does no harm: then it wakes for nothing. */
  private sleep(): void {
    const sleeper = this.sleeper
    const first = this.alarms[0]
    this.sleepsUntil = first?.due ?? Infinity
    this.sleeper =
      first === undefined ? undefined : Effect.runForkWith(this.context)(this.waiting(first.due - this.now()))
    sleeper?.interruptUnsafe()
  }

  private waiting(millis: number): Effect.Effect<void> {
    return Effect.sleep(Math.max(0, Math.ceil(millis))).pipe(
      Effect.andThen(
        Effect.sync(() => {
          this.sleepsUntil = -Infinity
        })
      ),
      Effect.andThen(Effect.yieldNow), // a turn of the event loop
      Effect.andThen(Effect.sync(() => this.ring()))
    )
  }

  private ring(): void {
    this.sleeper = undefined
    const now = this.now()
    const due: Array<Alarm> = []
    for (let first = this.alarms[0]; first !== undefined && first.due <= now; first = this.alarms[0]) {
      if (due.length === ringsAtOnce) break
      this.remove(first)
      due.push(first)
    }
    // One may clear another, or set it anew.
    for (const alarm of due) alarm.place = ringing
    for (const alarm of due) {
      if (alarm.place !== ringing) continue
      alarm.place = -1
      alarm.ring()
    }
    this.sleep()
  }

  private up(alarm: Alarm): void {
    const { alarms } = this
    while (alarm.place > 0) {
      const parent = alarms[(alarm.place - 1) >> 1]!
      if (parent.due <= alarm.due) return
      this.swap(parent, alarm)
    }
  }

  private down(alarm: Alarm): void {
    const { alarms } = this
    for (;;) {
      const left = alarms[2 * alarm.place + 1]
      const right = alarms[2 * alarm.place + 2]
      if (left === undefined) return
      const child = right !== undefined && right.due < left.due ? right : left
      if (alarm.due <= child.due) return
      this.swap(alarm, child)
    }
  }

  private swap(above: Alarm, below: Alarm): void {
    const { place } = above
    above.place = below.place
    below.place = place
    this.alarms[above.place] = above
    this.alarms[below.place] = below
  }
}

/** Others have their turn between so many and the next ones. */
const ringsAtOnce = 64

/** Between its instant and its call. */
const ringing = -2

/** Those of the present clock. Its fiber runs in the context of whoever asked first. */
export const alarms: Effect.Effect<Alarms> = Effect.contextWith((context: Context.Context<never>) =>
  Clock.clockWith((clock) => {
    let found = all.get(clock)
    if (found === undefined) {
      found = new Alarms(clock, context)
      all.set(clock, found)
    }
    return Effect.succeed(found)
  })
)

const all = new WeakMap<Clock.Clock, Alarms>()
