/** S0 and S4: a reader that is slow, a process that is frozen, a way back that is gone. */
import { Fault, SimHost, type SimNetwork } from "@holdfast/testing"
import { Effect } from "effect"
import { believing, type Believer, dialing, port, writing } from "../Programs.ts"
import { loopback, type Row, row, simulate } from "./Row.ts"

/** A server that reads everything and says something every second. */
const beating = Effect.fnUntraced(function* (
  network: SimNetwork.SimNetwork,
  server: SimHost.SimHost,
  everyMillis: number
) {
  yield* server.run(
    Effect.gen(function* () {
      const listener = yield* SimHost.listen({ port })
      yield* Effect.forkScoped(
        listener.run(
          Effect.fnUntraced(function* (socket) {
            const { opened } = yield* Effect.orDie(believing(network, socket))
            while (everyMillis < Infinity) {
              yield* Effect.sleep(everyMillis)
              yield* Effect.ignore(opened.write([new Uint8Array(3)]))
            }
            return yield* Effect.never
          })
        )
      )
    })
  )
})

/** Writes as fast as it may; tells of each write how long it took. */
const flooding = (
  network: SimNetwork.SimNetwork,
  client: SimHost.SimHost,
  believer: Believer,
  bytes: number,
  everyMillis = 0
) => {
  const seen = { since: 0, longest: 0, deadlineAt: undefined as number | undefined }
  const watch = Effect.gen(function* () {
    while (true) {
      yield* Effect.sleep("100 millis")
      const waiting = network.now() - seen.since
      if (waiting >= 5000) seen.deadlineAt ??= network.now()
    }
  })
  const took = Effect.sync(() => {
    seen.longest = Math.max(seen.longest, network.now() - seen.since)
  })
  const write = Effect.gen(function* () {
    while (true) {
      seen.since = network.now()
      yield* Effect.ensuring(believer.opened.write([new Uint8Array(bytes)]), took)
      yield* everyMillis === 0 ? Effect.yieldNow : Effect.sleep(everyMillis)
    }
  }).pipe(Effect.ignore)
  return Effect.as(client.run(Effect.andThen(Effect.forkScoped(write), Effect.forkScoped(watch))), seen)
}

const sendQueue = (client: SimHost.SimHost) =>
  client.connections().reduce((sum, one) => sum + one.unacknowledgedBytes, 0)
const receiveQueue = (server: SimHost.SimHost) => server.connections().reduce((sum, one) => sum + one.unreadBytes, 0)

/** A receiver that reads for 2 s and then not for 10 s, while it says something every second. */
const stalled = (socket: Partial<SimHost.DialOptions>) =>
  simulate(
    Effect.fnUntraced(function* (network, client, server) {
      network.link("client", "server", { bytesPerSecond: 100_000_000 })
      yield* beating(network, server, 1000)
      const believer = yield* dialing(network, client, socket)
      const writes = yield* flooding(network, client, believer, 65_536)
      yield* network.play([Fault.at("2 seconds", Fault.slowReader("server", 0), { for: "10 seconds" })])
      yield* Effect.sleep("9 seconds")
      const inBuffers = { sendQueue: sendQueue(client), receiveQueue: receiveQueue(server) }
      yield* Effect.sleep("4 seconds")
      return {
        deadline: writes.deadlineAt === undefined ? "never" : writes.deadlineAt / 1000,
        longestWrite: writes.longest / 1000,
        ...inBuffers,
        told: believer.ended?.how ?? "nothing",
        seconds: (believer.ended?.at ?? 0) / 1000
      }
    }),
    loopback
  )

