import { Frame, Positions } from "@holdfast/protocol"
import { assert, describe, it } from "@effect/vitest"
import { concat, controls, fromHex, hex, plain, positions, randomControl } from "./Samples.ts"
import { seeds } from "./Seeded.ts"
import { decodeAll } from "./SlowProtocol.ts"

/** The type and the body of an encoded frame. */
const split = (bytes: Uint8Array): readonly [number, Uint8Array] => [
  bytes[0]!,
  bytes.subarray(1 + (1 << (bytes[1]! >> 6)))
]

const ruleOf = (type: number, body: string | Uint8Array): string => {
  const frame = Frame.decode(type, typeof body === "string" ? fromHex(body) : body)
  return frame._tag === "Violation" ? frame.rule : frame._tag
}

describe("Frame", () => {
  it("decodes every control frame that it encodes, and so does the slow decoder", () => {
    for (const frame of controls) {
      const bytes = Frame.encode(frame)
      assert.deepStrictEqual(Frame.decode(...split(bytes)), frame)
      assert.deepStrictEqual(decodeAll(bytes, 65_536), { frames: [plain(frame)], rule: undefined, isWhole: true })
    }
  })

  it("has a sample of every type but Data, so that no other test forgets one", () => {
    const sampled = new Set(controls.map((frame) => frame._tag as string)).add("Data")
    assert.deepStrictEqual([...sampled].toSorted(), Object.keys(Frame.Type).toSorted())
  })

  it("survives a round trip with any numbers", () => {
    seeds(2000, (chance) => {
      const frame = randomControl(chance)
      assert.deepStrictEqual(Frame.decode(...split(Frame.encode(frame))), frame)
    })
  })

  it("refuses each frame with its body cut short at any byte, and with a byte too many", () => {
    for (const frame of controls) {
      const [type, body] = split(Frame.encode(frame))
      for (let length = 0; length < body.length; length++) {
        assert.strictEqual(ruleOf(type, body.subarray(0, length)), "frame-body", `${frame._tag} cut to ${length} bytes`)
      }
      assert.strictEqual(
        ruleOf(type, concat([body, new Uint8Array(1)])),
        "frame-body",
        `${frame._tag} with a byte too many`
      )
    }
  })

  it("refuses types that do not exist, and Data as a control frame", () => {
    const types = new Set<number>(Object.values(Frame.Type))
    for (let type = 0; type < 256; type++) {
      if (!types.has(type) || type === Frame.Type.Data) assert.strictEqual(ruleOf(type, ""), "frame-type")
    }
  })

  it("refuses codes beyond the last one", () => {
    assert.strictEqual(ruleOf(Frame.Type.Close, "060000"), "Close")
    assert.strictEqual(ruleOf(Frame.Type.Close, "070000"), "close-code")
    assert.strictEqual(ruleOf(Frame.Type.Refused, "09000000"), "Refused")
    assert.strictEqual(ruleOf(Frame.Type.Refused, "0a000000"), "refused-code")
  })

  it("refuses a reset for a reason that does not exist, and names and details that are too long", () => {
    assert.strictEqual(ruleOf(Frame.Type.Reset, "010300"), "Reset")
    assert.strictEqual(ruleOf(Frame.Type.Reset, "010400"), "reset-code")
    for (const length of [255, 256]) {
      const text = "x".repeat(length)
      const expected = (tag: string) => (length === 255 ? tag : "frame-body")
      const open = { _tag: "Open", channel: 1, name: text } as const
      assert.strictEqual(ruleOf(...split(Frame.encode(open))), expected("Open"))
      const reset = { _tag: "Reset", channel: 1, code: "Failed", detail: text } as const
      assert.strictEqual(ruleOf(...split(Frame.encode(reset))), expected("Reset"))
    }
  })

  it("refuses text that is not UTF-8", () => {
    assert.strictEqual(ruleOf(Frame.Type.Close, "000002c3a9"), "Close")
    assert.strictEqual(ruleOf(Frame.Type.Close, "000002c328"), "frame-body")
  })

  it("lists at most 1024 rejected messages", () => {
    const most = { ...positions, rejected: Array.from({ length: Positions.rejectedMax }, (_, i) => i) }
    assert.deepStrictEqual(Frame.decode(...split(Frame.encode(most))), most)
    const more = { ...most, rejected: [...most.rejected, 2000] }
    assert.strictEqual(ruleOf(...split(Frame.encode(more))), "frame-body")
  })

  it("writes the header of Data for any channel, offset and length", () => {
    assert.strictEqual(hex(Frame.dataHeader(0, 0, 5)), "21070000")
    assert.strictEqual(hex(Frame.dataHeader(0, 64, 61)), "214040004040")
    seeds(500, (chance) => {
      const channel = chance.integer()
      const offset = chance.int(0, 2 ** 40)
      const length = chance.int(0, 100)
      const bytes = concat([Frame.dataHeader(channel, offset, length), new Uint8Array(length)])
      assert.deepStrictEqual(decodeAll(bytes, 200).frames, [
        { _tag: "Data", channel, offset, bytes: "00".repeat(length) }
      ])
    })
  })
})
