/** The receiving half of a connection: what arrived and was not read, and how much more may come. */
import type { Segment } from "./Path.ts"

export class Receiver {
  /** Everything below has arrived. */
  next = 0
  /** The other side has ended. */
  isEnded = false
  /** What the other side was last told. */
  advertised: number
  private taken = 0
  private capacity: number
  private readonly capacityMax: number
  private readSinceGrowth = 0
  private buffered: Array<Uint8Array> = []
  private first = 0

  constructor(capacity: number, capacityMax: number) {
    this.capacity = capacity
    this.capacityMax = capacityMax
    this.advertised = capacity
  }

  get unreadBytes(): number {
    return this.arrivedBytes - this.taken
  }

  /** The offset up to which the other side may send now. What was granted is never taken back. */
  get limit(): number {
    return Math.max(this.advertised, this.taken + this.capacity)
  }

  /** Whether it is news to the other side that there is room. */
  get isWindowOpened(): boolean {
    const told = this.advertised - this.arrivedBytes
    return this.limit - this.arrivedBytes >= Math.max(2 * told, windowUpdateMin)
  }

  /** Takes what is new. "gap": something before it is missing; "old": all of it has been here before. */
  accept(segment: Segment): "new" | "gap" | "old" {
    if (segment.seq > this.next) return "gap"
    if (segment.kind === "fin") {
      if (segment.seq < this.next || this.isEnded) return "old"
      this.isEnded = true
      this.next++
      return "new"
    }
    let skip = this.next - segment.seq
    if (skip >= segment.bytes) return "old"
    for (const chunk of segment.chunks) {
      if (skip < chunk.length) this.buffered.push(skip === 0 ? chunk : chunk.subarray(skip))
      skip = Math.max(0, skip - chunk.length)
    }
    this.next = segment.seq + segment.bytes
    return "new"
  }

  /** The other side has ended here, whatever was under way. */
  endNow(): void {
    if (this.isEnded) return
    this.isEnded = true
    this.next++
  }

  /** What the program takes, so many bytes at most. */
  read(bytesMax: number): ReadonlyArray<Uint8Array> {
    const out: Array<Uint8Array> = []
    let room = bytesMax
    while (room > 0) {
      const chunk = this.buffered[this.first]
      if (chunk === undefined) break
      const part = chunk.length <= room ? chunk : chunk.subarray(0, room)
      if (part === chunk) this.first++
      else this.buffered[this.first] = chunk.subarray(room)
      out.push(part)
      room -= part.length
    }
    if (this.first > 64) this.buffered = this.buffered.slice(this.first)
    if (this.first > 64) this.first = 0
    const bytes = bytesMax - room
    this.taken += bytes
    this.grow(bytes)
    return out
  }

  /** A program that keeps reading gets a larger buffer. */
  private grow(bytes: number): void {
    this.readSinceGrowth += bytes
    if (this.readSinceGrowth < this.capacity || this.capacity >= this.capacityMax) return
    this.capacity = Math.min(this.capacityMax, this.capacity * 2)
    this.readSinceGrowth = 0
  }

  private get arrivedBytes(): number {
    return this.next - (this.isEnded ? 1 : 0)
  }
}

const windowUpdateMin = 1448
