/**
 * The benchmark: every case in turn, round by round, then medians, and ratios within the same rounds.
 *
 *   npm run bench -- --only '^stream' --rounds 5 --json
 */
import { type Case, cases } from "./cases.ts"
import { own } from "./contestants.ts"
import { help, type Options, parse, UsageError } from "./options.ts"
import { type Outcome, outcomesOf, summary } from "./outcomes.ts"
import * as Performance from "./performance.ts"
import type { Sample, Timing } from "./round.ts"

const full: Timing = { warmMillis: 400, measureMillis: 800, crowd: 5000, seconds: 60 }
const brief: Timing = { warmMillis: 20, measureMillis: 60, crowd: 20, seconds: 0.5 }

/** A case of the smoke test: ours, and small or large. */
const isBrief = ({ contestant, heapMegabytes, isBrief, size }: Case): boolean =>
  isBrief ?? (own.includes(contestant) && heapMegabytes === 0 && size !== 1024)

const choose = ({ only, smoke }: Options): ReadonlyArray<Case> => {
  const chosen = cases.filter((one) => (only?.test(one.name) ?? true) && (!smoke || isBrief(one)))
  if (chosen.length === 0) throw new UsageError("no case has such a name; --list prints them all")
  return chosen
}

const measure = async (chosen: ReadonlyArray<Case>, { json, rounds, seconds, smoke }: Options) => {
  const timing = smoke ? brief : { ...full, seconds: seconds ?? full.seconds }
  const samples = new Map<Case, Array<Sample>>(chosen.map((one) => [one, []]))
  const show = (text: string) => {
    if (!json && process.stderr.isTTY) process.stderr.write(`\r${text}\x1b[K`)
  }
  let failures = 0
  for (let round = 1; round <= (smoke ? 1 : rounds); round++) {
    for (const [one, values] of samples) {
      if (round > (one.roundsMax ?? Infinity)) continue
      show(`round ${round}: ${one.name}`)
      try {
        values.push(await one.run(timing))
      } catch (error) {
        failures++
        console.error(`${one.name}: ${error instanceof Error ? error.message : String(error)}`)
      }
    }
  }
  show("")
  return { outcomes: outcomesOf(samples), failures }
}

const run = async (): Promise<number> => {
  const options = parse(process.argv.slice(2))
  if (options === undefined) {
    console.log(help)
    return 0
  }
  const chosen = choose(options)
  if (options.list) {
    for (const { name } of chosen) console.log(name)
    return 0
  }
  const { failures, outcomes } = await measure(chosen, options)
  const line = ({ json, smoke }: Options, outcome: Outcome) =>
    json ? JSON.stringify(outcome) : smoke ? `${outcome.case} works` : summary(outcome)
  for (const outcome of outcomes) console.log(line(options, outcome))
  if (options.write) Performance.write(outcomes, options.rounds)
  return failures === 0 ? 0 : 1
}

try {
  process.exitCode = await run()
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  console.error(error.message)
  process.exitCode = 2
}
