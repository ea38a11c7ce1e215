import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Session } from "holdfast"
import * as MemoryLink from "./MemoryLink.ts"
import { begin, inScope, large, pair, pairOf, reasonOf, serveOf, steady, tagOf } from "./SessionPair.ts"
import { Telemetry } from "./SessionSchemas.ts"
import { bytes, collect, crypto, flowing, settle } from "./SessionTesting.ts"

/** The same name, and whatever bytes one likes. */
class Forged extends Session.Service<Forged>()("test/Telemetry") {}

class Short extends Session.Service<Short>()("test/Short", { messageBytesMax: 1000 }) {}

const reading = { sensor: "roof", at: 86_400n, celsius: 21.5 }

/** A server of telemetry and a client that sends it bytes as they are. */
const forging = Effect.gen(function* () {
  const network = yield* MemoryLink.make()
  const server = yield* serveOf(Telemetry)(network)
  const client = yield* Forged.make({ link: Effect.succeed(network.link), policy: steady }).pipe(Effect.provide(crypto))
  const theirs = yield* flowing(server.next)
  return { client, theirs, network }
})

describe("Messages with a Schema", () => {
  it.effect("arrive as the values that they were, each direction with its own Schema", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pairOf(Telemetry)()
        yield* client.sendAll([reading, { ...reading, sensor: "cellär" }])
        yield* theirs.send("slower")
        const up = yield* theirs.messages.pipe(Stream.take(2), Stream.runCollect)
        const down = yield* client.messages.pipe(Stream.take(1), Stream.runCollect)
        assert.deepStrictEqual(up, [reading, { ...reading, sensor: "cellär" }])
        assert.deepStrictEqual(down, ["slower"])
      })
    )
  )

  it.effect("that do not encode cost that operation only, and nothing of it is sent", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pairOf(Telemetry)()
        const wrong = { ...reading, sensor: 7 } as never
        const reason = yield* reasonOf(client.sendAll([reading, wrong, reading]))
        assert.deepInclude(reason, { _tag: "MessageInvalid", direction: "send" })
        assert.strictEqual(yield* tagOf(client.send(wrong)), "MessageInvalid")
        assert.strictEqual(yield* tagOf(client.deliver(wrong)), "MessageInvalid")
        const seen: Array<string> = []
        yield* Effect.forkChild(theirs.handle(({ sensor }) => Effect.sync(() => seen.push(sensor))))
        yield* flowing(client.deliver(reading))
        assert.deepStrictEqual(seen, ["roof"])
      })
    )
  )

  for (const [what, wrong] of [
    ["other values", bytes(`{"sensor":7}`)],
    ["no JSON", bytes("{")],
    ["no UTF-8", Uint8Array.of(0xff, 0xfe)]
  ] as const) {
    it.effect(`that do not decode (${what}) end the session, typed on both sides: it is their sender's violation`, () =>
      inScope(
        Effect.gen(function* () {
          const { client, network, theirs } = yield* forging
          const consuming = yield* begin(Stream.runDrain(theirs.messages))
          const pending = yield* begin(theirs.deliver("faster"))
          const delivering = yield* begin(client.deliver(wrong))
          yield* flowing(Effect.exit(client.join))
          assert.deepStrictEqual([consuming.outcome(), pending.outcome()], ["MessageInvalid", "MessageInvalid"])
          assert.deepInclude(yield* reasonOf(theirs.join), { direction: "receive", endedBy: "peer" })
          assert.deepInclude(yield* reasonOf(client.join), { _tag: "ProtocolViolated", by: "us" })
          assert.strictEqual(delivering.outcome(), "ProtocolViolated")
          yield* TestClock.adjust("1 minute")
          assert.strictEqual(network.wires.length, 1) // nobody comes back to break it again
        })
      )
    )
  }

  it.effect("that do not decode are found by handle, too, after those before it were handled", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* forging
        const right = bytes(`{"sensor":"roof","at":"86400","celsius":21.5}`)
        const delivered = yield* begin(client.deliver(right))
        yield* client.sendAll([bytes("{}"), right])
        const seen: Array<unknown> = []
        const handling = yield* begin(theirs.handle((message) => Effect.sync(() => seen.push(message))))
        yield* flowing(Effect.exit(client.join))
        assert.deepStrictEqual(
          [seen, handling.outcome(), delivered.outcome()],
          [[reading], "MessageInvalid", "succeeded"]
        )
      })
    )
  )
})

