/**
 * The benchmark: every case in turn, round by round, then medians, and ratios within the same rounds.
 *
 *   npm run bench -- --only '^stream' --rounds 5 --json
 */
import { type Case, cases } from "./cases.ts"
import { own, peers } from "./contestants.ts"
import { help, type Options, parse, UsageError } from "./options.ts"
import { type Outcome, outcomesOf, type Rounds, summary } from "./outcomes.ts"
import * as Performance from "./performance.ts"
import type { Timing } from "./round.ts"

const full: Timing = { warmMillis: 3000, measureMillis: 1000, crowd: 5000, seconds: 60 }
/** Peers are many, and less depends on them. */
const short: Timing = { ...full, measureMillis: 400 }
const brief: Timing = { warmMillis: 20, measureMillis: 60, crowd: 20, seconds: 0.5 }

/** A case of the smoke test: ours, and small or large; of the peers, large messages one way and small ones both ways. */
const isBrief = ({ contestant, heapMegabytes, isBrief, kind, size }: Case): boolean =>
  isBrief ??
  (own.includes(contestant)
    ? heapMegabytes === 0 && size !== 1024
    : kind === (size === 64 ? "requests" : "stream") && size !== 1024)

const choose = ({ only, smoke }: Options): ReadonlyArray<Case> => {
  const chosen = cases.filter((one) => (only?.test(one.name) ?? true) && (!smoke || isBrief(one)))
  if (chosen.length === 0) throw new UsageError("no case has such a name; --list prints them all")
  return chosen
}

/** A case that failed so often is not measured again: one that is stuck takes a minute each time. */
const failuresMax = 2

const measure = async (chosen: ReadonlyArray<Case>, { json, rounds, seconds, smoke, write }: Options) => {
  const timing = ({ contestant }: Case): Timing =>
    smoke ? brief : { ...(peers.includes(contestant) ? short : full), seconds: seconds ?? full.seconds }
  const measured = new Map<Case, Rounds>(chosen.map((one) => [one, { samples: [], failures: [] }]))
  const show = (text: string) => {
    if (!json && process.stderr.isTTY) process.stderr.write(`\r${text}\x1b[K`)
  }
  for (let round = 1; round <= (smoke ? 1 : rounds); round++) {
    for (const [one, { failures, samples }] of measured) {
      if (round > (one.roundsMax ?? Infinity) || failures.length === failuresMax) continue
      show(`round ${round}: ${one.name}`)
      try {
        samples.push(await one.run(timing(one)))
      } catch (error) {
        failures.push(error instanceof Error ? error.message : String(error))
        console.error(`${one.name}: ${failures.at(-1)}`)
      }
    }
    if (write) Performance.write(outcomesOf(measured), round) // what is done stays, whatever comes
  }
  show("")
  return outcomesOf(measured)
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
  const outcomes = await measure(chosen, options)
  const line = ({ json, smoke }: Options, outcome: Outcome) =>
    json
      ? JSON.stringify(outcome)
      : smoke && outcome.failures === undefined
        ? `${outcome.case} works`
        : summary(outcome)
  for (const outcome of outcomes) console.log(line(options, outcome))
  return outcomes.every(({ failures }) => failures === undefined) ? 0 : 1
}

try {
  process.exitCode = await run()
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  console.error(error.message)
  process.exitCode = 2
}
