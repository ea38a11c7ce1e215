/**
 * All cases by name, in the order of the tables.
 */
import { channelCases } from "./cases/channels.ts"
import { crowdCases } from "./cases/crowd.ts"
import { loadCases } from "./cases/load.ts"
import { resumeCases } from "./cases/resume.ts"
import { own, peers } from "./contestants.ts"
import { exchange, type Sample, type Timing } from "./round.ts"

export interface Case {
  /** The kind, who, the size of a message in bytes, and what else tells it from others of its kind. */
  readonly name: string
  readonly kind: string
  readonly contestant: string
  /** Of a message, or of what is resumed, in bytes; 0 where it does not matter. */
  readonly size: number
  readonly heapMegabytes: number
  /** Of channels or sessions, where there are cases with different ones. */
  readonly count?: number
  readonly unit: string
  /** It takes so long that it is not measured more often, whatever is asked for. */
  readonly roundsMax?: number
  /** It is part of the smoke test; without a word it is if it is ours, and small or large. */
  readonly isBrief?: boolean
  readonly run: (timing: Timing) => Promise<Sample>
}

const sizes = [64, 1024, 65_536]

const streams = (contestants: ReadonlyArray<string>, heapMegabytes = 0): ReadonlyArray<Case> =>
  sizes.flatMap((size) =>
    contestants.map((contestant) => ({
      name: `stream/${contestant}/${size}${heapMegabytes === 0 ? "" : `/${heapMegabytes}MB`}`,
      kind: "stream",
      contestant,
      size,
      heapMegabytes,
      unit: "messages/s",
      run: (timing) => exchange({ contestant, size, heapMegabytes, outstanding: 0 }, timing)
    }))
  )

const exchanges = (
  kind: string,
  outstanding: number,
  contestants: ReadonlyArray<string>,
  sizes: ReadonlyArray<number>
) =>
  sizes.flatMap((size) =>
    contestants.map((contestant): Case => ({
      name: `${kind}/${contestant}/${size}`,
      kind,
      contestant,
      size,
      heapMegabytes: 0,
      unit: "round trips/s",
      run: (timing) => exchange({ contestant, size, heapMegabytes: 0, outstanding }, timing)
    }))
  )

/** Who streams as another one does. */
const asking = ["holdfast-requests", "holdfast-requests-together"]

/** Who answers as another one does. */
const streamingOnly = ["holdfast-owned", "holdfast-messages", "holdfast-handle", "holdfast-schema", "effect-rpc-arrays"]
const answering = (contestants: ReadonlyArray<string>) => contestants.filter((name) => !streamingOnly.includes(name))

export const cases: ReadonlyArray<Case> = [
  ...streams([...own.filter((name) => !asking.includes(name)), ...peers]),
  ...streams(["session", "holdfast-arrays", "holdfast-messages"], 50),
  ...streams(["session", "holdfast-arrays", "holdfast-messages"], 200),
  ...exchanges(
    "ping",
    1,
    answering(own).filter((name) => name !== "holdfast-requests-together"),
    sizes
  ),
  ...exchanges("ping", 1, answering(peers), [64]),
  ...exchanges("requests", 64, answering([...own, ...peers]), [64]),
  ...channelCases,
  ...resumeCases,
  ...crowdCases,
  ...loadCases
]
