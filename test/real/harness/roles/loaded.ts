// One side of a connection that is kept full, and what its small messages and its probes take meanwhile.
import type { Contestant } from "../Load.ts"
import * as Role from "../Role.ts"

export interface Argument {
  readonly contestant: string
  readonly part: "serve" | "dial"
  readonly host: string
  readonly port: number
  /** The dialling side's: how many of each, at least, and how far apart they begin. */
  readonly samples: number
  readonly everyMillis: number
}

export type Fact =
  | { readonly _tag: "Listening" }
  | { readonly _tag: "Received"; readonly bytes: number }
  | { readonly _tag: "Killed"; readonly reason: string }
  /** Round trips in milliseconds. */
  | { readonly _tag: "Measured"; readonly probes: ReadonlyArray<number>; readonly smalls: ReadonlyArray<number> }

const { contestant: name, everyMillis, host, part, port, samples } = Role.argument as Argument
const report = (fact: Fact) => Role.report(fact)
const { contestant }: { readonly contestant: Contestant } = await import(`../loads/${name}.ts`)

const pause = (millis: number) => new Promise<void>((resolve) => setTimeout(resolve, millis))

/** Time for the queues on the way to fill. */
const warmUpMillis = 2_000

/** Begins one every so often, whether the one before has come back or not, or only then. */
const spaced = async (once: () => Promise<number>, mayOverlap: boolean): Promise<ReadonlyArray<number>> => {
  const all: Array<Promise<number>> = []
  for (let n = 0; n < samples; n++) {
    const one = once()
    all.push(one)
    await (mayOverlap ? pause(everyMillis) : one)
  }
  return Promise.all(all)
}

if (part === "serve") {
  const sink = await contestant.serve(host, port)
  report({ _tag: "Listening" })
  setInterval(() => report({ _tag: "Received", bytes: sink.receivedBytes() }), 500)
} else {
  const load = await contestant.dial(host, port, (reason) => report({ _tag: "Killed", reason }))
  load.bulk()
  await pause(warmUpMillis)
  const { probe, probesOverlap, small } = load
  const [smalls, probes] = await Promise.all([
    spaced(small, true),
    probe === undefined ? [] : spaced(probe, probesOverlap)
  ])
  report({ _tag: "Measured", probes, smalls })
}
