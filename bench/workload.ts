/**
 * What is sent and what must arrive: numbered messages of one size, stamped by whoever sends, and checked by whoever
 * receives.
 */

/** Makes messages, until it is told that enough was measured. */
export class Source {
  readonly size: number
  isOver = false
  /** How many were made. */
  count = 0
  private readonly batch: Array<Uint8Array>
  private readonly pattern: Uint8Array

  constructor(size: number) {
    this.size = size
    this.pattern = patternOf(size)
    this.batch = Array.from({ length: Math.max(4, Math.floor(32_768 / size)) }, () => this.pattern.slice())
  }

  /** One message, for senders that copy it at once: it is used again. */
  next(): Uint8Array {
    const message = this.batch[this.count % this.batch.length]!
    stamp(message, this.count++)
    return message
  }

  /** About 32 KiB of messages, at least 4, for senders that copy them at once. */
  nextBatch(): ReadonlyArray<Uint8Array> {
    const { batch } = this
    for (let i = 0; i < batch.length; i++) stamp(batch[i]!, this.count++)
    return batch
  }

  /** One message, for senders that keep it. */
  fresh(): Buffer {
    const message = Buffer.allocUnsafe(this.size)
    message.set(this.pattern)
    stamp(message, this.count++)
    return message
  }
}

/** Checks each message for its size and its number, and its bytes where a shift would show; all bytes of a sample. */
export class Check {
  count = 0
  readonly size: number
  /** The first mistake, in case that whoever called swallows what is thrown. */
  mistake: Error | undefined
  private readonly pattern: Uint8Array

  constructor(size: number) {
    this.size = size
    this.pattern = shared(size)
  }

  message(bytes: Uint8Array): void {
    const count = this.count++
    const { pattern, size } = this
    if (
      bytes.length !== size ||
      numberOf(bytes) !== (count | 0) ||
      bytes[size >> 1] !== pattern[size >> 1] ||
      bytes[size - 1] !== (count & 0xff) ||
      ((count & 4095) === 0 && !this.isWhole(bytes))
    ) {
      const first = bytes.subarray(0, 8).join(" ")
      this.mistake ??= new Error(`message ${count} is wrong: ${bytes.length} bytes, the first are ${first}`)
      throw this.mistake
    }
  }

  messages(batch: ReadonlyArray<Uint8Array>): void {
    for (let i = 0; i < batch.length; i++) this.message(batch[i]!)
  }

  private isWhole(bytes: Uint8Array): boolean {
    for (let i = 4; i < this.size - 1; i++) if (bytes[i] !== this.pattern[i]) return false
    return true
  }
}

/** Asks by numbered messages, checks that each comes back, in order, and takes the time of each. */
export class Asker {
  /** How many questions are open at once. */
  readonly outstanding: number
  readonly size: number
  isOver = false
  /** Round trips in milliseconds, of those that were measured. */
  times: Array<number> = []
  isMeasuring = false
  readonly check: Check
  private readonly source: Source
  private readonly askedAt: Float64Array

  constructor(size: number, outstanding: number) {
    this.outstanding = outstanding
    this.size = size
    this.source = new Source(size)
    this.check = new Check(size)
    this.askedAt = new Float64Array(outstanding)
  }

  /** The next question, for senders that copy it at once: it is used again. */
  question(): Uint8Array {
    this.asks()
    return this.source.next()
  }

  /** The next question, for senders that keep it. */
  fresh(): Buffer {
    this.asks()
    return this.source.fresh()
  }

  private asks(): void {
    this.askedAt[this.source.count % this.outstanding] = performance.now()
  }

  /** The answers of contestants that keep the order. */
  answered(bytes: Uint8Array): void {
    const at = this.check.count % this.outstanding
    this.check.message(bytes)
    if (this.isMeasuring) this.times.push(performance.now() - this.askedAt[at]!)
  }
}

/** The number that a message carries. */
export const numberOf = (bytes: Uint8Array): number =>
  bytes[0]! | (bytes[1]! << 8) | (bytes[2]! << 16) | (bytes[3]! << 24)

export const patternOf = (size: number): Uint8Array => Uint8Array.from({ length: size }, (_, i) => (i * 7 + 13) & 0xff)

/** For whoever only compares: there may be a thousand of them. */
const shared = (size: number): Uint8Array => {
  const pattern = patterns.get(size) ?? patternOf(size)
  patterns.set(size, pattern)
  return pattern
}

const patterns = new Map<number, Uint8Array>()

export const stamp = (message: Uint8Array, count: number): void => {
  message[0] = count
  message[1] = count >> 8
  message[2] = count >> 16
  message[3] = count >> 24
  message[message.length - 1] = count
}

/** Keeps so many megabytes of objects alive: what the state of a program is to the garbage collector. */
export const holdLive = (megabytes: number): void => {
  Reflect.set(globalThis, "benchLiveHeap", objects(megabytes))
  const collect: unknown = Reflect.get(globalThis, "gc")
  if (typeof collect === "function") collect() // what it cost to make them is not measured
}

const objects = (megabytes: number): ReadonlyArray<unknown> =>
  Array.from({ length: megabytes * 8192 }, (_, id) => ({ id, name: `entry ${id}`, values: [id, id + 1, id + 2] }))