describe("Messages without a Schema", () => {
  it.effect("are bytes and nothing else, also empty ones", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        assert.strictEqual(yield* tagOf(client.send("text" as never)), "MessageInvalid")
        yield* client.sendAll([bytes(""), bytes("\n"), bytes("")])
        const { received } = yield* collect(theirs)
        yield* flowing(client.flush)
        assert.deepStrictEqual(received, ["", "\n", ""])
      })
    )
  )

  it.effect("may change after they were sent: what arrives is what was sent", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network, theirs } = yield* pair({ client: { policy: { backlog: { messagesMax: 1 } } } })
        network.wire().toServer.blackhole(true)
        const message = bytes("before")
        yield* client.send(message)
        message.fill(0x78)
        network.wire().cut()
        const { received } = yield* collect(theirs)
        yield* flowing(client.flush)
        assert.deepStrictEqual(received, ["before"])
      })
    )
  )

  it.effect("are sent each time that their send is run, and not before", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        const { received } = yield* collect(theirs)
        const first = client.send(bytes("1"))
        const second = client.send(bytes("2"))
        yield* second
        yield* first
        yield* Effect.andThen(first, second)
        yield* second
        yield* flowing(client.flush)
        assert.deepStrictEqual(received, ["2", "1", "1", "2", "2"])
      })
    )
  )

  it("are not sent by a generator that begins before it is run", async () => {
    let rest: Effect.Effect<void, unknown> = Effect.void
    const test = inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        const { received } = yield* collect(theirs)
        const begin = Effect.fnUntracedEager(function* () {
          yield* client.send(bytes("1"))
        })
        queueMicrotask(() => {
          rest = begin()
        })
        yield* flowing(settle)
        yield* flowing(client.flush)
        assert.deepStrictEqual(received, [])
        yield* rest
        yield* flowing(client.flush)
        assert.deepStrictEqual(received, ["1"])
      })
    )
    await Effect.runPromise(Effect.provide(test, TestClock.layer()))
  })

  it.effect("that are sent without ever waiting leave others their turn", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        yield* collect(theirs)
        const message = new Uint8Array(1024)
        let isOver = false
        let sent = 0
        const sending = yield* Effect.forkChild(
          Effect.gen(function* () {
            for (; !isOver && sent < 100_000; sent++) yield* client.send(message)
          })
        )
        yield* Effect.yieldNow
        yield* Effect.yieldNow
        isOver = true
        yield* flowing(Fiber.join(sending))
        assert.isAbove(sent, 0)
        assert.isBelow(sent, 2000)
      })
    )
  )

  it.effect("may be as large as both ends agreed to and not one byte larger", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pairOf(Short)()
        const reason = yield* reasonOf(client.sendAll([large(1), large(1001)]))
        assert.deepInclude(reason, { _tag: "MessageTooLarge", bytes: 1001, bytesMax: 1000 })
        const sizes: Array<number> = []
        yield* Effect.forkChild(theirs.handle(({ length }) => Effect.sync(() => sizes.push(length))))
        yield* flowing(client.deliver(large(1000)))
        assert.deepStrictEqual(sizes, [1000])
      })
    )
  )

  it.effect("need ends that agree on their size", () =>
    inScope(
      Effect.gen(function* () {
        class Longer extends Session.Service<Longer>()("test/Short", { messageBytesMax: 1001 }) {}
        const network = yield* MemoryLink.make()
        yield* serveOf(Short)(network)
        const client = yield* Longer.make({ link: Effect.succeed(network.link) }).pipe(Effect.provide(crypto))
        yield* settle
        assert.deepInclude(yield* reasonOf(client.join), { _tag: "Refused", code: "Definition" })
      })
    )
  )
})

describe("A server that goes away", () => {
  it.effect("while its client closes does not keep the client from closing well", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const scope = yield* Scope.make()
        const server = yield* Scope.provide(serveOf(Short)(network), scope)
        const client = yield* Short.make({ link: Effect.succeed(network.link), policy: steady }).pipe(
          Effect.provide(crypto)
        )
        const theirs = yield* flowing(server.next)
        yield* client.send(bytes("1"))
        const closing = yield* begin(client.close)
        const releasing = yield* begin(Scope.close(scope, Exit.void))
        yield* TestClock.adjust("3 seconds")
        yield* settle
        assert.strictEqual(closing.outcome(), "pending")
        const { received } = yield* collect(theirs)
        yield* flowing(Effect.sleep("5 seconds"), "50 millis")
        assert.deepStrictEqual([received, closing.outcome(), releasing.outcome()], [["1"], "succeeded", "succeeded"])
      })
    )
  )

  it.effect("before its client closes leaves nothing for another server when all was drained", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const scope = yield* Scope.make()
        const server = yield* Scope.provide(serveOf(Short)(network), scope)
        const client = yield* Short.make({ link: Effect.succeed(network.link), policy: steady }).pipe(
          Effect.provide(crypto)
        )
        yield* collect(yield* flowing(server.next))
        yield* flowing(client.deliver(bytes("1")))
        const releasing = yield* begin(Scope.close(scope, Exit.void))
        yield* settle
        assert.strictEqual(yield* flowing(tagOf(client.close), "50 millis"), "succeeded")
        yield* flowing(Effect.sleep("35 seconds"), "1 second")
        assert.strictEqual(releasing.outcome(), "succeeded")
      })
    )
  )
})
