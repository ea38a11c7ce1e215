/**
 * One at a time: whoever comes while another one is inside waits in order. Until somebody waits it keeps next to nothing,
 * as there is one for every session and channel.
 */
import { Effect } from "effect"

export class Exclusive {
  private isTaken = false
  private waiting: Array<() => void> | undefined

  /** Goes inside, if need be after the others. Whoever is interrupted meanwhile does not. */
  get enter(): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      if (!this.isTaken) {
        this.isTaken = true
        return resume(Effect.void)
      }
      const enter = () => resume(Effect.void)
      this.waiting ??= []
      this.waiting.push(enter)
      return Effect.sync(() => {
        this.waiting = this.waiting?.filter((other) => other !== enter)
      })
    })
  }

  /** Leaves it to the next one. */
  get leave(): Effect.Effect<void> {
    return Effect.sync(() => {
      const next = this.waiting?.shift()
      if (next === undefined) this.isTaken = false
      else next()
    })
  }

  /** Runs inside. */
  within<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.andThen(restore(this.enter), Effect.ensuring(restore(self), this.leave))
    )
  }
}
