/**
 * Who waits until messages of ours were taken. Messages are counted over the life of the channel (ordinals).
 */
import { Effect } from "effect"
import type { ConnectionError } from "../ConnectionError.ts"

type Resume = (effect: Effect.Effect<void, ConnectionError>) => void

/** A `deliver` or `flush`. */
interface Waiting {
  /** So many records have to be taken. */
  readonly until: number
  /** It stands for the one message that ends there, and fails if that is declined. */
  readonly isDelivery: boolean
  readonly resume: Resume
}

export class Deliveries {
  /** Ascending by `until`. */
  private waiting: Array<Waiting> = []

  add(waiting: Waiting): void {
    this.waiting.push(waiting)
  }

  /** So many records were taken. */
  taken(count: number): void {
    let done = 0
    while (done < this.waiting.length && this.waiting[done]!.until <= count) done++
    if (done > 0) for (const { resume } of this.waiting.splice(0, done)) resume(Effect.void)
  }

  /** The message that is the last one of so many will not be taken. */
  fail(until: number, error: ConnectionError): void {
    const found = this.waiting.find((waiting) => waiting.isDelivery && waiting.until === until)
    if (found === undefined) return
    this.waiting = this.waiting.filter((other) => other !== found)
    found.resume(Effect.fail(error))
  }

  /** Nothing more will be known to be taken. */
  failAll(error: ConnectionError): void {
    const waiting = this.waiting
    this.waiting = []
    for (const { resume } of waiting) resume(Effect.fail(error))
  }

  /** What was accepted until `accepted` is lost. Returns what tells those who waited for it. */
  lose(accepted: number): (error: ConnectionError) => void {
    const lost = this.waiting.filter(({ isDelivery, until }) => !isDelivery || until <= accepted)
    this.waiting = this.waiting.filter((waiting) => !lost.includes(waiting))
    return (error) => {
      for (const { resume } of lost) resume(Effect.fail(error))
    }
  }

  forget(resume: Resume): void {
    this.waiting = this.waiting.filter((other) => other.resume !== resume)
  }
}
