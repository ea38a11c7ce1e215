// The simulated kernel beside the real one: each row is a fault, what the simulation does, and what was measured on Linux
// 6.18. The table is kept in docs/simulation.md, and a row that leaves its tolerance fails here.
import { assert, describe, it } from "@effect/vitest"
import { Fault, type SimHost, SimNetwork } from "@holdfast/testing"
import { Effect } from "effect"
import { accepting, believing, type Believer, dialing, writing } from "./Programs.ts"

type Network = SimNetwork.SimNetwork

/** Ethernet between two namespaces, or loopback, as in the measurements. */
const ethernet = { latency: "20 micros" } as const

const simulate = <A, E>(
  body: (network: Network, client: SimHost.SimHost, server: SimHost.SimHost) => Effect.Effect<A, E>,
  options: Partial<SimNetwork.Options> = {}
) =>
  SimNetwork.run({ seed: 1, link: ethernet, ...options }, (network) =>
    body(network, network.host("client"), network.host("server"))
  )

/** Connected, 1,000 bytes a second, cut at 3 s; how long after the cut the client is told, and as what. */
const cutWhileWriting = (
  fault: Fault.Fault,
  socket: Partial<SimHost.DialOptions> = {},
  isWriting = true,
  options: Partial<SimNetwork.Options> = {}
) =>
  simulate(
    Effect.fnUntraced(function* (network, client, server) {
      yield* accepting(server)
      const believer = yield* dialing(network, client, socket)
      yield* believer.opened.write([new Uint8Array(1)])
      if (isWriting) yield* writing(client, believer, 1000, 1000)
      yield* Effect.sleep("3 seconds")
      yield* network.play([Fault.at(0, fault)])
      yield* Effect.sleep("20 minutes")
      return believer.ended === undefined
        ? { seconds: Infinity, how: "never" }
        : { seconds: (believer.ended.at - 3000) / 1000, how: believer.ended.how }
    }),
    options
  )

const partition = Fault.partition("client", "server")

interface Row {
  readonly fault: string
  readonly simulate: Effect.Effect<{ readonly seconds: number; readonly how: string }, unknown>
  /** Seconds, as measured; the simulation may differ by so much. */
  readonly measured: readonly [from: number, to: number]
  readonly toleranceSeconds: number
  readonly how: string
}

const rows: ReadonlyArray<Row> = [
  {
    fault: "S3 cable pulled, writing, defaults",
    simulate: cutWhileWriting(partition),
    measured: [927, 937],
    toleranceSeconds: 2,
    how: "ETIMEDOUT"
  },
  {
    fault: "S3 TCP_USER_TIMEOUT 10 s, writing",
    simulate: cutWhileWriting(partition, { userTimeout: "10 seconds" }),
    measured: [10.1, 10.6],
    toleranceSeconds: 0.9,
    how: "ETIMEDOUT"
  },
  {
    fault: "S3 TCP_USER_TIMEOUT 10 s, one way (server to client)",
    simulate: cutWhileWriting(Fault.oneWay("server", "client"), { userTimeout: "10 seconds" }),
    measured: [10.1, 10.6],
    toleranceSeconds: 0.9,
    how: "ETIMEDOUT"
  },
  {
    fault: "S3 TCP_USER_TIMEOUT 10 s, idle",
    simulate: cutWhileWriting(partition, { userTimeout: "10 seconds" }, false),
    measured: [Infinity, Infinity],
    toleranceSeconds: 0,
    how: "never"
  },
  {
    fault: "S3 keepalive 2 s, 10 times 1 s, idle",
    simulate: cutWhileWriting(partition, { keepAlive: { idle: "2 seconds", interval: "1 second", count: 10 } }, false),
    measured: [11.3, 11.3],
    toleranceSeconds: 1,
    how: "ETIMEDOUT"
  },
  {
    fault: "S3 keepalive 2 s and TCP_USER_TIMEOUT 10 s, idle",
    simulate: cutWhileWriting(
      partition,
      { keepAlive: { idle: "2 seconds", interval: "1 second", count: 10 }, userTimeout: "10 seconds" },
      false
    ),
    measured: [9.2, 9.2],
    toleranceSeconds: 1,
    how: "ETIMEDOUT"
  },
  {
    fault: "S3 keepalive 2 s, writing (it is silent while data is under way)",
    simulate: cutWhileWriting(partition, { keepAlive: { idle: "2 seconds", interval: "1 second", count: 10 } }),
    measured: [927, 937],
    toleranceSeconds: 2,
    how: "ETIMEDOUT"
  },
  {
    fault: "S3 tcp_retries2 3",
    simulate: cutWhileWriting(partition, {}, true, { kernel: { retriesMax: 3 } }),
    measured: [6.7, 6.7],
    toleranceSeconds: 0.5,
    how: "ETIMEDOUT"
  },
  {
    fault: "S3 tcp_rto_max_ms 1000",
    simulate: cutWhileWriting(partition, {}, true, { kernel: { retransmitTimeoutMax: "1 second" } }),
    measured: [15, 15],
    toleranceSeconds: 1,
    how: "ETIMEDOUT"
  }
]

describe("the simulated kernel does what the real one was measured to do", () => {
  for (const row of rows) {
    it.effect(row.fault, () =>
      Effect.gen(function* () {
        const { how, seconds } = yield* row.simulate
        const [from, to] = row.measured
        assert.strictEqual(how, row.how)
        if (to < Infinity || seconds < Infinity) {
          assert.isAtLeast(seconds, from - row.toleranceSeconds)
          assert.isAtMost(seconds, to + row.toleranceSeconds)
        }
      })
    )
  }
})

void believing
void (undefined as unknown as Believer)
