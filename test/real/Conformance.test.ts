// Every row of the conformance table on this machine's kernel, beside the simulated one: what the programs are told must be
// equal, and figures as near as the row says. `UPDATE=1` puts what was measured on record, `LONG=1` measures also what
// takes minutes.
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { agree, type Outcome } from "../conformance/Row.ts"
import { groups, measurements } from "../conformance/Rows.ts"
import { simulate } from "../conformance/Simulated.ts"
import * as Record from "../Record.ts"
import { measure } from "./harness/Measured.ts"
import * as Namespace from "./harness/Namespace.ts"

if (Namespace.missing !== undefined && process.env["CI"] !== undefined) throw new Error(Namespace.missing)

const onCable = it.live.skipIf(Namespace.missing !== undefined)

/** How much later than the kernel is each of the processes may be, which inflict, write and tell. */
const busySeconds = 0.7

const isLong = process.env["LONG"] === "1"
const measured: { [fault: string]: Outcome } = {}

afterAll(() => {
  if (Record.isUpdating) Record.update(measurements, measured)
})

describe.concurrent(`a real kernel${Namespace.missing === undefined ? "" : `: ${Namespace.missing}`}`, () => {
  for (const row of Object.values(groups).flat()) {
    if (row.isLong === true && !isLong) continue
    onCable(
      row.fault,
      () =>
        Effect.gen(function* () {
          const simulated = yield* simulate(row)
          const real = yield* measure(row)
          measured[row.fault] = real
          for (const [name, { within }] of Object.entries(row.figures)) {
            const verdict = `${name}: simulated ${simulated[name]}, measured ${real[name]}`
            assert.isTrue(agree(simulated[name], real[name], within, busySeconds), verdict)
          }
        }),
      row.lastsMillis + 120_000
    )
  }
})
