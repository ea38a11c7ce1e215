import { Varint } from "@holdfast/protocol"
import { assert, describe, it } from "@effect/vitest"
import { fromHex, hex } from "./Samples.ts"
import { seeds } from "./Seeded.ts"

const written = (value: number): string => {
  const bytes = new Uint8Array(10).fill(0xee)
  return hex(bytes.subarray(1, Varint.write(bytes, 1, value)))
}

describe("Varint", () => {
  it("writes the examples of RFC 9000 and every border in the shortest form", () => {
    const forms: ReadonlyArray<readonly [number, string]> = [
      [37, "25"],
      [15_293, "7bbd"],
      [494_878_333, "9d7f3e7d"],
      [0, "00"],
      [63, "3f"],
      [64, "4040"],
      [16_383, "7fff"],
      [16_384, "80004000"],
      [2 ** 30 - 1, "bfffffff"],
      [2 ** 30, "c000000040000000"],
      [2 ** 32 - 1, "c0000000ffffffff"],
      [2 ** 32, "c000000100000000"],
      [2 ** 53 - 1, "c01fffffffffffff"]
    ]
    for (const [value, form] of forms) {
      assert.strictEqual(written(value), form)
      assert.strictEqual(Varint.size(value), form.length / 2)
      assert.strictEqual(Varint.sizeOf(fromHex(form)[0]!), form.length / 2)
      assert.strictEqual(Varint.read(fromHex(form), 0), value)
    }
  })

  it("reads a value in any of the four lengths", () => {
    for (const form of ["25", "4025", "80000025", "c000000000000025"])
      assert.strictEqual(Varint.read(fromHex(form), 0), 37)
  })

  it("reads 2^53 and more as Infinity", () => {
    for (const form of ["c020000000000000", "c2197c5eff14e88c", "ffffffffffffffff"]) {
      assert.strictEqual(Varint.read(fromHex(form), 0), Infinity)
    }
  })

  it("reads back whatever it writes, and touches no byte beside it", () => {
    seeds(2000, (chance) => {
      const value = chance.integer()
      const bytes = new Uint8Array(24).fill(0xee)
      const end = Varint.write(bytes, 5, value)
      assert.strictEqual(end, 5 + Varint.size(value))
      assert.strictEqual(Varint.read(bytes, 5), value)
      assert.isTrue(bytes.every((byte, at) => (at >= 5 && at < end) || byte === 0xee))
    })
  })
})
