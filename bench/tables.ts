/**
 * The tables of docs/performance.md as text.
 */
import { peers } from "./contestants.ts"
import { figure, type Outcome } from "./outcomes.ts"

/** One table for each kind of case, with a column for each size; the peers share one of their own. */
export const tables = (outcomes: ReadonlyArray<Outcome>): ReadonlyArray<string> => {
  const ours = outcomes.filter((one) => !isOfPeer(one))
  const titles = [...new Set(ours.map(titleOf))]
  const byKind = titles.map((title) =>
    table(
      title,
      ours.filter((one) => titleOf(one) === title)
    )
  )
  return ours.length === outcomes.length ? byKind : [...byKind, peersTable(outcomes)]
}

/** Beside the peers stand those whose messages do the same: they are what a program would use instead. */
const beside = ["holdfast-arrays", "holdfast-messages", "holdfast-requests", "holdfast-requests-together"]

const peerKinds = ["stream", "ping", "requests"]

const isOfPeer = ({ contestant, kind }: Outcome): boolean => peers.includes(contestant) && peerKinds.includes(kind)

const peersTable = (outcomes: ReadonlyArray<Outcome>): string => {
  const find = (contestant: string, kind: string, size: number) =>
    outcomes.find(
      (one) => one.contestant === contestant && one.kind === kind && one.size === size && one.heapMegabytes === 0
    )
  const names = [...beside, ...peers].filter((name) => peerKinds.some((kind) => find(name, kind, 64) !== undefined))
  const rows = names.map((name) => [
    name,
    ...[64, 1024, 65_536].map((size) => rateOf(find(name, "stream", size))),
    timesOf(find(name, "ping", 64)),
    rateOf(find(name, "requests", 64)),
    timesOf(find(name, "requests", 64))
  ])
  const titles = [
    "peers",
    "stream 64 B, messages/s",
    "1 KiB",
    "64 KiB",
    "ping 64 B, p50 / p99 us",
    "64 requests at once, 1/s",
    "p50 / p99 us"
  ]
  return [row(titles), row(titles.map((_, i) => (i === 0 ? "---" : "---:"))), ...rows.map(row)].join("\n")
}

/** How many times as fast Holdfast by arrays is, behind the rate. */
const rateOf = (outcome: Outcome | undefined): string => {
  if (outcome === undefined) return ""
  if (outcome.rounds === 0) return "failed"
  const { median, ratioToHoldfast } = outcome
  return `${figure(median)}${ratioToHoldfast === undefined ? "" : ` (${times(1 / ratioToHoldfast)})`}${failed(outcome)}`
}

const times = (ratio: number): string => `${ratio >= 10 ? ratio.toFixed(0) : ratio.toFixed(1)} x`

const timesOf = (outcome: Outcome | undefined): string => {
  if (outcome?.rounds === 0) return "failed"
  return outcome?.p50 === undefined || outcome.p99 === undefined
    ? ""
    : `${outcome.p50.toFixed(0)} / ${outcome.p99.toFixed(0)}`
}

const failed = ({ failures }: Outcome): string =>
  failures === undefined ? "" : `, ${failures.length} ${failures.length === 1 ? "round" : "rounds"} failed`

const titleOf = ({ heapMegabytes, kind, unit }: Outcome): string =>
  heapMegabytes === 0 ? `${kind}, ${unit}` : `${kind}, ${heapMegabytes} MB of live heap, ${unit}`

const nameOf = ({ contestant, count }: Outcome): string =>
  count === undefined ? contestant : `${contestant}, ${count.toLocaleString("en")}`

const table = (title: string, outcomes: ReadonlyArray<Outcome>): string => {
  const sizes = [...new Set(outcomes.map(({ size }) => size))]
  const names = [...new Set(outcomes.map(nameOf))]
  const rows = names.map((name) =>
    row([name, ...sizes.map((size) => cell(outcomes.find((one) => nameOf(one) === name && one.size === size)))])
  )
  return [row([title, ...sizes.map(sizeName)]), row(["---", ...sizes.map(() => "---:")]), ...rows].join("\n")
}

const row = (cells: ReadonlyArray<string>): string => `| ${cells.join(" | ")} |`

const cell = (outcome: Outcome | undefined): string => {
  if (outcome === undefined) return ""
  if (outcome.rounds === 0) return "failed"
  const { figures, median, p50, p50ToBare, p99, p99ToBare, ratioToBare, ratioToHandWritten, ratioToNoHeap } = outcome
  const more = Object.entries(figures ?? {}).map(([name, value]) => `; ${name} ${figure(value)}`)
  const times = p50 === undefined || p99 === undefined ? "" : `; ${p50.toFixed(0)} / ${p99.toFixed(0)} us`
  const ratio =
    ratioToNoHeap !== undefined
      ? ` (${ratioToNoHeap.toFixed(2)} of itself)`
      : p50ToBare !== undefined && p99ToBare !== undefined
        ? ` (${p50ToBare.toFixed(2)} / ${p99ToBare.toFixed(2)})`
        : ratioOf(outcome.ratioToOne ?? ratioToBare ?? ratioToHandWritten)
  return `${figure(median)}${times}${ratio}${more.join("")}${failed(outcome)}`
}

const ratioOf = (ratio: number | undefined): string => (ratio === undefined ? "" : ` (${ratio.toFixed(2)})`)

const sizeName = (size: number): string => {
  if (size === 0) return ""
  if (size < 1024) return `${size} B`
  return size < 1024 * 1024 ? `${size / 1024} KiB` : `${size / 1024 / 1024} MiB`
}
