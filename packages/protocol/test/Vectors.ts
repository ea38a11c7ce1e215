/**
 * Makes the test vectors of SPEC.md. They are the same in every run: `UPDATE=1` writes them to `vectors/vectors.json`,
 * and without it a test compares.
 */
import { Frame, Handshake, Positions, SendWindow, Varint } from "@holdfast/protocol"
import { makeChannels, makeConversation } from "./Conversations.ts"
import { mac, secret } from "./Secrets.ts"
import { challenge, concat, controls, dataFrame, fromHex, hello, hex, plain, proof } from "./Samples.ts"
import type { SlowFrame } from "./SlowProtocol.ts"

export type Vectors = ReturnType<typeof makeVectors>

export const makeVectors = () => ({
  version: 1,
  integers: {
    shortest: integers.map((value) => {
      const bytes = new Uint8Array(8)
      return { value, hex: hex(bytes.subarray(0, Varint.write(bytes, 0, value))) }
    }),
    alsoRead: [
      { value: 37, hex: "4025" },
      { value: 37, hex: "80000025" },
      { value: 37, hex: "c000000000000025" },
      { value: 0, hex: "4000" }
    ],
    refused: ["c020000000000000", "ffffffffffffffff"]
  },
  frames: [
    ...controls.map((frame) => ({ hex: hex(Frame.encode(frame)), frame: plain(frame) })),
    ...data.map(([channel, offset, bytes]) => ({
      hex: hex(dataFrame(channel, offset, fromHex(bytes))),
      frame: { _tag: "Data", channel, offset, bytes } as SlowFrame
    }))
  ],
  violations,
  forbidden: {
    terms: { limit: 8, reserve: 8, channelLimit: 16, growth: 0, channels: 2 },
    said: forbidden.map(({ rule, said }) => ({
      rule,
      hex: hex(
        concat(
          said.map((one) =>
            "_tag" in one ? Frame.encode(one) : dataFrame(one.channel, one.offset, fromHex(one.bytes))
          )
        )
      )
    }))
  },
  records: records.map(({ ended, messages, skipped = messages.map(() => 0).concat(0) }) => ({
    messages,
    skipped,
    ended,
    hex: hex(streamOf(messages, skipped, ended))
  })),
  proofs: makeProofs(),
  conversation: makeConversation(),
  channels: makeChannels()
})

const integers = [0, 37, 63, 64, 15_293, 16_383, 16_384, 494_878_333, 2 ** 30 - 1, 2 ** 30, 2 ** 32, 2 ** 53 - 1]

const data: ReadonlyArray<readonly [channel: number, offset: number, bytes: string]> = [
  [0, 0, "0768656c6c"],
  [0, 5, "6f"],
  [0, 2 ** 53 - 2, "00"],
  [0, 100, ""],
  [3, 64, "ab".repeat(70)]
]

const violations = [
  { rule: "frame-length", hex: "2180100001" },
  { rule: "frame-length", hex: "2080010001" },
  { rule: "frame-length", hex: "10c020000000000000" },
  { rule: "frame-type", hex: "0000" },
  { rule: "frame-type", hex: "7f020102" },
  { rule: "frame-body", hex: "1000" },
  { rule: "frame-body", hex: "10020505" },
  { rule: "frame-body", hex: "120100" },
  { rule: "frame-body", hex: "1008c020000000000000" },
  { rule: "frame-body", hex: "2100" },
  { rule: "frame-body", hex: "21024000" },
  { rule: "frame-body", hex: "210a00c01fffffffffffff01" },
  { rule: "frame-body", hex: "3105000002c328" },
  { rule: "close-code", hex: "3103070000" },
  { rule: "frame-body", hex: "22020102" },
  { rule: "frame-body", hex: `224103014100${"78".repeat(256)}` },
  { rule: "reset-code", hex: "2403010400" },
  { rule: "refused-code", hex: "06040a000000" }
]

interface Data {
  readonly channel: number
  readonly offset: number
  readonly bytes: string
}

