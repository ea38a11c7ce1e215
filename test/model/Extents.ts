/**
 * How far the check goes. `npm test` explores a few small worlds; `npm run test:model` a large one, or the one that
 * MESSAGES, INCARNATIONS, RESTARTS, DECLINES, ENDS and PIECES ask for.
 */
import type { Extent } from "./Core.ts"
import type { Fineness } from "./Wire.ts"

const { DECLINES, ENDS, INCARNATIONS, MESSAGES, PIECES, RESTARTS } = process.env

/** More is wanted than a quick look. */
export const isFull = MESSAGES !== undefined

const quick: ReadonlyArray<Extent> = [
  { messages: 2, incarnations: 2, restarts: 1, declines: 0, ends: false, pieces: "frames" },
  { messages: 1, incarnations: 3, restarts: 1, declines: 0, ends: false, pieces: "frames" },
  { messages: 1, incarnations: 2, restarts: 1, declines: 1, ends: true, pieces: "frames" }
]

const asked: Extent = {
  messages: Number(MESSAGES ?? 2),
  incarnations: Number(INCARNATIONS ?? 3),
  restarts: Number(RESTARTS ?? 1),
  declines: Number(DECLINES ?? 0),
  ends: ENDS === "1",
  pieces: (PIECES ?? "frames") as Fineness
}

/** Frames in pieces everywhere: far more orders, so the rest has to be small. */
const fine: Extent = { messages: 1, incarnations: 2, restarts: 1, declines: 0, ends: false, pieces: "bytes" }

/** What is explored. */
export const extents: ReadonlyArray<Extent> = isFull ? [asked, fine] : quick

/** An extent in words. */
export const words = ({ declines, ends, incarnations, messages, pieces, restarts }: Extent): string =>
  [
    `${count(messages, "message")} each way`,
    count(incarnations, "incarnation"),
    count(restarts, "restart"),
    ...(declines > 0 ? [`${declines} declined`] : []),
    ...(ends ? ["with ends"] : []),
    ...(pieces === "frames" ? [] : [`arriving in ${pieces}`])
  ].join(", ")

const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? "" : "s"}`
