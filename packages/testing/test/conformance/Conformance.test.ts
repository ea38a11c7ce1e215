// The simulated kernel beside the real one. Each row is held to what was measured on Linux 6.18, and the table in
// docs/simulation.md is the one that this produces: `UPDATE=1` writes it.
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Fs from "node:fs"
import { connecting } from "./Connecting.ts"
import { givingUp } from "./GivingUp.ts"
import { losing } from "./Losing.ts"
import type { Figure, Row } from "./Row.ts"
import { stalling } from "./Stalling.ts"

const groups: Readonly<Record<string, ReadonlyArray<Row>>> = {
  "Slow and frozen (S0, S4)": stalling,
  "Lost without an error (S1)": losing,
  "Connected and not seen (S2)": connecting,
  "Cut (S3)": givingUp
}

const outcomes = new Map<Row, Readonly<Record<string, number | string>>>()

beforeAll(async () => {
  for (const row of Object.values(groups).flat()) outcomes.set(row, await Effect.runPromise(row.simulate))
}, 60_000)

for (const [group, rows] of Object.entries(groups)) {
  describe(group, () => {
    for (const row of rows) {
      it(row.fault, () => {
        const outcome = outcomes.get(row) ?? {}
        for (const [name, { accepts }] of figuresOf(row)) {
          const value = outcome[name]
          const isWithin =
            typeof accepts === "object"
              ? typeof value === "number" && value >= accepts[0] && value <= accepts[1]
              : value === accepts
          assert.isTrue(isWithin, `${name} is ${value}, and should be ${String(accepts)}`)
        }
      })
    }
  })
}

describe("the conformance table", () => {
  it("in docs/simulation.md is the one that was simulated", () => {
    const path = new URL("../../../../docs/simulation.md", import.meta.url)
    const page = Fs.readFileSync(path, "utf8")
    const [begin, end] = ["<!-- conformance: begin -->\n", "<!-- conformance: end -->"]
    const [head = "", rest = ""] = page.split(begin)
    const [, tail = ""] = rest.split(end)
    const fresh = head + begin + table() + end + tail
    if (process.env["UPDATE"] === "1") Fs.writeFileSync(path, fresh)
    else assert.strictEqual(page, fresh, "docs/simulation.md differs; if that is meant, run the tests with UPDATE=1")
  })
})

const table = () =>
  Object.entries(groups)
    .map(([group, rows]) => {
      const lines = rows.flatMap((row) =>
        figuresOf(row).map(([name, { measured, why }], n) => {
          const value = outcomes.get(row)?.[name] ?? ""
          return `| ${n === 0 ? row.fault : ""} | ${name} | ${text(value)} | ${measured} | ${why ?? ""} |`
        })
      )
      return `\n**${group}**\n\n| fault | figure | simulated | measured | may differ by |\n| --- | --- | --- | --- | --- |\n${lines.join("\n")}\n`
    })
    .join("") + "\n"

const figuresOf = ({ figures }: Row) =>
  Object.entries(figures).filter((entry): entry is [string, Figure] => entry[1] !== undefined)

const text = (value: number | string) => (typeof value === "number" ? String(Math.round(value * 100) / 100) : value)
