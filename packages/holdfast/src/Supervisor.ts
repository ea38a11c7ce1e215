/**
 * Starts the next incarnation: one `Effect.retryOrElse` around one scoped incarnation.
 *
 * Guarantees: everything that an incarnation acquired is released before the next one begins; `policy.reconnect` starts
 * anew only after an incarnation that was up for `policy.stability`, or when it was replaced; a wake-up ends the wait at once; a server's hint is
 * a floor; errors that another attempt cannot help end it; a defect is never retried; interruption ends everything.
 */
import { Cause, Clock, Duration, Effect, Latch, Pull, Schedule, type Scope } from "effect"
import * as ConnectionError from "./ConnectionError.ts"
import { monotonicMillis } from "./Patience.ts"
import type { Policy } from "./Policy.ts"

/** What a supervisor is made of. */
export interface Options<A, R> {
  /** The policy in force; read before each wait, so it can be replaced while running. */
  readonly policy: () => Policy
  /** Opening it ends the present wait: "the network is back". Ignored while an incarnation is running. */
  readonly wake: Latch.Latch
  /** One life of the connection, run in a scope of its own. `Schedule.CurrentMetadata` in it tells the attempt. */
  readonly incarnation: Effect.Effect<A, ConnectionError.ConnectionError, R>
  /** Before each wait: what ended the last incarnation, how long the wait is, and at what wall time (ms) it ends. */
  readonly onWaiting?:
    | ((error: ConnectionError.ConnectionError, delay: Duration.Duration, retryAt: number) => Effect.Effect<void>)
    | undefined
  /** No hint of a server (`retryAfter`) is followed for longer than this. Default 5 minutes. */
  readonly hintMax?: Duration.Input | undefined
}

/** The most that a server's hint can make a client wait, unless told otherwise. */
export const hintMaxDefault: Duration.Duration = Duration.minutes(5)

/**
 * Runs incarnations one after the other until one succeeds, fails for good, or `policy.reconnect` is done
 * (`RetriesExhausted`). The first attempt begins at once and is retried like any other.
 */
export const run = <A, R>(
  options: Options<A, R>
): Effect.Effect<A, ConnectionError.ConnectionError, Exclude<R, Scope.Scope>> =>
  Effect.suspend(() => {
    let attempts = 0
    return options.incarnation.pipe(
      Effect.scoped,
      Effect.retryOrElse(
        reconnecting(options, (count) => {
          attempts = count
        }),
        (last) =>
          Effect.fail(
            last.reason.retryable
              ? ConnectionError.make(new ConnectionError.RetriesExhausted({ attempts, last }), last)
              : last
          )
      )
    )
  })

/**
 * An incarnation in two stages, whose errors tell how long each took: a failure of `open` carries `openingFor`, one of
 * `use` carries `upFor` too.
 */
export const incarnation = <A, B, R, R2>(
  open: Effect.Effect<A, ConnectionError.ConnectionError, R>,
  use: (opened: A) => Effect.Effect<B, ConnectionError.ConnectionError, R2>
): Effect.Effect<B, ConnectionError.ConnectionError, R | R2> =>
  Clock.clockWith((clock) => {
    const startedAt = monotonicMillis(clock)
    let upAt: number | undefined
    const timed = ({ reason }: ConnectionError.ConnectionError) => {
      const now = monotonicMillis(clock)
      return ConnectionError.make(reason, {
        openingFor: (upAt ?? now) - startedAt,
        upFor: upAt === undefined ? 0 : now - upAt
      })
    }
    const opened = Effect.tap(open, () => Effect.sync(() => void (upAt = monotonicMillis(clock))))
    return Effect.mapError(Effect.flatMap(opened, use), timed)
  })

/** `policy.reconnect`, begun anew after a stable incarnation. It waits by itself, so that the wait can be cut short. */
const reconnecting = <A, R>(options: Options<A, R>, counted: (attempts: number) => void) =>
  Schedule.fromStep(
    Effect.sync(() => {
      let step: Step | undefined
      let reconnect: Policy["reconnect"] | undefined
      let attempts = 0
      return Effect.fnUntraced(function* (now: number, error: ConnectionError.ConnectionError) {
        if (!error.reason.retryable) return yield* Cause.done<unknown>(undefined)
        const policy = options.policy()
        const stable = Duration.isGreaterThanOrEqualTo(error.upFor, Duration.fromInputUnsafe(policy.stability))
        if (step === undefined || stable || policy.reconnect !== reconnect) {
          reconnect = policy.reconnect
          step = yield* Schedule.toStep(reconnect)
          attempts = 0
        }
        counted(++attempts)
        const [output, scheduled] = yield* step(now, error)
        const floor = hintOf(error, Duration.fromInputUnsafe(options.hintMax ?? hintMaxDefault))
        const delay = Duration.max(scheduled, floor)
        yield* options.wake.close
        if (options.onWaiting !== undefined) {
          yield* options.onWaiting(error, delay, (yield* Clock.currentTimeMillis) + Duration.toMillis(delay))
        }
        yield* Effect.sleep(floor)
        yield* Effect.raceFirst(Effect.sleep(Duration.subtract(delay, floor)), options.wake.await)
        return [output, Duration.zero] as [unknown, Duration.Duration]
      })
    })
  )

type Step = (
  now: number,
  error: ConnectionError.ConnectionError
) => Pull.Pull<[unknown, Duration.Duration], never, unknown>

/** What the server asked for: a floor that a wake-up does not undercut, since it knows its own load. */
const hintOf = ({ reason }: ConnectionError.ConnectionError, hintMax: Duration.Duration): Duration.Duration =>
  (reason._tag === "Refused" || reason._tag === "GoneAway") && reason.retryAfter._tag === "Some"
    ? Duration.min(reason.retryAfter.value, hintMax)
    : Duration.zero
