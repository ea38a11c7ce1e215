/**
 * What a session promises, as sentences about the state of its two sides. Each returns what is wrong, if anything.
 */
import type { Channels } from "@holdfast/protocol/Channels"
import { limits } from "./Core.ts"
import type { Fate, Line } from "./Line.ts"
import { type Party, recordBytesMax } from "./Party.ts"
import { fieldsOf } from "./Snapshot.ts"
import { type Use, usesOf } from "./Uses.ts"

/** What can be seen of one end of one channel, once for each of its states. */
export interface View {
  readonly id: number
  readonly fate: Fate
  readonly sent: string
  readonly kept: string
  readonly arrived: string
  readonly taken: string
  readonly adopted: string
  readonly declined: string
  readonly told: string
  readonly takenCount: number
  readonly skippedCount: number
  readonly skippedSeen: number
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
  readonly windowBytes: number
  readonly canSend: boolean
  readonly canEnd: boolean
  readonly waitsForCredit: boolean
}

/** What can be seen of one side. */
export interface PartyView {
  readonly main: View
  readonly others: ReadonlyArray<View>
  readonly openable: number
  readonly openCount: number
  /** What the other side holds of ours, and we of theirs, beyond what is reserved; and what is counted. */
  readonly growthBytes: readonly [send: number, receive: number]
  readonly countedGrowthBytes: readonly [send: number, receive: number]
  readonly hasNews: boolean
  readonly canOpen: boolean
  readonly uses: ReadonlyArray<Use>
}

/** Looks at one side. */
export const view = (party: Party): PartyView => {
  const { extent, main, others, peer, side } = party
  const open = [main, ...others.filter(({ isOpen }) => isOpen)]
  const { credit } = fieldsOf(peer)["channels"] as Channels
  const { receiveGrowthBytes, sendGrowthBytes } = fieldsOf(credit) as Record<string, number>
  return {
    main: viewLine(main),
    others: others.map(viewLine),
    openable: extent.opener === side ? peer.openable : 0,
    openCount: peer.openCount,
    growthBytes: [
      open.reduce((sum, { channel }) => sum + channel.send.growthBytes, 0),
      open.reduce((sum, { channel }) => sum + channel.receive.growthBytes, 0)
    ],
    countedGrowthBytes: [sendGrowthBytes!, receiveGrowthBytes!],
    hasNews: peer.hasNews,
    canOpen: party.canOpen,
    uses: usesOf(party)
  }
}

const viewLine = (line: Line): View => {
  const { id, receive, send } = line.channel
  const { fateUnknown, notSent } = line.kept
  return {
    id,
    fate: line.fate,
    sent: line.sent,
    kept: fateUnknown + notSent,
    arrived: line.arrived,
    taken: line.taken,
    adopted: line.adopted,
    declined: line.declined,
    told: line.told,
    takenCount: line.takenCount,
    skippedCount: send.skippedCount,
    skippedSeen: receive.skippedCount,
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
    windowBytes: Math.max(receive.windowBytes, limits.windowBytes),
    canSend: line.canSend,
    canEnd: line.canEnd,
    waitsForCredit: line.peer.awaitingCredit.has(line.channel)
  }
}

/** What both sides must hold to in every state. */
export const brokenPromise = (client: PartyView, server: PartyView, growthBytesMax: number): string | undefined => {
  for (const { countedGrowthBytes, growthBytes } of [client, server]) {
    const [counted, held] = [countedGrowthBytes.join(" and "), growthBytes.join(" and ")]
    if (Math.max(...growthBytes) > growthBytesMax) return `there are ${held} bytes of growth`
    if (counted !== held) return `a side counts ${counted} bytes of growth, and there are ${held}`
  }
  return (
    bothWays(brokenDirection, client.main, server.main) ??
    eachChannel(client, server, (one, other) => {
      if (one === undefined || other === undefined) {
        return (one ?? other)!.ackedReceived > 0 ? "what nobody has seen was received" : undefined
      }
      if (one.fate === "reset" || other.fate === "reset") return bothWays(deliveredOtherwise, one, other)
      if (one.fate === "finished" || other.fate === "finished") {
        const missing = bothWays(undelivered, one, other)
        if (missing !== undefined) return `counts as finished, but ${missing}`
      }
      return bothWays(brokenDirection, one, other)
    })
  )
}

