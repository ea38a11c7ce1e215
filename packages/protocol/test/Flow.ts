/**
 * One direction of one channel as plain arrays: what one application sent, what arrived at the other one, and how far that
 * is. `check` compares two windows with it.
 */
import type { ReceiveWindow, SendWindow } from "@holdfast/protocol"
import { assert } from "@effect/vitest"
import { hex } from "./Samples.ts"
import { type Records, recordsOf } from "./SlowProtocol.ts"

/** What the receiver of a direction allows itself. */
export interface Bounds {
  readonly windowBytesMax: number
  readonly messageBytesMax: number
}

export class Flow {
  /** What the application sent, in order, and whether it was skipped later. */
  readonly messages: Array<{ readonly message: string; isSkipped: boolean; readonly expiresAt: number }> = []
  ended = false
  skippedCount = 0
  /** Messages that the other application was handed, or is done with. */
  handed = 0
  taken = 0
  /** Messages that it declined, and of which the sender was told, by their ordinals. */
  readonly rejected: Array<number> = []
  readonly told: Array<number> = []
  /** Bytes of data that came from the link, whether they had come before or not. */
  dataBytes = 0
  records: Records = recordsOf(new Uint8Array(0))
  /** The ordinals of the messages that have arrived. */
  ordinals: ReadonlyArray<number> = []
  private stream: Array<number> = []

  /** How many bytes have arrived. */
  get length(): number {
    return this.stream.length
  }

  /** Bytes arrive, some of them again: those must be the same. */
  arrive(offset: number, bytes: Uint8Array): void {
    this.dataBytes += bytes.length
    const before = this.stream.length
    bytes.forEach((byte, i) => {
      const known = this.stream[offset + i]
      if (known === undefined) this.stream.push(byte)
      else equal("a byte that was sent again", byte, known)
    })
    if (this.stream.length === before) return
    this.records = recordsOf(Uint8Array.from(this.stream))
    let skipped = 0
    this.ordinals = this.records.messages.map((_, i) => i + (skipped += this.records.skipped[i]!))
    this.checkArrived()
  }

  skip(ordinals: ReadonlyArray<number>): void {
    for (const ordinal of ordinals) {
      holds(!this.messages[ordinal]!.isSkipped && !this.ordinals.includes(ordinal), "skipped once, before it was sent")
      this.messages[ordinal]!.isSkipped = true
      this.skippedCount++
    }
  }

  /** All that was sent and not skipped has arrived and is taken, all that was skipped is known to be. */
  get isDelivered(): boolean {
    const { counts, ended, messages } = this.records
    const count = counts.at(-1)?.count ?? 0
    return count === this.messages.length && ended === this.ended && this.taken === messages.length
  }

  /** What must always be true of both ends of a direction that nobody has reset. */
  check(send: SendWindow.SendWindow, receive: ReceiveWindow.ReceiveWindow | undefined, bounds: Bounds): void {
    this.checkSender(send)
    ordered("what the sender knows", [send.released, send.received, send.sent, send.sentMax, send.end])
    ordered("limits", [send.sentMax, send.limit])
    if (receive === undefined) return equal("what nobody has received", send.received, 0)
    ordered("the positions", [send.released, receive.taken, receive.received, send.sentMax, send.end])
    ordered("what the sender knows of the receiver", [send.received, receive.received])
    const recordBytesMax = bounds.messageBytesMax + 4
    ordered("limits", [
      receive.received,
      receive.limit,
      receive.taken + Math.max(bounds.windowBytesMax, recordBytesMax)
    ])
    ordered("the limit", [send.limit, receive.limit])
    ordered("growth", [receive.growthBytes, send.growthBytes])
    this.checkReceiver(receive)
    const told = this.rejected.filter((ordinal) => ordinal < this.countAt(send.released))
    const unconfirmed = this.rejected.slice(this.rejected.length - receive.rejected.length)
    equal("told of rejected", String(this.told), String(told))
    const ends = unconfirmed.map((ordinal) => this.records.ends[this.ordinals.indexOf(ordinal)])
    equal("unconfirmed", String(receive.rejected), String(ends))
    ordered("rejected", [this.rejected.length - unconfirmed.length, told.length])
  }

