/**
 * What happened in a simulation, as data: every packet with its fate, every connection's beginning and end, every fault,
 * and what the programs noted. The same seed gives the same transcript, byte for byte.
 */
import type { Fault } from "./Fault.ts"

/** One fact. Instants are milliseconds of the world's time, since the simulation began. */
export type Entry = { readonly at: number } & Fact

/** What can happen. `connection` names both ends: `client:49152>server:7000`. */
export type Fact =
  | Packet
  | {
      readonly _tag: "Dialed" | "Connected" | "Accepted" | "Closed" | "Aborted"
      readonly host: string
      readonly connection: string
    }
  /** The kernel told the program of an error, or would have. */
  | { readonly _tag: "Failed"; readonly host: string; readonly connection: string; readonly code: string }
  | { readonly _tag: "Listening"; readonly host: string; readonly port: number }
  | { readonly _tag: "HostChanged"; readonly host: string; readonly to: HostState }
  | { readonly _tag: "Inflicted" | "Healed"; readonly fault: Fault; readonly text: string }
  | { readonly _tag: "Noted"; readonly host: string; readonly text: string }
  | SessionFact
  /** From here on packets are not recorded: the transcript has reached its bound. */
  | { readonly _tag: "Truncated" }

/** What a machine can be. */
export type HostState = "started" | "stopped" | "killed" | "crashed" | "frozen" | "thawed" | "suspended" | "resumed"

/** What a session that is observed (`SimHost.observe`) has told: a state that it is in, or something that happened. */
export interface SessionFact {
  readonly _tag: "Session"
  readonly host: string
  readonly session: string
  /** The tag of the state or of the event. */
  readonly what: string
  /** In words. */
  readonly text: string
  /** Where a link has ended or an attempt failed: the tag of the reason. */
  readonly reason?: string | undefined
}

/** One packet, when it was sent. */
export interface Packet {
  readonly _tag: "Packet"
  readonly from: string
  readonly to: string
  readonly connection: string
  readonly kind: PacketKind
  /** Offset of its first byte in this direction of the connection. */
  readonly seq: number
  readonly bytes: number
  /** Everything below this offset of the other direction has arrived. */
  readonly ack: number
  /** When it arrives; absent if it does not. */
  readonly arrivesAt?: number | undefined
  /** What took it. */
  readonly lostTo?: string | undefined
}

/** What a packet is for. A `probe` carries nothing and asks for an `ack`. */
export type PacketKind = "syn" | "syn-ack" | "data" | "ack" | "fin" | "reset" | "probe"

/** One line for each entry, as it is written beside a failing scenario. */
export const render = (entries: ReadonlyArray<Entry>): string => entries.map(renderEntry).join("\n") + "\n"

/** One entry as a line. */
export const renderEntry = (entry: Entry): string => {
  const at = (entry.at / 1000).toFixed(6).padStart(14)
  switch (entry._tag) {
    case "Packet": {
      const fate = entry.lostTo === undefined ? arrival(entry.arrivesAt) : `LOST (${entry.lostTo})`
      return `${at}  ${entry.from} -> ${entry.to}  ${entry.kind} seq=${entry.seq} bytes=${entry.bytes} ack=${entry.ack}  ${fate}  [${entry.connection}]`
    }
    case "Failed":
      return `${at}  ${entry.host}  ${entry.code}  [${entry.connection}]`
    case "Listening":
      return `${at}  ${entry.host}  listens on ${entry.port}`
    case "HostChanged":
      return `${at}  ${entry.host}  is ${entry.to}`
    case "Inflicted":
      return `${at}  FAULT   ${entry.text}`
    case "Healed":
      return `${at}  HEALED  ${entry.text}`
    case "Noted":
      return `${at}  ${entry.host}  "${entry.text}"`
    case "Session":
      return `${at}  ${entry.host}  ${entry.session}: ${entry.what} ${entry.text}`.trimEnd()
    case "Truncated":
      return `${at}  packets are not recorded from here on`
    default:
      return `${at}  ${entry.host}  ${entry._tag}  [${entry.connection}]`
  }
}

const arrival = (at: number | undefined) => (at === undefined ? "" : `arrives ${(at / 1000).toFixed(6)}`)
