/**
 * What a session promises, as sentences about the state of its two sides. Each returns what is wrong, if anything.
 */
import { limits } from "./Core.ts"
import { type Party, recordBytesMax } from "./Party.ts"

/** What can be seen of one side, once for each of its states. */
export interface View {
  readonly sent: string
  readonly kept: string
  readonly arrived: string
  readonly taken: string
  readonly adopted: string
  readonly declined: string
  readonly told: string
  readonly takenCount: number
  readonly ended: boolean
  readonly isFinished: boolean
  readonly released: number
  readonly ackedReceived: number
  readonly sentPosition: number
  readonly sentMax: number
  readonly sendLimit: number
  readonly end: number
  readonly received: number
  readonly takenPosition: number
  readonly receiveLimit: number
  readonly hasNews: boolean
  readonly canSend: boolean
  readonly canEnd: boolean
  readonly canTake: boolean
  readonly canDecline: boolean
}

/** Looks at one side. */
export const view = (party: Party): View => {
  const { receive, send } = party.peer
  const { fateUnknown, notSent } = party.kept
  return {
    sent: party.sent,
    kept: fateUnknown + notSent,
    arrived: party.arrived,
    taken: party.taken,
    adopted: party.adopted,
    declined: party.declined,
    told: party.told,
    takenCount: party.takenCount,
    ended: send.ended,
    isFinished: receive.isFinished,
    released: send.released,
    ackedReceived: send.received,
    sentPosition: send.sent,
    sentMax: send.sentMax,
    sendLimit: send.limit,
    end: send.end,
    received: receive.received,
    takenPosition: receive.taken,
    receiveLimit: receive.limit,
    hasNews: party.peer.hasNews,
    canSend: party.canSend,
    canEnd: party.canEnd,
    canTake: party.canTake,
    canDecline: party.canDecline
  }
}

/** What one direction must hold to, in every state: `from` sends, `to` receives. */
export const brokenPromise = (from: View, to: View): string | undefined => {
  if (!from.sent.startsWith(to.arrived)) return `"${to.arrived}" was delivered of "${from.sent}"`
  if (to.isFinished && !(from.ended && to.taken === from.sent)) return "the direction counts as finished and is not"
  if (from.takenCount > to.taken.length) {
    return `${from.takenCount} messages count as taken, but the application has taken ${to.taken.length}`
  }
  if (from.kept !== from.sent.slice(from.takenCount)) {
    return `of "${from.sent}" ${from.takenCount} are taken, but the replay buffer holds "${from.kept}"`
  }
  if (from.told !== [...to.declined].filter((ordinal) => Number(ordinal) < from.takenCount).join("")) {
    return `declined are "${to.declined}", and ${from.takenCount} are settled, but the sender was told "${from.told}"`
  }
  return (
    ordered("released, taken, received, sent, end", [
      from.released,
      to.takenPosition,
      to.received,
      from.sentMax,
      from.end
    ]) ??
    ordered("released, acknowledged, sent, limit as the sender knows it, limit", [
      from.released,
      from.ackedReceived,
      from.sentPosition,
      from.sendLimit,
      to.receiveLimit
    ]) ??
    ordered("acknowledged, received, limit, taken and a window", [
      from.ackedReceived,
      to.received,
      to.receiveLimit,
      to.takenPosition + Math.max(limits.windowBytes, recordBytesMax)
    ])
  )
}

/** What is missing at rest: everything that was sent has to be taken, and known to be. */
export const unfinished = (from: View, to: View): string | undefined => {
  if (from.canSend || from.canEnd) return "not everything was sent"
  if (to.taken !== from.sent || to.adopted !== "") return `"${to.taken}" was taken of "${from.sent}"`
  if (to.isFinished !== from.ended) return "the end was not taken"
  if (from.released !== from.end) return `${from.released} of ${from.end} bytes are known to be taken`
  return undefined
}

const ordered = (what: string, numbers: ReadonlyArray<number>): string | undefined =>
  numbers.every((number, i) => i === 0 || numbers[i - 1]! <= number)
    ? undefined
    : `${what} must not fall: ${numbers.join(", ")}`
