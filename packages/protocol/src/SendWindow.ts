/**
 * The sender's side of one direction of one channel: what was accepted and is not yet taken, where sending stands, and
 * how far the receiver lets it go. `released <= taken <= received <= sentMax <= end`, `sent <= limit`.
 */
import * as Varint from "./Varint.ts"
import { type Violation, violation } from "./Violation.ts"

/** Messages that the receiver's application did not take, in the order in which they were sent. */
export interface Outstanding {
  /** Wholly or partly handed to a link: they may have been taken, or not. */
  readonly fateUnknown: ReadonlyArray<Uint8Array>
  /** Never handed to a link. */
  readonly notSent: ReadonlyArray<Uint8Array>
}

/** A piece of the replay buffer. `start` is the position of its first byte. */
interface Segment {
  readonly start: number
  readonly bytes: Uint8Array
  length: number
}

/** Sends one stream of records, and keeps them until they are taken. */
export class SendWindow {
  /** Everything below was taken by the receiver's application and is forgotten. */
  released = 0
  /** Everything below is held by the receiver's session. */
  received = 0
  /** The receiver accepts bytes below this. */
  limit = 0
  /** The next byte to hand to the link. */
  sent = 0
  /** The highest that `sent` ever was. */
  sentMax = 0
  /** The position after the last record that was accepted. */
  end = 0
  /** The end record was accepted: nothing more may be. */
  ended = false
  /** Messages (and the end record) that were taken. */
  takenCount = 0

  private segments: Array<Segment> = []
  /** Where the records that are not yet taken end. */
  private ends: Array<number> = []
  private endsFrom = 0
  private stopAt = Infinity

  /** Messages, and the end record, that are kept. */
  get keptCount(): number {
    return this.ends.length - this.endsFrom
  }

  /** Bytes that are kept. */
  get keptBytes(): number {
    return this.end - this.released
  }

  /** Bytes that were handed to a link and that the receiver is not known to hold. */
  get outstandingBytes(): number {
    return this.sentMax - this.received
  }

  /** Bytes that may be handed to the link now. */
  get sendableBytes(): number {
    return Math.max(0, Math.min(this.end, this.limit, this.stopAt) - this.sent)
  }

  /** There is more to send than the receiver lets us. */
  get isWaitingForCredit(): boolean {
    return this.sent >= this.limit && this.sent < Math.min(this.end, this.stopAt)
  }

  /** The room that a message of so many bytes takes up. */
  static recordBytes(messageBytes: number): number {
    return Varint.size(messageBytes + 1) + messageBytes
  }

  /** Keeps a copy of the message for sending. Not after {@link accept}ing the end. */
  accept(message: Uint8Array): void {
    const header = Varint.size(message.length + 1)
    const segment = this.room(header + message.length)
    const at = Varint.write(segment.bytes, segment.length, message.length + 1)
    segment.bytes.set(message, at)
    segment.length = at + message.length
    this.accepted(header + message.length)
  }

  /** Accepts the end of this direction. */
  acceptEnd(): void {
    const segment = this.room(1)
    segment.bytes[segment.length++] = 0
    this.ended = true
    this.accepted(1)
  }

  /** The next bytes to send, at most `bytesMax`, as views of the replay buffer; `sent` moves behind them. */
  next(bytesMax: number): Array<Uint8Array> {
    const until = this.sent + Math.min(bytesMax, this.sendableBytes)
    const views: Array<Uint8Array> = []
    for (let i = this.segmentAt(this.sent); this.sent < until; i++) {
      const { bytes, length, start } = this.segments[i]!
      const to = Math.min(start + length, until)
      views.push(bytes.subarray(this.sent - start, to - start))
      this.sent = to
    }
    this.sentMax = Math.max(this.sentMax, this.sent)
    return views
  }

  /** The receiver says where it stands. */
  acknowledge(received: number, taken: number, limit: number): Violation | undefined {
    if (received < this.received || received > this.sentMax) {
      return violation("received", `received ${received} is not within ${this.received} to ${this.sentMax}`)
    }
    if (limit < this.limit) return violation("limit", `the limit ${this.limit} was withdrawn to ${limit}`)
    if (taken < this.released || taken > received) {
      return violation("taken", `taken ${taken} is not within ${this.released} to ${received}`)
    }
    if (taken > this.released) {
      const at = this.endAt(taken)
      if (this.ends[at] !== taken) return violation("taken", `taken ${taken} is not the end of a message`)
      this.release(at + 1, taken)
    }
    this.received = received
    this.limit = limit
    // It may hold more than it said when the link was resumed: what came in on the earlier one meanwhile.
    this.sent = Math.max(this.sent, received)
    return undefined
  }