/** What is missing at rest: everything that was sent has to be taken, and known to be; both know what became of channels. */
export const unfinished = (client: PartyView, server: PartyView, channelsMax: number): string | undefined => {
  if (client.canOpen || server.canOpen) return "not every channel was opened"
  return (
    bothWays(unfinishedDirection, client.main, server.main) ??
    eachChannel(client, server, (one, other) => {
      if (one === undefined || other === undefined) return "one side has never seen it"
      const fates = [one.fate, other.fate]
      if (fates.includes("reset")) return fates.includes("open") ? "one side does not know that it is reset" : undefined
      return fates.includes("open") && one.fate !== other.fate
        ? "one side does not know that it is finished"
        : bothWays(unfinishedDirection, one, other)
    }) ??
    (client.openable + server.openable + client.openCount === channelsMax && client.openCount === server.openCount
      ? undefined
      : `${client.openable + server.openable} channels may be opened, and ${client.openCount} are open`)
  )
}

/** What one direction must hold to, in every state: `from` sends, `to` receives. */
const brokenDirection = (from: View, to: View): string | undefined => {
  const wrong = deliveredOtherwise(from, to)
  if (wrong !== undefined) return wrong
  if (to.isFinished && !(from.ended && to.taken === unskipped(from.sent))) {
    return "the direction counts as finished and is not"
  }
  if (from.takenCount > to.taken.length + to.skippedSeen) {
    return `${from.takenCount} messages count as taken, but the application has taken ${to.taken.length}`
  }
  if (from.kept !== unskipped(from.sent.slice(from.takenCount))) {
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
      to.takenPosition + Math.max(to.windowBytes, recordBytesMax)
    ])
  )
}

const deliveredOtherwise = (from: View, to: View): string | undefined =>
  unskipped(from.sent).startsWith(to.arrived) ? undefined : `"${to.arrived}" was delivered of "${from.sent}"`

const undelivered = (from: View, to: View): string | undefined => {
  if (!from.ended || to.taken !== unskipped(from.sent)) return `"${to.taken}" was taken of "${from.sent}"`
  if (to.skippedSeen !== from.skippedCount) return `${to.skippedSeen} of ${from.skippedCount} are known to be skipped`
  return from.told === to.declined ? undefined : `of declined "${to.declined}" the sender was told "${from.told}"`
}

const unfinishedDirection = (from: View, to: View): string | undefined => {
  if (from.canSend || from.canEnd) return "not everything was sent"
  if (to.taken !== unskipped(from.sent) || to.adopted !== "") return `"${to.taken}" was taken of "${from.sent}"`
  if (to.skippedSeen !== from.skippedCount) return `${to.skippedSeen} of ${from.skippedCount} are known to be skipped`
  if (to.isFinished !== from.ended) return "the end was not taken"
  if (from.released !== from.end) return `${from.released} of ${from.end} bytes are known to be taken`
  return undefined
}

const unskipped = (sent: string): string => sent.replaceAll("-", "")

/** The first sentence that one of the two directions gives rise to. */
const bothWays = (
  check: (from: View, to: View) => string | undefined,
  client: View,
  server: View
): string | undefined => {
  const up = check(client, server)
  if (up !== undefined) return `to the server: ${up}`
  const down = check(server, client)
  return down === undefined ? undefined : `to the client: ${down}`
}

/** The first sentence that one of the channels gives rise to. */
const eachChannel = (
  client: PartyView,
  server: PartyView,
  check: (client: View | undefined, server: View | undefined) => string | undefined
): string | undefined => {
  for (const { id } of client.others.length < server.others.length ? server.others : client.others) {
    const byId = (view: View) => view.id === id
    const why = check(client.others.find(byId), server.others.find(byId))
    if (why !== undefined) return `channel ${id}: ${why}`
  }
  return undefined
}

const ordered = (what: string, numbers: ReadonlyArray<number>): string | undefined =>
  numbers.every((number, i) => i === 0 || numbers[i - 1]! <= number)
    ? undefined
    : `${what} must not fall: ${numbers.join(", ")}`
