/**
 * A growing writer and a bounded reader for the bodies of control frames. Neither throws: a reader that runs out of
 * bytes, or meets a value that does not fit, remembers it in `failed` and goes on with zeros.
 */
import * as Varint from "./Varint.ts"

// Every runtime has these two and they are pure; the library that declares them would bring clocks and I/O along.
declare const TextEncoder: new () => { readonly encode: (text: string) => Uint8Array }
declare const TextDecoder: new (
  label: "utf-8",
  options: { readonly fatal: true; readonly ignoreBOM: true }
) => { readonly decode: (bytes: Uint8Array) => string }

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** Appends values to a buffer that grows. */
export class Writer {
  private buffer = new Uint8Array(64)
  private written = 0

  varint(value: number): void {
    this.reserve(8)
    this.written = Varint.write(this.buffer, this.written, value)
  }

  /** Bytes of a fixed, known length: no length is written. */
  fixed(bytes: Uint8Array): void {
    this.reserve(bytes.length)
    this.buffer.set(bytes, this.written)
    this.written += bytes.length
  }

  /** Bytes behind their length. */
  bytes(bytes: Uint8Array): void {
    this.varint(bytes.length)
    this.fixed(bytes)
  }

  /** Text as UTF-8 behind its length in bytes. */
  text(text: string): void {
    this.bytes(encoder.encode(text))
  }

  finish(): Uint8Array {
    return this.buffer.slice(0, this.written)
  }

  /** Puts what was written at `at`; there must be room. */
  copyTo(into: Uint8Array, at: number): void {
    for (let i = 0; i < this.written; i++) into[at + i] = this.buffer[i]!
  }

  /** How many bytes were written. */
  get length(): number {
    return this.written
  }

  private reserve(more: number): void {
    const needed = this.written + more
    if (needed <= this.buffer.length) return
    const grown = new Uint8Array(Math.max(needed, this.buffer.length * 2))
    grown.set(this.buffer.subarray(0, this.written))
    this.buffer = grown
  }
}

/** Takes values from between two places of `source`, and keeps no view of it. */
export class Reader {
  failed = false
  private readonly source: Uint8Array
  private at: number
  private readonly until: number

  constructor(source: Uint8Array, from = 0, until = source.length) {
    this.source = source
    this.at = from
    this.until = until
  }

  /** How many bytes were not read. */
  get rest(): number {
    return this.until - this.at
  }

  fail(): void {
    this.failed = true
  }

  varint(): number {
    if (this.rest === 0 || this.rest < Varint.sizeOf(this.source[this.at]!)) {
      this.fail()
      return 0
    }
    const value = Varint.read(this.source, this.at)
    this.at += Varint.sizeOf(this.source[this.at]!)
    if (value > Varint.valueMax) {
      this.fail()
      return 0
    }
    return value
  }

  fixed(length: number): Uint8Array {
    if (this.rest < length) {
      this.fail()
      return new Uint8Array(0)
    }
    const bytes = new Uint8Array(this.source.subarray(this.at, this.at + length))
    this.at += length
    return bytes
  }

  bytes(): Uint8Array {
    return this.fixed(this.varint())
  }

  text(bytesMax = Infinity): string {
    const bytes = this.bytes()
    if (bytes.length > bytesMax) this.fail()
    try {
      return decoder.decode(bytes)
    } catch {
      this.fail()
      return ""
    }
  }
}
