/** S2: connected, written, and never seen by the server's program. */
import { Fault, SimHost } from "@holdfast/testing"
import { Effect } from "effect"
import { accepting, believing, dialing, port } from "../Programs.ts"
import { inflict, loopback, type Row, row, simulate } from "./Row.ts"

const dials = 6

export const connecting: ReadonlyArray<Row> = [
  row({
    fault: "only the first packet of a dial passes until 20 s; 5,000 B written",
    simulate: simulate(
      Effect.fnUntraced(function* (network, client, server) {
        const accepted = yield* accepting(server)
        yield* network.play([Fault.at(0, Fault.synOnly("client", "server"), { for: "20 seconds" })])
        yield* Effect.sleep(0)
        const believer = yield* dialing(network, client)
        yield* client.run(believer.opened.write([new Uint8Array(5000)]))
        yield* Effect.sleep("19 seconds")
        const during = { unacknowledged: client.connections()[0]?.unacknowledgedBytes ?? -1, seen: accepted.length }
        while (accepted.length === 0) yield* Effect.sleep("100 millis")
        return { ...during, told: believer.ended?.how ?? "nothing", seconds: network.now() / 1000 - 20 }
      })
    ),
    figures: {
      unacknowledged: { measured: "5000", accepts: 5000 },
      seen: { measured: "0", accepts: 0 },
      told: { measured: "nothing", accepts: "nothing" },
      seconds: { measured: "6.6", accepts: [5.5, 7], why: "when the data was first sent" }
    }
  }),
  row({
    fault: "backlog 1, frozen server, 6 dials at once, 3,000 B each; thawed at 4.1 s",
    simulate: simulate(
      Effect.fnUntraced(function* (network, client, server) {
        const accepted = yield* accepting(server, { backlog: 1 })
        yield* network.play([Fault.at(0, Fault.freeze("server"), { until: "4.1 seconds" })])
        yield* Effect.sleep(0)
        const believers = yield* Effect.forEach(
          Array.from({ length: dials }),
          () =>
            client.run(
              Effect.gen(function* () {
                const believer = yield* believing(network, yield* SimHost.dial({ host: "server", port }))
                yield* believer.opened.write([new Uint8Array(3000)])
                return believer
              })
            ),
          { concurrency: "unbounded" }
        )
        yield* Effect.sleep("4 seconds")
        const stuck = client.connections().filter(({ unacknowledgedBytes }) => unacknowledgedBytes === 3000).length
        const told = believers.filter(({ ended }) => ended !== undefined).length
        while (accepted.length < dials && network.now() < 60_000) yield* Effect.sleep("100 millis")
        return { connected: believers.length, stuck, told, seconds: network.now() / 1000 }
      }),
      loopback
    ),
    figures: {
      connected: { measured: "4", accepts: dials, why: "the queue of half-open dials has no limit of its own here" },
      stuck: { measured: "2", accepts: 4, why: "as above: two are in the accept queue, all others are stuck" },
      told: { measured: "0", accepts: 0 },
      seconds: { measured: "9.0", accepts: [4.1, 10], why: "the next retransmission after the thaw" }
    }
  }),
  row({
    fault: "backlog 1, frozen server, one dial after the other: the third",
    simulate: simulate(
      Effect.fnUntraced(function* (network, client, server) {
        yield* accepting(server, { backlog: 1 })
        yield* inflict(network, Fault.freeze("server"))
        yield* dialing(network, client)
        yield* dialing(network, client)
        const third = yield* Effect.timeoutOption(dialing(network, client), "10 seconds")
        return { third: third._tag === "None" ? "hangs" : "connects" }
      }),
      loopback
    ),
    figures: { third: { measured: "hangs", accepts: "hangs" } }
  })
]
