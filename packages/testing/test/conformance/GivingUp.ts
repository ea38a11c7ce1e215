/** S3: when a kernel tells its program that nobody is there any more. */
import { Fault, SimHost, type SimNetwork } from "@holdfast/testing"
import { Effect } from "effect"
import { accepting, believing, dialing, port, writing } from "../Programs.ts"
import { inflict, type Row, row, simulate } from "./Row.ts"

interface Options {
  readonly socket?: Partial<SimHost.DialOptions>
  readonly idle?: boolean
  readonly network?: Partial<SimNetwork.Options>
  readonly fault?: Fault.Fault
}

/** Connected, writing 1,000 bytes a second or nothing, cut at 3 s: how long after the cut the program is told, and what. */
const cut = ({ fault = Fault.partition("client", "server"), idle = false, network: options, socket }: Options) =>
  simulate(
    Effect.fnUntraced(function* (network, client, server) {
      yield* accepting(server)
      const believer = yield* dialing(network, client, socket)
      if (idle) yield* client.run(believer.opened.write([new Uint8Array(1000)]))
      else yield* writing(client, believer, 1000, 1000)
      yield* Effect.sleep("3 seconds")
      yield* inflict(network, fault)
      yield* Effect.sleep("20 minutes")
      const { ended } = believer
      return ended === undefined
        ? { seconds: "never", told: "nothing" }
        : { seconds: (ended.at - 3000) / 1000, told: ended.how }
    }),
    options
  )

const timedOut = { measured: "ETIMEDOUT", accepts: "ETIMEDOUT" } as const
const keepAlive = { idle: "2 seconds", interval: "1 second", count: 10 } as const
const phase = "the phase of the writer at the cut"

export const givingUp: ReadonlyArray<Row> = [
  row({
    fault: "cable pulled while writing 1 kB/s",
    simulate: cut({}),
    figures: {
      seconds: { measured: "927, 931, 937", accepts: [925, 939], why: "the phase of the writer, and routers' errors" },
      told: { measured: "ETIMEDOUT or EHOSTUNREACH", accepts: "ETIMEDOUT", why: "routers' errors are not modelled" }
    }
  }),
  row({
    fault: "the same with `TCP_USER_TIMEOUT` 10 s",
    simulate: cut({ socket: { userTimeout: "10 seconds" } }),
    figures: { seconds: { measured: "10.1 to 10.6", accepts: [10, 11], why: phase }, told: timedOut }
  }),
  row({
    fault: "only the way back is gone, `TCP_USER_TIMEOUT` 10 s",
    simulate: cut({ socket: { userTimeout: "10 seconds" }, fault: Fault.oneWay("server", "client") }),
    figures: { seconds: { measured: "10.1 to 10.6", accepts: [10, 11], why: phase }, told: timedOut }
  }),
  row({
    fault: "cable pulled, idle, `TCP_USER_TIMEOUT` 10 s",
    simulate: cut({ socket: { userTimeout: "10 seconds" }, idle: true }),
    figures: {
      seconds: { measured: "never (60 s)", accepts: "never" },
      told: { measured: "nothing", accepts: "nothing" }
    }
  }),
  row({
    fault: "cable pulled, idle, keepalive 2 s + 10 x 1 s",
    simulate: cut({ socket: { keepAlive }, idle: true }),
    figures: {
      seconds: { measured: "11.3", accepts: [10, 12], why: "the phase of the keepalive at the cut" },
      told: timedOut
    }
  }),
  row({
    fault: "the same with `TCP_USER_TIMEOUT` 10 s",
    simulate: cut({ socket: { keepAlive, userTimeout: "10 seconds" }, idle: true }),
    figures: {
      seconds: { measured: "9.2", accepts: [8, 10.2], why: "the phase of the keepalive at the cut" },
      told: timedOut
    }
  }),
  row({
    fault: "cable pulled while writing, keepalive 2 s + 10 x 1 s",
    simulate: cut({ socket: { keepAlive } }),
    figures: {
      seconds: { measured: "not within 60", accepts: [925, 939], why: "keepalive is silent while data is under way" },
      told: timedOut
    }
  }),
  row({
    fault: "cable pulled while writing, `tcp_retries2` 3",
    simulate: cut({ network: { kernel: { retriesMax: 3 } } }),
    figures: { seconds: { measured: "6.7", accepts: [5.7, 7.2], why: phase }, told: timedOut }
  }),
  row({
    fault: "cable pulled while writing, `tcp_rto_max_ms` 1000",
    simulate: cut({ network: { kernel: { retransmitTimeoutMax: "1 second" } } }),
    figures: { seconds: { measured: "15", accepts: [14.5, 16.5], why: phase }, told: timedOut }
  }),
  row({
    fault: "cable pulled while writing 1 kB/s: until `write` waits",
    simulate: simulate(
      Effect.fnUntraced(function* (network, client, server) {
        yield* accepting(server)
        const believer = yield* dialing(network, client)
        let writtenAt = 0
        yield* client.run(
          Effect.forkScoped(
            Effect.gen(function* () {
              while (true) {
                yield* believer.opened.write([new Uint8Array(1000)])
                writtenAt = network.now()
                yield* Effect.sleep("1 second")
              }
            }).pipe(Effect.ignore)
          )
        )
        yield* Effect.sleep("3 seconds")
        yield* inflict(network, Fault.partition("client", "server"))
        yield* Effect.sleep("10 minutes")
        return { seconds: Math.round(writtenAt / 1000) }
      })
    ),
    figures: { seconds: { measured: "138", accepts: [135, 141] } }
  }),
  row({
    fault: "dial into a black hole, `TCP_USER_TIMEOUT` 3 s",
    simulate: simulate(
      Effect.fnUntraced(function* (network, client, server) {
        yield* accepting(server)
        yield* inflict(network, Fault.partition("client", "server"))
        const from = network.now()
        const error = yield* Effect.flip(dialing(network, client, { userTimeout: "3 seconds" }))
        return { seconds: (network.now() - from) / 1000, told: codeOf(error) }
      })
    ),
    figures: { seconds: { measured: "3.0", accepts: [3, 3.1] }, told: timedOut }
  }),
  row({
    fault: "cable pulled, 50 kB written, socket closed: the orphan",
    simulate: simulate(
      Effect.fnUntraced(function* (network, client, server) {
        yield* accepting(server)
        const told = yield* client.run(Effect.scoped(writeIntoNothing(network)))
        const from = network.now()
        while (client.connections().length > 0) yield* Effect.sleep("100 millis")
        return { seconds: Math.round((network.now() - from) / 100) / 10, told }
      })
    ),
    figures: {
      seconds: { measured: "107", accepts: [102, 109], why: "the round trip that was measured before" },
      told: { measured: "nothing, exit code 0", accepts: "nothing" }
    }
  })
]

const writeIntoNothing = Effect.fnUntraced(function* (network: SimNetwork.SimNetwork) {
  const believer = yield* believing(network, yield* SimHost.dial({ host: "server", port }))
  yield* inflict(network, Fault.partition("client", "server"))
  yield* believer.opened.write([new Uint8Array(50_000)])
  return believer.ended?.how ?? "nothing"
})

const codeOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "reason" in error
    ? String((error.reason as { readonly code?: string }).code)
    : String(error)
