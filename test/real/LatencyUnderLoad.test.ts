// A link of 10 Mbit/s that bulk keeps full: what a probe and a small message take meanwhile, there and back. The three
// measure at the same time, each on a cable of its own.
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Child from "./harness/Child.ts"
import * as Namespace from "./harness/Namespace.ts"
import type { Argument, Fact } from "./harness/roles/loaded.ts"

if (Namespace.missing !== undefined && process.env["CI"] !== undefined) throw new Error(Namespace.missing)

const samples = 1000
const everyMillis = 30
const port = 7000

/** The measure of one contestant; figures in milliseconds. */
const measure = Effect.fnUntraced(function* (contestant: string) {
  const { left, right } = yield* Namespace.cable
  for (const side of [left, right]) {
    side.run("tc", ..."qdisc add dev cable root tbf rate 10mbit burst 16kb latency 50ms".split(" "))
  }
  const role = (part: Argument["part"], inside: Namespace.Namespace) =>
    Child.spawn<Fact>("loaded", { contestant, part, host: right.address, port, samples, everyMillis }, inside)
  const sink = yield* role("serve", right)
  yield* sink.fact("Listening")
  const load = yield* role("dial", left)
  const { at, probes, smalls } = yield* load.fact("Measured")
  const received = sink.facts.flatMap((fact) => (fact._tag === "Received" && fact.at <= at ? [fact] : []))
  const [first, last] = [received.at(-21)!, received.at(-1)!]
  return {
    contestant,
    probes: percentiles(probes),
    smalls: percentiles(smalls),
    bulkMbit: ((last.bytes - first.bytes) * 8) / (last.at - first.at) / 1000,
    killed: load.facts.flatMap((fact) => (fact._tag === "Killed" ? [fact.reason] : []))
  }
}, Effect.scoped)

const percentiles = (millis: ReadonlyArray<number>) => {
  const sorted = millis.toSorted((a, b) => a - b)
  const at = (share: number) => sorted[Math.ceil(sorted.length * share) - 1] ?? Number.NaN
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) }
}

type Figures = ReturnType<typeof percentiles>

/** What the 99th percentile must stay below. */
const millisMax = 150

const isQuick = ({ probes, smalls }: { readonly probes: Figures; readonly smalls: Figures }) =>
  Math.max(probes.p99, smalls.p99) < millisMax

const cells = ({ count, max, p50, p99 }: Figures): ReadonlyArray<string> =>
  count === 0 ? ["-", "-", "-"] : [p50, p99, max].map((millis) => millis.toFixed(1))

const onCable = it.live.skipIf(Namespace.missing !== undefined)

describe(`a link of 10 Mbit/s that is full${Namespace.missing === undefined ? "" : `: ${Namespace.missing}`}`, () => {
  onCable("holds up neither probes nor small messages of a session", () =>
    Effect.gen(function* () {
      const measured = yield* Effect.forEach(["holdfast", "ws", "socket.io"], measure, { concurrency: 3 })
      const head = ["", "probe p50", "p99", "max", "small p50", "p99", "max", "bulk Mbit/s", "killed"]
      const rows = measured.map(({ bulkMbit, contestant, killed, probes, smalls }) => [
        contestant,
        ...cells(probes),
        ...cells(smalls),
        bulkMbit.toFixed(1),
        String(killed.length)
      ])
      yield* Effect.sync(() => process.stdout.write(table([head, ...rows])))
      for (const { bulkMbit, contestant } of measured)
        assert.isAbove(bulkMbit, 7, `${contestant} did not fill the link`)
      // A busy machine only adds to what a session takes, so it may show once more what it can.
      const ours = isQuick(measured[0]!) ? measured[0]! : yield* measure("holdfast")
      assert.deepStrictEqual(measured[0]!.killed, [])
      assert.deepStrictEqual(ours.killed, [])
      for (const figures of [ours.probes, ours.smalls]) {
        assert.isAtLeast(figures.count, samples)
        assert.isBelow(figures.p99, millisMax)
      }
    })
  )
})

const table = (rows: ReadonlyArray<ReadonlyArray<string>>): string =>
  rows.map((row) => `${row.map((cell, n) => (n === 0 ? cell.padEnd(10) : cell.padStart(12))).join("")}\n`).join("")
