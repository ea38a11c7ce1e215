/** Many seeds as tests, and how fast they went. */
import { afterAll, beforeAll, describe } from "@effect/vitest"
import { type Scenario, Swarm } from "@holdfast/testing"
import { scenario } from "@holdfast/testing/vitest"

/** Each seed as a test; prints what they were, and simulated hours for each real second. */
export const swarm = (name: string, seeds: ReadonlyArray<number>, isTwice: boolean): void => {
  describe(name, () => {
    let [from, simulatedMillis, messages, links, detections] = [0, 0, 0, 0, 0]
    const count = (report: Scenario.Report) => {
      simulatedMillis += (isTwice ? 2 : 1) * report.lastedMillis
      messages += report.messages.taken
      links += report.links
      detections += report.detections.length
    }
    beforeAll(() => {
      from = performance.now()
    })
    for (const seed of seeds) scenario(Swarm.scenarioOf(seed), { seed, isTwice, expect: count })
    afterAll(() => {
      const seconds = (performance.now() - from) / 1000
      const speed = (simulatedMillis / 3_600_000 / seconds).toFixed(2)
      console.log(
        `${name}: ${seeds.length} seeds from ${seeds[0]} in ${seconds.toFixed(1)} s, ${speed} simulated hours per second; ` +
          `${messages} messages over ${links} links, ${detections} silent peers noticed in time`
      )
    })
  })
}

/** The one seed that was asked for. */
export const onlySeed: number | undefined = process.env["SEED"] === undefined ? undefined : Number(process.env["SEED"])

/** How many fresh seeds: `SEEDS`, or 200. */
export const freshCount = Number(process.env["SEEDS"] ?? 200)

export const range = (from: number, count: number): ReadonlyArray<number> =>
  Array.from({ length: count }, (_, n) => from + n)
