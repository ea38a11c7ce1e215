import { assert, it } from "@effect/vitest"
import { lostOf, Tally } from "../tally.ts"

const counted = (numbers: ReadonlyArray<number>, sent: number) => {
  const tally = new Tally()
  for (const number of numbers) tally.note(number, 10)
  const { bytes, duplicated, received, reordered } = tally.counts()
  return { received, bytes, duplicated, reordered, lost: lostOf(sent, tally.counts()) }
}

it("finds nothing wrong where every number follows the last", () => {
  assert.deepStrictEqual(counted([1, 2, 3], 3), { received: 3, bytes: 30, duplicated: 0, reordered: 0, lost: 0 })
})

it("tells what is lost, in the middle and at the end", () => {
  assert.deepStrictEqual(counted([1, 4], 6), { received: 2, bytes: 20, duplicated: 0, reordered: 0, lost: 4 })
  assert.strictEqual(counted([], 2).lost, 2)
})

it("tells a late number from a repeated one", () => {
  assert.deepStrictEqual(counted([1, 3, 2], 3), { received: 3, bytes: 30, duplicated: 0, reordered: 1, lost: 0 })
  assert.deepStrictEqual(counted([1, 2, 2, 1], 3), { received: 4, bytes: 40, duplicated: 2, reordered: 0, lost: 1 })
  assert.deepStrictEqual(counted([2, 1, 1], 2), { received: 3, bytes: 30, duplicated: 1, reordered: 1, lost: 0 })
})
