/**
 * What stands for some fields when states are compared, because the future depends on no more than that.
 */
import { Channel, Decoder, Peer, ReceiveWindow } from "@holdfast/protocol"
import { Channels } from "@holdfast/protocol/Channels"
import { Credit } from "@holdfast/protocol/Credit"
import { Ends } from "@holdfast/protocol/Ends"
import { ReplayBuffer, type Segment } from "@holdfast/protocol/ReplayBuffer"
import { Turns } from "@holdfast/protocol/Turns"
import type { Essence, Fields } from "./Forms.ts"
import { Line } from "./Line.ts"

/** The essence of objects with this prototype: that of their class, or of the one that a broken class is made from. */
export const essenceOf = (prototype: object): Essence => {
  for (let at: object | null = prototype; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const essence = essences.get(at)
    if (essence !== undefined) return essence
  }
  return {}
}

/** Does not count at all. */
const nothing = undefined

/** A list of channels that is kept elsewhere. */
const ids =
  (field: string) =>
  (fields: Fields): ReadonlyArray<number> =>
    Array.from(fields[field] as Iterable<Channel.Channel>, ({ id }) => id)

/** The bytes of a buffer that are in use. */
const used =
  (buffer: string, length: string) =>
  (fields: Fields): Uint8Array =>
    part(fields[buffer], fields[length])

const part = (bytes: unknown, length: unknown): Uint8Array =>
  bytes instanceof Uint8Array ? bytes.subarray(0, length as number) : none

const none = new Uint8Array(0)

/** Where the records end that are there. */
export const listOf = (ends: Ends): ReadonlyArray<number> => Array.from({ length: ends.count }, (_, i) => ends.at(i))

const essences: ReadonlyMap<object, Essence> = new Map<object, Essence>([
  [
    Decoder.Decoder.prototype,
    {
      frameCount: nothing,
      tellingCount: nothing,
      partial: used("partial", "partialLength"),
      missing: ({ missing, partialLength }) => (partialLength === 0 ? 0 : missing),
      dataChannel: ({ dataChannel, dataRest }) => (dataRest === 0 ? 0 : dataChannel),
      dataOffset: ({ dataOffset, dataRest }) => (dataRest === 0 ? 0 : dataOffset)
    }
  ],
  [
    ReceiveWindow.ReceiveWindow.prototype,
    {
      duplicateBytes: nothing,
      header: used("header", "headerLength"),
      payload: used("payload", "payloadLength"),
      lent: nothing,
      lentFrom: nothing,
      isLentOut: nothing,
      isLending: nothing,
      pieces: nothing,
      handedPieces: nothing
    }
  ],
  [Ends.prototype, { list: (ends) => listOf(ends as unknown as Ends), from: nothing, until: nothing }],
  [
    ReplayBuffer.prototype,
    {
      segments: ({ segments }) =>
        (segments as ReadonlyArray<Segment>).map((one) => ({ ...one, bytes: part(one.bytes, one.length) }))
    }
  ],
  // Nobody tunes windows here; rounds only decide which of two channels is written first.
  [Channel.Channel.prototype, { round: nothing, deficitBytes: nothing, tunedAt: nothing, isLent: nothing }],
  [Turns.prototype, { fresh: ids("fresh"), waiting: ids("waiting"), round: nothing, turnsLeft: nothing }],
  [
    Credit.prototype,
    { awaiting: ids("awaiting"), full: ids("full"), hasRoom: (credit) => (credit as unknown as Credit).isRoomy }
  ],
  [Channels.prototype, { main: nothing, newsy: ids("newsy"), consuming: nothing, lent: nothing }],
  // If there may be no channels, nothing depends on whether the other side has told which there are.
  [Peer.Peer.prototype, { main: nothing }],
  [
    Line.prototype,
    {
      peer: nothing,
      channel: ({ channel, fate }) => (fate === "open" ? (channel as Channel.Channel).id : channel)
    }
  ]
])
