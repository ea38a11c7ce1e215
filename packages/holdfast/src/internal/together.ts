/**
 * Somebody who waits for the outcomes of many requests: until all have a response, or one has none.
 */
import { Effect, Exit } from "effect"
import type { Outcome } from "./asked.ts"

type Over = (outcome: Effect.Effect<Array<unknown>, unknown>, isFailure: boolean) => void

export class Together {
  private readonly responses: Array<unknown> = []
  /** Responses that are yet to be made of what has arrived, by their place. */
  private unmade: Map<number, Outcome> | undefined
  private missing: number
  private readonly over: Over

  /** `over` is called once. */
  constructor(count: number, over: Over) {
    this.responses.length = count
    this.missing = count
    this.over = over
  }

  /** Nothing is waited for any more. */
  get isOver(): boolean {
    return this.missing === 0
  }

  /** One of them has its response. */
  responded(at: number, response: unknown): void {
    if (this.isOver) return
    this.responses[at] = response
    if (--this.missing === 0) this.over(this.all, false)
  }

  /** What one of them has come to. `isFailure`: it will be no response. */
  settled(at: number, outcome: Outcome, isFailure: boolean): void {
    if (this.isOver) return
    if (isFailure) {
      this.missing = 0
      return this.over(outcome as Effect.Effect<never, unknown>, true)
    }
    this.unmade ??= new Map()
    this.unmade.set(at, outcome)
    if (--this.missing === 0) this.over(this.all, false)
  }

  private get all(): Effect.Effect<Array<unknown>, unknown> {
    const { responses, unmade } = this
    if (unmade === undefined) return Exit.succeed(responses)
    return Effect.as(
      Effect.forEach(
        unmade,
        ([at, outcome]) =>
          Effect.map(outcome, (response) => {
            responses[at] = response
          }),
        { discard: true }
      ),
      responses
    )
  }
}
