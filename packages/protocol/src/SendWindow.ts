/**
 * The sender's side of one direction of one channel: what was accepted and is not yet taken, where sending stands, and
 * how far the receiver lets it go. `released <= taken <= received <= sentMax <= end`, `sent <= limit`.
 */
import { Ends } from "./Ends.ts"
import { Queue } from "./Queue.ts"
import { ReplayBuffer, type Segment } from "./ReplayBuffer.ts"
import * as Varint from "./Varint.ts"
import { type Violation, violation } from "./Violation.ts"

/**
 * What stands in front of a record's payload: its length and two. Below are the end of the direction, and messages that
 * were skipped, whose number follows.
 */
export const Record = { end: 0, skip: 1, message: 2 } as const

/** How many skipped messages one record stands for, at most: it has to fit into the smallest window. */
export const skipMax = 2 ** 30 - 1

/** Messages that the receiver's application did not take, in the order in which they were sent. */
export interface Outstanding {
  /** Wholly or partly handed to a link: they may have been taken, or not. */
  readonly fateUnknown: ReadonlyArray<Uint8Array>
  /** Never handed to a link. */
  readonly notSent: ReadonlyArray<Uint8Array>
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
  /** Messages (and the end record) that were taken, and messages that were skipped before those. */
  takenCount = 0
  /** Messages that were skipped. */
  skippedCount = 0
  /** Messages (and the end record) that are part of the stream, and those that were skipped before them. */
  private streamCount = 0

  /** The bytes from `released` to `end`. */
  readonly kept = new ReplayBuffer()
  /** How much the receiver takes in any case, beyond what its application has taken. */
  reserveBytes: number
  private queue: Queue | undefined
  /** Records that stand for skipped messages, and for how many, until they are taken. */
  private skips: Array<{ readonly end: number; readonly count: number }> = []
  /** Where the records that are not yet taken end. */
  private readonly ends = new Ends()
  private stopAt = Infinity

  constructor(reserveBytes = Infinity) {
    this.reserveBytes = reserveBytes
  }

  /** Records that are kept, and messages that wait in front of the stream. */
  get keptCount(): number {
    return this.ends.count + this.queuedCount
  }

  /** Bytes that are kept. */
  get keptBytes(): number {
    return this.end - this.released + this.queuedBytes
  }

  /** Messages that wait in front of the stream. */
  get queuedCount(): number {
    return this.queue?.count ?? 0
  }

  /** The room that they take up. */
  get queuedBytes(): number {
    return this.queue?.bytes ?? 0
  }

  /** When the next message may expire; `Infinity` if none does. */
  get expiresAt(): number {
    return this.queue?.expiresAt ?? Infinity
  }

  /** Everything, the end included, was taken. */
  get isFinished(): boolean {
    return this.ended && this.queue === undefined && this.released === this.end
  }

  /**
   * Up to here the receiver takes bytes whatever comes on other channels: its reserve, or the record that its application
   * takes next.
   */
  get reserved(): number {
    return Math.max(this.released + this.reserveBytes, this.ends.first)
  }

  /** Bytes that may be with the receiver beyond what is reserved. */
  get growthBytes(): number {
    return Math.max(0, this.sentMax - this.reserved)
  }

  /** Bytes that were handed to a link and that the receiver is not known to hold. */
  get outstandingBytes(): number {
    return this.sentMax - this.received
  }

  /** Bytes that may be handed to the link now, as far as this channel goes. Messages that are queued count when fed. */
  get sendableBytes(): number {
    return Math.max(0, Math.min(this.end, this.limit, this.stopAt) - this.sent)
  }

  /** There is more to send than the receiver lets us. */
  get isWaitingForCredit(): boolean {
    return this.sent >= this.limit && (this.sent < Math.min(this.end, this.stopAt) || this.canFeed)
  }

  /** There is something to send, or would be if it were fed. */
  get isReady(): boolean {
    return this.sendableBytes > 0 || (this.end < this.limit && this.canFeed)
  }

  /** Something waits in front of the stream and may enter it. */
  private get canFeed(): boolean {
    return this.queue !== undefined && this.stopAt === Infinity
  }

  /** The room that a message of so many bytes takes up. */
  static recordBytes(messageBytes: number): number {
    return Varint.size(messageBytes + Record.message) + messageBytes
  }

  /** Keeps a copy of the message for sending. Not after {@link acceptEnd}, nor while messages are queued. */
  accept(message: Uint8Array): void {
    this.put(message, this.begin(message.length))
  }

