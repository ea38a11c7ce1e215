/**
 * What has happened in a session, for whoever has handed bytes to a `Peer`.
 */
import type { Channel } from "./Channel.ts"
import type * as Frame from "./Frame.ts"

/** A channel that the other side has ended before its time. */
export interface WasReset {
  readonly channel: Channel
  readonly code: Frame.ResetCode
  readonly detail: string
}

/** What has happened since the facts were last read. */
export interface Facts {
  /** Channels on which messages arrived, or the end of the other direction. */
  arrived: Array<Channel>
  /** Channels on which more of ours was taken. */
  taken: Array<Channel>
  /** Channels that the other side has opened. */
  opened: Array<Channel>
  /** Channels of which both directions have ended, and all was taken. Writing, too, can finish one. */
  finished: Array<Channel>
  reset: Array<WasReset>
  /** The answer to our latest ping arrived. */
  pong: number | undefined
  /** Messages that the other application declined, by their ordinals (from 0, over the life of the channel). */
  rejected: Array<{ readonly channel: Channel; readonly ordinal: number }>
  goAway: Frame.GoAway | undefined
  close: Frame.Close | undefined
  closed: boolean
}

/** Nothing has happened yet. */
export const noFacts = (): Facts => ({
  arrived: [],
  taken: [],
  opened: [],
  finished: [],
  reset: [],
  pong: undefined,
  rejected: [],
  goAway: undefined,
  close: undefined,
  closed: false
})

const none: Array<never> = []
Object.freeze(none)

/** For as long as nothing has happened. */
export const nothing: Facts = Object.freeze({
  ...noFacts(),
  arrived: none,
  taken: none,
  opened: none,
  finished: none,
  reset: none,
  rejected: none
})