const open = (channel: number): Frame.Open => ({ _tag: "Open", channel, name: "" })
const positions = (parts: Partial<Positions.Positions>): Positions.Positions => ({
  ...Positions.unseen(parts.channel ?? 0, 16),
  ...parts
})

/** What a client may not say, from the opening of a fresh session on, to a server with those terms. */
const forbidden: ReadonlyArray<{ readonly rule: string; readonly said: ReadonlyArray<Frame.Control | Data> }> = [
  { rule: "channel", said: [{ channel: 1, offset: 0, bytes: "02" }] },
  { rule: "channel", said: [open(2)] },
  { rule: "channel", said: [{ _tag: "Reset", channel: 0, code: "Failed", detail: "" }] },
  { rule: "channel-order", said: [open(1), open(5)] },
  { rule: "channel-limit", said: [open(1), open(3), open(5)] },
  { rule: "channels", said: [{ _tag: "Channels", seen: 1, limit: 9 }] },
  { rule: "data-gap", said: [open(1), { channel: 1, offset: 1, bytes: "02" }] },
  { rule: "data-limit", said: [{ channel: 0, offset: 0, bytes: "02".repeat(9) }] },
  { rule: "data-limit", said: [open(1), { channel: 1, offset: 0, bytes: "02".repeat(17) }] },
  { rule: "data-after-end", said: [open(1), { channel: 1, offset: 0, bytes: "0002" }] },
  { rule: "skip", said: [open(1), { channel: 1, offset: 0, bytes: "0100" }] },
  { rule: "message-length", said: [open(1), { channel: 1, offset: 0, bytes: "bfffffff" }] },
  { rule: "received", said: [positions({ received: 1 })] },
  { rule: "limit", said: [positions({ limit: 15 })] },
  { rule: "released", said: [open(1), positions({ channel: 1, released: 1 })] },
  { rule: "frame-order", said: [{ _tag: "Resumed", mac: new Uint8Array(32) }] }
]

const records: ReadonlyArray<{
  readonly messages: ReadonlyArray<string>
  readonly skipped?: ReadonlyArray<number>
  readonly ended: boolean
}> = [
  { messages: [], ended: true },
  { messages: [""], ended: false },
  { messages: ["68656c6c6f", "", "00"], ended: true },
  { messages: ["aa".repeat(62), "bb".repeat(63)], ended: false },
  { messages: ["cc".repeat(300)], ended: true },
  { messages: [], skipped: [3], ended: false },
  { messages: ["61", "62", ""], skipped: [1, 0, 64, 16_384], ended: true }
]

const streamOf = (messages: ReadonlyArray<string>, skipped: ReadonlyArray<number>, ended: boolean): Uint8Array => {
  const window = new SendWindow.SendWindow()
  for (const [i, count] of skipped.entries()) {
    for (let skip = 0; skip < count; skip++) window.enqueue(new Uint8Array(0), 0)
    window.expire(0)
    if (i < messages.length) window.enqueue(fromHex(messages[i]!))
  }
  if (ended) window.acceptEnd()
  window.resume(0, 0, Number.MAX_SAFE_INTEGER)
  window.feed(Infinity)
  return concat(window.next(Infinity))
}

const makeProofs = () => {
  const covered = Handshake.proofTranscript(hello, challenge, proof.positions)
  const proven: Handshake.Proof = { ...proof, mac: mac(secret, covered) }
  const resumed = Handshake.resumedTranscript(hello, challenge, proven)
  return {
    secret: hex(secret),
    hello: hex(Frame.encode(hello)),
    challenge: hex(Frame.encode(challenge)),
    proof: hex(Frame.encode(proven)),
    proofCovers: hex(covered),
    proofMac: hex(proven.mac),
    resumed: hex(Frame.encode({ _tag: "Resumed", mac: mac(secret, resumed) })),
    resumedCovers: hex(resumed),
    resumedMac: hex(mac(secret, resumed))
  }
}
