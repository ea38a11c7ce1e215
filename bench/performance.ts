/**
 * The tables of docs/performance.md, between two marks, with the machine and the versions.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { availableParallelism, cpus, platform } from "node:os"
import { fileURLToPath } from "node:url"
import type { Outcome } from "./outcomes.ts"
import { tables } from "./tables.ts"

const file = fileURLToPath(new URL("../docs/performance.md", import.meta.url))
const begin = "<!-- npm run bench -- --write: begin -->"
const end = "<!-- npm run bench -- --write: end -->"

/** Puts the tables of this run in the place of those that are there. */
export const write = (outcomes: ReadonlyArray<Outcome>, rounds: number): void => {
  const text = readFileSync(file, "utf8")
  const [from, to] = [text.indexOf(begin), text.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`${file} has no place for the tables: ${begin} and ${end}`)
  writeFileSync(
    file,
    text.slice(0, from) + [begin, machine(rounds), ...tables(outcomes)].join("\n\n") + `\n\n${text.slice(to)}`
  )
}

/** What the figures depend on. Peers are named with the versions that are installed for the benchmark. */
const machine = (rounds: number): string => {
  const model = cpus()[0]?.model.trim() ?? "an unknown processor"
  const packages = manifest("./package.json")?.devDependencies ?? {}
  const names = ["effect", ...Object.keys(packages)]
  const versions = names.flatMap((name) => {
    const version = (
      manifest(`./node_modules/${name}/package.json`) ?? manifest(`../node_modules/${name}/package.json`)
    )?.version
    return version === undefined ? [] : [`${name} ${version}`]
  })
  const cores = availableParallelism()
  return `${cores} cores (${model}, ${platform()}), Node ${process.versions.node}, ${versions.join(", ")}. Medians of ${rounds} ${rounds === 1 ? "round" : "rounds"}.`
}

interface Manifest {
  readonly version: string
  readonly devDependencies?: Record<string, string>
}

const manifest = (path: string): Manifest | undefined => {
  const url = new URL(path, import.meta.url)
  return existsSync(url) ? (JSON.parse(readFileSync(url, "utf8")) as Manifest) : undefined
}
