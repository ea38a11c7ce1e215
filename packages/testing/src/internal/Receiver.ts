/** The receiving half of a connection: what arrived and was not read, and how much more may come. */
import type { Segment } from "./Path.ts"
import type { Micros } from "./World.ts"

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
  private buffered: Array<Uint8Array> = []
  private first = 0
  private readSince: Micros = 0
  private readBytes = 0

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
    if (this.isEnded) return "old" // nothing comes behind the end, whoever made it
    if (segment.seq > this.next) return "gap"
    if (segment.kind === "fin") {
      if (segment.seq < this.next) return "old"
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
  read(bytesMax: number, now: Micros): ReadonlyArray<Uint8Array> {
    const out: Array<Uint8Array> = []
    let bytes = 0
    while (bytes < bytesMax) {
      const chunk = this.buffered[this.first]
      if (chunk === undefined) break
      const part = chunk.subarray(0, bytesMax - bytes)
      if (part.length === chunk.length) this.first++
      else this.buffered[this.first] = chunk.subarray(part.length)
      out.push(part)
      bytes += part.length
    }
    this.buffered = this.buffered.slice(this.first)
    this.first = 0
    this.taken += bytes
    this.grow(bytes, now)
    return out
  }

  /** A program that reads half of it within a quarter of a second gets a larger one. */
  private grow(bytes: number, now: Micros): void {
    if (now - this.readSince > growthInterval) {
      this.readSince = now
      this.readBytes = 0
    }
    this.readBytes += bytes
    if (this.readBytes * 2 < this.capacity) return
    this.capacity = Math.min(this.capacityMax, this.capacity * 2)
    this.readBytes = 0
  }

  private get arrivedBytes(): number {
    return this.next - (this.isEnded ? 1 : 0)
  }
}

const windowUpdateMin = 1448
const growthInterval: Micros = 250_000
