/** S3: when a kernel tells its program that nobody is there any more. Cut at 1.5 s; seconds count from there. */
import { Fault } from "@holdfast/testing"
import { got, isTag, queue, type Row, type Seen, type Tolerance, told, toldAfter } from "./Row.ts"

const cutAtMillis = 1500
const pulled = [Fault.at(cutAtMillis, Fault.partition("client", "server"))]
const reads = { reads: "all" } as const
const writing = { writes: { bytes: 1000, everyMillis: 1000 } } as const
const idle = { writes: { bytes: 1000 } } as const
const keepAlive = { idle: "1 second", interval: "1 second", count: 3 } as const
const ends = (seen: Seen) => seen.facts.some(isTag("Told"))

/** `within`: how many seconds they may differ. */
const cut = (within: number, why?: string): Pick<Row, "server" | "timeline" | "isOver" | "figures"> => ({
  server: reads,
  timeline: pulled,
  isOver: ends,
  figures: { told: { of: told }, seconds: { of: toldAfter(cutAtMillis), within: { seconds: within }, why } }
})

const ticks = "Linux probes the tail before its first timeout, and its clock ticks"
const phase = "the phase of the keepalive at the cut"

export const givingUp: ReadonlyArray<Row> = [
  {
    fault: "cable pulled while writing 1 kB/s",
    client: writing,
    lastsMillis: 1_000_000,
    ...cut(20, "a few milliseconds of the first timeout, doubled nine times"),
    isLong: true
  },
  {
    fault: "the same, scaled: `tcp_retries2` 2",
    client: writing,
    kernel: { retriesMax: 2 },
    lastsMillis: 12_000,
    ...cut(1, ticks)
  },
  {
    fault: "the same, scaled: `tcp_rto_max_ms` 1000",
    client: writing,
    kernel: { retransmitTimeoutMax: "1 second" },
    lastsMillis: 22_000,
    ...cut(1.5, ticks)
  },
  {
    fault: "the same with `TCP_USER_TIMEOUT` 3 s",
    client: writing,
    socket: { userTimeout: "3 seconds" },
    lastsMillis: 12_000,
    ...cut(1.2, ticks)
  },
  {
    fault: "only the way back is gone, `TCP_USER_TIMEOUT` 3 s",
    client: writing,
    socket: { userTimeout: "3 seconds" },
    lastsMillis: 12_000,
    ...cut(1.2, ticks),
    timeline: [Fault.at(cutAtMillis, Fault.oneWay("server", "client"))]
  },
  {
    fault: "a router answers with host unreachable, `TCP_USER_TIMEOUT` 3 s",
    client: writing,
    socket: { userTimeout: "3 seconds" },
    lastsMillis: 12_000,
    ...cut(1.6, ticks),
    timeline: [Fault.at(cutAtMillis, Fault.unreachable("client", "server"))]
  },
  {
    fault: "a router answers with host unreachable: not a word within 8 s",
    client: writing,
    lastsMillis: 8000,
    ...cut(0),
    timeline: [Fault.at(cutAtMillis, Fault.unreachable("client", "server"))]
  },
  {
    fault: "cable pulled, idle, `TCP_USER_TIMEOUT` 3 s: not a word within 10 s",
    client: idle,
    socket: { userTimeout: "3 seconds" },
    lastsMillis: 10_000,
    ...cut(0)
  },
  {
    fault: "cable pulled, idle, keepalive 1 s + 3 x 1 s",
    client: idle,
    socket: { keepAlive },
    lastsMillis: 12_000,
    ...cut(1.1, phase)
  },
  {
    fault: "the same with `TCP_USER_TIMEOUT` 2 s",
    client: idle,
    socket: { keepAlive, userTimeout: "2 seconds" },
    lastsMillis: 12_000,
    ...cut(1.1, phase)
  },
  {
    fault: "cable pulled while writing, keepalive 1 s + 3 x 1 s: not a word within 10 s",
    client: writing,
    socket: { keepAlive },
    lastsMillis: 10_000,
    ...cut(0)
  },
  {
    fault: "nothing, idle, keepalive 1 s + 3 x 1 s: not a word within 8 s",
    client: idle,
    socket: { keepAlive },
    lastsMillis: 8000,
    ...cut(0),
    timeline: []
  },
  {
    fault: "packets over 600 B vanish, 5,000 B written at 2 s: not a word",
    server: reads,
    client: { writes: { bytes: 5000, afterMillis: 2000 } },
    timeline: [Fault.at(cutAtMillis, Fault.mtuBlackhole("client", "server", 600))],
    queuesFromMillis: 5800,
    lastsMillis: 6000,
    figures: {
      told: { of: told },
      "taken by the program": { of: got(5000) },
      "send queue": { of: queue("send") }
    }
  },
  {
    fault: "the server's program is killed, idle: its kernel says so",
    client: idle,
    lastsMillis: 6000,
    ...cut(0.5),
    timeline: [Fault.at(cutAtMillis, Fault.kill("server"))]
  },
  {
    fault: "cable pulled while writing 1 kB/s: until `write` waits",
    server: reads,
    client: writing,
    timeline: pulled,
    lastsMillis: 200_000,
    isOver: ({ facts }) => facts.some(isTag("Waits")),
    figures: {
      seconds: {
        of: ({ facts }) => Math.round((facts.find(isTag("Waits"))?.at ?? 0) / 1000),
        within: { seconds: 6 },
        why: "what a packet costs beyond its bytes"
      }
    },
    isLong: true
  },
  orphan("cable pulled, 30 kB written, socket closed: the orphan lives for", undefined, 150_000, { times: 1.2 }),
  orphan("the same, scaled: `tcp_orphan_retries` 2", 2, 20_000, { seconds: 0.6 })
]

function orphan(fault: string, orphanRetriesMax: number | undefined, lastsMillis: number, within: Tolerance): Row {
  const gone = ({ queues }: Seen) => queues.find(({ sockets }) => sockets === 0)?.at
  return {
    fault,
    server: reads,
    client: { writes: { bytes: 30_000, afterMillis: 2000 }, departs: "closes" },
    kernel: orphanRetriesMax === undefined ? undefined : { orphanRetriesMax },
    timeline: pulled,
    queuesFromMillis: 3000,
    lastsMillis,
    isOver: (seen) => gone(seen) !== undefined,
    figures: {
      seconds: {
        of: (seen) => ((gone(seen) ?? Infinity) - 2000) / 1000,
        within,
        why: "the round trip that was measured before"
      },
      told: { of: told }
    },
    ...(orphanRetriesMax === undefined ? { isLong: true } : {})
  }
}
