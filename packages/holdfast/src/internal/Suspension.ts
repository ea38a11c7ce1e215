/**
 * Notices that the machine slept, or that its clock was set: wall and monotonic time differ by more than a second from
 * what they differed before. On Linux the monotonic clock stands still during a suspension, so no timer can see it.
 *
 * One fiber for each clock (so one for each process) compares once a second and tells all listeners. It starts with the
 * first listener and ends with the last one's scope.
 */
import { Clock, Effect, Fiber, Scope } from "effect"

interface Watcher {
  readonly listeners: Set<() => void>
  readonly fiber: Fiber.Fiber<never>
}

const watchers = new WeakMap<Clock.Clock, Watcher>()

/** Calls `onJump` on every jump until the scope closes. A plain call: it must not wait and must not throw. */
export const listen = (onJump: () => void): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(Effect.scope, (scope) =>
    Clock.clockWith((clock) => {
      // A function of its own for each call, so that listening twice with the same one is two listeners.
      const listener = () => onJump()
      const leaving = Scope.addFinalizer(
        scope,
        Effect.suspend(() => leave(clock, listener))
      )
      return Effect.uninterruptible(Effect.andThen(join(clock, listener), leaving))
    })
  )

const join = (clock: Clock.Clock, listener: () => void): Effect.Effect<void> => {
  const present = watchers.get(clock)
  if (present !== undefined) {
    present.listeners.add(listener)
    return Effect.void
  }
  const listeners = new Set([listener])
  // Nobody's child: the scope of the first listener may end long before that of the last one.
  return Effect.map(Effect.forkDetach(compare(clock, listeners)), (fiber) => {
    watchers.set(clock, { listeners, fiber })
  })
}

const leave = (clock: Clock.Clock, listener: () => void): Effect.Effect<void> => {
  const watcher = watchers.get(clock)
  watcher?.listeners.delete(listener)
  if (watcher === undefined || watcher.listeners.size > 0) return Effect.void
  watchers.delete(clock)
  return Effect.asVoid(Fiber.interrupt(watcher.fiber))
}

const compare = (clock: Clock.Clock, listeners: ReadonlySet<() => void>): Effect.Effect<never> =>
  Effect.gen(function* () {
    const difference = () => clock.currentTimeMillisUnsafe() - Number(clock.monotonicTimeNanosUnsafe()) / 1e6
    let before = difference()
    for (;;) {
      yield* Effect.sleep(compareMillis)
      const now = difference()
      if (Math.abs(now - before) > jumpMillisMin) for (const listener of [...listeners]) listener()
      before = now
    }
  })

const compareMillis = 1000
const jumpMillisMin = 1000