/** A receiver that does not read for 15 s, and whose packets are lost for 0.6 s around its return. */
const lostUpdate = (everyMillis: number) =>
  simulate(
    Effect.fnUntraced(function* (network, client, server) {
      yield* beating(network, server, everyMillis)
      const believer = yield* dialing(network, client)
      yield* flooding(network, client, believer, 16_384, 4)
      yield* network.play([
        Fault.at("1 second", Fault.slowReader("server", 0), { for: "15 seconds" }),
        Fault.at("15.7 seconds", Fault.oneWay("server", "client"), { for: "600 millis" })
      ])
      yield* Effect.sleep("15 seconds")
      const before = sendQueue(client)
      while (sendQueue(client) >= before && network.now() < 60_000) yield* Effect.sleep("100 millis")
      return { seconds: network.now() / 1000 }
    })
  )

const afterFault = (fault: Fault.Fault, bytes: number, everyMillis: number, seconds: number) =>
  simulate(
    Effect.fnUntraced(function* (network, client, server) {
      yield* beating(network, server, 1000)
      const believer = yield* dialing(network, client)
      yield* writing(client, believer, bytes, everyMillis)
      yield* network.play([Fault.at("3 seconds", fault)])
      yield* Effect.sleep(seconds * 1000)
      return {
        told: believer.ended?.how ?? "nothing",
        sendQueue: sendQueue(client),
        receiveQueue: receiveQueue(server)
      }
    })
  )

const nothing = { measured: "nothing", accepts: "nothing" } as const
const autotuning = "buffers grow by doubling here, by round trips on Linux"

export const stalling: ReadonlyArray<Row> = [
  row({
    fault: "reader stalls for 10 s at 2 s, heartbeats go on; bulk",
    simulate: stalled({}),
    figures: {
      deadline: { measured: "7.4", accepts: [7, 7.6] },
      longestWrite: { measured: "9.6", accepts: [9.3, 10] },
      sendQueue: { measured: "4066143", accepts: [3_800_000, 4_300_000] },
      receiveQueue: { measured: "31188939", accepts: [30_000_000, 32_000_000] },
      told: nothing
    }
  }),
  row({
    fault: "the same with `TCP_USER_TIMEOUT` 5 s: a living peer is killed",
    simulate: stalled({ userTimeout: "5 seconds" }),
    figures: {
      deadline: { measured: "7.4", accepts: [7, 7.6] },
      longestWrite: { measured: "5", accepts: [4.9, 6], why: "until the connection is ended" },
      told: { measured: "ETIMEDOUT", accepts: "ETIMEDOUT" },
      seconds: { measured: "7.4, 7.7", accepts: [7.3, 7.8] }
    }
  }),
  row({
    fault: "15 s stall to 16 s, its window update lost: when data moves again",
    simulate: lostUpdate(Infinity),
    figures: { seconds: { measured: "30.1", accepts: [26, 32], why: "the instant at which the window closed" } }
  }),
  row({
    fault: "the same with heartbeats of the reader every second",
    simulate: lostUpdate(1000),
    figures: { seconds: { measured: "16.7", accepts: [16.3, 17.4] } }
  }),
  row({
    fault: "frozen process, 1 MB/s written: after 62 s",
    simulate: afterFault(Fault.freeze("server"), 100_000, 100, 62),
    figures: {
      told: nothing,
      sendQueue: { measured: "1563840", accepts: [70_000, 4_200_000], why: autotuning },
      receiveQueue: { measured: "970000", accepts: [500_000, 2_500_000], why: autotuning }
    }
  }),
  row({
    fault: "way back gone, 1 MB/s written: after 62 s",
    simulate: afterFault(Fault.oneWay("server", "client"), 100_000, 100, 62),
    figures: {
      told: nothing,
      sendQueue: { measured: "165160", accepts: [69_000, 300_000], why: autotuning },
      receiveQueue: { measured: "0", accepts: 0 }
    }
  }),
  row({
    fault: "frozen process, 10 kB/s in messages of 100 B: after 51 s",
    simulate: afterFault(Fault.freeze("server"), 100, 10, 51),
    figures: {
      told: nothing,
      sendQueue: { measured: "0 to 900", accepts: [0, 900] },
      receiveQueue: { measured: "487600", accepts: [60_000, 490_000], why: autotuning }
    }
  })
]
