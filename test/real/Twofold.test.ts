// The same scenario value, simulated and on a real kernel between two namespaces. A simulator must be believed: what both
// deliver, how often they dial, who gives up and for what reason, and when it is noticed must be the same.
import { assert, describe, it } from "@effect/vitest"
import { type Fault, Ledger, Scenario } from "@holdfast/testing"
import { Effect, Fiber, type Scope } from "effect"
import { type Child, spawn } from "./harness/Child.ts"
import * as Namespace from "./harness/Namespace.ts"
import type * as Talker from "./harness/roles/talker.ts"
import { scenarios } from "./harness/Twofold.ts"

if (Namespace.missing !== undefined && process.env["CI"] !== undefined) throw new Error(Namespace.missing)

const onCable = it.live.skipIf(Namespace.missing !== undefined)

const port = 7000

/** How much sooner or later a real machine may be: its scheduler, and the phase of heartbeats at the fault. */
const toleranceMillis = 700

/** A process takes most of a second to start again, and what was not taken then is lost with its memory. */
const takenTolerance = 20
const losesMemory = ({ timeline = [] }: Scenario.Scenario) => timeline.some(({ fault }) => fault._tag === "Kill")

/** What a run comes to, wherever it was. */
interface Outcome {
  readonly violations: ReadonlyArray<string>
  readonly taken: number
  /** How the client's links were opened, and why they ended, in order. */
  readonly openings: ReadonlyArray<string>
  readonly reasons: ReadonlyArray<string>
  /** From the first fault until the client's link was given up. */
  readonly noticedAfterMillis: number | undefined
}

describe.concurrent(`the same scenario, simulated and real${Namespace.missing === undefined ? "" : `: ${Namespace.missing}`}`, () => {
  for (const [name, scenario] of Object.entries(scenarios)) {
    onCable(
      name,
      () =>
        Effect.gen(function* () {
          const simulated = outcomeOf(yield* Scenario.run(scenario, 1))
          const real = yield* perform(name, scenario)
          yield* Effect.log(`${name}: simulated ${summary(simulated)}; real ${summary(real)}`)
          assert.deepStrictEqual(simulated.violations, [])
          assert.deepStrictEqual(real.violations, [])
          if (losesMemory(scenario)) assert.closeTo(real.taken, simulated.taken, takenTolerance)
          else assert.strictEqual(real.taken, simulated.taken)
          assert.deepStrictEqual(real.openings, simulated.openings)
          assert.deepStrictEqual(real.reasons, simulated.reasons)
          assert.strictEqual(real.noticedAfterMillis === undefined, simulated.noticedAfterMillis === undefined)
          const difference = (real.noticedAfterMillis ?? 0) - (simulated.noticedAfterMillis ?? 0)
          assert.isAtMost(Math.abs(difference), toleranceMillis)
        }),
      60_000
    )
  }
})

const summary = ({ noticedAfterMillis, openings, reasons, taken }: Outcome) =>
  `${taken} taken, [${openings.join(" ")}], [${reasons.join(" ")}], noticed after ${Math.round(noticedAfterMillis ?? 0)} ms`

const outcomeOf = ({ messages, transcript, violations }: Scenario.Report): Outcome => {
  const told = transcript.flatMap((entry) => (entry._tag === "Session" && entry.host === "client" ? [entry] : []))
  const faultAt = transcript.find(({ _tag }) => _tag === "Inflicted")?.at ?? 0
  const ended = told.filter(({ what }) => what === "Ended")
  const first = ended.find(({ at, reason }) => at >= faultAt && reason !== "EndedByPeer")
  return {
    violations: violations.map(({ rule, text }) => `${rule}: ${text}`),
    taken: messages.taken,
    openings: told.flatMap(({ text, what }) => (what === "Opened" ? [text.split(", ")[1] ?? ""] : [])),
    reasons: ended.map(({ reason = "" }) => reason),
    noticedAfterMillis: faultAt === 0 || first === undefined ? undefined : first.at - faultAt
  }
}

