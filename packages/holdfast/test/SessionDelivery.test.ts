import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Random } from "effect"
import { TestClock } from "effect/testing"
import { harm } from "./SessionHarm.ts"
import { begin, below, inScope, large, numbered, pair, pairOf, steady, tagOf, upOf } from "./SessionPair.ts"
import { Large } from "./SessionSchemas.ts"
import { bytes, collect, flowing, settle } from "./SessionTesting.ts"

/** Both ends send numbered messages of random sizes while links are harmed; succeeds when all was taken. */
const storm = Effect.fnUntraced(function* (messages: number, incarnations: number) {
  const { client, network, theirs } = yield* pair({ network: { capacityBytes: 4096 } })
  const [atServer, atClient] = [yield* collect(theirs), yield* collect(client)]
  const message = (i: number) => Effect.map(below(3000), (size) => bytes(`${i}${" ".repeat(size)}`))
  const send = Effect.fnUntraced(function* (session: typeof client) {
    for (let i = 0; i < messages; i++) {
      yield* session.send(yield* message(i))
      if (i % 7 === 0) yield* Effect.sleep(yield* below(40))
    }
    yield* session.flush
  })
  const harming = Effect.gen(function* () {
    while (network.wires.length < incarnations) {
      yield* Effect.sleep(yield* below(120))
      yield* harm(network)
    }
  })
  yield* flowing(
    Effect.all([send(client), send(theirs), harming], { concurrency: "unbounded", discard: true }),
    "20 millis"
  )
  return { network, received: [atServer.received, atClient.received].map((all) => all.map((one) => one.trimEnd())) }
})

describe("Session delivers", () => {
  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
    it.effect(
      `exactly once, in order, both directions at once, over links that are harmed at random (seed ${seed})`,
      () =>
        storm(150, 12).pipe(
          inScope,
          Effect.map(({ network, received }) => {
            const sent = Array.from({ length: 150 }, (_, i) => String(i))
            assert.deepStrictEqual(received, [sent, sent], `seed ${seed}`)
            assert.isAtLeast(network.wires.length, 12, `seed ${seed}`)
          }),
          Random.withSeed(`storm ${seed}`)
        )
    )
  }

  it.effect("a message whose acknowledgement was lost is not delivered again", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network, theirs } = yield* pair()
        const { received } = yield* collect(theirs)
        network.wire().toClient.blackhole(true)
        yield* client.send(bytes("once"))
        yield* settle
        assert.deepStrictEqual(received, ["once"])
        const flushing = yield* begin(client.flush)
        assert.strictEqual(flushing.outcome(), "pending")
        network.wire().cut()
        yield* flowing(Fiber.await(flushing.fiber), "100 millis")
        assert.strictEqual(flushing.outcome(), "succeeded")
        assert.deepStrictEqual(received, ["once"])
        assert.strictEqual(network.wires.length, 2)
      })
    )
  )

  it.effect("a message that was acknowledged before the cut is not sent again", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network, theirs } = yield* pair()
        const { received } = yield* collect(theirs)
        yield* flowing(client.deliver(large(50_000)))
        network.wire().cut()
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* upOf(client)).opened, "Resumed")
        assert.strictEqual(received.length, 1)
        assert.isBelow(network.wire().toServer.written(), 1000)
      })
    )
  )

  it.effect("a message that a cut lost is sent again", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network, theirs } = yield* pair()
        const { received } = yield* collect(theirs)
        network.wire().toServer.blackhole(true)
        yield* client.send(large(50_000))
        yield* settle
        network.wire().cut()
        yield* flowing(client.flush)
        assert.strictEqual(received.length, 1)
        assert.isAbove(network.wire().toServer.written(), 50_000)
      })
    )
  )

  it.effect("a resume is up before replay, and replay goes on from what the other side holds", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network, theirs } = yield* pair({ network: { bytesPerSecond: 100_000 } })
        const { received } = yield* collect(theirs)
        yield* client.sendAll(Array.from({ length: 10 }, () => large(50_000)))
        yield* flowing(Effect.sleep("2 seconds"), "50 millis") // 200 kB are through
        const { length } = received
        assert.isTrue(length >= 3 && length <= 4, `${length}`)
        network.wire().cut()
        yield* flowing(Effect.sleep("1100 millis"), "10 millis")
        assert.strictEqual((yield* upOf(client)).opened, "Resumed") // with 300 kB, three seconds, still to go
        yield* flowing(Effect.sleep("1 second"), "50 millis")
        assert.isAbove(received.length, length) // and acknowledged while replay goes on:
        const acknowledged = yield* begin(client.flush)
        yield* flowing(Fiber.await(acknowledged.fiber), "50 millis")
        assert.strictEqual(received.length, 10)
        assert.isBelow(network.wire().toServer.written(), 10 * 50_000 - 150_000)
      })
    )
  )

  it.effect(
    "a 64 MB message arrives over a 10 MB/s link that is cut every 2 s, and nobody is given up meanwhile",
    () =>
      inScope(
        Effect.gen(function* () {
          const size = 64_000_000
          const { client, network, theirs } = yield* pairOf(Large)({
            network: { bytesPerSecond: 10_000_000 },
            client: { policy: { backlog: { bytesMax: 2 * size } } }
          })
          const received: Array<number> = []
          const consuming = yield* Effect.forkChild(
            theirs.handle((message) => Effect.sync(() => received.push(message.length)))
          )
          const delivering = yield* begin(client.deliver(large(size)))
          const wires = network.wires
          const cutting = yield* Effect.forkChild(
            Effect.forever(
              Effect.andThen(
                Effect.sleep("2 seconds"),
                Effect.sync(() => network.wire().cut())
              )
            )
          )
          yield* flowing(Fiber.await(delivering.fiber), "10 millis")
          yield* Fiber.interrupt(cutting)
          yield* Fiber.interrupt(consuming)
          assert.deepStrictEqual([delivering.outcome(), received], ["succeeded", [size]])
          assert.isAtLeast(wires.length, 4)
          const sent = wires.reduce((total, wire) => total + wire.toServer.written(), 0)
          assert.isBelow(sent, size * 1.1) // what was half received stays received
        })
      ),
    30_000
  )

  it.effect("what was accepted although the deliver or the flush that waits for it is interrupted", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        const delivering = yield* begin(client.deliver(bytes("1")))
        const flushing = yield* begin(client.flush)
        const other = yield* begin(client.deliver(bytes("2")))
        yield* Fiber.interrupt(delivering.fiber)
        yield* Fiber.interrupt(flushing.fiber)
        const { received } = yield* collect(theirs)
        yield* flowing(Fiber.await(other.fiber))
        assert.deepStrictEqual([received, other.outcome()], [["1", "2"], "succeeded"])
      })
    )
  )

  it.effect("nothing more after a close, and says so", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair({ client: { policy: steady } })
        yield* collect(theirs)
        yield* client.sendAll(numbered(3))
        yield* flowing(client.close)
        assert.strictEqual(yield* tagOf(client.send(bytes("late"))), "Closed")
        assert.strictEqual(yield* tagOf(client.deliver(bytes("late"))), "Closed")
        assert.strictEqual(yield* tagOf(client.flush), "succeeded") // everything was taken
      })
    )
  )
})
