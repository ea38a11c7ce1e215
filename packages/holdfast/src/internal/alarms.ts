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
  /** It may as well ring sooner by so many milliseconds, when others ring: thousands would wake the process one by one. */
  readonly soonerMillis: number
  /** A plain call: it must not wait and must not throw. */
  readonly ring: () => void
}

/** All waits on one clock. */
export class Alarms {
  private readonly clock: Clock.Clock
  private readonly context: Context.Context<never>
  /** A heap of four children each, the earliest first. */
  private readonly alarms: Array<Alarm> = []
  /** When they are due, place by place: thousands are compared without a look at any of them. */
  private readonly dues: Array<number> = []
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
    this.up(this.alarms.length, alarm, due)
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
    const due = this.dues.pop()!
    if (last === alarm) return
    if (place > 0 && due < this.dues[(place - 1) >> 2]!) this.up(place, last, due)
    else this.down(place, last, due)
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

  private isDue(alarm: Alarm, now: number): boolean {
    return alarm.due <= now || (alarm.due <= now + soonerMillisMax && alarm.due - alarm.soonerMillis <= now)
  }

  private ring(): void {
    this.sleeper = undefined
    const now = this.now()
    const due: Array<Alarm> = []
    for (let first = this.alarms[0]; first !== undefined && this.isDue(first, now); first = this.alarms[0]) {
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

  /** Puts it there, or above those that come later. */
  private up(from: number, alarm: Alarm, due: number): void {
    const { alarms, dues } = this
    let place = from
    while (place > 0) {
      const parent = (place - 1) >> 2
      if (dues[parent]! <= due) break
      this.put(place, alarms[parent]!, dues[parent]!)
      place = parent
    }
    this.put(place, alarm, due)
  }

  /** Puts it there, or below those that come sooner. */
  private down(from: number, alarm: Alarm, due: number): void {
    const { alarms, dues } = this
    let place = from
    for (;;) {
      const first = 4 * place + 1
      const end = Math.min(first + 4, alarms.length)
      let child = first
      for (let other = first + 1; other < end; other++) if (dues[other]! < dues[child]!) child = other
      if (first >= end || due <= dues[child]!) break
      this.put(place, alarms[child]!, dues[child]!)
      place = child
    }
    this.put(place, alarm, due)
  }

  private put(place: number, alarm: Alarm, due: number): void {
    alarm.place = place
    this.alarms[place] = alarm
    this.dues[place] = due
  }
}

/** Others have their turn between so many and the next ones. */
const ringsAtOnce = 64

/** None rings sooner by more. */
const soonerMillisMax = 1000

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
