// The same scenario value, simulated and on a real kernel between two namespaces. A simulator must be believed: what both
// deliver, how often they dial, who gives up and for what reason, and when it is noticed must be the same.
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Ledger, Scenario } from "@holdfast/testing"
import { Effect, Fiber, Scope } from "effect"
import * as Record from "../Record.ts"
import {
  measurements,
  type Outcome,
  outcomeOf,
  outcomeOfReport,
  scenarios,
  type Twofold
} from "../scenarios/Twofold.ts"
import { type Child, spawn } from "./harness/Child.ts"
import { inflicting } from "./harness/Inflict.ts"
import * as Namespace from "./harness/Namespace.ts"
import type * as Talker from "./harness/roles/talker.ts"

if (Namespace.missing !== undefined && process.env["CI"] !== undefined) throw new Error(Namespace.missing)

const onCable = it.live.skipIf(Namespace.missing !== undefined)

const port = 7000

/** How much sooner or later a real machine may be: its scheduler, and the phase of heartbeats at the fault. */
const toleranceMillis = 700

/** Whoever wakes late on a busy machine asks once more, with so much patience. */
const onceMoreMillis = 1000

/** A process takes most of a second to start again, more on a busy machine, and what was not taken then is lost with its memory. */
const takenMin = 60

const measured: { [name: string]: Outcome } = {}

/** How much later each was noticed than in the simulation. */
const later: Array<number> = []

afterAll(() => {
  if (Record.isUpdating) Record.update(measurements, measured)
})

describe.concurrent(`the same scenario, simulated and real${Namespace.missing === undefined ? "" : `: ${Namespace.missing}`}`, () => {
  for (const [name, scenario] of Object.entries(scenarios)) {
    onCable(
      name,
      () =>
        Effect.gen(function* () {
          const simulated = outcomeOfReport(yield* Scenario.run({ name, ...scenario }, 1))
          const real = yield* perform(name, scenario)
          measured[name] = real
          yield* Effect.log(`${name}: simulated ${summary(simulated)}; real ${summary(real)}`)
          assert.deepStrictEqual(simulated.violations, [])
          assert.deepStrictEqual(real.violations, [])
          if (scenario.openings.includes("Gap")) assert.isAtLeast(real.taken, takenMin)
          else assert.strictEqual(real.taken, simulated.taken)
          assert.deepStrictEqual(real.openings, simulated.openings)
          assert.deepStrictEqual(endsOf(real, simulated), simulated.ends)
          if (scenario.retries !== undefined) assert.deepStrictEqual(real.retries, simulated.retries)
          if (scenario.stalls !== undefined) assert.strictEqual(real.stalls, simulated.stalls)
          assert.strictEqual(real.noticedAfterMillis === undefined, simulated.noticedAfterMillis === undefined)
          if (real.noticedAfterMillis === undefined) return
          const laterMillis = real.noticedAfterMillis - (simulated.noticedAfterMillis ?? 0)
          later.push(laterMillis)
          assert.isAtLeast(laterMillis, -toleranceMillis)
          assert.isAtMost(laterMillis, toleranceMillis + onceMoreMillis)
        }),
      120_000
    )
  }
})

onCable("most of them are noticed as soon as in the simulation", () =>
  Effect.sync(() => assert.isAtLeast(later.filter((millis) => millis <= toleranceMillis).length, later.length / 2))
)

/** A kernel resets where its program had not yet read everything, and ends where it had. */
const endsOf = (real: Outcome, simulated: Outcome) =>
  real.ends.map((reason, n) =>
    reason === "LinkFailed" && simulated.ends[n] === "LinkClosed" ? simulated.ends[n] : reason
  )

const summary = ({ ends, noticedAfterMillis, openings, stalls, taken }: Outcome) =>
  `${taken} taken, [${openings.join(" ")}], [${ends.join(" ")}], ${stalls} stalls, noticed after ${Math.round(noticedAfterMillis ?? 0)} ms`

