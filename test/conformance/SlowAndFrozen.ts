/** S0 and S4: a peer that does not read, or whose process stands still, while its kernel lives. */
import { Fault } from "@holdfast/testing"
import { isTag, leastQueue, queue, type Row, type Seen, told, toldAfter } from "./Row.ts"

const stall = { reads: "all", stalls: { atMillis: 1000, forMillis: 6500 }, beatEveryMillis: 1000 } as const
const bulk = { bytes: 65_536, everyMillis: 0 } as const

/** When a deadline of 5 s for each write would have fired. */
const deadline = ({ facts }: Seen): number | string => {
  const waits = facts.find(isTag("Waits"))
  const goesOn = facts.find(isTag("GoesOn"))
  if (waits === undefined) return "never"
  const since = waits.at - 500
  return goesOn !== undefined && goesOn.at < since + 5000 ? "never" : (since + 5000) / 1000
}

/** How long the write took that waited, in seconds. */
const longestWrite = ({ facts }: Seen): number | string => {
  const waits = facts.find(isTag("Waits"))
  const goesOn = facts.find(isTag("GoesOn"))
  return waits === undefined || goesOn === undefined ? "none" : (goesOn.at - waits.at + 500) / 1000
}

const isWritingAgain = (seen: Seen) => seen.facts.some(({ _tag }) => _tag === "GoesOn" || _tag === "Told")

/** A stall to 9 s and the packets of its reader lost around its end: seconds from the end until data moves again. */
const lostUpdate = (
  lost: { readonly atMillis: number; readonly forMillis: number },
  beatEveryMillis?: number
): Omit<Row, "fault" | "figures"> => ({
  server: { reads: "all", stalls: { atMillis: 1000, forMillis: 8000 }, beatEveryMillis },
  client: { writes: { bytes: 16_384, everyMillis: 4 } },
  kernel: { receiveBufferBytesMax: 970_000 },
  timeline: [Fault.at(lost.atMillis, Fault.oneWay("server", "client"), { for: lost.forMillis })],
  lastsMillis: 25_000,
  isOver: (seen) => goesOnAt(seen) !== undefined
})

/** After the stall: a send buffer that grows takes one more write in the midst of it. */
const goesOnAt = ({ facts }: Seen): number | undefined => facts.filter(isTag("GoesOn")).find(({ at }) => at >= 9000)?.at

const movesAgain = (seen: Seen): number | string => {
  const at = goesOnAt(seen)
  return at === undefined ? "never" : (at - 9000) / 1000
}

const autotuning = "Linux sizes its buffers by its estimate of the path"
const reader = { reads: "all", beatEveryMillis: 1000 } as const
const writesFast = { writes: { bytes: 100_000, everyMillis: 100 } } as const

export const slowAndFrozen: ReadonlyArray<Row> = [
  {
    fault: "the reader stalls for 6.5 s at 1 s, and its heartbeats go on; bulk",
    server: stall,
    client: { writes: bulk },
    segmentBytesMax: 65_160,
    kernel: { receiveBufferBytesMax: 4_000_000 },
    queuesFromMillis: 5800,
    lastsMillis: 12_000,
    isOver: isWritingAgain,
    figures: {
      "a write deadline of 5 s fires at": { of: deadline, within: { seconds: 0.5 } },
      "the longest write took": { of: longestWrite, within: { seconds: 0.5 } },
      "send queue": { of: queue("send"), within: { times: 2.5 }, why: autotuning },
      "receive queue": { of: queue("receive"), within: { times: 2.5 }, why: autotuning },
      told: { of: told }
    }
  },
  {
    fault: "the same with `TCP_USER_TIMEOUT` 3 s: a living peer is killed",
    server: stall,
    client: { writes: bulk },
    segmentBytesMax: 65_160,
    kernel: { receiveBufferBytesMax: 4_000_000 },
    socket: { userTimeout: "3 seconds" },
    lastsMillis: 12_000,
    isOver: ({ facts }) => facts.some(isTag("Told")),
    figures: {
      told: { of: told },
      seconds: { of: toldAfter(1000), within: { seconds: 1.2 }, why: "the instant at which the window closed" }
    }
  },
  {
    fault: "a stall of 8 s whose window update is lost: until data moves again",
    ...lostUpdate({ atMillis: 8000, forMillis: 1600 }),
    figures: {
      seconds: { of: movesAgain, within: { seconds: 4 }, why: "the round trip on record, doubled six times" }
    }
  },
  {
    fault: "the same with heartbeats of the reader every second",
    ...lostUpdate({ atMillis: 8700, forMillis: 600 }, 1000),
    figures: { seconds: { of: movesAgain, within: { seconds: 0.7 }, why: "the phase of the heartbeats" } }
  },
  {
    fault: "the process is frozen at 3 s; 1 MB/s written",
    server: reader,
    client: writesFast,
    kernel: { receiveBufferBytesMax: 970_000 },
    timeline: [Fault.at("3 seconds", Fault.freeze("server"))],
    queuesFromMillis: 9800,
    lastsMillis: 10_000,
    figures: {
      told: { of: told },
      "send queue": { of: queue("send"), within: { times: 4 }, why: autotuning },
      "receive queue": { of: queue("receive"), within: { times: 4 }, why: "Linux counts what its buffers take up" }
    }
  },
  {
    fault: "the way back is gone at 3 s; 1 MB/s written",
    server: reader,
    client: writesFast,
    timeline: [Fault.at("3 seconds", Fault.oneWay("server", "client"))],
    queuesFromMillis: 9800,
    lastsMillis: 10_000,
    figures: {
      told: { of: told },
      "send queue": { of: queue("send"), within: { times: 2.5 }, why: autotuning },
      "receive queue": { of: queue("receive") }
    }
  },
  {
    fault: "the process is frozen at 3 s; 10 kB/s in messages of 100 B",
    server: reader,
    client: { writes: { bytes: 100, everyMillis: 10 } },
    timeline: [Fault.at("3 seconds", Fault.freeze("server"))],
    queuesFromMillis: 9800,
    lastsMillis: 10_000,
    figures: {
      told: { of: told },
      "send queue": { of: queue("send"), within: { plusMinus: 1000 } },
      "receive queue": { of: (seen) => (queue("receive")(seen) > 0 ? "grows" : "empty") }
    }
  },
  {
    fault: "nothing: a reader that reads; 1 MB/s written",
    server: reader,
    client: writesFast,
    queuesFromMillis: 5000,
    lastsMillis: 6000,
    figures: {
      told: { of: told },
      "send queue": { of: leastQueue("send"), within: { plusMinus: 100_000 } },
      "receive queue": { of: leastQueue("receive"), within: { plusMinus: 100_000 } }
    }
  }
]
