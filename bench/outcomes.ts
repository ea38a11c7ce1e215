/**
 * What the rounds of a case come to: medians, and ratios to other cases of the same run.
 */
import type { Case } from "./cases.ts"
import { handWritten, holdfast, peers } from "./contestants.ts"
import type { Sample } from "./round.ts"

/** What the rounds of a case gave. */
export interface Rounds {
  readonly samples: Array<Sample>
  /** Why there was none, round by round. */
  readonly failures: Array<string>
}

export interface Outcome {
  readonly case: string
  readonly kind: string
  readonly contestant: string
  readonly size: number
  readonly heapMegabytes: number
  readonly count?: number
  readonly unit: string
  readonly rounds: number
  /** Where every round failed this, too, is not a number, and the ratios are missing. */
  readonly median: number
  readonly lowest: number
  readonly highest: number
  /** Why rounds failed. */
  readonly failures?: ReadonlyArray<string>
  /** Round trips in microseconds: medians over the rounds. */
  readonly p50?: number
  readonly p99?: number
  /** Processor time in nanoseconds for each message. */
  readonly sendNanos?: number
  readonly receiveNanos?: number
  /** To the session written by hand: of the same kind, size and heap. */
  readonly ratioToHandWritten?: number
  /** Of a peer: to Holdfast by arrays. */
  readonly ratioToHoldfast?: number
  /** To bare `node:net`, where that is what counts. */
  readonly ratioToBare?: number
  /** To the same case with one channel or session. */
  readonly ratioToOne?: number
  /** To the same case without live heap. */
  readonly ratioToNoHeap?: number
  /** Of the round trips, to bare `node:net`. */
  readonly p50ToBare?: number
  readonly p99ToBare?: number
  /** What else was measured: medians. */
  readonly figures?: Readonly<Record<string, number>>
}

/** What is compared to bare sockets: it has nothing to do with messages. */
const bareKinds = ["idle", "heartbeats"]

export const outcomesOf = (cases: ReadonlyMap<Case, Rounds>): ReadonlyArray<Outcome> => {
  const measured = [...cases]
    .filter(([, { failures, samples }]) => samples.length + failures.length > 0)
    .map(([one, { failures, samples }]) => ({
      ...medians(one, samples),
      ...(failures.length === 0 ? {} : { failures })
    }))
  const find = (outcome: Outcome, other: Partial<Outcome>) => {
    const { contestant, count, heapMegabytes, kind, size } = { ...outcome, ...other }
    return measured.find(
      (one) =>
        one.kind === kind &&
        one.contestant === contestant &&
        one.size === size &&
        one.heapMegabytes === heapMegabytes &&
        one.count === count
    )
  }
  return measured.map((outcome) => {
    const { count, heapMegabytes, kind } = outcome
    const yardstick = find(outcome, { contestant: handWritten })
    const bare = kind === "ping" ? find(outcome, { contestant: "net", heapMegabytes: 0 }) : undefined
    const isBare = bareKinds.includes(kind)
    const ours = peers.includes(outcome.contestant) ? find(outcome, { contestant: holdfast }) : undefined
    const one = count === undefined ? undefined : find(outcome, { count: 1 })
    const light = heapMegabytes === 0 ? undefined : find(outcome, { heapMegabytes: 0 })
    return {
      ...outcome,
      ...ratio("ratioToHandWritten", outcome.median, yardstick?.median),
      ...ratio("ratioToHoldfast", outcome.median, ours?.median),
      ...ratio("ratioToBare", outcome.median, isBare ? find(outcome, { contestant: "net" })?.median : undefined),
      ...ratio("ratioToOne", outcome.median, one?.median),
      ...ratio("ratioToNoHeap", outcome.median, light?.median),
      ...ratio("p50ToBare", outcome.p50, bare?.p50),
      ...ratio("p99ToBare", outcome.p99, bare?.p99)
    }
  })
}

