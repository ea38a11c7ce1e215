/**
 * The frames that open a link, and what their authentication codes cover.
 *
 * A fresh session: `Hello -> Welcome`. An earlier one: `Hello -> Challenge -> Proof -> Resumed`. Instead of any answer
 * the server may say `Refused` and close. The secret of a session crosses the network once, in `Welcome`.
 */
import { type Reader, Writer } from "./Bytes.ts"
import * as Positions from "./Positions.ts"
import { type Violation, violation } from "./Violation.ts"

/** The protocol versions that this code speaks. */
export const versions: ReadonlyArray<number> = [1]

/** The type bytes of the handshake's frames. */
export const Type = {
  Hello: 0x01,
  Welcome: 0x02,
  Challenge: 0x03,
  Proof: 0x04,
  Resumed: 0x05,
  Refused: 0x06
} as const

/** How long a nonce is. Each side makes one for each dial. */
export const nonceBytes = 32
/** How long the name of a session is. */
export const sessionIdBytes = 16
/** How long the secret of a session is. */
export const secretBytes = 32
/** How long a proof is: HMAC-SHA-256. */
export const macBytes = 32

/** What a side lets the other one send and open, from the beginning of a session. Of channels other than 0 alike. */
export interface Terms {
  /** The limit of channel 0. */
  readonly limit: number
  /** The part of its window that nothing else takes up. */
  readonly reserve: number
  /** The limit of each other channel when it is opened, and the part of its window that nothing else takes up. */
  readonly channelLimit: number
  /** Bytes beyond what is reserved that all channels together may hold. */
  readonly growth: number
  /** How many channels the other side may open. */
  readonly channels: number
}

/** What the client says first. `session` is empty when it asks for a fresh one. */
export interface Hello {
  readonly _tag: "Hello"
  readonly versions: ReadonlyArray<number>
  /** The name of the definition that both ends share. */
  readonly definition: string
  readonly messageBytesMax: number
  /** The longest that the client lets pass between two frames of its own; 0 = it promises nothing. */
  readonly heartbeatMillisMax: number
  /** For a fresh session. */
  readonly terms: Terms
  readonly session: Uint8Array
  /** Strictly greater at every dial of one session. */
  readonly epoch: number
  readonly nonce: Uint8Array
  readonly credentials: Uint8Array
}

/** A fresh session. */
export interface Welcome {
  readonly _tag: "Welcome"
  readonly version: number
  readonly heartbeatMillisMax: number
  readonly terms: Terms
  readonly session: Uint8Array
  readonly secret: Uint8Array
}

/** "Prove that it is yours." */
export interface Challenge {
  readonly _tag: "Challenge"
  readonly version: number
  readonly heartbeatMillisMax: number
  readonly nonce: Uint8Array
  readonly positions: ReadonlyArray<Positions.Positions>
}

/** The client's proof and its positions. */
export interface Proof {
  readonly _tag: "Proof"
  readonly positions: ReadonlyArray<Positions.Positions>
  readonly mac: Uint8Array
}

/** The server's proof: data may flow. */
export interface Resumed {
  readonly _tag: "Resumed"
  readonly mac: Uint8Array
}

/** Why a server does not open a link. */
export type RefusedCode =
  | "Unauthorized"
  | "Version"
  | "Definition"
  | "Policy"
  | "Full"
  | "Draining"
  | "Malformed"
  | "Fenced"
  | "Unknown"
  | "Expired"

/** No. `epoch` is the highest that the session has seen when the code is `Fenced`, else 0. */
export interface Refused {
  readonly _tag: "Refused"
  readonly code: RefusedCode
  readonly retryAfterMillis: number
  readonly epoch: number
  readonly detail: string
}

/** Every frame of the handshake. */
export type Handshake = Hello | Welcome | Challenge | Proof | Resumed | Refused

/** The highest version that both sides speak. */
export const negotiate = (theirs: ReadonlyArray<number>): number | undefined => {
  const common = versions.filter((version) => theirs.includes(version))
  return common.length === 0 ? undefined : Math.max(...common)
}

/** What the MAC of `Proof` covers: both nonces, the epoch, and all positions. */
export const proofTranscript = (
  hello: Hello,
  challenge: Challenge,
  positions: ReadonlyArray<Positions.Positions>
): Uint8Array => {
  const into = new Writer()
  into.text("holdfast 1 proof")
  write(into, hello)
  write(into, challenge)
  writeAll(into, positions)
  return into.finish()
}

