import { Decoder, Frame, Violation } from "@holdfast/protocol"
import { assert, describe, it, vi } from "@effect/vitest"
import { concat, controls, dataFrame, fromHex, hex, plain, randomControl } from "./Samples.ts"
import { type Chance, seeds } from "./Seeded.ts"
import { decodeAll, type SlowFrame } from "./SlowProtocol.ts"

const frameBytesMax = 4096

interface Seen {
  readonly frames: ReadonlyArray<SlowFrame>
  readonly rule: string | undefined
  readonly isWhole: boolean
}

/** Decodes chunks; the pieces of `Data` that belong together are joined. */
const decode = (chunks: ReadonlyArray<Uint8Array>): Seen => {
  const frames: Array<SlowFrame> = []
  let isNextPiece = (_channel: number, _offset: number) => false
  const decoder = new Decoder.Decoder(frameBytesMax, {
    data: (channel, offset, bytes) => {
      const last = frames[frames.length - 1]
      assert.isAbove(bytes.length, 0)
      if (isNextPiece(channel, offset))
        frames[frames.length - 1] = { ...last!, bytes: String(last!["bytes"]) + hex(bytes) }
      else frames.push({ _tag: "Data", channel, offset, bytes: hex(bytes) })
      const end = offset + bytes.length
      isNextPiece = (nextChannel, nextOffset) => nextChannel === channel && nextOffset === end
      return undefined
    },
    control: (frame) => {
      isNextPiece = () => false
      frames.push(plain(frame))
      return undefined
    }
  })
  for (const chunk of chunks) {
    const failed = decoder.push(chunk)
    if (failed !== undefined) return { frames, rule: failed.rule, isWhole: false }
  }
  return { frames, rule: undefined, isWhole: !decoder.isInsideFrame }
}

/** What {@link decode} must see: frames of `Data` that follow each other without a seam cannot be told from one. */
const expected = (bytes: Uint8Array): Seen => {
  const { frames, isWhole, rule } = decodeAll(bytes, frameBytesMax)
  const joined: Array<SlowFrame> = []
  for (const frame of frames) {
    const last = joined[joined.length - 1]
    if (frame._tag === "Data" && frame["bytes"] === "") continue
    if (
      frame._tag === "Data" &&
      last?._tag === "Data" &&
      last["channel"] === frame["channel"] &&
      Number(last["offset"]) + String(last["bytes"]).length / 2 === frame["offset"]
    )
      joined[joined.length - 1] = { ...last, bytes: String(last["bytes"]) + String(frame["bytes"]) }
    else joined.push(frame)
  }
  return { frames: joined, rule, isWhole }
}

const conversation = (chance: Chance): Uint8Array =>
  concat(
    Array.from({ length: chance.int(1, 12) }, () =>
      chance.bool(0.5)
        ? Frame.encode(randomControl(chance))
        : dataFrame(
            chance.integer(),
            chance.int(0, 2 ** 50),
            chance.bytes(chance.bool(0.02) ? 4000 : chance.pick([0, 1, 2, 40, 60, 64]))
          )
    )
  )

