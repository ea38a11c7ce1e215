// Lesson 3, the 120-second hang: `connect` and `write` succeed, and the server's program never hears of it.
import { assert, describe, it } from "@effect/vitest"
import { Fault, SimHost } from "@holdfast/testing"
import { Effect, Schedule } from "effect"
import { plainClient, plainServer } from "./Plain.ts"
import {
  complete,
  connecting,
  dialsOf,
  message,
  Numbers,
  port,
  sending,
  serving,
  simulate,
  toldOf,
  upTo
} from "./Sessions.ts"

const policy = { open: "2 seconds", reconnect: Schedule.spaced("500 millis") } as const

describe("the 120-second hang: a handshake swallowed after connect", () => {
  it.effect("breaks plain code: connected, written, and no word for two minutes", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const server = yield* plainServer(network)
        yield* network.inflict(Fault.synOnly("client", "server"))
        const host = network.host("client")
        const plain = yield* host.run(plainClient(network))
        yield* host.run(plain.opened.write([message(1)]))
        assert.isBelow(network.now(), 10)
        yield* Effect.sleep("120 seconds")
        assert.isUndefined(plain.ended)
        assert.strictEqual(server.connections.length, 0)
      })
    )
  )

  it.effect("is given up by a session at exactly `open`, 2 s after the dial, and the next dial succeeds", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network)
        yield* network.play([Fault.at(0, Fault.synOnly("client", "server"), { for: "2.2 seconds" })])
        yield* Effect.sleep(0)
        const client = yield* connecting(network, { policy })
        yield* client.host.run(client.session.deliver(message(0)))
        const [first, second, ...more] = dialsOf(network, "client")
        assert.deepStrictEqual(more, [])
        const [retrying] = toldOf(client, "Retrying")
        const { reason } = retrying!.error
        assert(reason._tag === "OpenTimedOut")
        assert.strictEqual(reason.stage, "handshake")
        assert.closeTo(retrying!.worldAt - first!, 2000, 0.001)
        assert.closeTo(second! - first!, 2500, 0.001)
        assert.isBelow(network.now() - second!, 20)
        assert.deepStrictEqual(served.taken, [0])
      })
    )
  )

  it.effect("is not seen where the answer is only slow, and comes a millisecond before `open` is over", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network)
        // SYN there and back, Hello there and Welcome back.
        network.link("client", "server", { latency: "499.5 millis" })
        const client = yield* connecting(network, { policy })
        yield* sending(client, 10)
        yield* complete(client, served, 10)
        assert.strictEqual(dialsOf(network, "client").length, 1)
      })
    )
  )

  it.effect("and is where it comes a millisecond after", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        yield* serving(network)
        network.link("client", "server", { latency: "500.25 millis" })
        const client = yield* connecting(network, { policy })
        yield* Effect.sleep("1 minute")
        assert.isAbove(toldOf(client, "Retrying").length, 10)
        assert.deepStrictEqual(toldOf(client, "Opened"), [])
      })
    )
  )

  it.effect("leaves a dial that the server accepts after its successor, which is fenced off", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        // The second connection waits for 10 s before the server's program sees it.
        const served = yield* serving(network, {
          admit: (_, nth) => (nth === 2 ? Effect.sleep("10 seconds") : Effect.void)
        })
        const client = yield* connecting(network, { policy })
        yield* sending(client, 50, 10)
        // Whatever the client says of its second dial once it has given it up is lost.
        yield* network.play([
          Fault.at(0, Fault.cut("client", "server")),
          Fault.at("2.4 seconds", Fault.natForgets("client", "server"))
        ])
        yield* Effect.sleep("5 seconds")
        assert.strictEqual(served.links.length, 3)
        const refusedAt = () => served.events.filter(({ _tag }) => _tag === "LinkRefused")
        assert.deepStrictEqual(refusedAt(), [])
        yield* sending(client, 50, 10, 100, 50)
        yield* Effect.sleep("1 minute")
        assert.strictEqual(refusedAt().length, 1)
        assert.strictEqual(served.links.length, 3)
        assert.strictEqual(toldOf(client, "Opened").length, 2)
        yield* complete(client, served, 100)
      })
    )
  )
})

describe("thousands of dials per minute, of which some are swallowed after connect", () => {
  const perMinute = 3000
  const dials = 500
  /** Given up at 2 s, a pause, and once more, while dials are swallowed for 3.2 s. */
  const worst = 3200 + 2000 + 250
  const outages = [2, 7].map((second) =>
    Fault.at(`${second} seconds`, Fault.synOnly("client", "server"), { for: "3200 millis" })
  )

  it.effect("keep plain code waiting for longer: its kernel doubles its pauses, and nobody gives up", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        yield* plainServer(network, {
          listen: { backlog: 8 },
          received: (_, { write }) => write([message(0, 4)])
        })
        yield* network.play(outages)
        const waits: Array<number> = []
        const exchange = Effect.fnUntraced(function* (n: number) {
          yield* Effect.sleep((n * 60_000) / perMinute)
          const begun = network.now()
          const plain = yield* plainClient(network)
          yield* plain.opened.write([message(n)])
          yield* Effect.repeat(Effect.sleep("10 millis"), { until: () => plain.received.length > 0 })
          waits.push(network.now() - begun)
        }, Effect.scoped)
        yield* network
          .host("client")
          .run(Effect.forEach(upTo(dials), exchange, { concurrency: "unbounded", discard: true }))
        assert.strictEqual(waits.length, dials)
        assert.isAbove(Math.max(...waits), worst)
      })
    )
  )

  it.effect("keep no session waiting for longer than its policy says, and all of them are served", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network, { listen: { backlog: 8 } })
        const host = network.host("client")
        yield* network.play(outages)
        const waits: Array<number> = []
        const patient = { open: "2 seconds", reconnect: Schedule.spaced("250 millis") } as const
        const exchange = Effect.fnUntraced(function* (n: number) {
          yield* Effect.sleep((n * 60_000) / perMinute)
          const begun = network.now()
          const session = yield* Numbers.make({ link: SimHost.dial({ host: "server", port }), policy: patient })
          yield* session.deliver(message(n))
          waits.push(network.now() - begun)
          yield* session.close
        }, Effect.scoped)
        yield* host.run(Effect.forEach(upTo(dials), exchange, { concurrency: "unbounded", discard: true }))
        assert.sameMembers(served.taken, [...upTo(dials)])
        assert.isAtMost(Math.max(...waits), worst)
        assert.isAbove(Math.max(...waits), 2000)
        assert.isBelow(waits.toSorted((a, b) => a - b)[dials / 4]!, 20)
      })
    )
  )
})