/** What the MAC of `Resumed` covers: all of the above and the client's proof. */
export const resumedTranscript = (hello: Hello, challenge: Challenge, proof: Proof): Uint8Array => {
  const into = new Writer()
  into.text("holdfast 1 resumed")
  write(into, hello)
  write(into, challenge)
  write(into, proof)
  return into.finish()
}

const refusedCodes: ReadonlyArray<RefusedCode> = [
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

/** Channels and versions that one handshake frame may list. */
export const listMax = 1024

/** Writes the body of a handshake frame. */
export const write = (into: Writer, frame: Handshake): void => {
  switch (frame._tag) {
    case "Hello":
      into.varint(frame.versions.length)
      for (const version of frame.versions) into.varint(version)
      into.text(frame.definition)
      into.varint(frame.messageBytesMax)
      into.varint(frame.heartbeatMillisMax)
      writeTerms(into, frame.terms)
      into.bytes(frame.session)
      into.varint(frame.epoch)
      into.fixed(frame.nonce)
      return into.bytes(frame.credentials)
    case "Welcome":
      into.varint(frame.version)
      into.varint(frame.heartbeatMillisMax)
      writeTerms(into, frame.terms)
      into.fixed(frame.session)
      return into.fixed(frame.secret)
    case "Challenge":
      into.varint(frame.version)
      into.varint(frame.heartbeatMillisMax)
      into.fixed(frame.nonce)
      return writeAll(into, frame.positions)
    case "Proof":
      writeAll(into, frame.positions)
      return into.fixed(frame.mac)
    case "Resumed":
      return into.fixed(frame.mac)
    case "Refused":
      into.varint(refusedCodes.indexOf(frame.code))
      into.varint(frame.retryAfterMillis)
      into.varint(frame.epoch)
      return into.text(frame.detail)
  }
}

/** Reads the body of the handshake frame with this type byte; `undefined` if there is none. */
export const read = (type: number, from: Reader): Handshake | Violation | undefined => {
  switch (type) {
    case Type.Hello: {
      const versions = readList(from, () => from.varint())
      const definition = from.text()
      const messageBytesMax = from.varint()
      const heartbeatMillisMax = from.varint()
      const terms = readTerms(from)
      const session = from.bytes()
      if (session.length !== 0 && session.length !== sessionIdBytes) from.fail()
      const epoch = from.varint()
      const nonce = from.fixed(nonceBytes)
      const credentials = from.bytes()
      return {
        _tag: "Hello",
        versions,
        definition,
        messageBytesMax,
        heartbeatMillisMax,
        terms,
        session,
        epoch,
        nonce,
        credentials
      }
    }
    case Type.Welcome: {
      const version = from.varint()
      const heartbeatMillisMax = from.varint()
      const terms = readTerms(from)
      const session = from.fixed(sessionIdBytes)
      const secret = from.fixed(secretBytes)
      return { _tag: "Welcome", version, heartbeatMillisMax, terms, session, secret }
    }
    case Type.Challenge: {
      const version = from.varint()
      const heartbeatMillisMax = from.varint()
      const nonce = from.fixed(nonceBytes)
      const positions = readList(from, () => Positions.read(from))
      return { _tag: "Challenge", version, heartbeatMillisMax, nonce, positions }
    }
    case Type.Proof: {
      const positions = readList(from, () => Positions.read(from))
      return { _tag: "Proof", positions, mac: from.fixed(macBytes) }
    }
    case Type.Resumed:
      return { _tag: "Resumed", mac: from.fixed(macBytes) }
    case Type.Refused: {
      const code = refusedCodes[from.varint()]
      const retryAfterMillis = from.varint()
      const epoch = from.varint()
      const detail = from.text()
      return code === undefined
        ? violation("refused-code", "unknown refused code")
        : { _tag: "Refused", code, retryAfterMillis, epoch, detail }
    }
    default:
      return undefined
  }
}

const writeTerms = (into: Writer, { channelLimit, channels, growth, limit, reserve }: Terms): void => {
  into.varint(limit)
  into.varint(reserve)
  into.varint(channelLimit)
  into.varint(growth)
  into.varint(channels)
}

const readTerms = (from: Reader): Terms => ({
  limit: from.varint(),
  reserve: from.varint(),
  channelLimit: from.varint(),
  growth: from.varint(),
  channels: from.varint()
})

const writeAll = (into: Writer, positions: ReadonlyArray<Positions.Positions>): void => {
  into.varint(positions.length)
  for (const one of positions) Positions.write(into, one)
}

const readList = <A>(from: Reader, one: () => A): Array<A> => {
  const count = from.varint()
  if (count > listMax) from.fail()
  const list: Array<A> = []
  while (list.length < count && !from.failed) list.push(one())
  return list
}
