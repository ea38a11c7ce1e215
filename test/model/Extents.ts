/**
 * How far the check goes. `npm test` explores a few small worlds; `npm run test:model` larger ones, or the one that
 * MESSAGES, INCARNATIONS, RESTARTS, DECLINES, ENDS and PIECES ask for.
 */
import { type Extent, plain } from "./Core.ts"
import type { Fineness } from "./Wire.ts"

const { DECLINES, ENDS, INCARNATIONS, MESSAGES, PIECES, RESTARTS } = process.env

/** More is wanted than a quick look. */
export const isFull = MESSAGES !== undefined

/** One channel, opened by the client. */
const one: Extent = { ...plain, incarnations: 2, channels: 1, channelsMax: 1, channelMessages: [1, 0] }

/** For a quick look. */
const quick: ReadonlyArray<Extent> = [
  { ...plain, incarnations: 3, messages: 1, restarts: 1 },
  { ...plain, incarnations: 2, messages: 1, restarts: 1, declines: 1, ends: true },
  { ...one, channelEnds: true, restarts: 1 },
  { ...one, opener: "server", resets: true },
  { ...one, incarnations: 1, channelMessages: [2, 2], growthBytes: 4 }
]

const asked: Extent = {
  ...plain,
  messages: Number(MESSAGES ?? 2),
  incarnations: Number(INCARNATIONS ?? 3),
  restarts: Number(RESTARTS ?? 1),
  declines: Number(DECLINES ?? 0),
  ends: ENDS === "1",
  pieces: (PIECES ?? "frames") as Fineness
}

/** Frames in pieces everywhere: far more orders, so the rest has to be small. */
const fine: Extent = { ...plain, incarnations: 2, messages: 1, restarts: 1, pieces: "bytes" }

/** Channels: ends, resets, credit that both wait for, one place for two, growth for which two compete, skipping. */
const channels: ReadonlyArray<Extent> = [
  { ...one, incarnations: 3, channelEnds: true, restarts: 1 },
  { ...one, opener: "server", channelMessages: [1, 0], channelEnds: true, declines: 1, resets: true },
  { ...one, channelMessages: [2, 2] },
  { ...one, channels: 2, resets: true },
  { ...one, incarnations: 1, channels: 2, channelsMax: 2, channelMessages: [2, 0], growthBytes: 4 },
  { ...one, channelMessages: [2, 0], growthBytes: 4 },
  { ...one, channelMessages: [2, 0], channelEnds: true, skips: 1 },
  { ...one, messages: 1 }
]

/** The world that takes the longest. */
export const large: ReadonlyArray<Extent> = isFull ? [asked] : [{ ...plain, incarnations: 2, messages: 2, restarts: 1 }]

/** All others. */
export const smaller: ReadonlyArray<Extent> = isFull ? [fine, ...channels] : quick

/** An extent in words. */
export const words = (extent: Extent): string =>
  [
    `${count(extent.messages, "message")} each way`,
    count(extent.incarnations, "incarnation"),
    count(extent.restarts, "restart"),
    ...(extent.declines > 0 ? [`${extent.declines} declined`] : []),
    ...(extent.ends ? ["with ends"] : []),
    ...(extent.channels > 0 ? [channelWords(extent)] : []),
    ...(extent.pieces === "frames" ? [] : [`arriving in ${extent.pieces}`])
  ].join(", ")

const channelWords = (extent: Extent): string => {
  const { channelEnds, channelMessages, channels, channelsMax, growthBytes, opener, resets, skips } = extent
  return [
    `${count(channels, "channel")} of the ${opener}`,
    ...(channelsMax < channels ? [`${channelsMax} at once`] : []),
    `with ${channelMessages.join(" and ")} messages`,
    ...(channelEnds ? ["ended"] : []),
    ...(resets ? ["reset"] : []),
    ...(skips > 0 ? [`${skips} skipped`] : []),
    ...(growthBytes > 0 ? [`${growthBytes} bytes of growth`] : [])
  ].join(" ")
}

const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? "" : "s"}`
