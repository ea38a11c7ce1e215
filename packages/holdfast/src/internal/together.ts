/**
 * Somebody who waits for the outcomes of many requests: until all have a response, or one has none.
 */
import { Effect, Exit } from "effect"

type Outcome = Effect.Effect<unknown, unknown>

export class Together {
  private readonly outcomes: Array<Outcome>
  private missing: number
  private readonly over: (outcome: Effect.Effect<Array<unknown>, unknown>, isFailure: boolean) => void

  /** `over` is called once. */
  constructor(count: number, over: (outcome: Effect.Effect<Array<unknown>, unknown>, isFailure: boolean) => void) {
    this.outcomes = Array.from({ length: count }, () => Effect.void)
    this.missing = count
    this.over = over
  }

  /** Nothing is waited for any more. */
  get isOver(): boolean {
    return this.missing === 0
  }

  /** What one of them has come to. `isFailure`: it will be no response. */
  settled(at: number, outcome: Outcome, isFailure: boolean): void {
    if (this.isOver) return
    this.outcomes[at] = outcome
    this.missing = isFailure ? 0 : this.missing - 1
    if (this.isOver) this.over(isFailure ? (outcome as Effect.Effect<never, unknown>) : this.responses, isFailure)
  }

  /** Nearly always all are there. */
  private get responses(): Effect.Effect<Array<unknown>, unknown> {
    const responses: Array<unknown> = []
    for (const outcome of this.outcomes) {
      if (!Exit.isExit(outcome) || !Exit.isSuccess(outcome)) return Effect.all(this.outcomes)
      responses.push(outcome.value)
    }
    return Exit.succeed(responses)
  }
}
