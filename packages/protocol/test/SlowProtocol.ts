/**
 * The protocol once more, slow and obvious, written from SPEC.md and not from the code: whole byte strings in, plain
 * values out, integers as BigInt, one byte at a time. It shares nothing with `src`, so it can judge it.
 */

/** A frame as a plain value; the names of the fields are those of SPEC.md. */
export type SlowFrame = { readonly _tag: string; readonly [field: string]: unknown }

/** What a whole byte string means: the frames up to the first broken rule or the first incomplete frame. */
export interface Decoded {
  readonly frames: ReadonlyArray<SlowFrame>
  /** The rule that the byte string breaks. */
  readonly rule: string | undefined
  /** The last frame is whole. */
  readonly isWhole: boolean
}

/** What a stream carries. */
export interface Records {
  readonly messages: ReadonlyArray<string>
  /** How many messages were skipped before each of them, and behind the last one. */
  readonly skipped: ReadonlyArray<number>
  /** Where each record ends, and how many messages came or were skipped up to there. */
  readonly counts: ReadonlyArray<{ readonly end: number; readonly count: number }>
  readonly ends: ReadonlyArray<number>
  readonly ended: boolean
}

const tags: { readonly [type: number]: string } = {
  0x01: "Hello",
  0x02: "Welcome",
  0x03: "Challenge",
  0x04: "Proof",
  0x05: "Resumed",
  0x06: "Refused",
  0x10: "Ping",
  0x11: "Pong",
  0x12: "Heartbeat",
  0x20: "Positions",
  0x21: "Data",
  0x22: "Open",
  0x23: "Channels",
  0x24: "Reset",
  0x25: "ResetDone",
  0x30: "GoAway",
  0x31: "Close",
  0x32: "Closed"
}

const refusedCodes = [
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
]
const closeCodes = ["Normal", "Drained", "Expired", "Failed", "Violated", "Fenced", "GoneAway"]
const resetCodes = ["Refused", "Abandoned", "Failed", "Invalid"]

/** Thrown where a byte string breaks a rule, or ends. */
class Stop {
  /** `undefined` where it ends. */
  readonly rule: string | undefined
  constructor(rule?: string) {
    this.rule = rule
  }
}

/** Bytes that are taken from the front. Where they run out, `end` is thrown. */
class Take {
  at = 0
  readonly bytes: Uint8Array
  private readonly end: Stop

  constructor(bytes: Uint8Array, end: Stop) {
    this.bytes = bytes
    this.end = end
  }

  byte(): number {
    const byte = this.bytes[this.at]
    if (byte === undefined) throw this.end
    this.at++
    return byte
  }

  integer(tooLarge: Stop): number {
    const first = this.byte()
    const more = [0, 1, 3, 7][first >> 6]!
    let value = BigInt(first % 64)
    for (let i = 0; i < more; i++) value = value * 256n + BigInt(this.byte())
    if (value > 2n ** 53n - 1n) throw tooLarge
    return Number(value)
  }

  fixed(length: number): Array<number> {
    const bytes: Array<number> = []
    for (let i = 0; i < length; i++) bytes.push(this.byte())
    return bytes
  }
}

const body = new Stop("frame-body")

const hex = (bytes: ReadonlyArray<number>): string => Buffer.from(bytes).toString("hex")