  /** Keeps a copy of each message; their records take up so many bytes. As {@link accept}. */
  acceptAll(messages: ReadonlyArray<Uint8Array>, bytes: number): void {
    if (this.queue !== undefined) this.feedRest(this.queue)
    const until = this.end + bytes
    for (let i = this.append(messages, 0); i < messages.length; i = this.append(messages, i + 1)) {
      this.put(messages[i]!, this.header(messages[i]!.length, until - this.end))
    }
  }

  /** Keeps a copy of a message that lies in two pieces. As {@link accept}. */
  acceptPieces(head: Uint8Array, rest: Uint8Array): void {
    this.put(rest, this.put(head, this.begin(head.length + rest.length)))
  }

  private begin(messageBytes: number): Segment {
    if (this.queue !== undefined) this.feedRest(this.queue)
    return this.header(messageBytes)
  }

  /** Appends the messages from `from` on that have room in the last segment. Returns the index of the first that has not. */
  private append(messages: ReadonlyArray<Uint8Array>, from: number): number {
    const segment = this.kept.last
    if (segment === undefined) return from
    const { bytes } = segment
    const { length: room } = bytes
    const { ends } = this
    const list = ends.room(messages.length - from)
    const mask = list.length - 1
    const before = this.end - segment.length
    let at = segment.length
    let i = from
    for (; i < messages.length; i++) {
      const message = messages[i]!
      const { length } = message
      // The two usual lengths of a header, without a call.
      const value = length + Record.message
      if (value >= 0x4000 || at + 2 + length > room) break
      if (value >= 0x40) bytes[at++] = 0x40 | (value >> 8)
      bytes[at++] = value
      bytes.set(message, at)
      at += length
      list[(ends.until + i - from) & mask] = before + at
    }
    segment.length = at
    this.end = before + at
    ends.until += i - from
    this.streamCount += i - from
    return i
  }

  /** Begins a record: its payload is to follow at once, and perhaps more records. */
  private header(messageBytes: number, coming = 0): Segment {
    const bytes = SendWindow.recordBytes(messageBytes)
    const segment = this.kept.room(Math.min(bytes, cutBytesMin), this.end, Math.max(bytes, coming))
    segment.length = Varint.write(segment.bytes, segment.length, messageBytes + Record.message)
    this.accepted(bytes)
    return segment
  }

  /** What is large lies in several segments, so that none stays half empty. Returns the last one. */
  private put(bytes: Uint8Array, into: Segment): Segment {
    let segment = into
    let rest = bytes
    for (let room = segment.bytes.length - segment.length; rest.length > room; room = segment.bytes.length) {
      segment.bytes.set(rest.subarray(0, room), segment.length)
      segment.length += room
      rest = rest.subarray(room)
      segment = this.kept.room(1, segment.start + segment.length, rest.length)
    }
    segment.bytes.set(rest, segment.length)
    segment.length += rest.length
    return segment
  }

  /** Accepts the end of this direction. */
  acceptEnd(): void {
    this.ended = true
    if (this.queue === undefined) this.appendSmall(Record.end, 0)
    else this.queue.isEnding = true
  }

  /** Keeps a copy of the message in front of the stream until there is credit for it: until then it can be skipped. */
  enqueue(message: Uint8Array, expiresAt = Infinity): void {
    this.queue ??= new Queue()
    this.queue.push(message.slice(), SendWindow.recordBytes(message.length), expiresAt)
  }

  /** Skips the oldest message in front of the stream. Returns its ordinal, -1 if there is none. */
  skipOldest(): number {
    const ordinal = this.queue?.skipOldest() ?? -1
    if (ordinal < 0) return ordinal
    this.skippedCount++
    return this.streamCount + ordinal
  }

  /** Skips the messages in front of the stream that are of no use any more. Returns their ordinals. */
  expire(now: number): ReadonlyArray<number> {
    const ordinals = this.queue?.expire(now) ?? []
    this.skippedCount += ordinals.length
    return ordinals.map((ordinal) => this.streamCount + ordinal)
  }

  /** Moves messages from the queue into the stream, as far as there is credit and so many bytes are wanted. */
  feed(bytesWanted: number, limit = this.limit): void {
    const { queue } = this
    if (queue === undefined || !this.canFeed) return
    while (this.end < limit && this.end - this.sent < bytesWanted) {
      const next = queue.shift()
      if (next === undefined) break
      this.appendSkip(next.skippedBefore)
      this.put(next.message, this.header(next.message.length))
    }
    if (queue.count === 0 && this.end < limit) this.feedRest(queue)
  }

  /** No message is queued any more: what was skipped behind the last one, and the end. */
  private feedRest(queue: Queue): void {
    this.appendSkip(queue.skippedAfter)
    this.queue = undefined
    if (queue.isEnding) this.appendSmall(Record.end, 0)
  }

