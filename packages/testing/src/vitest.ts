/**
 * Simulations as tests of vitest. Vitest is an optional peer: nothing else of this package needs it.
 *
 * `SEED=7` in the environment runs with another seed. A test that fails writes its transcript and its picture to
 * `.holdfast/simulations`, and its message says how to repeat it.
 *
 * ```ts
 * import { Fault } from "@holdfast/testing"
 * import { scenario } from "@holdfast/testing/vitest"
 *
 * scenario({
 *   name: "loses nothing when the cable is out for 40 s",
 *   conversation: { toServer: { messages: 100, every: "1 second" } },
 *   timeline: [Fault.at("10 seconds", Fault.blackhole("client"), { for: "40 seconds" })]
 * })
 * ```
 */
import { Effect, Logger, type Scope } from "effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { expect, test } from "vitest"
import { render as renderPicture } from "./Picture.ts"
import * as Scenario from "./Scenario.ts"
import * as SimNetwork from "./SimNetwork.ts"
import { type Entry, render as renderTranscript } from "./Transcript.ts"

/** How a test runs. */
export interface Options {
  /** Default 1; `SEED` in the environment goes before. */
  readonly seed?: number | string | undefined
  /** Real milliseconds that the test may take. Default 60,000. */
  readonly timeoutMillis?: number | undefined
  /** Runs it twice, and fails if the transcripts differ: then something in it does not come from the seed. */
  readonly isTwice?: boolean | undefined
  /** More to hold against what came of a scenario. */
  readonly expect?: ((report: Scenario.Report) => void) | undefined
}

/** A scenario as a test: fails where something does not hold. */
export const scenario = (scenario: Scenario.Scenario, options: Options = {}): void =>
  test(scenario.name, { timeout: options.timeoutMillis ?? timeoutMillisDefault }, async () => {
    const seed = seedOf(options)
    const run = () => Effect.runPromise(Effect.provide(Scenario.run(scenario, seed), quiet))
    const report = await run()
    const again = options.isTwice === true ? await run() : report
    const complaints = report.violations.map(({ rule, text }) => `${rule}: ${text}`)
    const parting = firstDifference(report.transcript, again.transcript)
    if (parting !== undefined) complaints.push(`a second run differs: ${parting}`)
    attempt(scenario.name, seed, report.transcript, () => {
      expect(complaints.join("\n")).toBe("")
      options.expect?.(report)
    })
  })

/** Any program on the simulated network as a test: fails when the body fails. */
export const simulation = <A, E>(
  name: string,
  body: (network: SimNetwork.SimNetwork) => Effect.Effect<A, E, Scope.Scope>,
  options: Options & Omit<SimNetwork.Options, "seed"> = {}
): void =>
  test(name, { timeout: options.timeoutMillis ?? timeoutMillisDefault }, async () => {
    const seed = seedOf(options)
    let transcript: ReadonlyArray<Entry> = []
    const run = SimNetwork.run({ ...options, seed }, (network) => {
      transcript = network.transcript
      return body(network)
    })
    const exit = await Effect.runPromiseExit(Effect.provide(run, quiet))
    await attempt(name, seed, transcript, () => Effect.runPromise(exit))
  })

/** Looks at what came of a run; what fails leaves transcript and picture behind and says how to repeat it. */
const attempt = <A>(name: string, seed: number | string, transcript: ReadonlyArray<Entry>, look: () => A): A => {
  const explain = (error: unknown) => {
    const file = Path.join(folder, `${name.replaceAll(/[^\w-]+/g, "-").slice(0, 80)}-${seed}`)
    Fs.mkdirSync(folder, { recursive: true })
    Fs.writeFileSync(`${file}.txt`, renderTranscript(transcript))
    Fs.writeFileSync(`${file}.svg`, renderPicture(transcript, { title: `${name} (seed ${seed})` }))
    const { testPath = "" } = expect.getState()
    const again = `SEED=${seed} npx vitest run ${Path.relative(process.cwd(), testPath)} -t ${pattern(name)}`
    const text = error instanceof Error ? error.message : String(error)
    return new Error(`${text}\n\ntranscript: ${file}.txt\npicture:    ${file}.svg\nrepeat:     ${again}`, {
      cause: error
    })
  }
  try {
    const looked = look()
    if (looked instanceof Promise) return looked.catch((error: unknown) => Promise.reject(explain(error))) as A
    return looked
  } catch (error) {
    throw explain(error)
  }
}

/** A name as a pattern of vitest's and as a word of a shell's. */
const pattern = (name: string): string => `'${name.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&").replaceAll("'", "'\\''")}'`

const firstDifference = (one: ReadonlyArray<Entry>, other: ReadonlyArray<Entry>): string | undefined => {
  if (one === other) return undefined
  const [lines, others] = [renderTranscript(one).split("\n"), renderTranscript(other).split("\n")]
  const at = lines.findIndex((line, n) => line !== others[n])
  if (at < 0 && lines.length === others.length) return undefined
  return `${lines[at] ?? "(end)"}, and then ${others[at] ?? "(end)"}`
}

const seedOf = ({ seed = 1 }: Options): number | string => {
  const wanted = process.env["SEED"]
  if (wanted === undefined || wanted === "") return seed
  return /^\d+$/.test(wanted) ? Number(wanted) : wanted
}

const quiet = Logger.layer([])
const folder = Path.join(".holdfast", "simulations")
const timeoutMillisDefault = 60_000
