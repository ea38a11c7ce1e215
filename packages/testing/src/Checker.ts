/**
 * What must hold in every run, checked from the outside: from the transcript, which the network writes, and never from
 * what the library believes.
 */
import { Effect } from "effect"
import type { Policy } from "holdfast"
import type { Fault } from "./Fault.ts"
import { lengthOf } from "./internal/patience.ts"
import type { Violation } from "./Ledger.ts"
import type { Entry, HostState } from "./Transcript.ts"

/** How late the end of a silence was noticed, and when it had to be. */
export interface Detection {
  readonly host: string
  readonly session: string
  readonly reason: string
  /** Milliseconds of the world's time. */
  readonly at: number
  /** From the last byte that arrived. */
  readonly afterMillis: number
  readonly boundMillis: number
}

/**
 * Every silence of the peer is noticed within what the policy's Schedules say, from the last byte that arrived; a machine
 * that stood still meanwhile has that much longer, and one more delay.
 */
export const detections = Effect.fnUntraced(function* (
  transcript: ReadonlyArray<Entry>,
  policy: Policy.Policy,
  observer: string,
  peer: string
): Effect.fn.Return<{ readonly detections: ReadonlyArray<Detection>; readonly violations: ReadonlyArray<Violation> }> {
  const { longestMillis, totalMillis } = yield* lengthOf(policy.silence)
  const held = intervalsOf(transcript, (entry) => holdOf(entry, observer))
  const found: Array<Detection> = []
  const violations: Array<Violation> = []
  const up = new Map<string, number>()
  let arrivedAt = 0
  const boundAfter = (since: number, at: number) => {
    const stood = held.reduce((sum, [from, to]) => sum + Math.max(0, Math.min(at, to) - Math.max(since, from)), 0)
    return totalMillis + (stood > 0 ? stood + longestMillis : 0)
  }
  for (const entry of arrivals(transcript, peer, observer)) {
    const { at } = entry
    for (const [session, openedAt] of up) {
      const since = Math.max(openedAt, arrivedAt)
      const bound = boundAfter(since, at)
      if (at - since <= bound + slackMillis) continue
      up.delete(session)
      const text = `${observer} did not notice for ${Math.round(at - since)} ms (bound ${bound}) that nothing came from ${peer}`
      violations.push({ rule: "noticed in time", text })
    }
    if (entry._tag === "Packet") arrivedAt = at
    if (entry._tag === "HostChanged" && entry.host === observer && lost.has(entry.to)) up.clear()
    if (entry._tag !== "Session" || entry.host !== observer) continue
    if (entry.what === "Closed") up.delete(entry.session)
    if (entry.what === "Opened") up.set(entry.session, at)
    if (entry.what !== "Ended") continue
    const openedAt = up.get(entry.session)
    up.delete(entry.session)
    if (openedAt === undefined || entry.reason !== "PeerSilent") continue
    const since = Math.max(openedAt, arrivedAt)
    const detection = { afterMillis: at - since, boundMillis: boundAfter(since, at) }
    found.push({ host: observer, session: entry.session, reason: entry.reason, at, ...detection })
  }
  return { detections: found, violations }
})

/** Nobody gives up a link that was well: each verdict of ours comes during or soon after something that explains it. */
export const verdicts = Effect.fnUntraced(function* (
  transcript: ReadonlyArray<Entry>,
  policy: Policy.Policy
): Effect.fn.Return<ReadonlyArray<Violation>> {
  const lengths = yield* Effect.forEach([policy.silence, policy.stall, policy.open], lengthOf)
  const memoryMillis =
    2 * Math.max(...lengths.map(({ totalMillis }) => (totalMillis < Infinity ? totalMillis : 0))) + slackMillis
  const harmful = [...intervalsOf(transcript, harmOf), ...instantsOf(transcript)]
  return transcript.flatMap((entry) => {
    if (entry._tag !== "Session" || entry.reason === undefined || !accusing.has(entry.reason)) return []
    const { at } = entry
    if (harmful.some(([from, to]) => from <= at && at <= to + memoryMillis)) return []
    const text = `${entry.host}, ${entry.session} at ${at} ms: ${entry.reason}, but nothing was wrong: ${entry.text}`
    return [{ rule: "no healthy link is given up", text }]
  })
})

