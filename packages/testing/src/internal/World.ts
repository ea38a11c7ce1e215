/**
 * Virtual time. What is ready runs; when nothing is, time moves to the next instant at which something is due. Nothing
 * here reads a real clock, and whatever is due at one instant runs in the order in which it was scheduled.
 */
import { Heap } from "./Heap.ts"

/** Whole microseconds since the world began. */
export type Micros = number

/** What is due at one instant: the world itself first, then the test that looks at it. */
export type Rank = 0 | 1

interface Due {
  readonly at: Micros
  readonly rank: Rank
  readonly order: number
  readonly run: () => void
}

export class World {
  now: Micros = 0
  /** Set when nothing is to happen any more. */
  isOver = false
  private order = 0
  private turnsAtInstant = 0
  private ready: Array<() => void> = []
  private readonly due = new Heap<Due>((a, b) =>
    a.at !== b.at ? a.at < b.at : a.rank !== b.rank ? a.rank < b.rank : a.order < b.order
  )

  /** Runs something at an instant that is not past. */
  schedule(at: Micros, run: () => void, rank: Rank = 0): void {
    if (at < Infinity) this.due.push({ at, rank, order: this.order++, run })
  }

  /** Runs something now, after what is ready already. */
  enqueue(run: () => void): void {
    this.ready.push(run)
  }

  get hasReady(): boolean {
    return this.ready.length > 0
  }

  /** Runs what can run without time passing, for so many turns at most. */
  settle(): void {
    for (let turn = 0; turn < turnsMax && this.ready.length > 0 && !this.isOver; turn++) {
      if (++this.turnsAtInstant > turnsAtInstantMax) throw new Error(busy(this.now))
      const tasks = this.ready
      this.ready = []
      for (const task of tasks) task()
    }
  }

  /** Moves to the next instants until something is ready. False: nothing will ever be due again. */
  advance(): boolean {
    for (let steps = 0; steps < stepsMax && !this.hasReady && !this.isOver; steps++) {
      const next = this.due.pop()
      if (next === undefined) return false
      if (next.at > this.now) {
        this.now = next.at
        this.turnsAtInstant = 0
      }
      next.run()
      for (;;) {
        const same = this.due.peek()
        if (same === undefined || same.at > this.now || same.rank !== next.rank) break
        this.due.pop()!.run()
      }
    }
    return true
  }
}

const busy = (now: Micros) =>
  `the simulated programs have been busy for ${turnsAtInstantMax} turns at ${now / 1000} ms without letting time pass`

/** Between these the real event loop gets a turn. */
const turnsMax = 1000
const stepsMax = 10_000
const turnsAtInstantMax = 200_000
