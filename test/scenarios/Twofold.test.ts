// The lessons and the pains as values, simulated. That a real kernel says the same, test/real/Twofold.test.ts shows, and the
// table in docs/simulation.md is made from both: `UPDATE=1` writes it.
import { assert, it } from "@effect/vitest"
import { scenario } from "@holdfast/testing/vitest"
import * as Record from "../Record.ts"
import { measurements, type Outcome, outcomeOfReport, scenarios } from "./Twofold.ts"

const simulated = new Map<string, Outcome>()

for (const [name, { ends, openings, retries, stalls, ...value }] of Object.entries(scenarios)) {
  scenario(
    { name, ...value },
    {
      expect: (report) => {
        const outcome = outcomeOfReport(report)
        simulated.set(name, outcome)
        assert.deepStrictEqual(outcome.openings, openings)
        assert.deepStrictEqual(outcome.ends.slice(0, -1), ends)
        if (stalls !== undefined) assert.strictEqual(outcome.stalls, stalls)
        if (retries !== undefined) assert.deepStrictEqual(outcome.retries, retries)
        const { toClient, toServer } = value.conversation
        const messages = (toClient?.messages ?? 0) + (toServer?.messages ?? 0)
        if (openings.includes("Gap")) assert.isAtLeast(outcome.taken, messages - unknownFateMax)
        else assert.strictEqual(outcome.taken, messages)
      }
    }
  )
}

it("the table in docs/simulation.md is what was simulated and measured", () => {
  const { kernel, rows } = Record.read<Outcome>(measurements)
  assert.sameMembers(Object.keys(rows), Object.keys(scenarios))
  const lines = Object.keys(scenarios).map((name) => {
    const [there, here] = [simulated.get(name), rows[name]]
    const ends = (outcome: Outcome | undefined) => outcome?.ends.slice(0, -1).join(", ") ?? ""
    const noticed = [seconds(there?.noticedAfterMillis), seconds(here?.noticedAfterMillis)]
    const links = [there?.openings.join(", "), ends(there), here?.openings.join(", "), ends(here)]
    return `| ${[name, ...links, ...noticed].join(" | ")} |`
  })
  const head =
    "| scenario | links, simulated | ended by | links, real | ended by | noticed after, simulated | real |\n" +
    "| --- | --- | --- | --- | --- | --- | --- |"
  Record.holdTable("simulation.md", `On Linux ${kernel}.\n\n${head}\n${lines.join("\n")}\n\n`)
})

const seconds = (millis: number | undefined) => (millis === undefined ? "" : `${(millis / 1000).toFixed(2)} s`)

/** What a server that has lost its memory may have lost. */
const unknownFateMax = 40
