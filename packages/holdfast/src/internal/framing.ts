/**
 * Cuts a stream of bytes into frames, whatever its chunks: by a delimiter, or by a length in front. A frame inside one
 * chunk is not copied together first; one that spans chunks is, within its bound. Pure.
 */
import type { Decoder, Violation } from "../Dialect.ts"

/** The sizes of a frame, as far as its first bytes tell: `undefined` if they do not tell yet. */
export type Measure = (bytes: Uint8Array, from: number, to: number) => Size | Violation | undefined

/** Bytes in front, and bytes of the message. */
export interface Size {
  readonly headerBytes: number
  readonly bodyBytes: number
}

/** Frames that say their length in front. Emits the frames, header and all, or only what follows the header. */
export const measured = (measure: Measure, bytesMax: number, keepHeader: boolean) => (): Decoder<Uint8Array> => {
  const partial = new Partial()

  const sizeOf = (bytes: Uint8Array, from: number, to: number): Size | Violation | undefined => {
    const size = measure(bytes, from, to)
    if (size === undefined || "_tag" in size || size.bodyBytes <= bytesMax) return size
    return { _tag: "TooLarge", bytes: size.bodyBytes, bytesMax }
  }
  const totalOf = (size: Size): number => size.headerBytes + size.bodyBytes
  const skipOf = (size: Size): number => (keepHeader ? 0 : size.headerBytes)

  return (chunk, emit) => {
    let at = 0
    while (at < chunk.length) {
      if (partial.length === 0) {
        const size = sizeOf(chunk, at, chunk.length)
        if (size !== undefined && "_tag" in size) return size
        if (size !== undefined && at + totalOf(size) <= chunk.length) {
          emit(chunk.slice(at + skipOf(size), at + totalOf(size)))
          at += totalOf(size)
          continue
        }
      }
      const known = sizeOf(partial.bytes, 0, partial.length)
      if (known !== undefined && "_tag" in known) return known
      const wanted = known === undefined ? 1 : totalOf(known) - partial.length
      const taken = Math.min(wanted, chunk.length - at)
      partial.push(chunk, at, at + taken)
      at += taken
      const size = sizeOf(partial.bytes, 0, partial.length)
      if (size === undefined) continue
      if ("_tag" in size) return size
      if (partial.length === totalOf(size)) emit(partial.take().slice(skipOf(size)))
    }
    return undefined
  }
}

/** Lines, without their ends: `\n` or `\r\n`. */
export const delimited = (bytesMax: number) => (): Decoder<Uint8Array> => {
  const partial = new Partial()
  return (chunk, emit) => {
    let at = 0
    while (at < chunk.length) {
      const end = chunk.indexOf(lineFeed, at)
      const to = end === -1 ? chunk.length : end
      const isWhole = end !== -1 && partial.length === 0
      if (!isWhole) partial.push(chunk, at, to)
      // What is not ended yet may end with a carriage return, which does not count.
      const bytes = isWhole ? to - at : partial.length
      if (end === -1) return bytes > bytesMax + 1 ? { _tag: "TooLarge", bytes, bytesMax } : undefined
      const line = withoutReturn(isWhole ? chunk.subarray(at, to) : partial.take())
      if (line.length > bytesMax) return { _tag: "TooLarge", bytes: line.length, bytesMax }
      emit(line)
      at = to + 1
    }
    return undefined
  }
}

const lineFeed = 10
const carriageReturn = 13

const withoutReturn = (line: Uint8Array): Uint8Array =>
  line.at(-1) === carriageReturn ? line.subarray(0, line.length - 1) : line

/** The beginning of a frame. It grows by doubling, so that a byte at a time costs no more than all at once. */
class Partial {
  bytes = new Uint8Array(0)
  length = 0

  push(chunk: Uint8Array, from: number, to: number): void {
    const needed = this.length + to - from
    if (needed > this.bytes.length) {
      const grown = new Uint8Array(Math.max(needed, this.bytes.length * 2, bytesMin))
      grown.set(this.bytes.subarray(0, this.length))
      this.bytes = grown
    }
    this.bytes.set(chunk.subarray(from, to), this.length)
    this.length = needed
  }

  /** What there is, which is the caller's from now on. */
  take(): Uint8Array {
    const taken = this.bytes.subarray(0, this.length)
    this.bytes = new Uint8Array(0)
    this.length = 0
    return taken
  }
}

const bytesMin = 64
