/**
 * What bounds our direction of a channel: its own backlog, and what several sessions hold together.
 */
import { type Channel, SendWindow } from "@holdfast/protocol"
import type { Duration } from "effect"
import { BacklogExceeded, type ConnectionError, make as connectionError } from "../ConnectionError.ts"
import type { Backlog } from "../Policy.ts"

/** Bytes that several conversations hold together. */
export interface Budget {
  readonly hasRoom: (bytes: number) => boolean
  readonly held: (moreBytes: number) => void
  /** Calls once, when some have become free. */
  readonly onFreed: (retry: () => void) => void
}

/** How much may be kept, and what becomes of what does not fit or comes too late. */
export interface Limits extends Omit<Backlog, "whenFull"> {
  /** `"dropOldest"`: the oldest of those that were not handed to a link yet. */
  readonly whenFull: Backlog["whenFull"] | "dropOldest"
  /** A message that was not handed to a link within so many milliseconds is skipped. */
  readonly expiresAfterMillis: number
  /** Messages can be skipped while they wait in front of the stream; those that nobody may skip need not wait there. */
  readonly isSkipping: boolean
}

/** Limits over those of a policy, which may be replaced. Made once for each, as they are asked for with every message. */
export const limitsOf = (
  backlog: () => Backlog,
  own: Partial<Omit<Limits, "expiresAfterMillis" | "isSkipping">>,
  expiresAfterMillis: number
): (() => Limits) => {
  let from: Backlog | undefined
  let limits: Limits
  return () => {
    const present = backlog()
    if (present === from) return limits
    from = present
    const { whenFull } = { ...present, ...own }
    const isSkipping = whenFull === "dropOldest" || expiresAfterMillis < Infinity
    limits = { ...present, ...own, expiresAfterMillis, isSkipping }
    return limits
  }
}

/** Those of a policy and no others: the same for all that have it. */
export const usualLimits = (backlog: Backlog): Limits => {
  if (latest?.from === backlog) return latest.limits
  latest = usual.get(backlog)
  if (latest === undefined) {
    latest = { from: backlog, limits: { ...backlog, expiresAfterMillis: Infinity, isSkipping: false } }
    usual.set(backlog, latest)
  }
  return latest.limits
}

interface Usual {
  readonly from: Backlog
  readonly limits: Limits
}

const usual = new WeakMap<Backlog, Usual>()
/** Asked for with every message, and nearly all sessions of a process have one policy. */
let latest: Usual | undefined

/** The room that messages take up. */
export const sizeOf = (messages: ReadonlyArray<Uint8Array>): number => {
  let bytes = 0
  for (let i = 0; i < messages.length; i++) bytes += SendWindow.SendWindow.recordBytes(messages[i]!.length)
  return bytes
}

/** What messages fail with for which there is no room. */
export const exceeded = (
  { name, send }: Channel.Channel,
  { bytesMax, messagesMax }: Limits,
  messages: ReadonlyArray<Uint8Array>,
  waitedFor: Duration.Duration | undefined
): ConnectionError =>
  connectionError(
    new BacklogExceeded({
      messages: send.keptCount + messages.length,
      bytes: send.keptBytes + sizeOf(messages),
      messagesMax,
      bytesMax,
      ...(name === "" ? {} : { channel: name }),
      ...(waitedFor === undefined ? {} : { waitedFor })
    })
  )
