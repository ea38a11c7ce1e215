/**
 * Patience: a timeout as a `Schedule`.
 *
 * Each delay is how long to wait for what is missing. When a delay passes without it, the watch *asks* and takes the
 * next delay; when the schedule is done, patience is over. So n delays ask n - 1 times, one delay is a plain deadline,
 * and whenever the missing thing arrives the schedule starts again from that instant.
 *
 * Guarantees: time is monotonic and exact to the millisecond; nobody is judged before input that was waiting has been
 * read; a machine that was late asks and waits that delay once more, once for each silence; watching costs one store
 * for each arrival and wakes no fiber until it asks.
 *
 * The traps of Effect's Schedules:
 *
 * | written | delays | meant |
 * | --- | --- | --- |
 * | `spaced("5 seconds").pipe(upTo({ duration: "10 seconds" }))` | 5 5 5 | use `times`, or `Presets.within` |
 * | `recurs(2)`, `during("10 seconds")` | 0 0 ... | they have no delay of their own: `spaced(d).pipe(upTo({ times: 2 }))` |
 * | `min([spaced("5 seconds"), recurs(2)])` | 0 0 5 5 ... | the bound is `max` |
 */
import { type Clock, type Context, type Duration, Effect, Exit, Fiber, type Option, Schedule } from "effect"
import { surroundings, Watcher } from "./internal/watching.ts"

/** What is known while something is missing: the input of a patience that adapts itself. */
export interface Evidence {
  /** Since the last arrival, or since the watch began. */
  readonly missingFor: Duration.Duration
  /** Questions asked since then. */
  readonly asked: number
  /** The last measured round trip, if the protocol can tell. */
  readonly roundTripTime: Option.Option<Duration.Duration>
}

/**
 * How long to wait for something: a `Schedule`, or a `Duration` that stands for a single delay. `"Infinity"` switches
 * the watch off. The output of the schedule is ignored. A step that dies is a defect of the connection, not retried.
 */
export type Patience = Duration.Input | Schedule.Schedule<unknown, Evidence>

/** A patience as a Schedule: a Duration becomes one delay. */
export const toSchedule = (patience: Patience): Schedule.Schedule<unknown, Evidence> =>
  Schedule.isSchedule(patience) ? patience : Schedule.duration(patience)

/** What a watch is made of. */
export interface WatchOptions {
  readonly patience: Patience
  /** The monotonic instant in milliseconds (see `monotonicMillis`) from which to count; `undefined`: rest until `arrived`. */
  readonly anchor: number | undefined
  /** Called for each question. A plain call: it must not wait and must not throw. */
  readonly ask?: ((evidence: Evidence) => void) | undefined
  /** The last measured round trip, for the evidence. */
  readonly roundTripTime?: (() => Option.Option<Duration.Duration>) | undefined
  /**
   * Called before each question and each verdict, for what does not announce itself: it looks, and calls `arrived` or
   * `rest` if there is reason to. A plain call.
   */
  readonly look?: (() => void) | undefined
  /**
   * Called when the schedule is done. `"over"` (the default) ends the watch, `"rest"` waits for the next arrival, and
   * `"again"` asks and waits the last delay once more.
   */
  readonly onDone?: ((evidence: Evidence, lastDelay: LastDelay) => "over" | "rest" | "again") | undefined
  /** No delay goes on for longer than this since the anchor, in milliseconds; it bounds what `"again"` prolongs. */
  readonly limitMillis?: (() => number) | undefined
}

/** The delay that was waited last: the monotonic instant at which it began, and its length, in milliseconds. */
export interface LastDelay {
  readonly startedAt: number
  readonly millis: number
}

/** A running watch. All calls are plain and cheap; only `run` is an Effect, to be run once. */
export interface Watch {
  /** The missing thing arrived at this monotonic instant (milliseconds): the run starts anew from there. */
  readonly arrived: (now: number) => void
  /** Nothing is missing: no run until the next `arrived`. */
  readonly rest: () => void
  /** Asks at once and changes nothing else, for instance after a suspension. Does nothing while at rest. */
  readonly question: () => void
  /**
   * Replaces the patience while the run goes on: its anchor, its questions and the start of the present delay stay; the
   * delay's length becomes that of the same place in the new schedule. Where the new schedule has no such place, the
   * run is over at the new schedule's end, or at once if that has passed. So replacing neither prolongs nor shortens.
   */
  readonly replace: (patience: Patience) => void
  /** Succeeds when patience is over. It reads clocks and calls `ask`; it never writes and never waits for a write. */
  readonly run: Effect.Effect<Evidence>
}

/** The monotonic time in milliseconds, in which all instants of a watch are given. */
export const monotonicMillis = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

/** Makes a watch. Nothing happens until its `run` is run. */
export const watch = (options: WatchOptions): Watch => {
  const watcher = new Watcher(options)
  return {
    arrived: (now) => watcher.arrived(now),
    rest: () => watcher.rest(),
    question: () => watcher.question(),
    replace: (patience) => watcher.replace(patience),
    run: watcher.run
  }
}

/**
 * Runs an effect within a patience, counted from its start; fails with `onOver` when patience is over. The effect is
 * interrupted then, so whatever waits for a peer in it must be interruptible.
 */
export const within =
  <E2>({ onOver, ...options }: WithinOptions<E2>) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | E2, R> =>
    Effect.contextWith((context: Context.Context<R>) =>
      Effect.flatMap(surroundings, (around) =>
        Effect.callback<A, E | E2>((resume) => {
          const watcher = new Watcher({ anchor: around.alarms.now(), ...options })
          const fiber = Effect.runForkWith(context)(self)
          let over: Exit.Exit<never, E2> | undefined
          fiber.addObserver((exit) => {
            watcher.stop()
            resume(over ?? exit)
          })
          if (fiber.pollUnsafe() !== undefined) return undefined
          watcher.begins(around, (exit) => {
            over = Exit.isFailure(exit) ? Exit.failCause(exit.cause) : Exit.fail(onOver(exit.value))
            fiber.interruptUnsafe()
          })
          return Effect.suspend(() => {
            watcher.stop()
            return Fiber.interrupt(fiber)
          })
        })
      )
    )

/** What `within` needs. */
export interface WithinOptions<E> {
  readonly patience: Patience
  /** The error when patience is over. */
  readonly onOver: (evidence: Evidence) => E
  /** Called for each question; there is nobody to ask, so it only tells. */
  readonly ask?: ((evidence: Evidence) => void) | undefined
}
