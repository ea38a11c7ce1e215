import { Ends } from "@holdfast/protocol/Ends"
import * as Memory from "@holdfast/protocol/Memory"
import { assert, describe, it } from "@effect/vitest"
import { seeds } from "./Seeded.ts"

const list = (ends: Ends): Array<number> => Array.from({ length: ends.count }, (_, i) => ends.at(i))

describe("Ends", () => {
  it("are those of a list from which the oldest are dropped, however many come and go", () => {
    seeds(40, (chance) => {
      const ends = new Ends()
      let expected: Array<number> = []
      let end = 0
      const more = () => (end += chance.int(1, 2 ** chance.int(0, 40)))
      for (let i = 0; i < 60; i++) {
        const count = chance.int(0, chance.pick([2, 10, 300, 3000, 20_000]))
        const added = Array.from({ length: count }, more)
        if (chance.bool()) for (const one of added) ends.push(one)
        else {
          const memory = ends.room(count)
          for (const one of added) memory[ends.until++ & (memory.length - 1)] = one
        }
        expected = expected.concat(added)
        assert.deepStrictEqual([ends.count, ends.first], [expected.length, expected[0] ?? 0])
        const position = chance.int(0, end + 1)
        const index = expected.findIndex((one) => one >= position)
        assert.strictEqual(ends.indexOf(position), index < 0 ? expected.length : index)
        assert.strictEqual(ends.exactly(position), expected.indexOf(position))
        const dropped = chance.bool(0.2) ? expected.length : chance.int(0, Math.min(expected.length, 4000))
        ends.drop(dropped)
        expected = expected.slice(dropped)
        if (chance.bool(0.2)) assert.deepStrictEqual(list(ends), expected)
      }
    })
  })

  it("come behind as many zeros as there are messages of an earlier session", () => {
    for (const before of [0, 3, 8, 9, 20]) {
      const ends = new Ends()
      for (let i = 1; i <= before + 2; i++) ends.push(i)
      ends.drop(2)
      ends.precede(10)
      const expected = Array.from({ length: 10 + before }, (_, i) => (i < 10 ? 0 : i - 7))
      assert.deepStrictEqual(list(ends), expected)
      ends.push(100)
      assert.strictEqual(ends.at(10 + before), 100)
    }
  })

  it("may be more than one piece of memory holds", () => {
    const ends = new Ends()
    const count = Memory.pieceBytesMax / 8 + 1
    for (let i = 1; i <= count; i++) ends.push(i)
    assert.deepStrictEqual([ends.count, ends.first, ends.at(count - 1), ends.indexOf(1000)], [count, 1, count, 999])
    ends.drop(count)
    assert.deepStrictEqual([ends.count, ends.first], [0, 0])
  })
})
