/**
 * Explores a world breadth first: every state once, each with the step that led to it first, so that the way back is a
 * shortest one. Afterwards it looks whether the end can be missed where no more faults happen: every state in which nothing
 * more happens must be a good end, and there must be no circle. Then all ways lead to a good end.
 */
import { findCircle } from "./Circle.ts"
import { Numbers, Table } from "./Table.ts"
import { type Visit, width, type World } from "./World.ts"

/** What was found. */
export interface Exploration {
  readonly states: number
  readonly steps: number
  readonly depth: number
  /** States in which both sides wait for credit on the same channel. */
  readonly standoffs: number
  readonly counterexample: Counterexample | undefined
}

/** The shortest way to something that must not be. */
export interface Counterexample {
  readonly why: string
  /** The states on the way, and what is done in each. */
  readonly path: ReadonlyArray<Step>
}

/** Something that is done in a state. */
export interface Step {
  readonly state: Int32Array
  /** Which of the state's next steps it is, -1 for none. */
  readonly choice: number
}

/** Explores everything, or until a promise is broken. */
export const explore = (world: World): Exploration => {
  const explorer = new Explorer(world)
  const counterexample = explorer.everything() ?? explorer.deadEnd() ?? explorer.circle()
  return {
    states: explorer.states,
    steps: explorer.steps,
    depth: explorer.depth,
    standoffs: explorer.standoffs,
    counterexample
  }
}

class Explorer {
  steps = 0
  depth = 0
  standoffs = 0
  private readonly world: World
  private readonly table = new Table(width)
  /** How each state was reached first. */
  private readonly parents = new Numbers(Int32Array)
  private readonly choices = new Numbers(Uint8Array)
  /** Where the steps lead that are no faults, and where those of each state begin. */
  private readonly calm = new Numbers(Int32Array)
  private readonly calmFrom = new Numbers(Uint32Array)

  constructor(world: World) {
    this.world = world
    this.table.add(world.start())
    this.parents.push(-1)
    this.choices.push(0)
  }

  get states(): number {
    return this.table.size
  }

  /** Every state; the first promise that is broken in one, or on the way to it. */
  everything(): Counterexample | undefined {
    const { calm, calmFrom, choices, parents, table, world } = this
    let present = 0
    let choice = 0
    let found: Counterexample | undefined
    const visit: Visit = (_action, isFault, broken) => {
      this.steps++
      const taken = choice++
      if (broken !== undefined) {
        found ??= { why: broken, path: this.pathTo(present, taken) }
        return
      }
      const before = table.size
      const next = table.add(world.next)
      if (!isFault) calm.push(next)
      if (next < before) return
      if (world.isStandoff(world.next)) this.standoffs++
      parents.push(present)
      choices.push(taken)
      const why = world.broken(world.next)
      if (why !== undefined) found ??= { why, path: this.pathTo(present, taken) }
    }
    const state = new Int32Array(width)
    for (let levelEnd = 1; present < table.size && found === undefined; present++) {
      if (present === levelEnd) {
        this.depth++
        levelEnd = table.size
      }
      calmFrom.push(calm.size)
      choice = 0
      world.visit(table.read(present, state), visit)
    }
    calmFrom.push(calm.size)
    return found
  }

  /** The first state in which nothing more happens, although something is missing. */
  deadEnd(): Counterexample | undefined {
    const state = new Int32Array(width)
    for (let at = 0; at < this.states; at++) {
      if (this.calmFrom.get(at + 1) > this.calmFrom.get(at)) continue
      const missing = this.world.unfinished(this.table.read(at, state))
      if (missing !== undefined) {
        return { why: `nothing more can happen, but ${missing}`, path: this.pathTo(at, -1) }
      }
    }
    return undefined
  }

  /** Something that can go on for ever. */
  circle(): Counterexample | undefined {
    const circle = findCircle(this.states, this.calm, this.calmFrom)
    if (circle === undefined) return undefined
    const first = circle[0]!
    const around = circle.map((at, i) => this.stepBetween(at, circle[i + 1] ?? first))
    const why = `without any fault the last ${circle.length} steps can go on for ever`
    return { why, path: [...this.pathTo(first, -1).slice(0, -1), ...around] }
  }

  private pathTo(last: number, choice: number): ReadonlyArray<Step> {
    const path: Array<Step> = []
    for (let at = last, chosen = choice; at >= 0; chosen = this.choices.get(at), at = this.parents.get(at)) {
      path.push({ state: this.table.read(at, new Int32Array(width)), choice: chosen })
    }
    return path.toReversed()
  }

  private stepBetween(from: number, to: number): Step {
    const state = this.table.read(from, new Int32Array(width))
    const wanted = this.table.read(to, new Int32Array(width))
    let choice = -1
    let at = 0
    this.world.visit(state, () => {
      if (choice < 0 && this.world.next.every((number, i) => number === wanted[i])) choice = at
      at++
    })
    return { state, choice }
  }
}
