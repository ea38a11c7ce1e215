/**
 * Plain calls in the next turn of the event loop: all that run on one scheduler share one dispatcher, or each of thousands
 * of links would keep its own.
 */
import { Effect, type Scheduler } from "effect"

/** Has the scheduler call it once. It must not throw. */
export type Later = (task: () => void) => void

/** That of the present scheduler. */
export const later: Effect.Effect<Later> = Effect.withFiber((fiber) => {
  const { scheduler } = fiber.cache
  let found = all.get(scheduler)
  if (found === undefined) {
    const dispatcher = scheduler.makeDispatcher()
    found = (task) => dispatcher.scheduleTask(task, 0)
    all.set(scheduler, found)
  }
  return Effect.succeed(found)
})

/** Waits for it, as `Effect.yieldNow` does; a fiber that goes on for long need not keep a dispatcher for that. */
export const nextTurn: Effect.Effect<void> = Effect.flatMap(later, (call) =>
  Effect.callback<void>((resume) => call(() => resume(Effect.void)))
)

const all = new WeakMap<Scheduler.Scheduler, Later>()
