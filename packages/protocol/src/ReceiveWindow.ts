/**
 * The receiver's side of one direction of one channel: cuts off what it holds already, puts records together, hands
 * messages to the application and says how far the sender may go. `taken <= received <= limit`.
 */
import { Ends } from "./Ends.ts"
import * as Lent from "./Lent.ts"
import * as Memory from "./Memory.ts"
import { rejectedMax } from "./Positions.ts"
import { Record, skipMax } from "./SendWindow.ts"
import * as Varint from "./Varint.ts"
import { type Violation, violation } from "./Violation.ts"

/** Receives one stream of records. */
export class ReceiveWindow {
  /** Everything below is held here. */
  received = 0
  /** The application is done with everything below. */
  taken = 0
  /** What the sender was told that it may send; it never goes down. */
  limit: number
  /** The end record has arrived. */
  ended = false
  /** Bytes that arrived again and were cut off. */
  duplicateBytes = 0

  /** Messages that arrived, and those that the sender skipped instead. */
  messageCount = 0
  /** Messages that the sender skipped. */
  skippedCount = 0
  /** How much may arrive beyond what is taken. */
  windowBytes: number

  /** The part of the window that is there whatever comes on other channels. */
  private readonly reserveBytes: number
  private readonly messageBytesMax: number
  /** The consumer has messages that lie in the bytes that {@link data} was given. */
  isLentOut = false
  /** The consumer that came last keeps nothing of what it is handed. */
  private isLending = false
  /** Memory of large messages that serves again when the consumer is done with them. */
  private pieces: Array<Uint8Array> = []
  private handedPieces: Array<Uint8Array> = none
  private lent: ArrayBufferLike | undefined
  /** From here on waiting messages lie there. */
  private lentFrom = 0
  /** Messages that nobody has been handed. */
  private waiting = none
  /** Messages that a consumer has been handed, and how many of them it has taken. */
  private handed = none
  private handedFrom = 0
  /** Where the records end of messages that are not taken. */
  private readonly ends = new Ends()
  private rejectedEnds: Array<number> = []
  /** Of messages of an earlier session that are not taken; they take up room in this window. */
  private adoptedBytes = 0

  /** A record that stands for skipped messages; their number follows. */
  private isSkip = false
  /** The record that is incomplete: where it starts, its header, and its payload so far. */
  private recordStart = 0
  private header = empty
  private headerLength = 0
  private payload: Uint8Array | undefined
  private payloadLength = 0
  private payloadNeeded = 0

  constructor(options: { readonly windowBytes: number; readonly messageBytesMax: number }) {
    this.windowBytes = options.windowBytes
    this.reserveBytes = options.windowBytes
    this.messageBytesMax = options.messageBytesMax
    this.limit = options.windowBytes
  }

  /** Messages that wait for a consumer. */
  get waitingCount(): number {
    return this.waiting.length
  }

  /** Messages that have arrived and were not taken. */
  get untakenCount(): number {
    return this.ends.count
  }

  /** The end has arrived and every message before it has been taken. */
  get isFinished(): boolean {
    return this.ended && this.untakenCount === 0
  }

  /** Bytes that are held beyond what is reserved: the reserve, or the record that the application takes next. */
  get growthBytes(): number {
    if (this.received <= this.taken + this.reserveBytes) return 0
    return Math.max(0, this.received - Math.max(this.taken + this.reserveBytes, this.nextEnd))
  }

  /** As large as it may be: what it grows by is granted with the next limit. Shrinking withdraws nothing. */
  resize(windowBytes: number): void {
    this.windowBytes = Math.max(this.reserveBytes, Math.floor(windowBytes))
  }

  /** Ends of messages that the application declined, until the sender confirms them. */
  get rejected(): ReadonlyArray<number> {
    return this.rejectedEnds
  }

  /** No more messages can be declined before the sender has confirmed some. */
  get isRejectedFull(): boolean {
    return this.rejectedEnds.length >= rejectedMax
  }

  /** The limit that may be announced now. A message that is larger than the window gets room when it is the next one. */
  get grantable(): number {
    const next =
      this.taken >= this.recordStart && this.payloadNeeded > 0 && this.adoptedBytes === 0
        ? this.recordStart + this.headerLength + this.payloadNeeded
        : 0
    return Math.max(this.limit, this.taken + this.windowBytes - this.adoptedBytes, next)
  }

  /** Takes the bytes at `offset`. */
  data(offset: number, bytes: Uint8Array): Violation | undefined {
    if (offset > this.received) {
      return violation("data-gap", `data at ${offset}, but only ${this.received} bytes came before`)
    }
    const end = offset + bytes.length
    if (end > this.limit) return violation("data-limit", `data up to ${end}, beyond the limit ${this.limit}`)
    if (end <= this.received) {
      this.duplicateBytes += bytes.length
      return undefined
    }
    this.duplicateBytes += this.received - offset
    const fresh = offset === this.received ? bytes : bytes.subarray(this.received - offset)
    if (bytes.buffer !== this.lent) {
      this.own()
      // One copy of all is cheaper than one of each message for a consumer that is going to keep them.
      if (!this.isLending && this.payloadNeeded === 0 && fresh.length <= copiedBytesMax) {
        const failed = this.records(fresh.slice())
        this.keep()
        return failed
      }
      this.lent = bytes.buffer
    }
    return this.records(fresh)
  }

