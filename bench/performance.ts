/**
 * The tables of docs/performance.md, between two marks, with the machine and the versions.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { availableParallelism, cpus, platform } from "node:os"
import { fileURLToPath } from "node:url"
import { figure, type Outcome } from "./outcomes.ts"

const file = fileURLToPath(new URL("../docs/performance.md", import.meta.url))
const begin = "<!-- npm run bench -- --write: begin -->"
const end = "<!-- npm run bench -- --write: end -->"

/** Puts the tables of this run in the place of those that are there. */
export const write = (outcomes: ReadonlyArray<Outcome>, rounds: number): void => {
  const text = readFileSync(file, "utf8")
  const [from, to] = [text.indexOf(begin), text.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`${file} has no place for the tables: ${begin} and ${end}`)
  const titles = [...new Set(outcomes.map(titleOf))]
  const tables = titles.map((title) =>
    table(
      title,
      outcomes.filter((one) => titleOf(one) === title)
    )
  )
  writeFileSync(file, text.slice(0, from) + [begin, machine(rounds), ...tables].join("\n\n") + `\n\n${text.slice(to)}`)
}

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
  const { figures, median, p50, p50ToBare, p99, p99ToBare, ratioToBare, ratioToHandWritten, ratioToNoHeap } = outcome
  const more = Object.entries(figures ?? {}).map(([name, value]) => `; ${name} ${figure(value)}`)
  const times = p50 === undefined || p99 === undefined ? "" : `; ${p50.toFixed(0)} / ${p99.toFixed(0)} us`
  const ratio =
    ratioToNoHeap !== undefined
      ? ` (${ratioToNoHeap.toFixed(2)} of itself)`
      : p50ToBare !== undefined && p99ToBare !== undefined
        ? ` (${p50ToBare.toFixed(2)} / ${p99ToBare.toFixed(2)})`
        : ratioOf(outcome.ratioToOne ?? ratioToBare ?? ratioToHandWritten)
  return `${figure(median)}${times}${ratio}${more.join("")}`
}

const ratioOf = (ratio: number | undefined): string => (ratio === undefined ? "" : ` (${ratio.toFixed(2)})`)

const sizeName = (size: number): string => {
  if (size === 0) return ""
  if (size < 1024) return `${size} B`
  return size < 1024 * 1024 ? `${size / 1024} KiB` : `${size / 1024 / 1024} MiB`
}

/** What the figures depend on. Peers are named with the versions that are installed for the benchmark. */
const machine = (rounds: number): string => {
  const model = cpus()[0]?.model.trim() ?? "an unknown processor"
  const packages = manifest("./package.json")?.dependencies ?? {}
  const names = ["effect", ...Object.keys(packages)]
  const versions = names.flatMap((name) => {
    const version = (
      manifest(`./node_modules/${name}/package.json`) ?? manifest(`../node_modules/${name}/package.json`)
    )?.version
    return version === undefined ? [] : [`${name} ${version}`]
  })
  const cores = availableParallelism()
  return `${cores} cores (${model}, ${platform()}), Node ${process.versions.node}, ${versions.join(", ")}. Medians of ${rounds} rounds.`
}

interface Manifest {
  readonly version: string
  readonly dependencies?: Record<string, string>
}

const manifest = (path: string): Manifest | undefined => {
  const url = new URL(path, import.meta.url)
  return existsSync(url) ? (JSON.parse(readFileSync(url, "utf8")) as Manifest) : undefined
}