  /** What the replay buffer holds: all that is not taken. */
  checkKept(send: SendWindow.SendWindow): void {
    const { fateUnknown, notSent } = send.outstanding()
    const rest = this.messages.slice(this.countAt(send.released)).filter(({ isSkipped }) => !isSkipped)
    assert.deepStrictEqual(
      [...fateUnknown, ...notSent].map(hex),
      rest.map(({ message }) => message)
    )
    // Where each record begins at least and at most: a record that stands for skipped messages has 2 to 5 bytes.
    let [least, most] = [send.released, send.released]
    let i = 0
    for (const { isSkipped, message } of this.messages.slice(this.countAt(send.released))) {
      if (isSkipped) most += 5
      else {
        if (i++ < fateUnknown.length) assert.isBelow(least, send.sentMax)
        else assert.isAtLeast(most, send.sentMax)
        const length = message.length / 2
        const recordBytes = (length + 2 < 64 ? 1 : 2) + length
        least += recordBytes
        most += recordBytes
      }
    }
  }

  /** How many messages came or were skipped up to a position. */
  private countAt(position: number): number {
    return this.records.counts.findLast(({ end }) => end <= position)?.count ?? 0
  }

  private checkArrived(): void {
    const { messages } = this.records
    let next = 0
    this.ordinals.forEach((ordinal, i) => {
      for (; next < ordinal; next++) holds(this.messages[next]!.isSkipped, "a message is missing")
      equal("what arrived", messages[i], this.messages[ordinal]!.message)
      holds(!this.messages[ordinal]!.isSkipped, "what was skipped has not arrived")
      next++
    })
  }

  private checkSender(send: SendWindow.SendWindow): void {
    const isDone = this.records.ended && send.released === this.length
    const takenCount = this.countAt(send.released) + (isDone ? 1 : 0)
    equal("takenCount", send.takenCount, takenCount)
    equal("skippedCount", send.skippedCount, this.skippedCount)
    equal("ended", send.ended, this.ended)
    equal("isFinished", send.isFinished, isDone)
    equal("keptBytes", send.keptBytes, send.end - send.released + send.queuedBytes)
    equal("outstandingBytes", send.outstandingBytes, send.sentMax - send.received)
  }

  private checkReceiver(receive: ReceiveWindow.ReceiveWindow): void {
    const { counts, ended, ends, messages, skipped } = this.records
    equal("received", receive.received, this.length)
    equal("messageCount", receive.messageCount, counts.at(-1)?.count ?? 0)
    equal(
      "skippedCount",
      receive.skippedCount,
      skipped.reduce((sum, count) => sum + count, 0)
    )
    equal("untakenCount", receive.untakenCount, messages.length - this.taken)
    equal("ended", receive.ended, ended)
    equal("isFinished", receive.isFinished, ended && this.taken === messages.length)
    equal("data", this.dataBytes, receive.received + receive.duplicateBytes)
    const isAll = this.taken === messages.length
    const least = isAll ? (counts.at(-1)?.end ?? 0) : this.taken === 0 ? 0 : ends[this.taken - 1]!
    const most = isAll ? least : ends[this.taken]! - 1
    ordered("taken", [least, receive.taken, most])
    holds(receive.taken === 0 || counts.some(({ end }) => end === receive.taken), "taken is the end of a record")
  }
}

/** Assertions that cost nothing where they hold. */
export const holds = (condition: boolean, what?: string): void => {
  if (!condition) assert.fail(what)
}

export const equal = <A>(what: string, actual: A, expected: A): void => {
  if (actual !== expected) assert.strictEqual(actual, expected, what)
}

export const ordered = (what: string, numbers: ReadonlyArray<number>): void => {
  for (let i = 1; i < numbers.length; i++) {
    if (numbers[i - 1]! > numbers[i]!) assert.fail(`${what}: ${numbers.join(" <= ")}`)
  }
}
