/**
 * Makes the test vectors of SPEC.md. They are the same in every run: `UPDATE=1` writes them to `vectors/vectors.json`,
 * and without it a test compares.
 */
import { Decoder, Frame, Handshake, Peer, SendWindow, Varint } from "@holdfast/protocol"
import { createHmac } from "node:crypto"
import { challenge, concat, controls, dataFrame, fromHex, hello, hex, plain, proof } from "./Samples.ts"
import type { SlowFrame } from "./SlowProtocol.ts"

/** What one side sent on one link at one time: the bytes that arrived, and those behind them that did not. */
export interface Sent {
  readonly link: number
  readonly from: "client" | "server"
  readonly hex: string
  readonly lost: string
}

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
  records: records.map(({ ended, messages }) => ({ messages, ended, hex: hex(streamOf(messages, ended)) })),
  proofs: makeProofs(),
  conversation: makeConversation()
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
  { rule: "frame-length", hex: "2180010001" },
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

const records = [
  { messages: [], ended: true },
  { messages: [""], ended: false },
  { messages: ["68656c6c6f", "", "00"], ended: true },
  { messages: ["aa".repeat(62), "bb".repeat(63)], ended: false },
  { messages: ["cc".repeat(300)], ended: true }
]

const streamOf = (messages: ReadonlyArray<string>, ended: boolean): Uint8Array => {
  const window = new SendWindow.SendWindow()
  for (const message of messages) window.accept(fromHex(message))
  if (ended) window.acceptEnd()
  window.resume(0, 0, window.end)
  return concat(window.next(Infinity))
}

const secret = Uint8Array.from({ length: 32 }, (_, i) => 0x40 + i)

export const mac = (key: Uint8Array, data: Uint8Array): Uint8Array =>
  new Uint8Array(createHmac("sha256", key).update(data).digest())

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

/** One session over two links. The first breaks in the middle of the client's second message. */
const makeConversation = () => {
  const limits: Peer.Limits = {
    windowBytes: 256,
    channelWindowBytes: 64,
    windowBytesMax: 256,
    growthBytes: 0,
    channelsMax: 4,
    messageBytesMax: 1000,
    frameBytesMax: 120
  }
  const client = new Peer.Peer(limits, "client")
  const server = new Peer.Peer(limits, "server")
  const sent: Array<Sent> = []
  const fromClient = ["68656c6c6f", "11".repeat(400), "", "627965"]
  const fromServer = ["22".repeat(70), "33"]
  let decoders = { client: new Decoder.Decoder(65_536, client), server: new Decoder.Decoder(65_536, server) }
  let link = 1

  const log = (from: Sent["from"], bytes: Uint8Array, lostFrom = bytes.length) =>
    sent.push({ link, from, hex: hex(bytes.subarray(0, lostFrom)), lost: hex(bytes.subarray(lostFrom)) })
  const open = (from: Sent["from"], frame: Handshake.Handshake) => log(from, Frame.encode(frame))
  const turn = (from: Sent["from"], lostBytes = 0) => {
    const bytes = concat((from === "client" ? client : server).write(10_000)?.chunks ?? [])
    const arrived = bytes.length - lostBytes
    decoders[from === "client" ? "server" : "client"].push(bytes.subarray(0, arrived))
    log(from, bytes, arrived)
  }
  const takeAll = (peer: Peer.Peer) => {
    peer.receive.hand()
    peer.receive.hand()
    peer.announce()
  }

  const first: Handshake.Hello = {
    ...hello,
    messageBytesMax: limits.messageBytesMax,
    terms: server.offer,
    session: new Uint8Array(0),
    epoch: 1
  }
  open("client", first)
  open("server", {
    _tag: "Welcome",
    version: 1,
    heartbeatMillisMax: 5000,
    terms: server.offer,
    session: hello.session,
    secret
  })
  client.begin(server.offer)
  server.begin(client.offer)
  for (const message of fromClient) client.send.accept(fromHex(message))
  turn("client")
  server.send.accept(fromHex(fromServer[0]!))
  server.ping(1)
  takeAll(server)
  turn("server")
  takeAll(client)
  turn("client", 90)
  client.cut()
  server.cut()
  link = 2
  decoders = { client: new Decoder.Decoder(65_536, client), server: new Decoder.Decoder(65_536, server) }

  const again: Handshake.Hello = { ...first, session: hello.session, epoch: 2, nonce: mac(secret, hello.nonce) }
  const challenged: Handshake.Challenge = { ...challenge, positions: server.positions() }
  const positions = client.positions()
  const proven: Handshake.Proof = {
    _tag: "Proof",
    positions,
    mac: mac(secret, Handshake.proofTranscript(again, challenged, positions))
  }
  open("client", again)
  open("server", challenged)
  open("client", proven)
  open("server", { _tag: "Resumed", mac: mac(secret, Handshake.resumedTranscript(again, challenged, proven)) })
  server.resume(positions)
  client.resume(challenged.positions)

  server.send.accept(fromHex(fromServer[1]!))
  server.send.acceptEnd()
  client.send.acceptEnd()
  turn("server")
  takeAll(client)
  turn("client")
  server.receive.hand()
  server.receive.reject()
  takeAll(server)
  turn("server")
  turn("client")
  takeAll(server)
  turn("server")
  client.close({ code: "Normal", epoch: 0, detail: "" })
  turn("client")
  turn("server")
  return { sent, fromClient, fromServer, declined: [1] }
}
