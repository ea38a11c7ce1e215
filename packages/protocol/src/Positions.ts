/**
 * Where one channel stands: the numbers that acknowledge data, grant credit and make a resume possible.
 */
import type { Reader, Writer } from "./Bytes.ts"

/**
 * Where one channel stands, said by the receiver of its data (`received`, `taken`, `limit`, `rejected`) and by its
 * sender (`released`). All are absolute positions in bytes. `rejected` are the ends of messages that the application
 * declined and whose `taken` the other side has not yet confirmed by `released`.
 */
export interface Positions {
  readonly _tag: "Positions"
  readonly channel: number
  readonly received: number
  readonly taken: number
  readonly limit: number
  readonly released: number
  readonly rejected: ReadonlyArray<number>
}

/** The most rejected messages that one `Positions` may list. */
export const rejectedMax = 1024

/** What stands at the beginning of a channel. */
export const unseen = (channel: number, limit: number): Positions => ({
  _tag: "Positions",
  channel,
  received: 0,
  taken: 0,
  limit,
  released: 0,
  rejected: []
})

/** Writes one channel's positions, as in `Positions` and in the handshake. */
export const write = (into: Writer, positions: Positions): void => {
  into.varint(positions.channel)
  into.varint(positions.received)
  into.varint(positions.taken)
  into.varint(positions.limit)
  into.varint(positions.released)
  into.varint(positions.rejected.length)
  for (const end of positions.rejected) into.varint(end)
}

/** Reads what {@link write} wrote. */
export const read = (from: Reader): Positions => {
  const channel = from.varint()
  const received = from.varint()
  const taken = from.varint()
  const limit = from.varint()
  const released = from.varint()
  const count = from.varint()
  if (count > rejectedMax) from.fail()
  const rejected = count === 0 || count > rejectedMax ? none : Array.from({ length: count }, () => from.varint())
  return { _tag: "Positions", channel, received, taken, limit, released, rejected }
}

const none: ReadonlyArray<number> = []