  /**
   * Hands all waiting messages to the consumer, `undefined` if there are none. Those that it had before are taken. Lent
   * ones may lie in the bytes that {@link data} was given, the others have memory of their own.
   */
  hand(mayBeLent = false): ReadonlyArray<Uint8Array> | undefined {
    this.take(this.handed.length)
    this.isLending = mayBeLent
    if (this.waiting.length === 0) return undefined
    if (mayBeLent) this.isLentOut = this.lentFrom < this.waiting.length
    else this.own()
    this.handedPieces = mayBeLent ? this.pieces : none
    this.pieces = []
    this.lentFrom = 0
    this.handed = this.waiting
    this.handedFrom = 0
    this.waiting = none
    return this.handed
  }

  /** What waits no longer lies in the bytes that {@link data} was given: they may be overwritten. */
  own(): void {
    if (this.lentFrom < this.waiting.length) Lent.own(this.waiting, this.lentFrom, this.lent!)
    this.keep()
  }

  /** The bytes that {@link data} was given stay as they are. */
  keep(): void {
    this.lentFrom = this.waiting.length
    this.isLentOut = false
    this.lent = undefined
  }

  /** The consumer is done with the next `count` messages that it was handed. */
  take(count: number): void {
    const taken = Math.min(count, this.handed.length - this.handedFrom)
    if (taken > 0) {
      if (this.adoptedBytes > 0) this.release(taken)
      this.handedFrom += taken
      this.taken = Math.max(this.taken, this.ends.at(taken - 1))
      this.ends.drop(taken)
    }
    if (this.handedFrom === this.handed.length) this.nothingHanded()
    this.takeRest()
  }

  /** As {@link take} for one message, and the sender is told that the application declined it. */
  reject(): void {
    const end = this.ends.first
    if (this.handedFrom < this.handed.length && end > this.taken) this.rejectedEnds = [...this.rejectedEnds, end]
    this.take(1)
  }

  /** The consumer stopped: what it did not take goes to the next one. */
  giveBack(): void {
    this.pieces = this.handedPieces.concat(this.pieces)
    this.handedPieces = none
    this.lentFrom = this.isLentOut ? 0 : this.lentFrom + this.handed.length - this.handedFrom
    this.waiting = this.handed.slice(this.handedFrom).concat(this.waiting)
    this.nothingHanded()
  }

  /** The sender has forgotten everything below `position`. */
  confirm(position: number): Violation | undefined {
    if (position > this.taken) return violation("released", `released ${position}, but only ${this.taken} was taken`)
    if (this.rejectedEnds.length > 0) this.rejectedEnds = this.rejectedEnds.filter((end) => end > position)
    return undefined
  }

  /** Messages of an earlier session that were not taken: they come first, stay with who has them, and move no position. */
  adopt(earlier: ReceiveWindow): void {
    this.handed = earlier.handed.slice(earlier.handedFrom)
    this.waiting = earlier.waiting.concat(this.waiting)
    this.lentFrom = this.waiting.length
    this.ends.precede(earlier.untakenCount)
    for (const { length } of this.handed.concat(earlier.waiting)) this.adoptedBytes += length
    this.limit = Math.max(0, this.windowBytes - this.adoptedBytes)
  }

  /** Messages of the earlier session are taken. */
  private release(count: number): void {
    for (let i = 0; i < count; i++)
      if (this.ends.at(i) === 0) this.adoptedBytes -= this.handed[this.handedFrom + i]!.length
  }

  private nothingHanded(): void {
    this.handed = none
    this.handedFrom = 0
    this.isLentOut = false
    for (const piece of this.handedPieces) Memory.give(piece)
    this.handedPieces = none
  }

  /** Where the record ends that the application takes next, as far as that is known. */
  private get nextEnd(): number {
    const next = this.ends.indexOf(this.taken + 1)
    if (next < this.ends.count) return this.ends.at(next)
    return this.recordStart + this.headerLength + this.payloadNeeded
  }

  /** What is not a message is taken with the messages before it. */
  private takeRest(): void {
    if (this.untakenCount === 0) this.taken = Math.max(this.taken, this.recordStart)
  }

