/**
 * How a patience is watched: a machine of plain calls, driven by an alarm. Only a Schedule's steps are effects; they run
 * in a fiber that nearly always ends at once.
 */
import { type Context, Duration, Effect, Exit, type Fiber, Option, Schedule } from "effect"
import type { Evidence, LastDelay, Patience, Watch, WatchOptions } from "../Patience.ts"
import type { Alarm, Alarms } from "./alarms.ts"
import * as Alarming from "./alarms.ts"
import { isLate } from "./lateness.ts"
import { nextDelay } from "./Unroll.ts"

type Step = Effect.Success<ReturnType<typeof Schedule.toStep<unknown, Evidence, never, never>>>

/** What a watch needs to run. */
export interface Surroundings {
  readonly alarms: Alarms
  readonly context: Context.Context<never>
}

export const surroundings: Effect.Effect<Surroundings> = Effect.contextWith((context: Context.Context<never>) =>
  Effect.map(Alarming.alarms, (alarms) => ({ alarms, context }))
)

export abstract class Watching implements Alarm {
  due = Infinity
  place = -1
  private around: Surroundings | undefined
  private isWatching = false
  private stepping: Fiber.Fiber<unknown> | undefined
  private anchor: number | undefined
  private patience: Patience
  private asked = 0
  private isReplaced = false
  /** Whether an arrival must wake it. In the first delay it need not: it is seen when that ends. */
  private isListening = true
  /** Whether it last woke when it meant to. A run that begins after a late wake is late itself. */
  private isPunctual = true

  /** The present run of the schedule: `undefined` while at rest. */
  private from: number | undefined
  private wall = 0
  private step: Step | undefined
  /** Of the present delay. */
  private delayPlace = 0
  /** The delays before it: ideal time. */
  private before = 0
  private startedAt = 0
  private isGraceUsed = false
  private isDone = false
  protected delay = 0
  /** When the present delay is over. */
  private over = Infinity

  constructor(patience: Patience, anchor: number | undefined) {
    this.patience = patience
    this.anchor = anchor
  }

  // ---- what a watch is for

  /** A question: a plain call, as all of these. */
  protected abstract asks(evidence: Evidence): void

  /** It is over: patience, or a step of the schedule has died. Called once. */
  protected abstract ended(exit: Exit.Exit<Evidence>): void

  /** Called before each question and each verdict. */
  protected looks(): void {}

  /** The schedule is done. */
  protected done(_evidence: Evidence, _lastDelay: LastDelay): "over" | "rest" | "again" {
    return "over"
  }

  /** A Duration stands for that delay again and again. */
  protected get isRepeating(): boolean {
    return false
  }

  /** No delay goes on for longer than this since the anchor. */
  protected get limitMillis(): number {
    return Infinity
  }

  protected get roundTripTime(): Option.Option<Duration.Duration> {
    return Option.none()
  }

  // ---- its life

  /** Runs until patience is over, or dies by a step of the schedule. */
  start(around: Surroundings): void {
    this.around = around
    this.isWatching = true
    if (this.anchor !== undefined) this.begin(this.anchor)
  }

  /** Watches no more. */
  stop(): void {
    this.isWatching = false
    this.around?.alarms.clear(this)
    this.stepping?.interruptUnsafe()
  }

  arrived(now: number): void {
    this.anchor = now
    if (this.isListening) this.wake()
  }

  rest(): void {
    this.anchor = undefined
    if (this.isListening) this.wake()
  }

  question(): void {
    if (this.isWatching && this.anchor !== undefined) this.ask()
  }

  replace(patience: Patience): void {
    this.patience = patience
    this.isReplaced = true
    this.wake()
  }

  /** What has arrived in the first delay is seen when that ends, and nothing changes if it is seen before. */
  get soonerMillis(): number {
    return !this.isListening && this.anchor !== this.from ? this.delay * soonerShare : 0
  }

  ring(): void {
    try {
      this.look()
    } catch (defect) {
      this.settle(Exit.die(defect))
    }
  }

  private wake(): void {
    if (this.isWatching && this.stepping === undefined) this.around!.alarms.set(this, -Infinity)
  }

  /** What was missing has arrived at `from`: one run of the schedule begins. */
  private begin(from: number): void {
    const armedAt = this.now()
    this.from = from
    this.wall = this.around!.alarms.wall() - (armedAt - from)
    this.asked = 0
    this.isReplaced = false
    this.isListening = false
    this.delayPlace = 0
    this.before = 0
    this.startedAt = from
    this.isGraceUsed = false
    this.first((delay) => {
      this.isDone = delay === undefined
      this.delay = delay ?? 0
      this.over = this.overAt()
      // A first delay that is over before it could be waited is not lateness.
      if (this.isPunctual) this.over = Math.max(this.over, armedAt)
      this.wait()
    })
  }

  private wait(): void {
    const isDisturbed = this.anchor !== this.from || this.isReplaced
    if (this.isWatching) this.around!.alarms.set(this, isDisturbed ? -Infinity : this.over)
  }

  /** A delay is over, or something has happened meanwhile. */
  private look(): void {
    if (this.from === undefined) {
      if (this.anchor !== undefined) this.begin(this.anchor)
      return
    }
    if (this.anchor === this.from && !this.isReplaced) {
      if (this.now() < this.over - this.soonerMillis) return this.wait()
      this.looks()
    }
    if (this.anchor !== this.from) {
      this.isPunctual = !this.isLate
      if (this.anchor === undefined) this.restNow()
      else this.begin(this.anchor)
    } else if (this.isReplaced) this.again()
    else if (this.isLate && !this.isGraceUsed) {
      this.isGraceUsed = true
      this.isListening = true
      this.ask()
      this.startedAt = this.now()
      this.over = this.startedAt + this.delay
      this.wait()
    } else this.next(this.isLate)
  }

