/**
 * The bytes of a stream that are kept until they are taken, in segments, each in one piece of memory.
 */
import * as Memory from "./Memory.ts"

/** `start` is the position of the first byte. */
export interface Segment {
  readonly start: number
  readonly bytes: Uint8Array
  length: number
}

/** The bytes that are kept. */
export class ReplayBuffer {
  /**
   * What was taken is not read any more by any link, so its memory may serve again. Not so where a link hands over the very
   * bytes that it was given, within one process.
   */
  reusesMemory = false
  private readonly segments: Array<Segment> = []

  /** The segment in which the stream ends, `undefined` if nothing is kept. */
  get last(): Segment | undefined {
    return this.segments[this.segments.length - 1]
  }

  /**
   * A segment with room for so many bytes behind `end`, where the stream ends now. If it is a new one, it has room for as
   * many as are coming, or is as large as any.
   */
  room(bytes: number, end: number, coming = bytes): Segment {
    const { last } = this
    if (last !== undefined && last.length + bytes <= last.bytes.length) return last
    const kept = last === undefined ? segmentBytesMin : end - this.segments[0]!.start
    const memory = Memory.take(Math.min(Math.max(coming, kept), Memory.pieceBytes))
    const segment: Segment = { start: end, bytes: memory, length: 0 }
    this.segments.push(segment)
    return segment
  }

  /** The bytes between two positions, where they lie. */
  views(from: number, until: number): Array<Uint8Array> {
    const views: Array<Uint8Array> = []
    for (let i = this.segmentAt(from), at = from; at < until; i++) {
      const { bytes, length, start } = this.segments[i]!
      const to = Math.min(start + length, until)
      views.push(new Uint8Array(bytes.buffer, bytes.byteOffset + at - start, to - at))
      at = to
    }
    return views
  }

  /** The bytes between two positions, copied. */
  copy(from: number, until: number): Uint8Array {
    const copied = new Uint8Array(until - from)
    let at = 0
    for (const view of this.views(from, until)) {
      copied.set(view, at)
      at += view.length
    }
    return copied
  }

  /** Nothing before `position` is needed any more. */
  forget(position: number): void {
    let done = 0
    while (this.segments[done]!.start + this.segments[done]!.length <= position) done++
    if (done > 0) this.giveBack(this.segments.splice(0, done))
  }

  /** Nothing is needed any more. */
  clear(): void {
    this.giveBack(this.segments.splice(0))
  }

  private giveBack(segments: ReadonlyArray<Segment>): void {
    if (this.reusesMemory) for (const { bytes } of segments) Memory.give(bytes)
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
}

/** The memory of a first record. As much as is kept is taken for more. */
const segmentBytesMin = 1024