/** Runs a scenario between two namespaces. */
const perform = Effect.fnUntraced(function* (
  name: string,
  { timeline = [] }: Scenario.Scenario
): Effect.fn.Return<Outcome, never, Scope.Scope> {
  const cable = yield* Namespace.cable
  const told: Array<{ readonly child: Child<Talker.Fact>; readonly life: number; readonly part: string }> = []
  const lives = { client: 0, server: 0 }
  const start = Effect.fnUntraced(function* (part: "client" | "server") {
    const life = ++lives[part]
    const argument: Talker.Argument = { part, scenario: name, life, host: cable.right.address, port }
    const child = yield* spawn<Talker.Fact>("talker", argument, part === "server" ? cable.right : cable.left)
    told.push({ child, life, part })
    return child
  })
  let server = yield* start("server")
  yield* server.fact("Listening")
  const client = yield* start("client")
  yield* client.fact("Opened")

  let faultAt = 0
  const inflict = Effect.fnUntraced(function* (fault: Fault.Fault) {
    faultAt ||= Date.now()
    const frozen = "host" in fault && fault.host === "server" ? server : client
    switch (fault._tag) {
      case "Partition":
        return yield* cable.cut("both")
      case "OneWay":
        return yield* cable.cut(fault.to === "server" ? "to right" : "to left")
      case "SynOnly":
        return yield* cable.swallow
      case "Freeze":
        return yield* frozen.freeze
      case "Kill":
        return yield* server.kill
      case "Cut":
        cable.left.run("ss", "-K", "dport", "=", `:${port}`)
        return undefined
      default:
        return yield* Effect.die(new Error(`${fault._tag} cannot be inflicted on a real kernel here`))
    }
  })
  const heal = Effect.fnUntraced(function* (fault: Fault.Fault) {
    if (fault._tag === "Freeze") return yield* (fault.host === "server" ? server : client).thaw
    if (fault._tag !== "Kill") return yield* cable.heal
    server = yield* start("server")
  })
  const playing = yield* Effect.forkChild(
    Effect.forEach(
      timeline,
      Effect.fnUntraced(function* ({ atMillis, fault, untilMillis }) {
        yield* Effect.sleep(atMillis)
        yield* inflict(fault)
        if (untilMillis === undefined) return
        yield* Effect.sleep(untilMillis - atMillis)
        yield* heal(fault)
      })
    )
  )
  yield* client.fact("Done")
  yield* Fiber.join(playing)
  yield* Effect.sleep("300 millis")
  return account(told, client, faultAt)
})

/** What the processes told, balanced. */
const account = (
  told: ReadonlyArray<{ readonly child: Child<Talker.Fact>; readonly life: number; readonly part: string }>,
  client: Child<Talker.Fact>,
  faultAt: number
): Outcome => {
  const ledger = new Ledger.Ledger()
  const violations: Array<Ledger.Violation> = []
  const facts = told.flatMap(({ child }) => child.facts).toSorted((a, b) => a.at - b.at)
  for (const fact of facts) {
    if (fact._tag === "Sent") ledger.sent(fact.stream)
    if (fact._tag === "Taken") ledger.taken(fact.stream, fact.number)
    if (fact._tag === "Returned") ledger.returned(fact.stream, fact.unsure, fact.unsent)
    if (fact._tag === "Closed") ledger.closed(fact.stream)
    if (fact._tag === "Violated") violations.push(fact.violation)
  }
  const servers = told.filter(({ part }) => part === "server")
  for (const { life } of servers.slice(0, -1)) {
    for (const stream of ledger.streams) if (stream.startsWith(`server/${life}.`)) ledger.forgotten(stream)
  }
  const ended = client.facts.flatMap((fact) => (fact._tag === "Ended" ? [fact] : []))
  const first = ended.find(({ at, reason }) => at >= faultAt && reason !== "EndedByPeer")
  return {
    violations: [...violations, ...ledger.violations].map(({ rule, text }) => `${rule}: ${text}`),
    taken: ledger.totals.taken,
    openings: client.facts.flatMap((fact) => (fact._tag === "Opened" ? [fact.opened] : [])),
    reasons: ended.map(({ reason }) => reason),
    noticedAfterMillis: faultAt === 0 || first === undefined ? undefined : first.at - faultAt
  }
}
