/** A binary heap: what comes first is at the top. */
export class Heap<A> {
  private readonly items: Array<A> = []
  private readonly isBefore: (a: A, b: A) => boolean

  constructor(isBefore: (a: A, b: A) => boolean) {
    this.isBefore = isBefore
  }

  get size(): number {
    return this.items.length
  }

  peek(): A | undefined {
    return this.items[0]
  }

  clear(): void {
    this.items.length = 0
  }

  push(item: A): void {
    const { isBefore, items } = this
    let at = items.length
    items.push(item)
    while (at > 0) {
      const above = (at - 1) >> 1
      const other = items[above]!
      if (!isBefore(item, other)) break
      items[at] = other
      at = above
    }
    items[at] = item
  }

  pop(): A | undefined {
    const { isBefore, items } = this
    const first = items[0]
    const item = items.pop()
    if (item === undefined || items.length === 0) return first
    let at = 0
    for (;;) {
      let below = 2 * at + 1
      if (below >= items.length) break
      if (below + 1 < items.length && isBefore(items[below + 1]!, items[below]!)) below++
      const other = items[below]!
      if (!isBefore(other, item)) break
      items[at] = other
      at = below
    }
    items[at] = item
    return first
  }
}
