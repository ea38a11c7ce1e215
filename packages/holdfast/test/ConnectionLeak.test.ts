import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Metric, Scope, Stream } from "effect"
import { Answers, ConnectionError, Guard } from "holdfast"
import { collected, connected, dialling, numbered, peerOf } from "./ConnectionTesting.ts"
import * as MemoryLink from "./MemoryLink.ts"
import { inScope } from "./SessionPair.ts"
import { flowing } from "./SessionTesting.ts"
import { settle, until } from "./TestTime.ts"

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

describe("a connection leaves nothing behind", () => {
  it.effect("after 300 incarnations, with requests and blocked writes in them: as many fibers as after the first", () =>
    counting((alive) =>
      inScope(
        Effect.gen(function* () {
          const { connection, network } = yield* dialling({ fateUnknown: "giveBack", network: { capacityBytes: 100 } })
          const answers = yield* Answers.byId(connection, {
            patience: "5 seconds",
            idOf: (line) => line,
            answersTo: (line) => line
          })
          yield* collected(connection.messages)
          yield* collected(connection.returned)
          const live = Effect.fnUntraced(function* (round: number) {
            const scope = yield* Scope.make()
            yield* Scope.provide(peerOf(yield* network.accept, { reads: round % 2 === 0 }), scope)
            const asking = yield* Effect.forkChild(Effect.exit(answers.request(`${round}`)))
            yield* connection.send("x".repeat(200))
            yield* settle
            yield* connection.giveUp(new ConnectionError.DetectorFired({ detector: "test", detail: "next" }))
            yield* settle
            yield* Fiber.join(asking)
            yield* Scope.close(scope, Exit.void)
            yield* connection.wake
            yield* settle
          })
          yield* live(0)
          const before = alive()
          for (let round = 1; round <= 300; round++) yield* live(round)
          assert.strictEqual(alive(), before)
          assert.strictEqual(network.wires.length, 302)
        })
      )
    )
  )

  for (const how of [
    "a close",
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
            const { connection, network } = yield* connected({
              policy: { close: "5 seconds" },
              network: { capacityBytes: 50 }
            })
            const streams = yield* Effect.forEach(
              [connection.changes, connection.events, connection.messages, connection.returned],
              (stream) => Effect.forkChild(Effect.exit(Stream.runDrain<unknown, unknown, never>(stream)))
            )
            if (how === "a close") {
              yield* connection.sendAll(numbered(10))
              yield* flowing(connection.close)
            } else if (how === "a release while a write is stuck") {
              network.wire().blackhole(true)
              yield* connection.sendAll(numbered(100))
            } else {
              network.hang(how === "a release while a dial hangs")
              if (how === "a release while it waits to dial") network.refuse(Infinity)
              network.wire().cut()
              yield* connection.sendAll(numbered(10))
            }
            yield* settle
            yield* Effect.forkChild(Effect.forEach(streams, Fiber.join, { concurrency: "unbounded" }))
            return { network }
          }).pipe(Scope.provide(scope))
          yield* flowing(Scope.close(scope, Exit.void), "1 second")
          yield* settle
          assert.strictEqual(network.wires.filter((wire) => wire.isOpen()).length, 0)
          yield* settle
          assert.strictEqual(alive(), before)
        }).pipe(Effect.scoped)
      )
    )
  }
})

describe("a guard leaves nothing behind", () => {
  it.effect("after 300 connections that ended by a verdict, by the peer and by us, with writes under way", () =>
    counting((alive) =>
      Effect.gen(function* () {
        const network = yield* MemoryLink.make({ capacityBytes: 10 })
        const link = yield* Guard.make(network.link, { policy: { stall: "1 second" } })
        const writer = yield* link.writer
        const live = Effect.fnUntraced(function* (round: number) {
          const scope = yield* Scope.make()
          const { pull } = yield* Scope.provide(link.reader, scope)
          yield* network.accept
          const reading = yield* Effect.forkChild(Effect.exit(pull))
          const writing = yield* Effect.forkChild(Effect.exit(writer.write(new Uint8Array(20))))
          yield* settle
          if (round % 3 === 0) yield* until((round + 1) * 2000)
          else if (round % 3 === 1) network.wire().cut()
          yield* settle
          yield* Scope.close(scope, Exit.void)
          yield* settle
          yield* Fiber.join(reading)
          yield* Fiber.join(writing)
        })
        yield* live(0)
        yield* settle
        const before = alive()
        for (let round = 1; round <= 300; round++) yield* live(round)
        yield* settle
        assert.strictEqual(alive(), before)
        assert.strictEqual(network.wires.filter((wire) => wire.isOpen()).length, 0)
      })
    )
  )
})
