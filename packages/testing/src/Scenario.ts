/**
 * A scenario: a conversation, faults on a timeline, and what must hold. It is a value, so that it can be named, drawn from
 * a seed, and acted out elsewhere, too.
 *
 * These hold in every scenario without being asked for: exactly once and in order for each direction; nothing lost after
 * a close that succeeded; what came back as not sent was not taken; kept memory within the policy's limits; every silence
 * noticed within what the policy's Schedules say; no verdict on a link that was well; every operation settles, so that
 * everybody is done within `convergence` once the last fault is healed; no fiber left.
 */
import { Duration, Effect, Option, Schema } from "effect"
import { Policy } from "holdfast"
import * as Checker from "./Checker.ts"
import * as Conversation from "./Conversation.ts"
import type { Timeline } from "./Fault.ts"
import { Ledger, type Violation } from "./Ledger.ts"
import { render as renderPicture } from "./Picture.ts"
import * as SimNetwork from "./SimNetwork.ts"
import { type Entry, render as renderTranscript } from "./Transcript.ts"

/** Who talks, what goes wrong, and what must hold. */
export interface Scenario {
  readonly name: string
  readonly conversation: Conversation.Conversation
  readonly timeline?: Timeline | undefined
  readonly link?: SimNetwork.LinkOptions | undefined
  readonly kernel?: SimNetwork.Options["kernel"]
  /** How long everybody may take to be done once the last fault is healed, or since the beginning. Default 5 minutes. */
  readonly convergence?: Duration.Input | undefined
}

/** What came of a run. */
export interface Report {
  readonly name: string
  readonly seed: number | string
  /** Empty: all is well. */
  readonly violations: ReadonlyArray<Violation>
  readonly detections: ReadonlyArray<Checker.Detection>
  readonly messages: { readonly sent: number; readonly taken: number }
  /** Dials that became a link. */
  readonly links: number
  /** Milliseconds of the world's time. */
  readonly lastedMillis: number
  readonly transcript: ReadonlyArray<Entry>
}

/** A scenario in which something did not hold. */
export class ScenarioFailed extends Schema.TaggedError<ScenarioFailed>()("ScenarioFailed", {
  name: Schema.String,
  seed: Schema.Union([Schema.Number, Schema.String]),
  violations: Schema.Array(Schema.Struct({ rule: Schema.String, text: Schema.String })),
  /** The whole transcript. */
  transcript: Schema.String,
  /** The picture, as SVG. */
  picture: Schema.String
}) {
  override get message(): string {
    const lines = this.violations.map(({ rule, text }) => `- ${rule}: ${text}`)
    return [`${this.name} (seed ${this.seed}):`, ...lines].join("\n")
  }
}

/** Runs a scenario in the simulated network, and says what came of it. */
export const run = (scenario: Scenario, seed: number | string): Effect.Effect<Report, Policy.PolicyError> =>
  SimNetwork.run({ seed, link: scenario.link, kernel: scenario.kernel, awaitsPromises: false }, (network) =>
    perform(network, scenario)
  )

/** Runs a scenario and fails where something did not hold. */
export const check = (
  scenario: Scenario,
  seed: number | string
): Effect.Effect<Report, ScenarioFailed | Policy.PolicyError> =>
  Effect.flatMap(run(scenario, seed), (report) => {
    if (report.violations.length === 0) return Effect.succeed(report)
    const { name, transcript, violations } = report
    const picture = renderPicture(transcript, { title: `${name} (seed ${seed})` })
    return Effect.fail(
      new ScenarioFailed({ name, seed, violations, transcript: renderTranscript(transcript), picture })
    )
  })

const perform = Effect.fnUntraced(function* (network: SimNetwork.SimNetwork, scenario: Scenario) {
  const { conversation, convergence = convergenceDefault, name, timeline = [] } = scenario
  const policy = yield* Policy.make(conversation.policy)
  const ledger = new Ledger()
  const talk = yield* Conversation.start(network, ledger, conversation)
  yield* network.play(timeline)

  const faultsUntil = Math.max(0, ...timeline.map(({ atMillis, untilMillis }) => untilMillis ?? atMillis))
  yield* Effect.sleep(faultsUntil)
  yield* network.heal
  const patience = Duration.toMillis(Duration.fromInputUnsafe(convergence))
  const settled = yield* Effect.timeoutOption(talk.done, patience)
  const violations = [...talk.violations]
  if (Option.isNone(settled)) violations.push({ rule: "settles", text: stuck(ledger, patience) })
  const lastedMillis = network.now()

  const machines = [...Conversation.clientsOf(conversation), "server"].map((machine) => network.host(machine))
  for (const machine of machines) {
    const stopped = yield* Effect.timeoutOption(machine.stop, stopTimeout)
    if (Option.isNone(stopped))
      violations.push({ rule: "settles", text: `the program on ${machine.name} does not end` })
    else if (machine.fibers() > 0)
      violations.push({ rule: "no fiber left", text: `${machine.fibers()} on ${machine.name}` })
  }
  const detections: Array<Checker.Detection> = []
  for (const client of Conversation.clientsOf(conversation)) {
    const found = yield* Checker.detections(network.transcript, policy, client, "server")
    detections.push(...found.detections)
    violations.push(...found.violations)
  }
  violations.push(...(yield* Checker.verdicts(network.transcript, policy)), ...ledger.violations)
  const report: Report = {
    name,
    seed: network.seed,
    violations,
    detections,
    messages: ledger.totals,
    links: network.transcript.filter(({ _tag }) => _tag === "Accepted").length,
    lastedMillis,
    transcript: network.transcript
  }
  return report
})

const stuck = (ledger: Ledger, millis: number) => {
  const { sent, taken } = ledger.totals
  return `not done ${Duration.format(Duration.millis(millis))} after the last fault was healed: ${taken} of ${sent} messages are taken`
}

const convergenceDefault = "5 minutes"
const stopTimeout = "1 hour"
