/** What was measured, kept beside the tests that measure it, and the tables in the documents that are made from it. */
import { assert } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"

/** Whether this run puts what it finds on record. */
export const isUpdating = process.env["UPDATE"] === "1"

export interface Record<Row> {
  /** Release of the kernel, and its congestion control. */
  readonly kernel: string
  readonly rows: Readonly<{ [name: string]: Row }>
}

export const read = <Row>(file: URL): Record<Row> =>
  Fs.existsSync(file) ? (JSON.parse(Fs.readFileSync(file, "utf8")) as Record<Row>) : { kernel: "", rows: {} }

/** Puts fresh measurements of this machine in the place of older ones. */
export const update = <Row>(file: URL, fresh: Record<Row>["rows"]): void => {
  const release = execFileSync("uname", ["-r"], { encoding: "utf8" }).trim()
  const control = execFileSync("sysctl", ["-n", "net.ipv4.tcp_congestion_control"], { encoding: "utf8" }).trim()
  const rows = { ...read<Row>(file).rows, ...fresh }
  Fs.writeFileSync(file, `${JSON.stringify({ kernel: `${release}, ${control}`, rows }, undefined, 2)}\n`)
}

/** Holds what stands between two marks of a page of docs to a fresh table, or writes it. */
export const holdTable = (page: string, table: string): void => {
  const path = new URL(`../docs/${page}`, import.meta.url)
  const present = Fs.readFileSync(path, "utf8")
  const [begin, end] = ["<!-- table: begin -->\n", "<!-- table: end -->"]
  const [head = "", rest = ""] = present.split(begin)
  const [, tail = ""] = rest.split(end)
  const fresh = head + begin + table + end + tail
  if (isUpdating) Fs.writeFileSync(path, fresh)
  else assert.strictEqual(present, fresh, `docs/${page} differs; if that is meant, run the tests with UPDATE=1`)
}
