/**
 * Reproducible chance: every random choice of a test comes from one seed, and a failure names it.
 */

/** A small generator of good quality (mulberry32). */
export class Chance {
  private state: number

  constructor(seed: number) {
    this.state = seed >>> 0
  }

  /** From 0 up to and without 1. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0
    let t = this.state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000
  }

  /** A whole number from `min` to `max`, both included. */
  int(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1))
  }

  bool(probability = 0.5): boolean {
    return this.next() < probability
  }

  pick<A>(list: ReadonlyArray<A>): A {
    return list[this.int(0, list.length - 1)]!
  }

  bytes(length: number): Uint8Array {
    return new Uint8Array(length).map(() => this.int(0, 255))
  }

  /** Any magnitude up to 2^53 - 1, and often a border of one of the four lengths of an integer. */
  integer(): number {
    if (this.bool(0.4)) return this.pick(borders)
    return Math.floor(this.next() * 2 ** this.int(0, 53))
  }

  /** Cuts `bytes` into pieces of random length; now and then an empty one. */
  chunks(bytes: Uint8Array): Array<Uint8Array> {
    const chunks: Array<Uint8Array> = []
    const lengthMax = this.pick([1, 2, 3, 8, 40, 200, 5000])
    for (let at = 0; at < bytes.length;) {
      const length = Math.min(bytes.length - at, this.int(0, lengthMax))
      chunks.push(bytes.slice(at, at + length))
      at += length
    }
    return chunks
  }
}

const borders = [0, 1, 63, 64, 16_383, 16_384, 2 ** 30 - 1, 2 ** 30, 2 ** 32, 2 ** 53 - 1]

/** Runs `one` with `runs` seeds. To repeat a failure, call it with the seed that the failure names. */
export const seeds = (runs: number, one: (chance: Chance, seed: number) => void, first = 1): void => {
  for (let seed = first; seed < first + runs; seed++) {
    try {
      one(new Chance(seed), seed)
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause)
      throw new Error(`seed ${seed}: ${message}`, { cause })
    }
  }
}
