import { Decoder, Frame, Peer, Varint, type Violation } from "@holdfast/protocol"
import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import { concat, dataFrame, fromHex, hex, plain } from "./Samples.ts"
import { decodeAll, recordsOf, type SlowFrame } from "./SlowProtocol.ts"
import { limits } from "./Peers.ts"
import { mac } from "./Secrets.ts"
import { makeVectors, type Vectors } from "./Vectors.ts"

const file = new URL("../vectors/vectors.json", import.meta.url)
const made = makeVectors()
if (process.env["UPDATE"] === "1") Fs.writeFileSync(file, `${JSON.stringify(made, null, 2)}\n`)
const vectors = JSON.parse(Fs.readFileSync(file, "utf8")) as Vectors

/** The frames of whole bytes, as the decoder under test sees them. */
const decode = (
  bytes: Uint8Array
): { readonly frames: ReadonlyArray<SlowFrame>; readonly rule: string | undefined } => {
  const frames: Array<SlowFrame> = []
  const decoder = new Decoder.Decoder(65_536, {
    data: (channel, offset, piece) => void frames.push({ _tag: "Data", channel, offset, bytes: hex(piece) }),
    control: (frame): Violation.Violation | undefined => void frames.push(plain(frame))
  })
  return { rule: decoder.push(bytes)?.rule, frames }
}

/** The body of a frame whose length has two bytes or one. */
const bodyOf = (frame: string): string => frame.slice(2 + 2 * Varint.sizeOf(fromHex(frame)[1]!))

