/**
 * States of one part of the world, each met by the real code once and known by its number from then on.
 */
import { copy } from "./Snapshot.ts"
import { type SharedParts, spell } from "./Spelling.ts"

/** All states of a part that were met, what can be seen of each, and the steps that were made from them. */
export class Parts<Part extends object, View, Step> {
  readonly views: Array<View> = []
  private readonly states: Array<Part> = []
  private readonly numbers = new Map<string, number>()
  private readonly steps: Array<Map<number, Step>> = []
  private readonly shared: SharedParts = new Map()
  private readonly view: (part: Part) => View

  constructor(view: (part: Part) => View) {
    this.view = view
  }

  /** The number of a state, which must not be changed afterwards. */
  number(part: Part): number {
    const spelling = spell(part, this.shared)
    let number = this.numbers.get(spelling)
    if (number === undefined) {
      number = this.states.length
      this.numbers.set(spelling, number)
      this.states.push(part)
      this.views.push(this.view(part))
      this.steps.push(new Map())
    }
    return number
  }

  /** The step with this key from a state: `make` gets a copy that it may change. */
  step(from: number, key: number, make: (part: Part) => Step): Step {
    const steps = this.steps[from]!
    let step = steps.get(key)
    if (step === undefined) {
      step = make(copy(this.states[from]!))
      steps.set(key, step)
    }
    return step
  }

  /** How many states were met. */
  get size(): number {
    return this.states.length
  }
}
