import { Reader, Writer } from "@holdfast/protocol/Bytes"
import { assert, describe, it } from "@effect/vitest"
import { fromHex, hex } from "./Samples.ts"

describe("Bytes", () => {
  it("reads what was written, in order, to the last byte", () => {
    const into = new Writer()
    into.varint(300)
    into.fixed(fromHex("0102"))
    into.bytes(new Uint8Array(100).fill(7))
    into.text("\uFEFFgrüße")
    const from = new Reader(into.finish())
    assert.strictEqual(from.varint(), 300)
    assert.strictEqual(hex(from.fixed(2)), "0102")
    assert.strictEqual(hex(from.bytes()), "07".repeat(100))
    assert.strictEqual(from.text(), "\uFEFFgrüße")
    assert.strictEqual(from.rest, 0)
    assert.isFalse(from.failed)
  })

  it("grows to any size, and by much when much comes at once", () => {
    const into = new Writer()
    for (let i = 0; i < 60; i++) into.varint(0)
    into.fixed(new Uint8Array(1000).fill(1))
    for (let i = 0; i < 100; i++) into.varint(1)
    assert.strictEqual(hex(into.finish()), "00".repeat(60) + "01".repeat(1100))
  })

  it("fails, and goes on with zeros, where bytes are missing or a value does not fit", () => {
    const failures: ReadonlyArray<readonly [string, (from: Reader) => unknown, unknown]> = [
      ["", (from) => from.varint(), 0],
      ["40", (from) => from.varint(), 0],
      ["c020000000000000", (from) => from.varint(), 0],
      ["01", (from) => from.fixed(2).length, 0],
      ["0201", (from) => from.bytes().length, 0],
      ["02c328", (from) => from.text(), ""],
      ["01", (from) => from.text(), ""]
    ]
    for (const [bytes, read, zero] of failures) {
      const from = new Reader(fromHex(bytes))
      assert.strictEqual(read(from), zero)
      assert.isTrue(from.failed, bytes)
    }
  })
})