describe("The test vectors", () => {
  it("are those that the code makes; if they changed on purpose, UPDATE=1 writes them", () => {
    assert.deepStrictEqual(vectors, JSON.parse(JSON.stringify(made)))
  })

  it("hold for integers", () => {
    for (const { hex: form, value } of [...vectors.integers.shortest, ...vectors.integers.alsoRead]) {
      assert.strictEqual(Varint.read(fromHex(form), 0), value)
    }
    for (const form of vectors.integers.refused) assert.strictEqual(Varint.read(fromHex(form), 0), Infinity)
  })

  it("hold for frames, for the code and for the slow decoder", () => {
    const types = new Set<number>()
    for (const { frame, hex: form } of vectors.frames) {
      const bytes = fromHex(form)
      types.add(bytes[0]!)
      assert.deepStrictEqual(decodeAll(bytes, 65_536), { frames: [frame], rule: undefined, isWhole: true })
      assert.deepStrictEqual(decode(bytes), { frames: frame["bytes"] === "" ? [] : [frame], rule: undefined })
    }
    assert.deepStrictEqual(types, new Set<number>(Object.values(Frame.Type)))
  })

  it("hold for violations", () => {
    for (const { hex: form, rule } of vectors.violations) {
      assert.deepStrictEqual(decode(fromHex(form)), { frames: [], rule }, form)
      assert.strictEqual(decodeAll(fromHex(form), 65_536).rule, rule, form)
    }
  })

  it("hold for what a client may not say", () => {
    const { said, terms } = vectors.forbidden
    const server = { ...limits, windowBytes: terms.limit, windowBytesMax: 16, channelWindowBytes: terms.channelLimit }
    for (const { hex: form, rule } of said) {
      const peer = new Peer.Peer({ ...server, growthBytes: terms.growth, channelsMax: terms.channels }, "server")
      assert.deepStrictEqual(peer.offer, terms)
      assert.isUndefined(peer.begin({ ...terms, limit: 16 }))
      assert.strictEqual(new Decoder.Decoder(65_536, peer).push(fromHex(form))?.rule, rule, form)
    }
  })

  it("hold for records", () => {
    for (const { ended, hex: form, messages, skipped } of vectors.records) {
      const read = recordsOf(fromHex(form))
      assert.deepStrictEqual([read.messages, read.skipped, read.ended], [messages, skipped, ended])
      assert.strictEqual(read.counts.at(-1)!.end, form.length / 2)
    }
  })

  it("hold for proofs: what is covered is put together from the frames' bodies alone", () => {
    const { challenge, hello, proof, proofCovers, proofMac, resumed, resumedCovers, resumedMac, secret } =
      vectors.proofs
    const label = (text: string) => hex(Uint8Array.of(text.length)) + hex(new TextEncoder().encode(text))
    const opening = bodyOf(hello) + bodyOf(challenge)
    assert.strictEqual(proofCovers, label("holdfast 1 proof") + opening + bodyOf(proof).slice(0, -64))
    assert.strictEqual(resumedCovers, label("holdfast 1 resumed") + opening + bodyOf(proof))
    assert.strictEqual(hex(mac(fromHex(secret), fromHex(proofCovers))), proofMac)
    assert.strictEqual(hex(mac(fromHex(secret), fromHex(resumedCovers))), resumedMac)
    assert.strictEqual(bodyOf(proof).slice(-64), proofMac)
    assert.strictEqual(bodyOf(resumed), resumedMac)
  })

  it("hold for a conversation that a stranger reads: two links, one session, every message once", () => {
    const { declined, fromClient, fromServer, sent } = vectors.conversation
    const arrived = (from: "client" | "server", link: number) =>
      decodeAll(
        concat(sent.filter((one) => one.from === from && one.link === link).map((one) => fromHex(one.hex))),
        65_536
      )
    const stream = (from: "client" | "server") => {
      const bytes: Array<number> = []
      for (const frame of [...arrived(from, 1).frames, ...arrived(from, 2).frames]) {
        if (frame._tag !== "Data") continue
        assert.isAtMost(Number(frame["offset"]), bytes.length)
        fromHex(String(frame["bytes"])).forEach((byte, i) => (bytes[Number(frame["offset"]) + i] = byte))
      }
      return recordsOf(Uint8Array.from(bytes))
    }
    const up = stream("client")
    assert.deepStrictEqual([up.messages, up.ended], [fromClient, true])
    const down = stream("server")
    assert.deepStrictEqual([down.messages, down.ended], [fromServer, true])

    const tags = (from: "client" | "server", link: number) => [
      ...new Set(arrived(from, link).frames.map(({ _tag }) => _tag))
    ]
    assert.deepStrictEqual(tags("client", 1), ["Hello", "Positions", "Data", "Pong"])
    assert.deepStrictEqual(tags("server", 1), ["Welcome", "Positions", "Ping", "Data"])
    assert.deepStrictEqual(tags("client", 2), ["Hello", "Proof", "Positions", "Channels", "Data", "Close"])
    assert.deepStrictEqual(tags("server", 2), ["Challenge", "Resumed", "Positions", "Channels", "Data", "Closed"])
    assert.isFalse(arrived("client", 1).isWhole)
    const rejected = arrived("server", 2).frames.flatMap((frame) => (frame["rejected"] ?? []) as Array<number>)
    assert.deepStrictEqual(
      [...new Set(rejected)],
      declined.map((index) => up.ends[index]!)
    )
  })

  it("hold for channels that a stranger reads: what was not seen is opened again, what is over or reset is known to be", () => {
    const { channels, sent } = vectors.channels
    const arrived = (from: "client" | "server", link: number) =>
      decodeAll(
        concat(sent.filter((one) => one.from === from && one.link === link).map((one) => fromHex(one.hex))),
        65_536
      )
    const streams = { client: new Map<number, Array<number>>(), server: new Map<number, Array<number>>() }
    for (const from of ["client", "server"] as const) {
      for (const { _tag, bytes, channel, offset } of [1, 2].flatMap((link) => arrived(from, link).frames)) {
        if (_tag !== "Data") continue
        const stream = streams[from].get(Number(channel)) ?? []
        streams[from].set(Number(channel), stream)
        assert.isAtMost(Number(offset), stream.length)
        fromHex(String(bytes)).forEach((byte, i) => (stream[Number(offset) + i] = byte))
      }
    }
    const read = (from: "client" | "server", id: number) => recordsOf(Uint8Array.from(streams[from].get(id) ?? []))
    for (const { channel, fate, fromClient, fromServer, skipped = 0 } of channels) {
      const [up, down] = [read("client", channel), read("server", channel)]
      assert.deepStrictEqual([up.messages, down.messages], [fromClient, fromServer], `channel ${channel}`)
      assert.strictEqual(up.skipped[0]! + down.skipped[0]!, skipped)
      assert.strictEqual(up.ended && down.ended, fate === "over")
    }
    const about = (from: "client" | "server", link: number) =>
      arrived(from, link).frames.map(({ _tag, channel }) =>
        channel === undefined ? _tag : `${_tag} ${Number(channel)}`
      )
    assert.deepStrictEqual(about("client", 1).slice(2), ["Open 1", "Open 3", "Data 1", "Data 3"])
    assert.deepStrictEqual(about("client", 2), [
      ...["Hello", "Proof", "Positions 0", "Positions 2", "Reset 3", "Channels"],
      ...["Open 5", "Data 5"],
      ...["Positions 0", "Positions 2"]
    ])
    assert.deepStrictEqual(about("server", 2).slice(0, 7), [
      ...["Challenge", "Resumed", "Positions 0", "Positions 1", "Positions 3", "Positions 2", "Channels"]
    ])
    assert.include(about("server", 2), "ResetDone 3")
  })

  it("carry payloads of Data byte by byte as the code writes them", () => {
    for (const { frame, hex: form } of vectors.frames) {
      if (frame._tag !== "Data") continue
      const { bytes, channel, offset } = frame as unknown as { bytes: string; channel: number; offset: number }
      assert.strictEqual(hex(dataFrame(channel, offset, fromHex(bytes))), form)
    }
  })
})
