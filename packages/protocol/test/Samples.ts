/**
 * Frames to test with, one of every kind or by chance, and how to write a frame down.
 */
import { Frame, type Handshake, type Positions } from "@holdfast/protocol"
import type { Chance } from "./Seeded.ts"
import type { SlowFrame } from "./SlowProtocol.ts"

const nonce = Uint8Array.from({ length: 32 }, (_, i) => i)
const secret = Uint8Array.from({ length: 32 }, (_, i) => 0x40 + i)
const session = Uint8Array.from({ length: 16 }, (_, i) => 0xa0 + i)
const mac = Uint8Array.from({ length: 32 }, (_, i) => 0xff - i)

export const positions: Positions.Positions = {
  _tag: "Positions",
  channel: 0,
  received: 70_000,
  taken: 65_000,
  limit: 1_113_576,
  released: 12,
  rejected: [64, 65_000]
}

export const terms: Handshake.Terms = {
  limit: 1_048_576,
  reserve: 1_048_576,
  channelLimit: 65_536,
  growth: 16_777_216,
  channels: 1000
}

export const hello: Handshake.Hello = {
  _tag: "Hello",
  versions: [1],
  definition: "app/Telemetry",
  messageBytesMax: 67_108_864,
  heartbeatMillisMax: 5000,
  terms,
  session,
  epoch: 7,
  nonce,
  credentials: new TextEncoder().encode("token")
}

export const challenge: Handshake.Challenge = {
  _tag: "Challenge",
  version: 1,
  heartbeatMillisMax: 0,
  nonce: mac,
  positions: [positions]
}

export const proof: Handshake.Proof = { _tag: "Proof", positions: [{ ...positions, rejected: [] }], mac }

/** Every kind of control frame, and every code. */
export const controls: ReadonlyArray<Frame.Control> = [
  hello,
  { ...hello, session: new Uint8Array(0), epoch: 1, definition: "grüße/🪢", credentials: new Uint8Array(0) },
  { _tag: "Welcome", version: 1, heartbeatMillisMax: 5000, terms, session, secret },
  challenge,
  proof,
  { _tag: "Resumed", mac },
  ...(
    [
      "Unauthorized",
      "Version",
      "Definition",
      "Policy",
      "Full",
      "Draining",
      "Malformed",
      "Fenced",
      "Unknown",
      "Expired"
    ] as const
  ).map((code, i) => ({ _tag: "Refused", code, retryAfterMillis: 1000 * i, epoch: i, detail: `no. ${i}` }) as const),
  { _tag: "Ping", id: 0 },
  { _tag: "Ping", id: 63 },
  { _tag: "Ping", id: 2 ** 53 - 1 },
  { _tag: "Pong", id: 64 },
  { _tag: "Heartbeat" },
  positions,
  { ...positions, channel: 3, rejected: [] },
  { _tag: "Open", channel: 1, name: "" },
  { _tag: "Open", channel: 70, name: "postgres/🪢" },
  { _tag: "Channels", seen: 3, limit: 1003 },
  ...(["Refused", "Abandoned", "Failed", "Invalid"] as const).map(
    (code, i) => ({ _tag: "Reset", channel: 64 * i, code, detail: i === 0 ? "" : `reason ${i}` }) as const
  ),
  { _tag: "ResetDone", channel: 5 },
  { _tag: "GoAway", retryAfterMillis: 1500, end: 2 ** 40 },
  ...(["Normal", "Drained", "Expired", "Failed", "Violated", "Fenced", "GoneAway"] as const).map(
    (code, i) => ({ _tag: "Close", code, epoch: i, detail: i === 0 ? "" : `reason ${i}` }) as const
  ),
  { _tag: "Closed" }
]

/** Any control frame, with any numbers. */
export const randomControl = (chance: Chance): Frame.Control => {
  const frame = chance.pick(controls)
  switch (frame._tag) {
    case "Ping":
    case "Pong":
      return { ...frame, id: chance.integer() }
    case "Positions":
      return randomPositions(chance)
    case "Open":
    case "Reset":
    case "ResetDone":
      return { ...frame, channel: chance.integer() }
    case "Channels":
      return { ...frame, seen: chance.integer(), limit: chance.integer() }
    case "GoAway":
      return { ...frame, retryAfterMillis: chance.integer(), end: chance.integer() }
    case "Close":
    case "Refused":
      return { ...frame, epoch: chance.integer(), detail: "é".repeat(chance.int(0, 90)) }
    case "Hello":
      return {
        ...frame,
        epoch: chance.integer(),
        nonce: chance.bytes(32),
        credentials: chance.bytes(chance.int(0, 200))
      }
    case "Challenge":
    case "Proof":
      return { ...frame, positions: Array.from({ length: chance.int(0, 3) }, () => randomPositions(chance)) }
    default:
      return frame
  }
}

const randomPositions = (chance: Chance): Positions.Positions => ({
  _tag: "Positions",
  channel: chance.integer(),
  received: chance.integer(),
  taken: chance.integer(),
  limit: chance.integer(),
  released: chance.integer(),
  rejected: Array.from({ length: chance.int(0, 4) }, () => chance.integer())
})

/** The bytes of a whole `Data` frame. */
export const dataFrame = (channel: number, offset: number, payload: Uint8Array): Uint8Array =>
  concat([Frame.dataHeader(channel, offset, payload.length), payload])

export const concat = (pieces: ReadonlyArray<Uint8Array>): Uint8Array => new Uint8Array(Buffer.concat(pieces))

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

export const fromHex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"))

/** A frame with its bytes as hex. */
export const plain = (frame: Frame.Control): SlowFrame =>
  JSON.parse(
    JSON.stringify(frame, (_key, value: unknown) => (value instanceof Uint8Array ? hex(value) : value))
  ) as SlowFrame