  /** The next bytes to send, at most `bytesMax`, as views of the replay buffer; `sent` moves behind them. */
  next(bytesMax: number): Array<Uint8Array> {
    const until = this.sent + Math.min(bytesMax, this.sendableBytes)
    const views = this.kept.views(this.sent, until)
    this.sent = until
    this.sentMax = Math.max(this.sentMax, this.sent)
    return views
  }

  /** What is left to send of the present record. */
  get recordBytesLeft(): number {
    return this.sent < this.end ? this.ends.at(this.ends.indexOf(this.sent + 1)) - this.sent : 0
  }

  /** How many of so many bytes to send at once: whole records, if they are most of it, so that they arrive in one piece. */
  whole(bytesMax: number): number {
    const until = this.sent + bytesMax
    if (until >= this.end) return bytesMax
    const at = this.ends.indexOf(until + 1) - 1
    const bytes = at >= 0 ? this.ends.at(at) - this.sent : 0
    return bytes * 2 > bytesMax ? bytes : bytesMax
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
      const at = this.ends.exactly(taken)
      if (at < 0) return violation("taken", `taken ${taken} is not the end of a message`)
      this.release(at + 1, taken)
    }
    this.received = received
    this.limit = limit
    // It may hold more than it said when the link was resumed: what came in on the earlier one meanwhile.
    this.sent = Math.max(this.sent, received)
    return undefined
  }

  /** The link is gone: what it was handed is to be sent again. */
  cut(): void {
    this.sent = this.received
  }

  /** A new link goes on where the receiver stands. */
  resume(received: number, taken: number, limit: number): Violation | undefined {
    const failed = this.acknowledge(received, taken, limit)
    if (failed === undefined) this.sent = received
    return failed
  }

  /** Sends nothing beyond the record that is being sent: the session moves elsewhere. Returns the final position. */
  stop(): number {
    // A record of which a byte was sent is sent to its end; `ends` holds one from `sentMax` on unless all is taken.
    this.stopAt = this.sentMax === this.released ? this.released : this.ends.at(this.ends.indexOf(this.sentMax))
    return this.stopAt
  }

  /** All that {@link stop} left to send has been taken. */
  get isDrained(): boolean {
    return this.released >= Math.min(this.stopAt, this.end)
  }

  /** How many messages are kept or were skipped before the one that ends at `position`, -1 if there is none. */
  keptIndexOf(position: number): number {
    const at = this.ends.exactly(position)
    const isEnd = this.ended && this.queue === undefined && position === this.end
    if (at < 0 || isEnd || this.skips.some(({ end }) => end === position)) return -1
    let index = at
    for (const { count, end } of this.skips) if (end < position) index += count - 1
    return index
  }

  /** Copies of all messages that are kept. */
  outstanding(): Outstanding {
    const fateUnknown: Array<Uint8Array> = []
    const notSent: Array<Uint8Array> = []
    let start = this.released
    for (let i = 0; i < this.ends.count; i++) {
      const end = this.ends.at(i)
      const record = this.kept.copy(start, end)
      if (record[0] !== Record.end && record[0] !== Record.skip) {
        const list = start < this.sentMax ? fateUnknown : notSent
        list.push(record.subarray(Varint.sizeOf(record[0]!)))
      }
      start = end
    }
    for (const message of this.queue?.messages ?? []) notSent.push(message.slice())
    return { fateUnknown, notSent }
  }

  private appendSkip(count: number): void {
    for (let rest = count; rest > 0; rest -= skipMax) {
      const some = Math.min(rest, skipMax)
      this.appendSmall(Record.skip, some)
      this.streamCount += some - 1
      this.skips.push({ end: this.end, count: some })
    }
  }

  /** A record without a message. */
  private appendSmall(kind: number, count: number): void {
    const bytes = kind === Record.skip ? 1 + Varint.size(count) : 1
    const segment = this.kept.room(bytes, this.end)
    segment.bytes[segment.length] = kind
    if (kind === Record.skip) Varint.write(segment.bytes, segment.length + 1, count)
    segment.length += bytes
    this.accepted(bytes)
  }

  private accepted(bytes: number): void {
    this.end += bytes
    this.ends.push(this.end)
    this.streamCount++
  }

  private release(count: number, taken: number): void {
    this.takenCount += count
    this.ends.drop(count)
    this.released = taken
    while (this.skips.length > 0 && this.skips[0]!.end <= taken) this.takenCount += this.skips.shift()!.count - 1
    if (this.ends.count === 0) this.kept.clear()
    else this.kept.forget(taken)
  }
}

/** Up to here a record lies in one segment. */
const cutBytesMin = 4096
