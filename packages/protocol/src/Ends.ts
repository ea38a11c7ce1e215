/**
 * Where records end, the oldest first. There is one for every message, so they go round in one piece of memory.
 */
import * as Memory from "./Memory.ts"

/** Positions that never decrease, put in at one end and dropped at the other. */
export class Ends {
  /** As many as a power of two, or none. */
  private list: Float64Array = none
  private from = 0
  /** Whoever has asked for {@link room} may go on from here on, and says then how far. */
  until = 0

  /** How many there are. */
  get count(): number {
    return this.until - this.from
  }

  /** The oldest one, 0 if there is none. */
  get first(): number {
    return this.until === this.from ? 0 : this.at(0)
  }

  at(index: number): number {
    return this.list[(this.from + index) & (this.list.length - 1)]!
  }

  /** The index of the first one that is not below `position`; as many as there are, if all of them are. */
  indexOf(position: number): number {
    let low = 0
    let high = this.count
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.at(middle) < position) low = middle + 1
      else high = middle
    }
    return low
  }

  /** The index of the one at `position`, -1 if there is none. */
  exactly(position: number): number {
    const index = this.indexOf(position)
    return index < this.count && this.at(index) === position ? index : -1
  }

  push(end: number): void {
    const list = this.room(1)
    list[this.until++ & (list.length - 1)] = end
  }

  /** The memory in which they lie, with room for so many more. */
  room(more: number): Float64Array {
    if (this.count + more > this.list.length) this.grow(more)
    return this.list
  }

  private grow(more: number): void {
    const { count } = this
    const larger = memoryFor(count + more)
    for (let i = 0; i < count; i++) larger[i] = this.at(i)
    this.replace(larger)
    this.until = count
  }

  /** So many zeros come before them. */
  precede(count: number): void {
    const before = Array.from({ length: this.count }, (_, i) => this.at(i))
    this.drop(before.length)
    for (let i = 0; i < count; i++) this.push(0)
    for (const end of before) this.push(end)
  }

  /** The oldest ones are not needed any more. */
  drop(count: number): void {
    this.from += count
    if (this.from < this.until) return
    this.replace(this.list.length > fewMax ? none : this.list)
    this.until = 0
  }

  private replace(list: Float64Array): void {
    if (list !== this.list && this.list.length > fewMax) Memory.give(new Uint8Array(this.list.buffer))
    this.list = list
    this.from = 0
  }
}

const memoryFor = (count: number): Float64Array => {
  if (count <= fewMax) return new Float64Array(fewMax)
  const least = 2 ** Math.ceil(Math.log2(count))
  const bytes = least * Float64Array.BYTES_PER_ELEMENT
  if (bytes > Memory.pieceBytesMax) return new Float64Array(least)
  const { buffer, length } = Memory.take(bytes)
  return new Float64Array(buffer, 0, 2 ** Math.floor(Math.log2(length / Float64Array.BYTES_PER_ELEMENT)))
}

const none = new Float64Array(0)

/** So many lie in memory of their own, which is never given back. */
const fewMax = 8