/** One line for people. */
export const summary = (outcome: Outcome): string => {
  const { failures, figures, median, p50, p99, ratioToHoldfast, receiveNanos, sendNanos, unit } = outcome
  const { ratioToBare, ratioToHandWritten, ratioToNoHeap, ratioToOne } = outcome
  const nanos = [sendNanos, receiveNanos].filter((nanos) => nanos !== undefined)
  const parts = [
    outcome.case.padEnd(36),
    outcome.rounds === 0 ? "" : `${figure(median)} ${unit}`.padEnd(24),
    failures === undefined ? "" : `${failures.length} rounds failed`,
    ratioToHandWritten === undefined ? "" : `${ratioToHandWritten.toFixed(2)} of hand-written`,
    ratioToHoldfast === undefined ? "" : `${ratioToHoldfast.toFixed(3)} of Holdfast`,
    ratioToBare === undefined ? "" : `${ratioToBare.toFixed(2)} of bare sockets`,
    ratioToOne === undefined ? "" : `${ratioToOne.toFixed(2)} of one`,
    ratioToNoHeap === undefined ? "" : `${ratioToNoHeap.toFixed(2)} of itself without heap`,
    nanos.length === 0 ? "" : `${nanos.join(" + ")} ns of processor`,
    p50 === undefined || p99 === undefined ? "" : `p50 ${p50.toFixed(0)} us, p99 ${p99.toFixed(0)} us`,
    ...Object.entries(figures ?? {}).map(([name, value]) => `${name} ${figure(value)}`)
  ]
  return parts.filter((part) => part !== "").join("  ")
}

/** Three digits, and a word for thousands and millions. */
export const figure = (value: number): string => {
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))} M`
  if (value >= 1e4) return `${Number((value / 1e3).toPrecision(3))} k`
  return String(Number(value.toPrecision(3)))
}

const medians = (one: Case, rounds: ReadonlyArray<Sample>): Outcome => {
  const { contestant, count, heapMegabytes, kind, name, size, unit } = one
  const values = rounds.map(({ value }) => value)
  const latencies = rounds.flatMap(({ latencies }) => latencies ?? [])
  const times =
    latencies.length === 0
      ? {}
      : { p50: median(latencies.map(({ p50 }) => p50 * 1000)), p99: median(latencies.map(({ p99 }) => p99 * 1000)) }
  return {
    case: name,
    kind,
    contestant,
    size,
    heapMegabytes,
    ...(count === undefined ? {} : { count }),
    unit,
    rounds: rounds.length,
    median: median(values),
    lowest: Math.min(...values),
    highest: Math.max(...values),
    ...times,
    ...medianOf("sendNanos", rounds),
    ...medianOf("receiveNanos", rounds),
    ...figuresOf(rounds)
  }
}

const figuresOf = (rounds: ReadonlyArray<Sample>) => {
  const names = Object.keys(rounds[0]?.figures ?? {})
  if (names.length === 0) return {}
  const values = (name: string) => rounds.flatMap(({ figures }) => figures?.[name] ?? [])
  return { figures: Object.fromEntries(names.map((name) => [name, Number(median(values(name)).toPrecision(4))])) }
}

const medianOf = <Key extends "sendNanos" | "receiveNanos">(key: Key, rounds: ReadonlyArray<Sample>) => {
  const values = rounds.flatMap((sample) => sample[key] ?? [])
  return (values.length === 0 ? {} : { [key]: Math.round(median(values)) }) as { readonly [K in Key]?: number }
}

/** Of nothing it is not a number. */
const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[sorted.length >> 1] ?? Number.NaN
}

const ratio = <Key extends string>(key: Key, value: number | undefined, other: number | undefined) =>
  (Number.isFinite((value ?? Number.NaN) / (other ?? Number.NaN))
    ? { [key]: Number((value! / other!).toFixed(3)) }
    : {}) as {
    readonly [K in Key]?: number
  }
