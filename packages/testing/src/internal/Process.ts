/**
 * One life of a program on a simulated machine: the scheduler and the clock of its fibers. A held process runs nothing,
 * and what woke it meanwhile runs when it is released, in order. A dead one never runs again, not even its finalizers.
 */
import { Clock, Context, Duration, Effect, Fiber, Metric, Scheduler } from "effect"
import type { HostTime } from "./HostTime.ts"

export class Process implements Scheduler.Scheduler {
  readonly executionMode = "async"
  readonly clock: Clock.Clock
  /** Fibers that were started and have not ended. */
  fibersLive = 0
  isDead = false
  private readonly time: HostTime
  private readonly queues: Array<{ readonly priority: number; tasks: Array<() => void> }> = []
  private isQueued = false
  private holds = 0
  private readonly onDeath = new Set<() => void>()

  constructor(time: HostTime) {
    this.time = time
    this.clock = clockOf(time, this)
  }

  // ---- for the fibers

  shouldYield(fiber: Fiber.Fiber<unknown, unknown>): boolean {
    return !this.isRunning || fiber.currentOpCount >= fiber.cache.maxOpsBeforeYield
  }

  makeDispatcher(): Scheduler.SchedulerDispatcher {
    return this.dispatcher
  }

  /** Runs a task in the next turn of this process: how the machine wakes it. */
  post(task: () => void, priority = 0): void {
    if (this.isDead) return
    const { queues } = this
    let at = 0
    while (at < queues.length && queues[at]!.priority < priority) at++
    const queue = queues[at]
    if (queue !== undefined && queue.priority === priority) queue.tasks.push(task)
    else queues.splice(at, 0, { priority, tasks: [task] })
    this.enqueue()
  }

  // ---- for the machine

  get isRunning(): boolean {
    return this.holds === 0 && !this.isDead
  }

  hold(): void {
    this.holds++
  }

  release(): void {
    this.holds--
    this.enqueue()
  }

  /** Ends it as a power cut does. */
  die(): void {
    if (this.isDead) return
    this.isDead = true
    this.queues.length = 0
    const told = [...this.onDeath]
    this.onDeath.clear()
    for (const tell of told) tell()
  }

  /** Calls `tell` if it dies. Returns how to take that back. */
  whenDead(tell: () => void): () => void {
    if (this.isDead) tell()
    else this.onDeath.add(tell)
    return () => void this.onDeath.delete(tell)
  }

  /** What its fibers find in their context. */
  get context(): Context.Context<never> {
    return Context.make(Clock.Clock, this.clock).pipe(
      Context.add(Scheduler.Scheduler, this),
      Context.add(Metric.FiberRuntimeMetrics, {
        recordFiberStart: () => void this.fibersLive++,
        recordFiberEnd: () => void this.fibersLive--
      })
    )
  }

  private readonly dispatcher: Scheduler.SchedulerDispatcher = {
    scheduleTask: (task, priority) => this.post(task, priority),
    flush: () => this.turn()
  }

  private enqueue(): void {
    if (this.isQueued || !this.isRunning || this.queues.length === 0) return
    this.isQueued = true
    this.time.world.enqueue(() => {
      this.isQueued = false
      this.turn()
    })
  }

  private turn(): void {
    if (!this.isRunning) return
    const batches = this.queues.splice(0)
    for (const batch of batches) {
      for (let next = 0; next < batch.tasks.length; next++) {
        if (!this.isRunning) {
          for (const task of batch.tasks.slice(next)) this.post(task, batch.priority)
          break
        }
        batch.tasks[next]!()
      }
    }
  }
}

/**
 * Runs an effect as a fiber of a process, seen from a fiber of another one: whoever waits is woken in a turn of its own,
 * and is interrupted when the process dies.
 */
export const runIn = <A, E, R>(
  process: Process,
  waiter: Process,
  context: Context.Context<R>,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E> =>
  Effect.callback<A, E>((resume) => {
    const settle = (exit: Effect.Effect<A, E>) => waiter.post(() => resume(exit))
    const fiber = Effect.runForkWith(context)(Effect.andThen(Effect.yieldNow, effect))
    const forget = process.whenDead(() => settle(Effect.interrupt))
    fiber.addObserver((exit) => {
      forget()
      settle(exit)
    })
    return Effect.callback<void>((interrupted) => {
      forget()
      const done = () => waiter.post(() => interrupted(Effect.void))
      process.whenDead(done)
      fiber.addObserver(done)
      process.post(() => fiber.interruptUnsafe())
    })
  })

const clockOf = (time: HostTime, process: Process): Clock.Clock => {
  const currentTimeMillisUnsafe = () => Math.floor(time.wall() / 1000)
  const currentTimeNanosUnsafe = () => BigInt(time.wall()) * 1000n
  const monotonicTimeNanosUnsafe = () => BigInt(time.monotonic()) * 1000n
  return {
    currentTimeMillisUnsafe,
    currentTimeNanosUnsafe,
    monotonicTimeNanosUnsafe,
    currentTimeMillis: Effect.sync(currentTimeMillisUnsafe),
    currentTimeNanos: Effect.sync(currentTimeNanosUnsafe),
    monotonicTimeNanos: Effect.sync(monotonicTimeNanosUnsafe),
    sleep(duration) {
      const micros = Math.round(Duration.toMillis(duration) * 1000)
      if (!(micros > 0)) return Effect.yieldNow
      if (micros === Infinity) return Effect.never
      return Effect.callback<void>((resume) => {
        const timer = time.after(micros, () =>
          process.post(() => {
            if (!timer.cancelled) resume(Effect.void)
          })
        )
        return Effect.sync(() => {
          timer.cancelled = true
        })
      })
    }
  }
}