interface Life {
  readonly child: Child<Talker.Fact>
  readonly life: number
  readonly part: string
}

/** Runs a scenario between two namespaces. */
const perform = Effect.fnUntraced(function* (
  name: string,
  { timeline = [] }: Twofold
): Effect.fn.Return<Outcome, never, Scope.Scope> {
  const cable = yield* Namespace.cable
  const scope = yield* Effect.scope
  const lives: Array<Life> = []
  const start = (part: string) =>
    Effect.gen(function* () {
      const life = lives.filter((one) => one.part === part).length + 1
      const argument = { part, scenario: name, life, host: cable.right.address, port }
      const child = yield* spawn<Talker.Fact>("talker", argument, part === "server" ? cable.right : cable.left)
      lives.push({ child, life, part })
      return child
    }).pipe(Effect.provideService(Scope.Scope, scope))
  const present = (part: string) => lives.findLast((one) => one.part === part)!.child
  const inflict = inflicting(
    cable,
    {
      freeze: (part) => present(part).freeze,
      thaw: (part) => present(part).thaw,
      kill: (part) => present(part).kill,
      start: (part) => Effect.asVoid(start(part)),
      slow: (part, bytesPerSecond) => present(part).tell({ bytesPerSecond } satisfies Talker.Order)
    },
    port
  )
  yield* Effect.flatMap(start("server"), (server) => server.fact("Listening"))

  let faultAt: number | undefined
  const atOnce = yield* Effect.forEach(
    timeline.filter(({ atMillis }) => atMillis === 0),
    Effect.fnUntraced(function* (timed) {
      return { ...timed, heal: yield* inflict(timed.fault) }
    })
  )
  const client = yield* start("client")
  yield* client.fact("Dialing")
  const later = timeline.filter(({ atMillis }) => atMillis > 0)
  const playing = [
    ...atOnce.map(({ heal, untilMillis = 0 }) => Effect.andThen(Effect.sleep(untilMillis), heal)),
    ...later.map(({ atMillis, fault, untilMillis }) =>
      Effect.gen(function* () {
        yield* Effect.sleep(atMillis)
        faultAt ??= Date.now()
        const heal = yield* inflict(fault)
        if (untilMillis === undefined) return
        yield* Effect.sleep(untilMillis - atMillis)
        yield* heal
      })
    )
  ]
  const played = yield* Effect.forkChild(Effect.all(playing, { concurrency: "unbounded", discard: true }))
  yield* client.fact("Done")
  yield* Fiber.join(played)
  yield* Effect.sleep("300 millis")
  return account(lives, client, faultAt)
})

/** What the processes told, balanced. */
const account = (lives: ReadonlyArray<Life>, client: Child<Talker.Fact>, faultAt: number | undefined): Outcome => {
  const ledger = new Ledger.Ledger()
  const violations: Array<Ledger.Violation> = []
  const facts = lives.flatMap(({ child }) => child.facts).toSorted((a, b) => a.at - b.at)
  for (const fact of facts) {
    if (fact._tag === "Sent") ledger.sent(fact.stream)
    if (fact._tag === "Taken") ledger.taken(fact.stream, fact.number)
    if (fact._tag === "Returned") ledger.returned(fact.stream, fact.unsure, fact.unsent)
    if (fact._tag === "Closed") ledger.closed(fact.stream)
    if (fact._tag === "Skipped") ledger.skipped(fact.stream, fact.end, fact.count)
    if (fact._tag === "Violated") violations.push(fact.violation)
  }
  const servers = lives.filter(({ part }) => part === "server")
  for (const { life } of servers.slice(0, -1)) {
    for (const stream of ledger.streams) if (stream.startsWith(`server/${life}.`)) ledger.forgotten(stream)
  }
  const told = client.facts.flatMap((fact) => (fact._tag === "Happened" ? [fact] : []))
  return outcomeOf(told, faultAt, {
    violations: [...violations, ...ledger.violations].map(({ rule, text }) => `${rule}: ${text}`),
    taken: ledger.totals.taken
  })
}
