import { assert, describe, it } from "@effect/vitest"
import { Fault, SimNetwork } from "@holdfast/testing"
import { Effect, Exit, type Scope, Stream } from "effect"
import { bytes, conversing } from "./Conversation.ts"

const simulate = <A, E>(body: (network: SimNetwork.SimNetwork) => Effect.Effect<A, E, Scope.Scope>) =>
  SimNetwork.run({ seed: 1 }, body)

const numbers = (count: number) => Array.from({ length: count }, (_, n) => String(n))

describe("a session over the simulated network", () => {
  it.effect("delivers everything once and in order through cuts, and through closes that lose what was under way", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const { client, served, session } = yield* conversing(network)
        yield* network.play(
          [3, 9, 17, 22].flatMap((second) => [
            Fault.at(second * 1000, Fault.cut("client", "server")),
            Fault.at(second * 1000 + 2500, Fault.closeWithoutReading("client", "server"))
          ])
        )
        for (const number of numbers(300)) {
          yield* client.run(session.send(bytes(number)))
          yield* Effect.sleep("100 millis")
        }
        yield* client.run(session.close)
        assert.deepStrictEqual(served.taken, numbers(300))
        assert.isAtLeast(network.transcript.filter(({ _tag }) => _tag === "Dialed").length, 6)
      })
    )
  )

  for (const [name, fault] of [
    ["a partition", Fault.partition("client", "server")],
    ["a way back that is gone", Fault.oneWay("server", "client")],
    ["a way there that is gone", Fault.oneWay("client", "server")],
    ["a frozen server", Fault.freeze("server")],
    ["a frozen client", Fault.freeze("client")],
    ["a server that sleeps", Fault.suspend("server")],
    ["packets over 600 bytes that vanish", Fault.mtuBlackhole("client", "server", 600)]
  ] as const) {
    it.effect(`loses nothing to ${name} for 60 s`, () =>
      simulate(
        Effect.fnUntraced(function* (network) {
          const { client, served, session } = yield* conversing(network)
          yield* network.play([Fault.at("5 seconds", fault, { for: "60 seconds" })])
          const messages = numbers(200).map((number) => number.padEnd(700, "."))
          for (const message of messages) {
            yield* client.run(session.send(bytes(message)))
            yield* Effect.sleep("100 millis")
          }
          yield* Effect.sleep("2 minutes")
          yield* client.run(session.close)
          assert.deepStrictEqual(served.taken, messages)
        })
      )
    )
  }

  it.effect("notices a pulled cable 10 s after the last byte, and not before", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const { client, session } = yield* conversing(network)
        const ended: Array<number> = []
        yield* client.run(
          Effect.forkScoped(
            Stream.runForEach(session.events, ({ _tag }) =>
              Effect.sync(() => (_tag === "Ended" ? ended.push(network.now()) : 0))
            )
          )
        )
        yield* client.run(session.deliver(bytes("x")))
        yield* Effect.sleep("1 minute")
        assert.deepStrictEqual(ended, [])
        const cutAt = network.now()
        yield* network.inflict(Fault.partition("client", "server"))
        const arrivals = network.transcript.flatMap((entry) =>
          entry._tag === "Packet" && entry.to === "client" && entry.bytes > 0 ? [entry.arrivesAt ?? 0] : []
        )
        const last = Math.max(...arrivals.filter((at) => at <= cutAt))
        yield* Effect.sleep("15 seconds")
        assert.strictEqual(ended.length, 1)
        assert.closeTo(ended[0]! - last, 10_000, 1)
      })
    )
  )

  it.effect("says so when the server has lost its memory", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const { client, session } = yield* conversing(network)
        yield* client.run(session.deliver(bytes("x")))
        yield* network.play([Fault.at(0, Fault.crash("server"), { for: "5 seconds" })])
        yield* Effect.sleep("1 second")
        const exit = yield* Effect.exit(client.run(session.deliver(bytes("y"))))
        assert.isTrue(Exit.isFailure(exit))
        assert.include(String(exit), "the session is lost")
      })
    )
  )

  it.effect("leaves no fiber behind on either machine once it is closed", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const { client, server, session } = yield* conversing(network)
        yield* client.run(session.deliver(bytes("x")))
        yield* network.play([Fault.at(0, Fault.cut("client", "server"))])
        yield* Effect.sleep("10 seconds")
        assert.isAbove(client.fibers(), 0)
        yield* client.run(session.close)
        yield* client.stop
        yield* server.stop
        assert.deepStrictEqual([client.fibers(), server.fibers()], [0, 0])
      })
    )
  )
})
