/**
 * Cuts a stream of bytes into frames, whatever its chunks: by a delimiter, by a length in front, or by both. A frame inside
 * one chunk is not copied together first; one that spans chunks is, within its bound. Pure.
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

/** The length in front of a frame of `SchemaBinary`: seven bits a byte, the lowest first. */
export const measureVarint: Measure = (bytes, from, to) => {
  let length = 0
  for (let at = from; at < to; at++) {
    const byte = bytes[at]!
    length += (byte & 0x7f) * 128 ** (at - from)
    if (byte < 0x80) return { headerBytes: at - from + 1, bodyBytes: length }
    if (at - from === varintBytesMax) return malformed("a length has no end")
  }
  return undefined
}

const varintBytesMax = 7

/** How messages become bytes and back. */
export interface Framing<out In, in Out> {
  readonly decoder: () => Decoder<In>
  readonly encode: (message: Out) => Uint8Array | Violation
}

/** Bytes with their length in front. */
export const lengthPrefixed = (options: {
  readonly lengthBytes: number
  readonly littleEndian: boolean
  readonly countsItself: boolean
  readonly bytesMax: number
}): Framing<Uint8Array, Uint8Array> => {
  const { countsItself, lengthBytes, littleEndian } = options
  const extra = countsItself ? lengthBytes : 0
  const bytesMax = Math.min(options.bytesMax, 256 ** lengthBytes - 1 - extra)
  const shiftOf = (at: number) => 256 ** (littleEndian ? at : lengthBytes - 1 - at)
  const measure: Measure = (bytes, from, to) => {
    if (to - from < lengthBytes) return undefined
    let length = -extra
    for (let at = 0; at < lengthBytes; at++) length += bytes[from + at]! * shiftOf(at)
    return length < 0
      ? malformed(`a length of ${length + extra} does not count itself`)
      : { headerBytes: lengthBytes, bodyBytes: length }
  }
  return {
    decoder: measured(measure, bytesMax, false),
    encode: (message) => {
      if (message.length > bytesMax) return { _tag: "TooLarge", bytes: message.length, bytesMax }
      const length = message.length + extra
      return concat(
        Uint8Array.from({ length: lengthBytes }, (_, at) => Math.floor(length / shiftOf(at)) % 256),
        message
      )
    }
  }
}

/** A line and, where it announces one, a body. */
interface Block {
  readonly line: string
  readonly body?: Uint8Array | undefined
}

/** Text in UTF-8, a message a line. */
export const lines = (end: string, bytesMax: number): Framing<string, string> => {
  const blocks = linesWithBody(end, bytesMax, () => undefined)
  return {
    decoder: () => {
      const decode = blocks.decoder()
      return (chunk, emit) => decode(chunk, ({ line }) => emit(line))
    },
    encode: (line) => blocks.encode({ line })
  }
}

/** Lines, each of which may announce a body of so many bytes, which is followed by the end of a line. */
export const linesWithBody = (
  end: string,
  bytesMax: number,
  bodyBytesOf: (line: string) => number | undefined
): Framing<Block, Block> => ({
  decoder: () => {
    const partial = new Partial()
    let head: { readonly line: string; readonly bodyBytes: number } | undefined
    let body: Uint8Array | undefined

    /** Takes a line that is complete. */
    const take = (bytes: Uint8Array, emit: (block: Block) => void): Violation | undefined => {
      if (bytes.length > bytesMax) return { _tag: "TooLarge", bytes: bytes.length, bytesMax }
      if (head !== undefined) {
        if (bytes.length > 0) return malformed(`a body is longer than the ${head.bodyBytes} bytes that were announced`)
        emit({ line: head.line, body })
        head = body = undefined
        return undefined
      }
      const line = textOf(bytes)
      if (typeof line !== "string") return line
      const bodyBytes = bodyBytesOf(line)
      if (bodyBytes === undefined) emit({ line })
      else if (!Number.isSafeInteger(bodyBytes) || bodyBytes < 0) {
        return malformed(`a line announces a body of ${bodyBytes} bytes`)
      } else if (bodyBytes > bytesMax) return { _tag: "TooLarge", bytes: bodyBytes, bytesMax }
      else {
        head = { line, bodyBytes }
        if (bodyBytes === 0) body = new Uint8Array(0)
      }
      return undefined
    }

    return (chunk, emit) => {
      let at = 0
      while (at < chunk.length) {
        if (head !== undefined && body === undefined) {
          const to = Math.min(at + head.bodyBytes - partial.length, chunk.length)
          partial.push(chunk, at, to)
          if (partial.length === head.bodyBytes) body = partial.take()
          at = to
          continue
        }
        const feed = chunk.indexOf(lineFeed, at)
        const to = feed === -1 ? chunk.length : feed
        const isWhole = feed !== -1 && partial.length === 0
        if (!isWhole) partial.push(chunk, at, to)
        // What is not ended yet may end with a carriage return, which does not count.
        const bytes = isWhole ? to - at : partial.length
        if (feed === -1) return bytes > bytesMax + 1 ? { _tag: "TooLarge", bytes, bytesMax } : undefined
        const violation = take(withoutReturn(isWhole ? chunk.subarray(at, to) : partial.take()), emit)
        if (violation !== undefined) return violation
        at = to + 1
      }
      return undefined
    }
  },
  encode: ({ body, line }) => {
    if (/[\r\n]/.test(line)) return malformed("a line contains a line break")
    const bodyBytes = bodyBytesOf(line)
    if (body?.length !== bodyBytes) {
      return malformed(`a line announces ${bodyBytes ?? "no"} bytes of body, and has ${body?.length ?? "none"}`)
    }
    const bytes = utf8.encode(line)
    for (const { length } of [bytes, body ?? bytes]) {
      if (length > bytesMax) return { _tag: "TooLarge", bytes: length, bytesMax }
    }
    const ending = utf8.encode(end)
    return body === undefined ? concat(bytes, ending) : concat(bytes, ending, body, ending)
  }
})

const lineFeed = 10
const carriageReturn = 13

const withoutReturn = (line: Uint8Array): Uint8Array =>
  line.at(-1) === carriageReturn ? line.subarray(0, line.length - 1) : line

const textOf = (line: Uint8Array): string | Violation => {
  try {
    return strictUtf8.decode(line)
  } catch (cause) {
    return malformed("a line is not UTF-8", cause)
  }
}

const malformed = (detail: string, cause?: unknown): Violation => ({ _tag: "Malformed", detail, cause })

const concat = (...parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

const utf8 = new TextEncoder()
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

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