/** Reasons by which we accuse the other side, or the way to it. */
const accusing = new Set(["PeerSilent", "WriteStuck", "Stalled", "OpenTimedOut", "LinkFailed", "LinkClosed"])

const slackMillis = 200

/** Facts about sessions and the instants at which bytes reached a machine, in order of time. */
const arrivals = (transcript: ReadonlyArray<Entry>, from: string, to: string): ReadonlyArray<Entry> =>
  transcript
    .flatMap((entry): ReadonlyArray<Entry> => {
      if (entry._tag !== "Packet") return [entry]
      const isArrival = entry.from === from && entry.to === to && entry.bytes > 0 && entry.arrivesAt !== undefined
      return isArrival ? [{ ...entry, at: entry.arrivesAt }] : []
    })
    .toSorted((a, b) => a.at - b.at)

type Interval = readonly [from: number, to: number]

/** When something began and when it ended; what has no end lasts. */
const intervalsOf = (
  transcript: ReadonlyArray<Entry>,
  mark: (entry: Entry) => { readonly key: string; readonly begins: boolean } | undefined
): ReadonlyArray<Interval> => {
  const open = new Map<string, Array<number>>()
  const intervals: Array<Interval> = []
  for (const entry of transcript) {
    const marked = mark(entry)
    if (marked === undefined) continue
    const begun = open.get(marked.key) ?? []
    open.set(marked.key, begun)
    if (marked.begins) begun.push(entry.at)
    else intervals.push([begun.pop() ?? 0, entry.at])
  }
  for (const begun of open.values()) for (const from of begun) intervals.push([from, Infinity])
  return intervals
}

/** While it stands still, or reads slowly, a machine cannot know what has arrived. */
const holdOf = (entry: Entry, host: string) => {
  if (entry._tag !== "Inflicted" && entry._tag !== "Healed") return undefined
  const isHeld = partsOf(entry.fault).some((fault) => holding.has(fault._tag) && "host" in fault && fault.host === host)
  return isHeld ? { key: entry.text, begins: entry._tag === "Inflicted" } : undefined
}

/** Faults that are over in an instant. */
const instantsOf = (transcript: ReadonlyArray<Entry>): ReadonlyArray<Interval> =>
  transcript.flatMap((entry) =>
    entry._tag === "Inflicted" && partsOf(entry.fault).some(({ _tag }) => instants.has(_tag))
      ? [[entry.at, entry.at] as const]
      : []
  )

/** Faults that make a link unusable while they last. */
const harmOf = (entry: Entry) => {
  if (entry._tag !== "Inflicted" && entry._tag !== "Healed") return undefined
  const isHarmful = partsOf(entry.fault).some(({ _tag }) => !harmless.has(_tag) && !instants.has(_tag))
  return isHarmful ? { key: entry.text, begins: entry._tag === "Inflicted" } : undefined
}

const partsOf = (fault: Fault): ReadonlyArray<Fault> => (fault._tag === "All" ? fault.faults.flatMap(partsOf) : [fault])

const lost: ReadonlySet<HostState> = new Set<HostState>(["crashed", "killed", "stopped"])
const instants: ReadonlySet<Fault["_tag"]> = new Set<Fault["_tag"]>(["Cut", "CloseWithoutReading", "NatForgets"])
const holding: ReadonlySet<Fault["_tag"]> = new Set<Fault["_tag"]>(["Freeze", "BlockedLoop", "Suspend", "SlowReader"])
const harmless: ReadonlySet<Fault["_tag"]> = new Set<Fault["_tag"]>([
  "ClockJump",
  "Drift",
  "RateLimit",
  "LostWindowUpdates"
])
