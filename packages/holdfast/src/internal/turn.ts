/**
 * Whoever sends without ever waiting lets others have their turn of the event loop: what was sent is written, and what the
 * other side answers is read.
 */
import { Effect } from "effect"

export class Turn {
  private bytes = 0

  /** So much more was accepted without a wait. */
  spend(bytes: number): Effect.Effect<void> {
    this.bytes += bytes
    if (this.bytes < turnBytesMax) return Effect.void
    this.bytes = 0
    return Effect.yieldNow
  }
}

/** Large enough for one write, small enough for the processor's cache. */
const turnBytesMax = 524_288
