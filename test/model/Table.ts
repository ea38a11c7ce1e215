/**
 * Millions of states and the steps between them, outside of the heap.
 */

/** A list of numbers that grows, outside of the heap. */
export class Numbers {
  size = 0
  private list: Int32Array | Uint32Array | Uint8Array
  private readonly kind: Int32ArrayConstructor | Uint32ArrayConstructor | Uint8ArrayConstructor

  constructor(kind: Int32ArrayConstructor | Uint32ArrayConstructor | Uint8ArrayConstructor) {
    this.kind = kind
    this.list = new kind(1024)
  }

  push(number: number): void {
    if (this.size === this.list.length) {
      const grown = new this.kind(this.size * 2)
      grown.set(this.list)
      this.list = grown
    }
    this.list[this.size++] = number
  }

  pop(): void {
    this.size--
  }

  get(at: number): number {
    return this.list[at]!
  }

  set(at: number, number: number): void {
    this.list[at] = number
  }
}

/** Lists of so many numbers each, every one once. */
export class Table {
  size = 0
  private readonly width: number
  private vectors: Int32Array
  private slots = new Int32Array(4096).fill(-1)

  constructor(width: number) {
    this.width = width
    this.vectors = new Int32Array(width * 1024)
  }

  /** The number of a list; it is new if it is the size before. */
  add(state: Int32Array): number {
    const { width } = this
    const mask = this.slots.length - 1
    let slot = hash(state, 0, width) & mask
    for (let found = this.slots[slot]!; found >= 0; found = this.slots[slot]!) {
      if (this.isAt(found, state)) return found
      slot = (slot + 1) & mask
    }
    if ((this.size + 1) * width > this.vectors.length) {
      const grown = new Int32Array(this.vectors.length * 2)
      grown.set(this.vectors)
      this.vectors = grown
    }
    this.vectors.set(state, this.size * width)
    this.slots[slot] = this.size++
    if (this.size * 2 > this.slots.length) this.rehash()
    return this.size - 1
  }

  read(number: number, into: Int32Array): Int32Array {
    const { width } = this
    const from = number * width
    for (let i = 0; i < width; i++) into[i] = this.vectors[from + i]!
    return into
  }

  private isAt(number: number, state: Int32Array): boolean {
    const { width } = this
    const from = number * width
    for (let i = 0; i < width; i++) if (this.vectors[from + i] !== state[i]) return false
    return true
  }

  private rehash(): void {
    const { width } = this
    const slots = new Int32Array(this.slots.length * 2).fill(-1)
    const mask = slots.length - 1
    for (let number = 0; number < this.size; number++) {
      let slot = hash(this.vectors, number * width, width) & mask
      while (slots[slot]! >= 0) slot = (slot + 1) & mask
      slots[slot] = number
    }
    this.slots = slots
  }
}

const hash = (numbers: Int32Array, from: number, width: number): number => {
  let hash = 0x9e3779b9
  for (let i = from; i < from + width; i++) {
    hash = Math.imul(hash ^ numbers[i]!, 0x85ebca6b)
    hash ^= hash >>> 15
  }
  hash = Math.imul(hash, 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}
