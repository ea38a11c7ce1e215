// The example without ping, with a small patience: a reading after the other, each with its number.
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Schedule, Stream } from "effect"
import { layer, Reading, Readings } from "../../../../examples/07-lines-without-ping/readings.ts"
import * as Role from "../Role.ts"

export interface Argument {
  readonly host: string
  readonly port: number
  readonly everyMillis: number
  /** The patience of `stall`: three steps of so many milliseconds. */
  readonly stepMillis: number
}

export type Fact =
  | { readonly _tag: "Opened" }
  | { readonly _tag: "Sent"; readonly n: number }
  | { readonly _tag: "Ended"; readonly reason: string }

const { everyMillis, host, port, stepMillis } = Role.argument as Argument

const report = (fact: Fact) => Role.report(fact)

const program = Effect.gen(function* () {
  const readings = yield* Readings
  let n = 0
  const send = Effect.suspend(() =>
    Effect.map(readings.send(new Reading({ sensor: "roof", celsius: n })), () => report({ _tag: "Sent", n: n++ }))
  )
  const told = Stream.runForEach(readings.events, (event) =>
    Effect.sync(() => {
      if (event._tag === "Opened") report({ _tag: "Opened" })
      if (event._tag === "Ended") report({ _tag: "Ended", reason: event.error.reason._tag })
    })
  )
  yield* Effect.all([told, Effect.repeat(send, Schedule.spaced(everyMillis))], { concurrency: 2 })
})

const policy = {
  stall: Schedule.spaced(stepMillis).pipe(Schedule.upTo({ times: 3 })),
  reconnect: Schedule.spaced("100 millis"),
  open: "1 second"
} as const

program.pipe(Effect.provide(layer({ host, port, plaintext: true, policy })), NodeRuntime.runMain)
