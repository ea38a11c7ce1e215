import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { TestClock } from "effect/testing"
import * as MemoryLink from "./MemoryLink.ts"
import { bytes, collect, connect, flowing, serve, settle } from "./SessionTesting.ts"

describe("Session", () => {
  it.effect("delivers in both directions, and closes when everything was taken", () =>
    Effect.gen(function* () {
      const network = yield* MemoryLink.make()
      const server = yield* serve(network)
      const client = yield* connect(network)
      yield* client.send(bytes("a"))
      yield* client.sendAll([bytes("b"), bytes("c")])
      const theirs = yield* server.next
      const { received } = yield* collect(theirs)
      yield* flowing(client.flush)
      assert.deepStrictEqual(received, ["a", "b", "c"])
      const ours = yield* collect(client)
      yield* flowing(theirs.deliver(bytes("x")))
      assert.deepStrictEqual(ours.received, ["x"])
      yield* flowing(client.close)
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(client.join)))
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(theirs.join)))
    })
  )

  it.effect("goes on where it was after a reset, and repeats nothing", () =>
    Effect.gen(function* () {
      const network = yield* MemoryLink.make()
      const server = yield* serve(network)
      const client = yield* connect(network)
      yield* client.send(bytes("0"))
      const theirs = yield* server.next
      const { received } = yield* collect(theirs)
      for (let i = 1; i <= 50; i++) {
        yield* client.send(bytes(String(i)))
        if (i % 10 === 0) {
          network.wire().cut()
          yield* settle
          yield* TestClock.adjust("20 seconds")
        }
        if (i % 3 === 0) yield* settle
      }
      yield* TestClock.adjust("20 seconds")
      yield* client.flush
      assert.deepStrictEqual(
        received,
        Array.from({ length: 51 }, (_, i) => String(i))
      )
      assert.isAtLeast(network.wires.length, 6)
    })
  )
})
