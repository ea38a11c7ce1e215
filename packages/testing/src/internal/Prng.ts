/**
 * Chance from a seed. Every part of a simulation draws from a stream of its own, named after it, so that one part more
 * changes nothing for the others.
 */
export class Prng {
  private a: number
  private b: number
  private c: number
  private d: number

  /** The stream of this name that belongs to a seed. */
  constructor(seed: number | string, name: string) {
    const hash = hashOf(`${seed}/${name}`)
    this.a = hash[0]
    this.b = hash[1]
    this.c = hash[2]
    this.d = hash[3]
    for (let i = 0; i < 12; i++) this.uint32()
  }

  /** sfc32 by Chris Doty-Humphrey. */
  uint32(): number {
    const t = (((this.a + this.b) | 0) + this.d) | 0
    this.d = (this.d + 1) | 0
    this.a = this.b ^ (this.b >>> 9)
    this.b = (this.c + (this.c << 3)) | 0
    this.c = (this.c << 21) | (this.c >>> 11)
    this.c = (this.c + t) | 0
    return t >>> 0
  }

  /** From 0 to below 1. */
  next(): number {
    return (this.uint32() * 0x200000 + (this.uint32() >>> 11)) / 0x20000000000000
  }

  /** A whole number, both ends included. */
  int(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1))
  }

  /** As Effect's `Random`. */
  readonly random = {
    nextIntUnsafe: () => Math.floor((this.next() * 2 - 1) * Number.MAX_SAFE_INTEGER),
    nextDoubleUnsafe: () => this.next()
  }

  bytes(size: number): Uint8Array {
    return Uint8Array.from({ length: size }, () => this.uint32() & 0xff)
  }

  pick<A>(items: ReadonlyArray<A>): A {
    const item = items[this.int(0, items.length - 1)]
    if (item === undefined) throw new RangeError("nothing to pick from")
    return item
  }
}

/** cyrb128: spreads a text over 128 bits. */
const hashOf = (text: string): readonly [number, number, number, number] => {
  let [h1, h2, h3, h4] = [1779033703, 3144134277, 1013904242, 2773480762]
  for (let i = 0; i < text.length; i++) {
    const k = text.charCodeAt(i)
    h1 = h2 ^ Math.imul(h1 ^ k, 597399067)
    h2 = h3 ^ Math.imul(h2 ^ k, 2869860233)
    h3 = h4 ^ Math.imul(h3 ^ k, 951274213)
    h4 = h1 ^ Math.imul(h4 ^ k, 2716044179)
  }
  h1 = Math.imul(h3 ^ (h1 >>> 18), 597399067)
  h2 = Math.imul(h4 ^ (h2 >>> 22), 2869860233)
  h3 = Math.imul(h1 ^ (h3 >>> 17), 951274213)
  h4 = Math.imul(h2 ^ (h4 >>> 19), 2716044179)
  return [h1 ^ h2 ^ h3 ^ h4, h2 ^ h1, h3 ^ h1, h4 ^ h1]
}
