import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Metric, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as MemoryLink from "./MemoryLink.ts"
import { below, inScope, large, numbered, pair, serveOf, steady } from "./SessionPair.ts"
import { bytes, collect, connect, flowing, Plain, settle } from "./SessionTesting.ts"

/** Counts the fibers that have begun and not ended. */
const counting = <A, E, R>(body: (alive: () => number) => Effect.Effect<A, E, R>) => {
  let alive = 0
  return Effect.provideService(
    body(() => alive),
    Metric.FiberRuntimeMetrics,
    {
      recordFiberStart: () => void alive++,
      recordFiberEnd: () => void alive--
    }
  )
}

describe("A session leaves nothing behind", () => {
  it.effect("after 1,000 incarnations: as many fibers as after the first one, and one open link", () =>
    counting((alive) =>
      inScope(
        Effect.gen(function* () {
          const { client, network, theirs } = yield* pair()
          yield* Stream.runDrain(client.changes).pipe(Effect.forkChild)
          yield* Stream.runDrain(client.events).pipe(Effect.forkChild)
          const { received } = yield* collect(theirs)
          yield* flowing(client.deliver(bytes("first")))
          yield* flowing(Effect.sleep("100 millis"))
          yield* settle
          const before = alive()
          for (let i = 0; i < 1000; i++) {
            yield* client.send(bytes(String(i)))
            if (i % 2 === 0) yield* settle
            network.wire().cut()
            yield* settle
            yield* TestClock.adjust("1 second")
            yield* settle
          }
          yield* flowing(client.flush)
          yield* flowing(Effect.sleep("100 millis"))
          yield* settle
          assert.strictEqual(network.wires.length, 1001)
          assert.strictEqual(received.length, 1001)
          assert.strictEqual(alive(), before)
          assert.strictEqual(network.wires.filter((wire) => wire.isOpen()).length, 1)
        })
      )
    )
  )

  for (const how of [
    "a close",
    "an end by the other side",
    "a release while it waits to dial",
    "a release while a dial hangs",
    "a release while a write is stuck"
  ]) {
    it.effect(`after ${how}: as many fibers as before it began, and no open link`, () =>
      counting((alive) =>
        Effect.gen(function* () {
          yield* settle
          const before = alive()
          const scope = yield* Scope.make()
          const { network } = yield* Effect.gen(function* () {
            const { client, network, theirs } = yield* pair({ client: { policy: { ...steady, close: "5 seconds" } } })
            const streams = yield* Effect.forEach([client.changes, client.events, client.messages], (stream) =>
              Effect.forkChild(Effect.exit(Stream.runDrain<unknown, unknown, never>(stream)))
            )
            yield* client.sendAll(numbered(10))
            yield* settle
            if (how === "a close") {
              yield* collect(theirs)
              yield* flowing(client.close)
            } else if (how === "an end by the other side") {
              yield* Effect.forkChild(Effect.exit(theirs.handle(() => Effect.fail("no"), { onFailure: "end" })))
            } else if (how === "a release while a write is stuck") {
              network.wire().blackhole(true)
              yield* client.send(large(1_000_000))
            } else {
              if (how === "a release while it waits to dial") network.refuse(1000)
              else network.hang(true)
              network.wire().cut()
            }
            yield* flowing(Effect.sleep("2 seconds"), "100 millis")
            return { network, streams }
          }).pipe(Scope.provide(scope))
          yield* flowing(Scope.close(scope, Exit.void), "1 second")
          yield* flowing(Effect.sleep("10 minutes"), "10 seconds")
          assert.isFalse(network.wires.some((wire) => wire.isOpen()))
          assert.strictEqual(alive(), before)
        })
      )
    )
  }

  it.effect("when everything is interrupted at any instant, nothing hangs and nothing is left", () =>
    counting((alive) =>
      Effect.gen(function* () {
        yield* settle
        const before = alive()
        for (let turns = 0; turns < 60; turns++) {
          const scope = yield* Scope.make()
          const working = yield* Effect.gen(function* () {
            const network = yield* MemoryLink.make({ capacityBytes: 500 })
            const { next } = yield* serveOf(Plain)(network)
            const client = yield* connect(network, { policy: { ...steady, close: "2 seconds" } })
            const theirs = Effect.flatMap(next, (session) => session.handle(() => Effect.yieldNow))
            const cutting = Effect.gen(function* () {
              yield* Effect.yieldNow.pipe(Effect.repeat({ times: yield* below(turns + 1) }))
              if (turns % 3 === 0) network.wires.at(-1)?.cut()
            })
            const sending = Effect.forEach(numbered(50), (message) => client.deliver(message), { concurrency: 10 })
            const all = Effect.all(
              [sending, theirs, cutting, client.flush, Stream.runDrain(client.messages), client.join],
              { concurrency: "unbounded" }
            )
            return yield* Effect.forkChild(
              Effect.exit(turns % 2 === 0 ? Effect.asVoid(all) : Effect.andThen(all, client.close))
            )
          }).pipe(Scope.provide(scope))
          yield* Effect.yieldNow.pipe(Effect.repeat({ times: turns }))
          yield* Fiber.interrupt(working)
          yield* flowing(Scope.close(scope, Exit.void), "100 millis")
        }
        yield* flowing(Effect.sleep("10 minutes"), "10 seconds")
        assert.strictEqual(alive(), before)
      })
    )
  )
})