const bodyOf = (tag: string, from: Take): SlowFrame => {
  const integer = () => from.integer(body)
  const fixed = (length: number) => hex(from.fixed(length))
  const bytes = () => fixed(integer())
  const text = (bytesMax = Infinity) => {
    const raw = Buffer.from(from.fixed(integer()))
    const text = raw.toString("utf8")
    if (raw.length > bytesMax || !Buffer.from(text).equals(raw)) throw body
    return text
  }
  const list = <A>(one: () => A): Array<A> => {
    const count = integer()
    if (count > 1024) throw body
    return Array.from({ length: count }, one)
  }
  const position = () => ({
    _tag: "Positions",
    channel: integer(),
    received: integer(),
    taken: integer(),
    limit: integer(),
    released: integer(),
    rejected: list(integer)
  })
  const terms = () => ({
    limit: integer(),
    reserve: integer(),
    channelLimit: integer(),
    growth: integer(),
    channels: integer()
  })
  switch (tag) {
    case "Hello": {
      const hello = {
        _tag: tag,
        versions: list(integer),
        definition: text(),
        messageBytesMax: integer(),
        heartbeatMillisMax: integer(),
        terms: terms(),
        session: bytes(),
        epoch: integer(),
        nonce: fixed(32),
        credentials: bytes()
      }
      if (hello.session.length !== 0 && hello.session.length !== 32) throw body
      return hello
    }
    case "Welcome":
      return {
        _tag: tag,
        version: integer(),
        heartbeatMillisMax: integer(),
        terms: terms(),
        session: fixed(16),
        secret: fixed(32)
      }
    case "Challenge":
      return {
        _tag: tag,
        version: integer(),
        heartbeatMillisMax: integer(),
        nonce: fixed(32),
        positions: list(position)
      }
    case "Proof":
      return { _tag: tag, positions: list(position), mac: fixed(32) }
    case "Resumed":
      return { _tag: tag, mac: fixed(32) }
    case "Refused": {
      const code = refusedCodes[integer()]
      if (code === undefined) throw new Stop("refused-code")
      return { _tag: tag, code, retryAfterMillis: integer(), epoch: integer(), detail: text() }
    }
    case "Ping":
    case "Pong":
      return { _tag: tag, id: integer() }
    case "Positions":
      return position()
    case "Open":
      return { _tag: tag, channel: integer(), name: text(255) }
    case "Channels":
      return { _tag: tag, seen: integer(), limit: integer() }
    case "Reset": {
      const channel = integer()
      const code = resetCodes[integer()]
      if (code === undefined) throw new Stop("reset-code")
      return { _tag: tag, channel, code, detail: text(255) }
    }
    case "ResetDone":
      return { _tag: tag, channel: integer() }
    case "GoAway":
      return { _tag: tag, retryAfterMillis: integer(), end: integer() }
    case "Close": {
      const code = closeCodes[integer()]
      if (code === undefined) throw new Stop("close-code")
      return { _tag: tag, code, epoch: integer(), detail: text() }
    }
    default:
      return { _tag: tag }
  }
}

const data = (from: Take, length: number): SlowFrame => {
  const size = (at: number) => 2 ** (from.bytes[at]! >> 6)
  const start = from.at
  const has = from.bytes.length - start
  if (length < 2) throw body
  if (has > 0 && size(start) + 1 > length) throw body
  if (has > size(start) && size(start) + size(start + size(start)) > length) throw body
  if (has <= size(start) || has < size(start) + size(start + size(start))) throw new Stop()
  const channel = from.integer(body)
  const offset = from.integer(body)
  const payload = length - (from.at - start)
  if (offset + payload > Number.MAX_SAFE_INTEGER) throw body
  return {
    _tag: "Data",
    channel,
    offset,
    bytes: hex(from.fixed(Math.min(payload, from.bytes.length - from.at))),
    payload
  }
}

const one = (from: Take, frameBytesMax: number): SlowFrame => {
  const type = from.byte()
  const tooLong = new Stop("frame-length")
  const length = from.integer(tooLong)
  if (length > (type === 0x21 ? 2 ** 20 : frameBytesMax)) throw tooLong
  const tag = tags[type]
  if (tag === "Data") return data(from, length)
  const inside = new Take(Uint8Array.from(from.fixed(length)), body)
  if (tag === undefined) throw new Stop("frame-type")
  const frame = bodyOf(tag, inside)
  if (inside.at !== length) throw body
  return frame
}

/** Decodes a whole byte string. A `Data` frame whose payload is cut off ends with what there is of it. */
export const decodeAll = (bytes: Uint8Array, frameBytesMax: number): Decoded => {
  const frames: Array<SlowFrame> = []
  let done = 0
  while (done < bytes.length) {
    const from = new Take(bytes.subarray(done), new Stop())
    try {
      const { payload, ...frame } = one(from, frameBytesMax)
      frames.push(frame)
      if (typeof payload === "number" && payload * 2 !== String(frame["bytes"]).length) {
        return { frames, rule: undefined, isWhole: false }
      }
    } catch (thrown) {
      if (!(thrown instanceof Stop)) throw thrown
      return { frames, rule: thrown.rule, isWhole: false }
    }
    done += from.at
  }
  return { frames, rule: undefined, isWhole: true }
}

/** The records of a stream from its start: messages as hex, where each ends, what was skipped, and whether the end came. */
export const recordsOf = (stream: Uint8Array): Records => {
  const from = new Take(stream, new Stop())
  const messages: Array<string> = []
  const ends: Array<number> = []
  const skipped = [0]
  const counts: Array<{ end: number; count: number }> = []
  let count = 0
  let ended = false
  try {
    while (from.at < stream.length && !ended) {
      const value = from.integer(body)
      if (value === 0) ended = true
      else if (value === 1) {
        const some = from.integer(body)
        skipped[messages.length]! += some
        count += some
      } else {
        messages.push(hex(from.fixed(value - 2)))
        ends.push(from.at)
        skipped.push(0)
        count++
      }
      counts.push({ end: from.at, count })
    }
  } catch (thrown) {
    if (!(thrown instanceof Stop)) throw thrown
  }
  return { messages, skipped, ends, counts, ended }
}