  private records(bytes: Uint8Array): Violation | undefined {
    let at = 0
    while (at < bytes.length) {
      if (this.ended) return violation("data-after-end", `${bytes.length - at} bytes after the end`)
      if (this.payloadNeeded > 0) {
        at = this.fill(bytes, at)
        continue
      }
      if (this.headerLength === 0 && !this.isSkip) {
        at = this.whole(bytes, at)
        if (at === bytes.length) return undefined
      }
      if (this.header.length === 0) this.header = new Uint8Array(headerBytesMax)
      this.header[this.headerLength++] = bytes[at++]!
      this.received++
      if (this.headerLength < Varint.sizeOf(this.header[0]!)) continue
      const failed = this.begin(Varint.read(this.header, 0))
      if (failed !== undefined) return failed
    }
    return undefined
  }

  /** Messages that lie here whole, as nearly all do. Returns where something else begins. */
  private whole(bytes: Uint8Array, from: number): number {
    this.list()
    const { ends, messageBytesMax, waiting } = this
    const { buffer, byteOffset, length } = bytes
    const before = this.received - from
    let at = from
    let count = 0
    while (at < length) {
      const first = bytes[at]!
      const start = at + Varint.sizeOf(first)
      if (start > length) break
      // The two usual lengths of a header, without a call.
      const value =
        first < 0x40 ? first : first < 0x80 ? ((first & 0x3f) << 8) | bytes[at + 1]! : Varint.read(bytes, at)
      const size = value - Record.message
      const end = start + size
      if (size <= 0 || size > messageBytesMax || end > length) break
      waiting.push(new Uint8Array(buffer, byteOffset + start, size))
      ends.push(before + end)
      at = end
      count++
    }
    if (count > 0) {
      this.messageCount += count
      this.received = before + at
      this.recordStart = this.received
    }
    return at
  }

  /** The header of a record is complete, or the number of skipped messages behind it. */
  private begin(value: number): Violation | undefined {
    if (this.isSkip) return this.skipped(value)
    const length = value - Record.message
    if (length > this.messageBytesMax) {
      return violation("message-length", `a message of ${length} bytes, more than ${this.messageBytesMax}`)
    }
    if (length > 0) this.payloadNeeded = length
    else if (length === 0) this.complete(empty)
    else if (value === Record.end) this.finish()
    else {
      this.isSkip = true
      this.headerLength = 0
    }
    return undefined
  }

  private skipped(count: number): Violation | undefined {
    if (count === 0 || count > skipMax) return violation("skip", `${count} messages were skipped by one record`)
    this.isSkip = false
    this.messageCount += count
    this.skippedCount += count
    this.nextRecord()
    this.takeRest()
    return undefined
  }

  /** Adds to the payload of the present record; whole payloads are handed on as views. */
  private fill(bytes: Uint8Array, at: number): number {
    const end = Math.min(bytes.length, at + this.payloadNeeded - this.payloadLength)
    const piece = bytes.subarray(at, end)
    this.received += piece.length
    if (piece.length === this.payloadNeeded) {
      this.complete(piece)
      return end
    }
    const length = this.payloadLength + piece.length
    if (this.payload === undefined || this.payload.length < length) {
      const grown = this.memoryFor(length)
      if (this.payload !== undefined) grown.set(this.payload.subarray(0, this.payloadLength))
      this.payload = grown
    }
    this.payload.set(piece, this.payloadLength)
    this.payloadLength = length
    if (length === this.payloadNeeded) {
      if (this.payload.length === Memory.pieceBytes) this.pieces.push(this.payload)
      this.complete(new Uint8Array(this.payload.buffer, 0, length))
    }
    return end
  }

  /** Memory for a message of which so much has arrived. A large one that is only lent lies in memory that serves again. */
  private memoryFor(length: number): Uint8Array {
    const { payloadNeeded } = this
    const isLarge = payloadNeeded >= Memory.pieceBytes / 4 && payloadNeeded <= Memory.pieceBytes
    if (isLarge && this.isLending && length * 4 >= payloadNeeded) return Memory.take()
    return new Uint8Array(Math.min(payloadNeeded, Math.max(length * 2, 4096)))
  }

  /** Lists are as old as what is in them: an old one would keep young messages in memory after it was dropped itself. */
  private list(): void {
    if (this.waiting.length === 0) this.waiting = []
  }

  private complete(message: Uint8Array): void {
    this.messageCount++
    this.list()
    this.waiting.push(message)
    this.ends.push(this.received)
    this.nextRecord()
  }

  private finish(): void {
    this.ended = true
    this.nextRecord()
    this.takeRest()
  }

  private nextRecord(): void {
    this.recordStart = this.received
    this.headerLength = 0
    this.payload = undefined
    this.payloadLength = 0
    this.payloadNeeded = 0
  }
}

/** What comes at once is copied as a whole up to here: messages that are put together are copied once more. */
const copiedBytesMax = 16_384

const none: Array<Uint8Array> = []

/** A varint, at its longest. */
const headerBytesMax = 8

/** All empty messages are one object, or a window full of them would cost a hundred times its bytes. */
const empty = new Uint8Array(0)