  /** The link is gone, and a new one goes on where the receiver stands. */
  resume(received: number, taken: number, limit: number): Violation | undefined {
    const failed = this.acknowledge(received, taken, limit)
    if (failed === undefined) this.sent = received
    return failed
  }

  /** Sends nothing beyond the record that is being sent: the session moves elsewhere. Returns the final position. */
  stop(): number {
    // A record of which a byte was sent is sent to its end; `ends` holds one from `sentMax` on unless all is taken.
    this.stopAt = this.sentMax === this.released ? this.released : this.ends[this.endAt(this.sentMax)]!
    return this.stopAt
  }

  /** All that {@link stop} left to send has been taken. */
  get isDrained(): boolean {
    return this.released >= Math.min(this.stopAt, this.end)
  }

  /** The index among the kept messages of the one that ends at `position`, -1 if there is none. */
  keptIndexOf(position: number): number {
    const at = this.endAt(position)
    const isMessage = this.ends[at] === position && !(this.ended && position === this.end)
    return isMessage ? at - this.endsFrom : -1
  }

  /** Copies of all messages that are kept. */
  outstanding(): Outstanding {
    const fateUnknown: Array<Uint8Array> = []
    const notSent: Array<Uint8Array> = []
    let start = this.released
    for (let i = this.endsFrom; i < this.ends.length; i++) {
      const end = this.ends[i]!
      const record = this.copy(start, end)
      if (record[0] !== 0) {
        const list = start < this.sentMax ? fateUnknown : notSent
        list.push(record.subarray(Varint.sizeOf(record[0]!)))
      }
      start = end
    }
    return { fateUnknown, notSent }
  }

  private accepted(bytes: number): void {
    this.end += bytes
    this.ends.push(this.end)
  }

  private release(until: number, taken: number): void {
    this.takenCount += until - this.endsFrom
    this.endsFrom = until
    this.released = taken
    if (this.endsFrom === this.ends.length) {
      this.ends = []
      this.endsFrom = 0
      this.segments = []
      return
    }
    if (this.endsFrom > 1024 && this.endsFrom * 2 > this.ends.length) {
      this.ends = this.ends.slice(this.endsFrom)
      this.endsFrom = 0
    }
    let done = 0
    while (this.segments[done]!.start + this.segments[done]!.length <= this.released) done++
    if (done > 0) this.segments.splice(0, done)
  }

  /** The index of the first record among those that are kept that ends at `position` or after it. */
  private endAt(position: number): number {
    let low = this.endsFrom
    let high = this.ends.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.ends[middle]! < position) low = middle + 1
      else high = middle
    }
    return low
  }

  /** A segment with room for `bytes` at its end. */
  private room(bytes: number): Segment {
    const last = this.segments[this.segments.length - 1]
    if (last !== undefined && last.length + bytes <= last.bytes.length) return last
    const grown = last === undefined ? segmentBytesMin : Math.min(last.bytes.length * 2, segmentBytesMax)
    const segment: Segment = { start: this.end, bytes: new Uint8Array(Math.max(bytes, grown)), length: 0 }
    this.segments.push(segment)
    return segment
  }

  /** The index of the segment that holds the byte at `position`. */
  private segmentAt(position: number): number {
    let low = 0
    let high = this.segments.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.segments[middle]!.start <= position) low = middle
      else high = middle - 1
    }
    return low
  }

  private copy(from: number, to: number): Uint8Array {
    const out = new Uint8Array(to - from)
    for (let i = this.segmentAt(from), at = from; at < to; i++) {
      const { bytes, length, start } = this.segments[i]!
      const until = Math.min(start + length, to)
      out.set(bytes.subarray(at - start, until - start), at - from)
      at = until
    }
    return out
  }
}

const segmentBytesMin = 1024
const segmentBytesMax = 65_536
