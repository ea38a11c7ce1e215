// The simulated kernel beside the real one. Each row is held to what is on record for Linux (test/real/Conformance.test.ts
// measures it anew), and the table in docs/conformance.md is the one that this produces: `UPDATE=1` writes it.
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Record from "../Record.ts"
import { agree, type Outcome, type Row, type Tolerance } from "./Row.ts"
import { groups, measurements } from "./Rows.ts"
import { simulate } from "./Simulated.ts"

const record = Record.read<Outcome>(measurements)
const outcomes = new Map<Row, Outcome>()

beforeAll(async () => {
  for (const row of Object.values(groups).flat()) outcomes.set(row, await Effect.runPromise(simulate(row)))
}, 60_000)

for (const [group, rows] of Object.entries(groups)) {
  describe(group, () => {
    for (const row of rows) {
      it(row.fault, () => {
        const measured = record.rows[row.fault]
        assert(measured !== undefined, "it was never measured: UPDATE=1 npm run test:real, with LONG=1 if it is long")
        for (const [name, { within }] of Object.entries(row.figures)) {
          const simulated = outcomes.get(row)?.[name]
          const verdict = `${name}: simulated ${simulated}, measured ${measured[name]}, ${tolerance(within)}`
          assert.isTrue(agree(simulated, measured[name], within), verdict)
        }
      })
    }
  })
}

describe("the conformance table", () => {
  it("in docs/conformance.md is the one that was simulated and measured", () => {
    Record.holdTable("conformance.md", table())
  })

  it("has no measurement of a row that is no longer there", () => {
    const faults = new Set(Object.values(groups).flatMap((rows) => rows.map(({ fault }) => fault)))
    assert.deepStrictEqual(
      Object.keys(record.rows).filter((fault) => !faults.has(fault)),
      []
    )
  })
})

const table = () => {
  const parts = Object.entries(groups).map(([group, rows]) => {
    const lines = rows.flatMap((row) =>
      Object.entries(row.figures).map(([name, { why, within }], n) => {
        const [simulated, measured] = [outcomes.get(row)?.[name], record.rows[row.fault]?.[name]]
        const differ = within === undefined ? "equal" : [tolerance(within), why].filter(Boolean).join(": ")
        return `| ${n === 0 ? row.fault : ""} | ${name} | ${text(simulated)} | ${text(measured)} | ${differ} |`
      })
    )
    return `\n**${group}**\n\n| fault | figure | simulated | measured | may differ by |\n| --- | --- | --- | --- | --- |\n${lines.join("\n")}\n`
  })
  return `On Linux ${record.kernel}.\n${parts.join("")}\n`
}

const tolerance = (within: Tolerance | undefined): string => {
  if (within === undefined) return "equal"
  if ("times" in within) return `a factor of ${within.times}`
  return String("seconds" in within ? within.seconds : within.plusMinus)
}

const text = (value: number | string | undefined) =>
  typeof value === "number" ? String(Math.round(value * 100) / 100) : (value ?? "")