describe("Decoder", () => {
  it("sees the same frames in any chunking as the slow decoder sees in the whole", () => {
    seeds(1000, (chance) => {
      const bytes = conversation(chance)
      assert.deepStrictEqual(decode(chance.chunks(bytes)), expected(bytes))
    })
  })

  it("sees the same frames wherever a conversation of all frames is cut in two, and in single bytes", () => {
    const bytes = concat([
      ...controls.map(Frame.encode),
      dataFrame(0, 0, new Uint8Array(70).fill(1)),
      dataFrame(1, 2 ** 40, new Uint8Array(3).fill(2)),
      dataFrame(70, 9, new Uint8Array(0)),
      Frame.encode({ _tag: "Heartbeat" })
    ])
    const whole = expected(bytes)
    assert.isTrue(whole.isWhole)
    assert.deepStrictEqual(decode(Array.from(bytes, (byte) => Uint8Array.of(byte))), whole)
    for (let cut = 0; cut <= bytes.length; cut++) {
      assert.deepStrictEqual(decode([bytes.subarray(0, cut), bytes.subarray(cut)]), whole, `cut at ${cut}`)
      assert.deepStrictEqual(decode([bytes.subarray(0, cut)]), expected(bytes.subarray(0, cut)), `ends at ${cut}`)
    }
  })

  it("breaks the same rule at the same frame as the slow decoder when bytes are spoilt", () => {
    const rules = new Set<string | undefined>()
    seeds(2000, (chance) => {
      const bytes = conversation(chance)
      for (let i = chance.int(1, 3); i > 0; i--)
        bytes[chance.int(0, Math.min(bytes.length, 400) - 1)] = chance.int(0, 255)
      const seen = decode(chance.chunks(bytes))
      assert.deepStrictEqual(seen, expected(bytes))
      rules.add(seen.rule)
    })
    for (const rule of ["frame-body", "frame-length", "frame-type", undefined]) assert.isTrue(rules.has(rule), rule)
  })

  it("never throws at garbage", () => {
    seeds(4000, (chance) => {
      const bytes = chance.bytes(chance.int(1, 60))
      if (chance.bool()) bytes[0] = chance.pick(Object.values(Frame.Type))
      assert.deepStrictEqual(decode(chance.chunks(bytes)), expected(bytes))
    })
  })

  it("hands on payloads as views of the chunk, never as copies", () => {
    const payload = new Uint8Array(3000).fill(5)
    const bytes = dataFrame(0, 0, payload)
    for (const cut of [0, 1, 3, 4, 5, 1000, 2999]) {
      const chunks = [bytes.subarray(0, cut), bytes.subarray(cut)]
      const seen: Array<Uint8Array> = []
      const decoder = new Decoder.Decoder(frameBytesMax, {
        control: () => undefined,
        data: (_channel, _offset, piece) => void seen.push(piece)
      })
      for (const chunk of chunks) decoder.push(chunk)
      assert.strictEqual(
        seen.reduce((sum, piece) => sum + piece.length, 0),
        payload.length
      )
      for (const piece of seen) assert.strictEqual(piece.buffer, bytes.buffer)
    }
  })

  it("never allocates more for a frame than the bound, whatever length the frame claims", () => {
    class Counted extends Uint8Array {}
    let bytesMax = 0
    const counting = new Proxy(Uint8Array, {
      construct: (_target, args: ConstructorParameters<typeof Uint8Array>) => {
        const made = new Counted(...args)
        bytesMax = Math.max(bytesMax, made.byteLength)
        return made
      }
    })
    const claims = ["11bfffffff", "1180001001", "01c01fffffffffffff", "2180100001", "21bfffffff0000"]
    const control = concat([fromHex("11"), fromHex("5000"), new Uint8Array(frameBytesMax)])
    vi.stubGlobal("Uint8Array", counting)
    try {
      for (const claim of claims) {
        const decoder = new Decoder.Decoder(frameBytesMax, { control: () => undefined, data: () => undefined })
        assert.strictEqual(decoder.push(Buffer.from(claim, "hex"))?.rule, "frame-length", claim)
      }
      assert.isAtMost(bytesMax, 64)
      const decoder = new Decoder.Decoder(frameBytesMax, { control: () => undefined, data: () => undefined })
      for (const byte of control.subarray(0, -1)) assert.isUndefined(decoder.push(Buffer.from([byte])))
      assert.isAtMost(bytesMax, frameBytesMax + 9)
      assert.isAtLeast(bytesMax, frameBytesMax)
    } finally {
      vi.unstubAllGlobals()
    }
  })

  it("takes a body of exactly the bound, and refuses one of a byte more as soon as its length is there", () => {
    const { dataBytesMax } = Frame
    const most = decode([dataFrame(0, 0, new Uint8Array(dataBytesMax - 2))])
    assert.isUndefined(most.rule)
    assert.isTrue(most.isWhole)
    assert.strictEqual(decode([dataFrame(0, 0, new Uint8Array(dataBytesMax - 1)).subarray(0, 5)]).rule, "frame-length")
    assert.strictEqual(decode([fromHex("105000")]).rule, undefined)
    assert.strictEqual(decode([fromHex("105001")]).rule, "frame-length")
  })

  it("counts what tells something: any piece of data, and any frame but a heartbeat", () => {
    const decoder = new Decoder.Decoder(frameBytesMax, { data: () => undefined, control: () => undefined })
    const counted = (bytes: Uint8Array) => {
      const before = decoder.tellingCount
      decoder.push(bytes)
      return decoder.tellingCount - before
    }
    const beat = Frame.encode({ _tag: "Heartbeat" })
    const ping = Frame.encode({ _tag: "Ping", id: 1 })
    const data = dataFrame(0, 0, fromHex("0102"))
    assert.deepStrictEqual([beat, concat([beat, beat]), ping, concat([beat, ping])].map(counted), [0, 0, 1, 1])
    assert.deepStrictEqual([data.subarray(0, -1), data.subarray(-1), beat].map(counted), [1, 1, 0])
  })

  it("refuses Data whose body is shorter than its header as soon as that shows", () => {
    for (const bytes of ["2100", "2101", "210240", "21020040", "210800c0", "2104408080"]) {
      assert.strictEqual(decode([fromHex(bytes)]).rule, "frame-body", bytes)
      assert.isUndefined(decode([fromHex(bytes.slice(0, -2))]).rule, bytes)
    }
    assert.isUndefined(decode([fromHex("21020000")]).rule)
  })

  it("refuses channels and positions beyond 2^53 - 1, at the end of the payload, too", () => {
    assert.strictEqual(decode([fromHex("2109c02000000000000000")]).rule, "frame-body")
    assert.strictEqual(decode([fromHex("210900c020000000000000")]).rule, "frame-body")
    assert.isUndefined(decode([fromHex("210a00c01ffffffffffffe01")]).rule)
    assert.isUndefined(decode([fromHex("210900c01fffffffffffff")]).rule)
    assert.strictEqual(decode([fromHex("210a00c01fffffffffffff01")]).rule, "frame-body")
  })

  it("stops at the violation of a sink, and hands later frames to another sink in the midst of a chunk", () => {
    const log: Array<string> = []
    const second: Decoder.Sink = {
      control: (frame) => void log.push(`second ${frame._tag}`),
      data: (_channel, offset) => Violation.violation("data-gap", `at ${offset}`)
    }
    const decoder = new Decoder.Decoder(frameBytesMax, {
      data: () => undefined,
      control: (frame) => {
        log.push(`first ${frame._tag}`)
        decoder.handTo(second)
        return undefined
      }
    })
    const ping = Frame.encode({ _tag: "Ping", id: 1 })
    const data = dataFrame(0, 7, new Uint8Array(10))
    const failed = decoder.push(concat([ping, ping, data, ping]))
    assert.deepStrictEqual(failed, Violation.violation("data-gap", "at 7"))
    assert.deepStrictEqual(log, ["first Ping", "second Ping"])

    const refusing = new Decoder.Decoder(frameBytesMax, {
      data: () => undefined,
      control: ({ _tag }) => Violation.violation("frame-order", _tag)
    })
    assert.deepStrictEqual(refusing.push(ping), Violation.violation("frame-order", "Ping"))
    const split = new Decoder.Decoder(frameBytesMax, second)
    assert.isUndefined(split.push(data.subarray(0, 4)))
    assert.isTrue(split.isInsideFrame)
    assert.strictEqual(split.push(data.subarray(4))?.rule, "data-gap")
  })

  it("is inside a frame from its first byte to its last, and counts it then", () => {
    const decoder = new Decoder.Decoder(frameBytesMax, { control: () => undefined, data: () => undefined })
    const counts: Array<number> = []
    const inside: Array<boolean> = []
    const insideData: Array<boolean> = []
    const bytes = concat([
      Frame.encode({ _tag: "Ping", id: 100 }),
      dataFrame(0, 0, new Uint8Array(2)),
      dataFrame(0, 2, new Uint8Array(0))
    ])
    for (const byte of bytes) {
      decoder.push(Uint8Array.of(byte))
      inside.push(decoder.isInsideFrame)
      insideData.push(decoder.isInsideData)
      counts.push(decoder.frameCount)
    }
    assert.strictEqual(inside.map(Number).join(""), "11101111101110")
    assert.strictEqual(insideData.map(Number).join(""), "00000001100000")
    assert.strictEqual(counts.join(""), "00011111122223")
    decoder.push(bytes)
    assert.strictEqual(decoder.frameCount, 6)
  })

  it("hands on control frames that hold nothing of a chunk, which is read into again, be it a Buffer or not", () => {
    for (const frame of controls) {
      const kept: Array<Frame.Control> = []
      const decoder = new Decoder.Decoder(frameBytesMax, {
        data: () => undefined,
        control: (frame) => void kept.push(frame)
      })
      for (const chunk of [Buffer.from(Frame.encode(frame)), Frame.encode(frame).slice()]) {
        assert.isUndefined(decoder.push(chunk))
        chunk.fill(0xff)
      }
      assert.deepStrictEqual(kept.map(plain), [plain(frame), plain(frame)])
    }
  })
})
