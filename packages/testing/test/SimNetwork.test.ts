import { assert, describe, it } from "@effect/vitest"
import { Fault, SimHost, SimNetwork, Transcript } from "@holdfast/testing"
import { Clock, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { bytes, conversing } from "./Conversation.ts"
import { accepting, dialing, port } from "./Programs.ts"

/** A session through several faults, as a transcript. */
const eventful = (seed: number, hosts: ReadonlyArray<string> = []) =>
  SimNetwork.run({ seed, link: { jitter: "3 millis" } }, (network) =>
    Effect.gen(function* () {
      for (const name of hosts) network.host(name)
      const { client, served, session } = yield* conversing(network)
      yield* network.play([
        Fault.at("1 second", Fault.cut("client", "server")),
        Fault.at("4 seconds", Fault.partition("client", "server"), { for: "30 seconds" }),
        Fault.at("50 seconds", Fault.freeze("server"), { for: "30 seconds" })
      ])
      for (let n = 0; n < 100; n++) {
        yield* client.run(session.send(bytes(String(n))))
        yield* Effect.sleep("1 second")
      }
      yield* client.run(session.close)
      assert.strictEqual(served.taken.length, 100)
      return Transcript.render(network.transcript)
    })
  )

describe("a simulation", () => {
  it.effect("is the same byte for byte for the same seed, and another one for another", () =>
    Effect.gen(function* () {
      const first = yield* eventful(1)
      assert.strictEqual(yield* eventful(1), first)
      assert.notStrictEqual(yield* eventful(2), first)
      assert.isAbove(first.split("\n").length, 300)
    })
  )

  it.effect("draws for each machine and each way apart, so that one more changes nothing for the others", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* eventful(1, ["a", "b"]), yield* eventful(1))
    })
  )

  it.effect("lets time pass by itself, and its director look after everything that is due at an instant", () =>
    SimNetwork.run({ seed: 1 }, (network) =>
      Effect.gen(function* () {
        let ticks = 0
        yield* network.host("a").run(
          Effect.forkScoped(
            Effect.forever(
              Effect.andThen(
                Effect.sleep("1 second"),
                Effect.sync(() => ticks++)
              )
            )
          )
        )
        yield* Effect.sleep("10 seconds")
        assert.strictEqual(ticks, 10)
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(ticks, 3610)
        assert.strictEqual(network.now(), 3_610_000)
        assert.strictEqual(yield* Clock.currentTimeMillis, 3_610_000)
      })
    )
  )

  it.effect("dies with a sentence when nothing can happen any more", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(SimNetwork.run({ seed: 1 }, () => Effect.never))
      assert.include(String(exit), "nothing can happen any more")
    })
  )

  it.effect("dies with a sentence when it goes on for too long, or is busy without end", () =>
    Effect.gen(function* () {
      const ticking = SimNetwork.run({ seed: 1, timeMax: "1 day" }, () => Effect.forever(Effect.sleep("1 second")))
      assert.include(String(yield* Effect.exit(ticking)), "timeMax")
      const busy = SimNetwork.run({ seed: 1 }, () => Effect.forever(Effect.yieldNow))
      assert.include(String(yield* Effect.exit(busy)), "without letting time pass")
    })
  )

  it.effect("fails when a program that was booted fails", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(
        SimNetwork.run({ seed: 1 }, (network) =>
          Effect.gen(function* () {
            yield* network.host("a").boot(Effect.andThen(Effect.sleep("1 second"), Effect.fail("out of paper")))
            yield* Effect.sleep("1 minute")
          })
        )
      )
      assert.include(String(exit), "out of paper")
    })
  )

  it.effect("fails as its body does, and ends what the body had begun", () =>
    Effect.gen(function* () {
      let isReleased = false
      const exit = yield* Effect.exit(
        SimNetwork.run({ seed: 1 }, () =>
          Effect.gen(function* () {
            yield* Effect.addFinalizer(() => Effect.sync(() => (isReleased = true)))
            yield* Effect.sleep("1 second")
            return yield* Effect.fail("no")
          })
        )
      )
      assert.deepStrictEqual([Exit.isFailure(exit), isReleased], [true, true])
    })
  )

  it.effect("ends when it is interrupted from outside, and runs the finalizers of its body", () =>
    Effect.gen(function* () {
      let isReleased = false
      const fiber = yield* Effect.forkChild(
        SimNetwork.run({ seed: 1 }, () =>
          Effect.forever(Effect.sleep("1 second")).pipe(
            Effect.onInterrupt(() => Effect.sync(() => (isReleased = true)))
          )
        )
      )
      for (let turn = 0; turn < 20; turn++) yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      assert.isTrue(isReleased)
    })
  )

  it.effect("waits for a promise that takes no real time", () =>
    SimNetwork.run({ seed: 1 }, (network) =>
      Effect.gen(function* () {
        yield* network.host("a").run(Effect.promise(async () => await Promise.resolve(1)))
        assert.strictEqual(network.now(), 0)
      })
    )
  )

  it.effect("takes a packet as long as the way, its jitter and its rate say, and keeps packets in order", () =>
    SimNetwork.run({ seed: 1 }, (network) =>
      Effect.gen(function* () {
        network.link("client", "server", { latency: "50 millis", jitter: "20 millis", bytesPerSecond: 100_000 })
        yield* accepting(network.host("server"))
        const believer = yield* dialing(network, network.host("client"))
        assert.isAtLeast(network.now(), 100)
        assert.isAtMost(network.now(), 142)
        const from = network.now()
        yield* network.host("client").run(believer.opened.write([new Uint8Array(60_000)]))
        yield* Effect.sleep("10 seconds")
        const arrivals = network.transcript.flatMap((entry) =>
          entry._tag === "Packet" && entry.kind === "data" ? [entry.arrivesAt ?? 0] : []
        )
        assert.deepStrictEqual(
          arrivals,
          arrivals.toSorted((a, b) => a - b)
        )
        assert.closeTo(arrivals.at(-1)! - from, 600 + 22 + 60, 20)
        assert.strictEqual(network.host("server").connections()[0]?.unreadBytes, 60_000)
      })
    )
  )

  it.effect("does not record more packets than it was told to, and says so", () =>
    SimNetwork.run({ seed: 1, packetsMax: 10 }, (network) =>
      Effect.gen(function* () {
        yield* conversing(network)
        yield* Effect.sleep("1 minute")
        assert.strictEqual(network.transcript.filter(({ _tag }) => _tag === "Packet").length, 10)
        assert.strictEqual(network.transcript.filter(({ _tag }) => _tag === "Truncated").length, 1)
      })
    )
  )

  it.effect("lets any program use Effect's own Socket and SocketServer", () =>
    SimNetwork.run({ seed: 1 }, (network) =>
      Effect.gen(function* () {
        const heard: Array<string> = []
        yield* network.host("server").run(
          Effect.gen(function* () {
            const server = yield* SimHost.listen({ port })
            assert.include(String(server.address), "10.0.0.1")
            yield* Effect.forkScoped(
              server.run((socket) =>
                Effect.gen(function* () {
                  const writer = yield* socket.writer
                  const reader = yield* socket.reader
                  for (const chunk of yield* reader.pull) heard.push(new TextDecoder().decode(chunk as Uint8Array))
                  yield* writer.write("welcome")
                }).pipe(Effect.scoped)
              )
            )
          })
        )
        const answer = yield* network.host("client").run(
          Effect.gen(function* () {
            const socket = yield* SimHost.dial({ host: "server", port })
            const reader = yield* socket.reader
            const writer = yield* socket.writer
            yield* writer.write("hello")
            return (yield* reader.pull).map((chunk) => new TextDecoder().decode(chunk as Uint8Array))
          })
        )
        assert.deepStrictEqual([heard, answer], [["hello"], ["welcome"]])
      })
    )
  )
})
