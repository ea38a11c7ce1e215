/** A send buffer: bytes by their offset in the stream, handed out without copying and forgotten from the front. */
export class ByteQueue {
  /** Offset behind the last byte. */
  end = 0
  private first = 0
  private readonly chunks: Array<{ readonly from: number; readonly bytes: Uint8Array }> = []

  append(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.chunks.push({ from: this.end, bytes })
    this.end += bytes.length
  }

  /** The bytes from one offset up to another. */
  slice(from: number, to: number): ReadonlyArray<Uint8Array> {
    const out: Array<Uint8Array> = []
    for (let i = this.find(from); i < this.chunks.length; i++) {
      const chunk = this.chunks[i]!
      if (chunk.from >= to) break
      out.push(chunk.bytes.subarray(Math.max(0, from - chunk.from), to - chunk.from))
    }
    return out
  }

  /** Forgets what lies below an offset. */
  release(below: number): void {
    while (this.first < this.chunks.length) {
      const chunk = this.chunks[this.first]!
      if (chunk.from + chunk.bytes.length > below) break
      this.first++
    }
    if (this.first <= 64 || this.first * 2 <= this.chunks.length) return
    this.chunks.splice(0, this.first)
    this.first = 0
  }

  private find(offset: number): number {
    let [low, high] = [this.first, this.chunks.length]
    while (low < high) {
      const middle = (low + high) >> 1
      const chunk = this.chunks[middle]!
      if (chunk.from + chunk.bytes.length <= offset) low = middle + 1
      else high = middle
    }
    return low
  }
}
