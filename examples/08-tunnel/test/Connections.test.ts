import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { Connections, Refused } from "../connections.ts"
import { type Happening, Journal } from "../journal.ts"
import { TcpFailed } from "../tcp.ts"

/** Connections, at most two, and what is told of them. */
const make = Effect.gen(function* () {
  const told: Array<Happening> = []
  const journal = Layer.succeed(Journal, { tell: (happening) => Effect.sync(() => void told.push(happening)) })
  const connections = yield* Connections.pipe(Effect.provide(Connections.layer(2).pipe(Layer.provide(journal))))
  return { connections, told }
})

const interrupted = Exit.interrupt(1)
const limit = Duration.seconds(30)

describe("connections", () => {
  it.effect("are told of with their bytes, their time and how they ended", () =>
    Effect.gen(function* () {
      const { connections, told } = yield* make
      const carried = yield* Effect.forkChild(
        connections.carry("db", "a:1", (carried) => {
          carried.bytesIn = 3
          carried.bytesOut = 5
          return Effect.sleep("2 seconds")
        })
      )
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(carried)
      yield* connections.carry("db", "a:2", () => Effect.fail(new Refused({ message: "nobody there" })))
      yield* connections.carry("db", "a:3", () => Effect.fail(new TcpFailed({ message: "read ECONNRESET" })))
      assert.deepStrictEqual(
        told.flatMap((one) =>
          one.event === "closed" ? [[one.how, one.detail, one.bytesIn, one.bytesOut, one.millis]] : []
        ),
        [
          ["ended", "", 3, 5, 2000],
          ["refused", "nobody there", 0, 0, 0],
          ["reset", "read ECONNRESET", 0, 0, 0]
        ]
      )
      assert.deepStrictEqual(
        { ...connections.totals, open: connections.open.size },
        { opened: 3, bytesIn: 3, bytesOut: 5, open: 0 }
      )
    })
  )

  it.effect("are full at their bound, and not one below", () =>
    Effect.gen(function* () {
      const { connections } = yield* make
      for (let n = 0; n < 2; n++) {
        assert.isUndefined(connections.full())
        yield* Effect.forkChild(
          connections.carry("db", "a:1", () => Effect.never),
          { startImmediately: true }
        )
      }
      assert.match(connections.full() ?? "", /^2 connections are open/)
    })
  )

  it.effect("are waited for when they drain, and none begins meanwhile", () =>
    Effect.gen(function* () {
      const { connections, told } = yield* make
      const last = Deferred.makeUnsafe<void>()
      yield* Effect.forkChild(
        connections.carry("db", "a:1", () => Deferred.await(last)),
        { startImmediately: true }
      )
      const draining = yield* Effect.forkChild(connections.drain(limit, interrupted), { startImmediately: true })
      yield* TestClock.adjust("29 seconds")
      assert.isUndefined(draining.pollUnsafe())
      assert.strictEqual(connections.full(), "this end of the tunnel is going away")
      Deferred.doneUnsafe(last, Exit.void)
      yield* Fiber.join(draining)
      assert.deepStrictEqual(told.at(-1), { event: "stopped", reset: 0 })
    })
  )

  it.effect("are waited for 30 s when that is the limit, and not a millisecond longer", () =>
    Effect.gen(function* () {
      const { connections, told } = yield* make
      yield* Effect.forkChild(
        connections.carry("db", "a:1", () => Effect.never),
        { startImmediately: true }
      )
      const draining = yield* Effect.forkChild(connections.drain(limit, interrupted), { startImmediately: true })
      yield* TestClock.adjust("29999 millis")
      assert.isUndefined(draining.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.isDefined(draining.pollUnsafe())
      assert.deepStrictEqual(told.at(-1), { event: "stopped", reset: 1 })
    })
  )

  it.effect("are not waited for after a failure", () =>
    Effect.gen(function* () {
      const { connections, told } = yield* make
      yield* Effect.forkChild(
        connections.carry("db", "a:1", () => Effect.never),
        { startImmediately: true }
      )
      yield* connections.drain(limit, Exit.fail("no way"))
      assert.deepStrictEqual(
        told.map(({ event }) => event),
        ["opened"]
      )
    })
  )
})
