/**
 * What the rounds of a case come to: medians, and ratios to other cases of the same run.
 */
import type { Case } from "./cases.ts"
import { handWritten } from "./contestants.ts"
import type { Sample } from "./round.ts"

export interface Outcome {
  readonly case: string
  readonly kind: string
  readonly contestant: string
  readonly size: number
  readonly heapMegabytes: number
  readonly unit: string
  readonly rounds: number
  readonly median: number
  readonly lowest: number
  readonly highest: number
  /** Round trips in microseconds: medians over the rounds. */
  readonly p50?: number
  readonly p99?: number
  /** Processor time in nanoseconds for each message. */
  readonly sendNanos?: number
  readonly receiveNanos?: number
  /** To the session written by hand: of the same kind, size and heap. */
  readonly ratioToHandWritten?: number
  /** To the same case without live heap. */
  readonly ratioToNoHeap?: number
  /** Of the round trips, to bare `node:net`. */
  readonly p50ToBare?: number
  readonly p99ToBare?: number
}

export const outcomesOf = (samples: ReadonlyMap<Case, ReadonlyArray<Sample>>): ReadonlyArray<Outcome> => {
  const measured = [...samples].filter(([, rounds]) => rounds.length > 0).map(([one, rounds]) => medians(one, rounds))
  const find = (kind: string, contestant: string, size: number, heapMegabytes: number) =>
    measured.find(
      (other) =>
        other.kind === kind &&
        other.contestant === contestant &&
        other.size === size &&
        other.heapMegabytes === heapMegabytes
    )
  return measured.map((outcome) => {
    const { contestant, heapMegabytes, kind, size } = outcome
    const yardstick = find(kind, handWritten, size, heapMegabytes)
    const bare = kind === "ping" ? find(kind, "net", size, 0) : undefined
    const light = heapMegabytes === 0 ? undefined : find(kind, contestant, size, 0)
    return {
      ...outcome,
      ...ratio("ratioToHandWritten", outcome.median, yardstick?.median),
      ...ratio("ratioToNoHeap", outcome.median, light?.median),
      ...ratio("p50ToBare", outcome.p50, bare?.p50),
      ...ratio("p99ToBare", outcome.p99, bare?.p99)
    }
  })
}

/** One line for people. */
export const summary = (outcome: Outcome): string => {
  const { median, p50, p99, ratioToHandWritten, ratioToNoHeap, receiveNanos, sendNanos, unit } = outcome
  const parts = [
    outcome.case.padEnd(36),
    `${figure(median)} ${unit}`.padEnd(24),
    ratioToHandWritten === undefined ? "" : `${ratioToHandWritten.toFixed(2)} of hand-written`,
    ratioToNoHeap === undefined ? "" : `${ratioToNoHeap.toFixed(2)} of itself without heap`,
    [sendNanos, receiveNanos].filter((nanos) => nanos !== undefined).join(" + ") + " ns of processor",
    p50 === undefined || p99 === undefined ? "" : `p50 ${p50.toFixed(0)} us, p99 ${p99.toFixed(0)} us`
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
  const { contestant, heapMegabytes, kind, name, size, unit } = one
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
    unit,
    rounds: rounds.length,
    median: median(values),
    lowest: Math.min(...values),
    highest: Math.max(...values),
    ...times,
    ...medianOf("sendNanos", rounds),
    ...medianOf("receiveNanos", rounds)
  }
}

const medianOf = <Key extends "sendNanos" | "receiveNanos">(key: Key, rounds: ReadonlyArray<Sample>) => {
  const values = rounds.flatMap((sample) => sample[key] ?? [])
  return (values.length === 0 ? {} : { [key]: Math.round(median(values)) }) as { readonly [K in Key]?: number }
}

const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[sorted.length >> 1]!
}

const ratio = <Key extends string>(key: Key, value: number | undefined, other: number | undefined) =>
  (value === undefined || other === undefined ? {} : { [key]: Number((value / other).toFixed(3)) }) as {
    readonly [K in Key]?: number
  }
