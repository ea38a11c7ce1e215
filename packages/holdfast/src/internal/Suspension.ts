/**
 * Notices that the machine slept, or that its clock was set: wall and monotonic time differ by more than a second from
 * what they differed before. On Linux the monotonic clock stands still during a suspension, so no timer can see it.
 *
 * One fiber for each clock (so one for each process) compares once a second and tells all listeners. It starts with the
 * first listener and ends with the last one.
 */
import { type Clock, type Context, Effect, type Fiber } from "effect"

/** Whoever is told. */
export interface Listener {
  /** A plain call: it must not wait and must not throw. */
  readonly jumped: () => void
}

interface Watcher {
  readonly listeners: Set<Listener>
  readonly fiber: Fiber.Fiber<never>
}

const watchers = new WeakMap<Clock.Clock, Watcher>()

/** Tells of every jump until it leaves. The fiber, if this starts it, runs in the context. */
export const join = (clock: Clock.Clock, context: Context.Context<never>, listener: Listener): void => {
  const present = watchers.get(clock)
  if (present !== undefined) return void present.listeners.add(listener)
  const listeners = new Set([listener])
  watchers.set(clock, { listeners, fiber: Effect.runForkWith(context)(compare(clock, listeners)) })
}

export const leave = (clock: Clock.Clock, listener: Listener): void => {
  const watcher = watchers.get(clock)
  watcher?.listeners.delete(listener)
  if (watcher === undefined || watcher.listeners.size > 0) return
  watchers.delete(clock)
  watcher.fiber.interruptUnsafe()
}

const compare = (clock: Clock.Clock, listeners: ReadonlySet<Listener>): Effect.Effect<never> =>
  Effect.gen(function* () {
    const difference = () => clock.currentTimeMillisUnsafe() - Number(clock.monotonicTimeNanosUnsafe()) / 1e6
    let before = difference()
    for (;;) {
      yield* Effect.sleep(compareMillis)
      const now = difference()
      if (Math.abs(now - before) > jumpMillisMin) for (const listener of [...listeners]) listener.jumped()
      before = now
    }
  })

const compareMillis = 1000
const jumpMillisMin = 1000
