/**
 * The frames of the protocol and their bytes. A frame is a type (one byte), the length of its body (a variable-length
 * integer) and the body. `Data` is the only frame whose body may be handled before it is complete.
 */
import { Reader, Writer } from "./Bytes.ts"
import * as Handshake from "./Handshake.ts"
import * as Memory from "./Memory.ts"
import * as Positions from "./Positions.ts"
import * as Varint from "./Varint.ts"
import { type Violation, violation } from "./Violation.ts"

/** The type bytes. */
export const Type = {
  ...Handshake.Type,
  Ping: 0x10,
  Pong: 0x11,
  Heartbeat: 0x12,
  Positions: 0x20,
  Data: 0x21,
  Open: 0x22,
  Channels: 0x23,
  Reset: 0x24,
  ResetDone: 0x25,
  GoAway: 0x30,
  Close: 0x31,
  Closed: 0x32
} as const

/** "Are you there?" The answer is a {@link Pong} with the same id. */
export interface Ping {
  readonly _tag: "Ping"
  readonly id: number
}

/** The answer to the latest {@link Ping}; earlier ones are answered by it, too. */
export interface Pong {
  readonly _tag: "Pong"
  readonly id: number
}

/** A sign of life and nothing else. */
export interface Heartbeat {
  readonly _tag: "Heartbeat"
}

/** The sender will end this session soon: `end` is the final position of its data on channel 0. */
export interface GoAway {
  readonly _tag: "GoAway"
  readonly retryAfterMillis: number
  readonly end: number
}

/** Why a session ends. */
export type CloseCode = "Normal" | "Drained" | "Expired" | "Failed" | "Violated" | "Fenced" | "GoneAway"

/** The session ends here. `epoch` is the epoch that fences this one off and 0 for other codes. */
export interface Close {
  readonly _tag: "Close"
  readonly code: CloseCode
  readonly epoch: number
  readonly detail: string
}

/** The answer to {@link Close}. */
export interface Closed {
  readonly _tag: "Closed"
}

/** A channel begins; its data may follow at once. */
export interface Open {
  readonly _tag: "Open"
  readonly channel: number
  readonly name: string
}

/**
 * Of the channels that the receiver of this frame opens: how many have been seen, and how many there may be, over the
 * life of the session. The first one on a resumed link comes behind the `Positions` of all channels that are there.
 */
export interface Channels {
  readonly _tag: "Channels"
  readonly seen: number
  readonly limit: number
}

/** Why a channel was ended before its time. */
export type ResetCode = "Refused" | "Abandoned" | "Failed" | "Invalid"

/** Both directions of a channel are over, and what was not taken is gone. */
export interface Reset {
  readonly _tag: "Reset"
  readonly channel: number
  readonly code: ResetCode
  readonly detail: string
}

/** The answer to {@link Reset}: nothing of this channel follows. */
export interface ResetDone {
  readonly _tag: "ResetDone"
  readonly channel: number
}

/** Every frame but `Data`. */
export type Control =
  | Ping
  | Pong
  | Heartbeat
  | Positions.Positions
  | Open
  | Channels
  | Reset
  | ResetDone
  | GoAway
  | Close
  | Closed
  | Handshake.Handshake

/** The longest body of `Data`. */
export const dataBytesMax = 1_048_576

/** The longest name of a channel, and the longest detail of a reset, in bytes of UTF-8. */
export const textBytesMax = 255

const resetCodes: ReadonlyArray<ResetCode> = ["Refused", "Abandoned", "Failed", "Invalid"]

const closeCodes: ReadonlyArray<CloseCode> = [
  "Normal",
  "Drained",
  "Expired",
  "Failed",
  "Violated",
  "Fenced",
  "GoneAway"
]

/** Encodes a control frame. */
export const encode = (frame: Control): Uint8Array => {
  const body = new Writer()
  writeBody(body, frame)
  const out = Memory.small(1 + Varint.size(body.length) + body.length)
  out[0] = Type[frame._tag]
  body.copyTo(out, Varint.write(out, 1, body.length))
  return out
}

/** The bytes of a `Data` frame before its payload of `length` bytes. */
export const dataHeader = (channel: number, offset: number, length: number): Uint8Array => {
  const prefix = Varint.size(channel) + Varint.size(offset)
  const out = Memory.small(1 + Varint.size(prefix + length) + prefix)
  out[0] = Type.Data
  Varint.write(out, Varint.write(out, Varint.write(out, 1, prefix + length), channel), offset)
  return out
}

/** Decodes the body of a control frame, which must be whole and lies between two places of `bytes`. It keeps no view of them. */
export const decode = (type: number, bytes: Uint8Array, from = 0, until = bytes.length): Control | Violation => {
  const reader = new Reader(bytes, from, until)
  const frame = readBody(type, reader)
  if (frame === undefined) return violation("frame-type", `there is no control frame of type ${type}`)
  if (frame._tag === "Violation") return frame
  if (reader.failed) return violation("frame-body", `the body of ${frame._tag} has too few bytes or a wrong value`)
  if (reader.rest > 0) return violation("frame-body", `the body of ${frame._tag} has ${reader.rest} bytes too many`)
  return frame
}

const writeBody = (into: Writer, frame: Control): void => {
  switch (frame._tag) {
    case "Ping":
    case "Pong":
      return into.varint(frame.id)
    case "Heartbeat":
    case "Closed":
      return
    case "Positions":
      return Positions.write(into, frame)
    case "Open":
      into.varint(frame.channel)
      return into.text(frame.name)
    case "Channels":
      into.varint(frame.seen)
      return into.varint(frame.limit)
    case "Reset":
      into.varint(frame.channel)
      into.varint(resetCodes.indexOf(frame.code))
      return into.text(frame.detail)
    case "ResetDone":
      return into.varint(frame.channel)
    case "GoAway":
      into.varint(frame.retryAfterMillis)
      return into.varint(frame.end)
    case "Close":
      into.varint(closeCodes.indexOf(frame.code))
      into.varint(frame.epoch)
      return into.text(frame.detail)
    default:
      return Handshake.write(into, frame)
  }
}

const readBody = (type: number, from: Reader): Control | Violation | undefined => {
  switch (type) {
    case Type.Ping:
      return { _tag: "Ping", id: from.varint() }
    case Type.Pong:
      return { _tag: "Pong", id: from.varint() }
    case Type.Heartbeat:
      return { _tag: "Heartbeat" }
    case Type.Closed:
      return { _tag: "Closed" }
    case Type.Positions:
      return Positions.read(from)
    case Type.Open:
      return { _tag: "Open", channel: from.varint(), name: from.text(textBytesMax) }
    case Type.Channels:
      return { _tag: "Channels", seen: from.varint(), limit: from.varint() }
    case Type.Reset: {
      const channel = from.varint()
      const code = resetCodes[from.varint()]
      const detail = from.text(textBytesMax)
      return code === undefined
        ? violation("reset-code", "unknown reset code")
        : { _tag: "Reset", channel, code, detail }
    }
    case Type.ResetDone:
      return { _tag: "ResetDone", channel: from.varint() }
    case Type.GoAway:
      return { _tag: "GoAway", retryAfterMillis: from.varint(), end: from.varint() }
    case Type.Close: {
      const code = closeCodes[from.varint()]
      const epoch = from.varint()
      const detail = from.text()
      return code === undefined ? violation("close-code", "unknown close code") : { _tag: "Close", code, epoch, detail }
    }
    default:
      return Handshake.read(type, from)
  }
}