  /** The patience was replaced: goes to the same place in the new one. */
  private again(): void {
    this.isReplaced = false
    this.before = 0
    this.isDone = false
    const stepTo = (place: number): void => {
      const take = (delay: number | undefined) => {
        this.isDone = delay === undefined
        if (delay !== undefined) {
          this.delay = delay
          if (place < this.delayPlace) {
            this.before += delay
            return stepTo(place + 1)
          }
        }
        // What is over by the new length ends now, and that is not lateness.
        this.over = Math.max(this.isDone ? this.from! + this.before : this.overAt(), this.now())
        this.wait()
      }
      if (place === 0) this.first(take)
      else this.following(take)
    }
    stepTo(0)
  }

  /** The next delay, or the end of patience. */
  private next(isLate: boolean): void {
    const take = (delay: number | undefined) => {
      if (delay !== undefined) {
        this.delayPlace++
        this.before += this.delay
        this.delay = delay
      } else {
        const { delay, startedAt } = this
        const outcome = this.done(this.evidence(), { startedAt, millis: delay })
        if (outcome === "over") return this.settle(Exit.succeed(this.evidence()))
        if (outcome === "rest") {
          this.anchor = undefined
          return this.restNow()
        }
        this.isDone = true
        this.delay = Math.max(delay, againMillisMin)
      }
      // After a question the answer gets its whole delay; one that was over sooner moves those behind it.
      this.startedAt = isLate ? this.now() : Math.min(this.over, this.now())
      this.over = this.overAt()
      this.isListening = true
      this.ask()
      this.wait()
    }
    if (this.isDone) take(undefined)
    else this.following(take, this.delay)
  }

  private restNow(): void {
    this.from = undefined
    this.isListening = true
    if (this.anchor !== undefined) this.wake()
  }

  private first(then: (delay: number | undefined) => void): void {
    const { patience } = this
    if (!Schedule.isSchedule(patience)) return then(Duration.toMillis(Duration.fromInputUnsafe(patience)))
    this.perform(
      Effect.flatMap(Schedule.toStep(patience), (step) => {
        this.step = step
        return nextDelay(step(this.wall, this.evidence()))
      }),
      then
    )
  }

  /** The delay after those before and perhaps one more. */
  private following(then: (delay: number | undefined) => void, more = 0): void {
    const { patience } = this
    if (!Schedule.isSchedule(patience)) return then(this.isRepeating ? this.delay : undefined)
    this.perform(nextDelay(this.step!(this.wall + this.before + more, this.evidence())), then)
  }

  private perform<A>(effect: Effect.Effect<A>, then: (value: A) => void): void {
    const settled = (exit: Exit.Exit<A>) => {
      this.stepping = undefined
      if (!this.isWatching) return
      if (Exit.isFailure(exit)) this.settle(Exit.failCause(exit.cause))
      else then(exit.value)
    }
    const fiber = Effect.runForkWith(this.around!.context)(effect)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return settled(exit)
    this.stepping = fiber
    fiber.addObserver(settled)
  }

  private settle(exit: Exit.Exit<Evidence>): void {
    if (!this.isWatching) return
    this.stop()
    this.ended(exit)
  }

  private ask(): void {
    this.asked++
    this.asks(this.evidence())
  }

  private evidence(): Evidence {
    const now = this.now()
    return {
      missingFor: Duration.millis(now - (this.anchor ?? now)),
      asked: this.asked,
      roundTripTime: this.roundTripTime
    }
  }

  private overAt(): number {
    const limit = this.from! + this.limitMillis
    const over = this.startedAt + this.delay
    return limit > this.startedAt ? Math.min(over, limit) : over
  }

  private get isLate(): boolean {
    return isLate(this.now() - this.over, this.delay)
  }

  private now(): number {
    return this.around!.alarms.now()
  }
}

/** How much sooner it may be, of a delay: so are thousands of delays over in some tens of turns. */
export const soonerShare = 0.02

/** A last delay of nothing would be waited again and again without a pause. */
const againMillisMin = 100

/** A watch that is made of plain calls. */
export class Watcher extends Watching implements Watch {
  private readonly options: WatchOptions
  private onOver: ((exit: Exit.Exit<Evidence>) => void) | undefined

  constructor(options: WatchOptions) {
    super(options.patience, options.anchor)
    this.options = options
  }

  get run(): Effect.Effect<Evidence> {
    return Effect.flatMap(surroundings, (around) =>
      Effect.callback<Evidence>((resume) => {
        this.begins(around, resume)
        return Effect.sync(() => this.stop())
      })
    )
  }

  begins(around: Surroundings, onOver: (exit: Exit.Exit<Evidence>) => void): void {
    this.onOver = onOver
    this.start(around)
  }

  protected override asks(evidence: Evidence): void {
    this.options.ask?.(evidence)
  }

  protected override ended(exit: Exit.Exit<Evidence>): void {
    this.onOver?.(exit)
  }

  protected override looks(): void {
    this.options.look?.()
  }

  protected override done(evidence: Evidence, lastDelay: LastDelay): "over" | "rest" | "again" {
    return this.options.onDone?.(evidence, lastDelay) ?? "over"
  }

  protected override get limitMillis(): number {
    return this.options.limitMillis?.() ?? Infinity
  }

  protected override get roundTripTime(): Option.Option<Duration.Duration> {
    return this.options.roundTripTime?.() ?? Option.none()
  }
}
