/**
 * The clocks of one machine: monotonic time that stands still while the machine is suspended and may drift, and wall
 * time that may be set. Timers are due in monotonic time, as on Linux.
 */
import { Heap } from "./Heap.ts"
import type { Micros, Rank, World } from "./World.ts"

export interface Timer {
  cancelled: boolean
}

interface Entry extends Timer {
  readonly due: Micros
  readonly order: number
  readonly run: () => void
}

export class HostTime {
  readonly world: World
  private readonly rank: Rank
  private since: Micros = 0
  private base: Micros = 0
  private rate = 1
  private wallAhead: Micros
  private suspendedAt: Micros | undefined
  private order = 0
  private armedFor: Micros = Infinity
  private readonly timers = new Heap<Entry>((a, b) => (a.due !== b.due ? a.due < b.due : a.order < b.order))

  constructor(world: World, wallAhead: Micros, rank: Rank = 0) {
    this.world = world
    this.rank = rank
    this.wallAhead = wallAhead
  }

  monotonic(): Micros {
    if (this.suspendedAt !== undefined) return this.base
    const passed = this.world.now - this.since
    return this.base + (this.rate === 1 ? passed : Math.floor(passed * this.rate))
  }

  wall(): Micros {
    return this.monotonic() + this.wallAhead
  }

  /** Sets the wall clock forward, or back. */
  jump(by: Micros): void {
    this.wallAhead += by
  }

  /** From now on monotonic time goes so much faster (above 1) or slower than the world's. */
  setRate(rate: number): void {
    this.rebase()
    this.rate = rate
    this.rearm()
  }

  suspend(): void {
    this.rebase()
    this.suspendedAt ??= this.world.now
  }

  /** Monotonic time goes on where it was; wall time has gone on meanwhile. */
  resume(): void {
    if (this.suspendedAt === undefined) return
    this.wallAhead += this.world.now - this.suspendedAt
    this.suspendedAt = undefined
    this.since = this.world.now
    this.rearm()
  }

  /** Runs something after so much monotonic time. */
  after(delay: Micros, run: () => void): Timer {
    const timer: Entry = { cancelled: false, due: this.monotonic() + delay, order: this.order++, run }
    this.timers.push(timer)
    if (this.timers.peek() === timer) this.arm()
    return timer
  }

  private rebase(): void {
    this.base = this.monotonic()
    this.since = this.world.now
  }

  private rearm(): void {
    this.armedFor = Infinity
    this.arm()
  }

  private arm(): void {
    while (this.timers.peek()?.cancelled === true) this.timers.pop()
    const next = this.timers.peek()
    if (next === undefined || this.suspendedAt !== undefined) return
    const at = this.since + Math.ceil((next.due - this.base) / this.rate)
    if (at === this.armedFor) return
    this.armedFor = at
    this.world.schedule(Math.max(at, this.world.now), () => this.fire(at), this.rank)
  }

  private fire(at: Micros): void {
    if (at !== this.armedFor) return // armed anew since
    this.armedFor = Infinity
    if (this.suspendedAt !== undefined) return
    const now = this.monotonic()
    for (;;) {
      const next = this.timers.peek()
      if (next === undefined || (!next.cancelled && next.due > now)) break
      this.timers.pop()
      if (!next.cancelled) next.run()
    }
    this.arm()
  }
}
