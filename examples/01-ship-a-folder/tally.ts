/**
 * Counts the numbers of one direction as they come out of the session: each must be the last one plus one.
 */
import type { TallyCounts } from "./reports.ts"

export class Tally {
  private received = 0
  private bytes = 0
  private duplicated = 0
  private reordered = 0
  private next = 1
  private readonly missing = new Set<number>()

  /** A message with this number came out. */
  note(number: number, bytes: number): void {
    this.received++
    this.bytes += bytes
    if (number >= this.next) {
      for (let skipped = this.next; skipped < number; skipped++) this.missing.add(skipped)
      this.next = number + 1
    } else if (this.missing.delete(number)) {
      this.reordered++
    } else {
      this.duplicated++
    }
  }

  counts(): TallyCounts {
    const { bytes, duplicated, received, reordered } = this
    return { received, bytes, duplicated, reordered }
  }
}

/** How many of the numbers 1 to `sent` never came out. */
export const lostOf = (sent: number, counts: TallyCounts): number =>
  Math.max(0, sent - (counts.received - counts.duplicated))
