/**
 * Where records end, the oldest first. There is one for every message, so they lie in one piece of memory, which serves
 * again.
 */
import * as Memory from "./Memory.ts"

/** Positions that never decrease, put in at one end and dropped at the other. */
export class Ends {
  /** Whoever has asked for {@link room} may write from `until` on, and says then how far. */
  until = 0
  private from = 0
  private list: Float64Array = none

  /** How many there are. */
  get count(): number {
    return this.until - this.from
  }

  /** The oldest one, 0 if there is none. */
  get first(): number {
    return this.until === this.from ? 0 : this.list[this.from]!
  }

  at(index: number): number {
    return this.list[this.from + index]!
  }

  /** The index of the first one that is not below `position`; as many as there are, if all of them are. */
  indexOf(position: number): number {
    const { from, list } = this
    let low = from
    let high = this.until
    while (low < high) {
      const middle = (low + high) >>> 1
      if (list[middle]! < position) low = middle + 1
      else high = middle
    }
    return low - from
  }

  push(end: number): void {
    if (this.until === this.list.length) this.move(1)
    this.list[this.until++] = end
  }

  /** The memory in which they lie, with room for so many more. */
  room(more: number): Float64Array {
    if (this.until + more > this.list.length) this.move(more)
    return this.list
  }

  /** So many zeros come before them. */
  precede(count: number): void {
    const before = this.list.slice(this.from, this.until)
    this.drop(before.length)
    const list = this.room(count + before.length)
    list.fill(0, 0, count)
    list.set(before, count)
    this.until = count + before.length
  }

  /** The oldest ones are not needed any more. */
  drop(count: number): void {
    this.from += count
    if (this.from < this.until) return
    this.from = 0
    this.until = 0
    this.replace(this.list.length > fewMax ? none : this.list)
  }

  /** Moves them to where there is room for so many more: to the front, if that is half empty. */
  private move(more: number): void {
    const { count, from, list, until } = this
    const needed = (count + more) * 2
    const to = needed <= list.length ? list : memoryFor(needed)
    // A view of memory this small would be dear.
    for (let i = from; i < until; i++) to[i - from] = list[i]!
    this.from = 0
    this.until = count
    this.replace(to)
  }

  private replace(list: Float64Array): void {
    if (list !== this.list && this.list.length > fewMax) Memory.give(new Uint8Array(this.list.buffer))
    this.list = list
  }
}

const memoryFor = (count: number): Float64Array => {
  if (count <= fewMax) return new Float64Array(fewMax)
  const bytes = count * Float64Array.BYTES_PER_ELEMENT
  return bytes <= Memory.pieceBytes ? new Float64Array(Memory.take(bytes).buffer) : new Float64Array(count)
}

const none = new Float64Array(0)

/** So many lie in memory of their own, which is never given back. */
const fewMax = 8
