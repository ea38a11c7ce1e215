/**
 * Who waits for a slot or a reply: somebody who has asked for one, or for many together.
 */
import { type Effect, Exit } from "effect"
import type { Evidence } from "../Patience.ts"
import { type Deadline, Wait } from "./deadlines.ts"
import type { Together } from "./together.ts"

/** What a request comes to. */
export type Outcome = Effect.Effect<unknown, unknown>

export type Resume = (outcome: Outcome) => void

export interface Owner {
  overdue(asked: Asked, evidence: Evidence): void
}

export abstract class Asked extends Wait {
  /** Given when it is sent. */
  slot = -1
  /** Until it is sent. */
  payload: Uint8Array
  private readonly owner: Owner

  constructor(owner: Owner, payload: Uint8Array, deadline: Deadline, now: number) {
    super(deadline, now)
    this.owner = owner
    this.payload = payload
  }

  /** Its response is there. */
  abstract responded(response: unknown): void

  /** `isFailure`: what it will come to is no response. */
  abstract settled(outcome: Outcome, isFailure: boolean): void

  overdue(evidence: Evidence): void {
    this.owner.overdue(this, evidence)
  }
}

export class AskedAlone extends Asked {
  private readonly resume: Resume

  constructor(owner: Owner, payload: Uint8Array, deadline: Deadline, now: number, resume: Resume) {
    super(owner, payload, deadline, now)
    this.resume = resume
  }

  responded(response: unknown): void {
    this.resume(Exit.succeed(response))
  }

  settled(outcome: Outcome): void {
    this.resume(outcome)
  }
}

export class AskedTogether extends Asked {
  private readonly together: Together
  private readonly at: number

  constructor(owner: Owner, payload: Uint8Array, deadline: Deadline, now: number, together: Together, at: number) {
    super(owner, payload, deadline, now)
    this.together = together
    this.at = at
  }

  responded(response: unknown): void {
    this.together.responded(this.at, response)
  }

  settled(outcome: Outcome, isFailure: boolean): void {
    this.together.settled(this.at, outcome, isFailure)
  }
}
