/**
 * Messages in front of a stream: accepted, and no part of it yet, so that each can still be skipped. What was skipped is
 * counted at its place. Ordinals are relative to the stream's end.
 */

/** A message that is no part of the stream yet. */
export interface Queued {
  readonly message: Uint8Array
  /** The room that its record will take up. */
  readonly recordBytes: number
  /** When it is of no use any more, on the clock of whoever says the time. */
  readonly expiresAt: number
  /** Messages that were skipped directly before it. */
  skippedBefore: number
}

/** Messages in front of a stream. `SendWindow` moves them into it. */
export class Queue {
  bytes = 0
  /** No message expires before this. */
  expiresAt = Infinity
  /** Messages that were skipped behind the last one. */
  skippedAfter = 0
  /** The end of the direction comes behind them. */
  isEnding = false
  private queued: Array<Queued> = []
  private from = 0

  get count(): number {
    return this.queued.length - this.from
  }

  /** The oldest one. */
  get first(): Queued | undefined {
    return this.queued[this.from]
  }

  /** All of them, the oldest first. */
  get messages(): ReadonlyArray<Uint8Array> {
    return this.queued.slice(this.from).map(({ message }) => message)
  }

  push(message: Uint8Array, recordBytes: number, expiresAt: number): void {
    this.queued.push({ message, recordBytes, expiresAt, skippedBefore: this.skippedAfter })
    this.skippedAfter = 0
    this.bytes += recordBytes
    this.expiresAt = Math.min(this.expiresAt, expiresAt)
  }

  /** The oldest one leaves. */
  shift(): Queued | undefined {
    const first = this.queued[this.from]
    if (first === undefined) return undefined
    this.bytes -= first.recordBytes
    if (++this.from * 2 > this.queued.length) {
      this.queued = this.queued.slice(this.from)
      this.from = 0
    }
    return first
  }

  /** Skips the oldest one. Returns its ordinal, -1 if there is none. */
  skipOldest(): number {
    const skipped = this.shift()
    if (skipped === undefined) return -1
    const { first } = this
    if (first === undefined) this.skippedAfter += skipped.skippedBefore + 1
    else first.skippedBefore += skipped.skippedBefore + 1
    return skipped.skippedBefore
  }

  /** Skips those that are of no use any more. Returns their ordinals. */
  expire(now: number): Array<number> {
    const ordinals: Array<number> = []
    if (now < this.expiresAt) return ordinals
    const rest: Array<Queued> = []
    let ordinal = 0
    let skippedBefore = 0
    this.expiresAt = Infinity
    for (let i = this.from; i < this.queued.length; i++) {
      const one = this.queued[i]!
      ordinal += one.skippedBefore
      skippedBefore += one.skippedBefore
      if (one.expiresAt <= now) {
        this.bytes -= one.recordBytes
        ordinals.push(ordinal)
        skippedBefore++
      } else {
        one.skippedBefore = skippedBefore
        skippedBefore = 0
        rest.push(one)
        this.expiresAt = Math.min(this.expiresAt, one.expiresAt)
      }
      ordinal++
    }
    this.skippedAfter += skippedBefore
    this.queued = rest
    this.from = 0
    return ordinals
  }
}
