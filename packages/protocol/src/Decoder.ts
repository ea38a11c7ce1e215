/**
 * Turns the bytes of one link into frames, in any chunking. Payloads are never copied: `Data` is handed on piece by
 * piece, as views of the chunks, so that half a frame that arrived before a cut is not lost. Only a control frame that
 * is split over chunks is put together, and its size is bounded.
 */
import * as Frame from "./Frame.ts"
import * as Varint from "./Varint.ts"
import { type Violation, violation } from "./Violation.ts"

/** Who gets the frames. A violation that a call returns ends the decoding of the link. */
export interface Sink {
  /** The bytes of one channel from `offset` on; a view that is valid until its chunk is used again. */
  readonly data: (channel: number, offset: number, bytes: Uint8Array) => Violation | undefined
  readonly control: (frame: Frame.Control) => Violation | undefined
}

/** The incremental decoder of one link. It is never used for another. */
export class Decoder {
  /** How many frames were complete; with {@link isInsideFrame} it tells whether one and the same is stuck. */
  frameCount = 0
  /** Grows with everything that the sink was handed, but for heartbeats: they say no more than that bytes came. */
  tellingCount = 0
  private readonly frameBytesMax: number
  private sink: Sink
  /** The start of a frame that is not complete: a header, or a whole control frame. */
  private partial = none
  private partialLength = 0
  /** How many bytes have to come before it is worth looking at `partial` again. */
  private missing = 0
  private dataChannel = 0
  private dataOffset = 0
  private dataRest = 0

  /** `frameBytesMax` bounds the body of every frame but `Data`, of which nothing is kept. */
  constructor(frameBytesMax: number, sink: Sink) {
    this.frameBytesMax = frameBytesMax
    this.sink = sink
  }

  /** Hands later frames to another sink. */
  handTo(sink: Sink): void {
    this.sink = sink
  }

  /** A frame began and is not complete. */
  get isInsideFrame(): boolean {
    return this.partialLength > 0 || this.dataRest > 0
  }

  /** It is a `Data` frame, of which nothing is kept: its bytes were handed on as they came. */
  get isInsideData(): boolean {
    return this.dataRest > 0
  }

  /** Takes the next bytes of the link. After a violation the decoder must not be used again. */
  push(chunk: Uint8Array): Violation | undefined {
    let at = 0
    while (at < chunk.length) {
      if (this.dataRest > 0) {
        const end = Math.min(chunk.length, at + this.dataRest)
        const failed = this.data(new Uint8Array(chunk.buffer, chunk.byteOffset + at, end - at))
        if (failed !== undefined) return failed
        at = end
      } else if (this.partialLength > 0) {
        const end = Math.min(chunk.length, at + this.missing)
        this.keep(chunk.subarray(at, end))
        at = end
        const used = this.frame(this.partial, 0, this.partialLength)
        if (typeof used !== "number") return used
        if (used > 0) this.partialLength = 0
      } else {
        const used = this.frame(chunk, at, chunk.length)
        if (typeof used !== "number") return used
        if (used === 0) this.keep(chunk.subarray(at))
        at = used === 0 ? chunk.length : at + used
      }
    }
    return undefined
  }

  /** Handles the frame, or the header of the `Data` frame, at `at`: how many bytes it has, 0 if some are missing. */
  private frame(from: Uint8Array, at: number, end: number): number | Violation {
    const has = end - at
    if (has < 2) return this.waitFor(2 - has)
    const header = 1 + Varint.sizeOf(from[at + 1]!)
    if (has < header) return this.waitFor(header - has)
    const length = Varint.read(from, at + 1)
    const type = from[at]!
    const bytesMax = type === Frame.Type.Data ? Frame.dataBytesMax : this.frameBytesMax
    if (length > bytesMax) return violation("frame-length", `a frame of ${length} bytes, more than ${bytesMax}`)
    const needed = type === Frame.Type.Data ? dataHeaderBytes(from, at + header, end) : length
    if (needed > length) return violation("frame-body", "the body of Data is shorter than its header")
    if (has < header + needed) return this.waitFor(header + needed - has)
    const body = at + header
    const failed =
      type === Frame.Type.Data
        ? this.beginData(from, body, length - needed)
        : this.control(type, from, body, body + needed)
    if (this.dataRest === 0) this.frameCount++
    return failed ?? header + needed
  }

  /** Remembers that no frame can be handled before so many more bytes have come. */
  private waitFor(missing: number): 0 {
    this.missing = missing
    return 0
  }

  private control(type: number, bytes: Uint8Array, from: number, until: number): Violation | undefined {
    const frame = Frame.decode(type, bytes, from, until)
    if (type !== Frame.Type.Heartbeat) this.tellingCount++
    return frame._tag === "Violation" ? frame : this.sink.control(frame)
  }

  private beginData(from: Uint8Array, at: number, payloadBytes: number): Violation | undefined {
    this.dataChannel = Varint.read(from, at)
    this.dataOffset = Varint.read(from, at + Varint.sizeOf(from[at]!))
    this.dataRest = payloadBytes
    return this.dataChannel <= Varint.valueMax && this.dataOffset + this.dataRest <= Varint.valueMax
      ? undefined
      : violation("frame-body", "a channel or a position beyond 2^53 - 1")
  }

  private data(bytes: Uint8Array): Violation | undefined {
    const offset = this.dataOffset
    this.dataOffset += bytes.length
    this.dataRest -= bytes.length
    if (this.dataRest === 0) this.frameCount++
    this.tellingCount++
    return this.sink.data(this.dataChannel, offset, bytes)
  }

  private keep(bytes: Uint8Array): void {
    const length = this.partialLength + bytes.length
    if (length > this.partial.length) {
      const whole = this.frameBytesMax + frameHeaderBytesMax
      const grown = new Uint8Array(
        Math.max(length, Math.min(Math.max(this.partial.length * 2, partialBytesMin), whole))
      )
      grown.set(this.partial.subarray(0, this.partialLength))
      this.partial = grown
    }
    this.partial.set(bytes, this.partialLength)
    this.partialLength = length
  }
}

/** How many bytes channel and offset have, as far as can be told from the bytes between `at` and `end`. */
const dataHeaderBytes = (from: Uint8Array, at: number, end: number): number => {
  if (at >= end) return 2
  const channel = Varint.sizeOf(from[at]!)
  return at + channel < end ? channel + Varint.sizeOf(from[at + channel]!) : channel + 1
}

/** Of most links every frame comes whole. */
const none = new Uint8Array(0)
const partialBytesMin = 64

/** Type and length, at their longest. */
const frameHeaderBytesMax = 9
