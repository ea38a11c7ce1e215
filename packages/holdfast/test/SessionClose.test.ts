import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as MemoryLink from "./MemoryLink.ts"
import { begin, inScope, now, numbered, pair, reasonOf, steady, tagOf } from "./SessionPair.ts"
import { bytes, collect, connect, flowing, serve, settle, text } from "./SessionTesting.ts"

describe("Session.end", () => {
  it.effect("ends one direction after its last message, and the other one goes on", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        yield* client.sendAll(numbered(2))
        yield* client.end
        const { join, received } = yield* collect(theirs)
        yield* flowing(join) // normally
        assert.deepStrictEqual(received, ["0", "1"])
        assert.strictEqual(yield* tagOf(client.send(bytes("late"))), "Closed")
        const ours = yield* collect(client)
        yield* flowing(theirs.deliver(bytes("down")))
        assert.deepStrictEqual(ours.received, ["down"])
        assert.strictEqual(yield* tagOf(client.flush), "succeeded")
      })
    )
  )

  it.effect("is kept and replayed like a message", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network, theirs } = yield* pair()
        const { join, received } = yield* collect(theirs)
        network.wire().toServer.blackhole(true)
        yield* client.send(bytes("last"))
        yield* client.end
        yield* client.end // once more changes nothing
        network.wire().cut()
        yield* flowing(join)
        assert.deepStrictEqual(received, ["last"])
      })
    )
  )

  it.effect("tells sends that wait for room that they are too late", () =>
    inScope(
      Effect.gen(function* () {
        const { client } = yield* pair({ client: { policy: { backlog: { messagesMax: 1 } } } })
        yield* client.send(bytes("1"))
        const waiting = yield* begin(client.send(bytes("2")))
        const delivering = yield* begin(client.deliver(bytes("3")))
        yield* client.end
        assert.deepStrictEqual([waiting.outcome(), delivering.outcome()], ["Closed", "Closed"])
      })
    )
  )
})

describe("Session.close", () => {
  it.effect("waits until everything was taken on both sides, and then ends both", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        yield* client.sendAll(numbered(3))
        yield* theirs.send(bytes("down"))
        yield* settle
        const closing = yield* begin(client.close)
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(yield* client.state, { _tag: "Closing", unacknowledged: 3 })
        yield* collect(theirs)
        yield* TestClock.adjust("1 second")
        assert.strictEqual(closing.outcome(), "pending") // theirs has arrived here and nobody has taken it
        yield* collect(client)
        yield* flowing(Fiber.await(closing.fiber))
        assert.strictEqual(closing.outcome(), "succeeded")
        assert.deepStrictEqual(yield* Effect.exit(flowing(theirs.join)), Exit.void)
        assert.deepStrictEqual(yield* client.state, { _tag: "Closed", exit: Exit.void })
      })
    )
  )

  it.effect("goes on reconnecting, and succeeds when everything came through after all", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network, theirs } = yield* pair()
        network.wire().blackhole(true)
        yield* client.sendAll(numbered(3))
        const { received } = yield* collect(theirs)
        const closing = yield* begin(client.close)
        network.refuse(2)
        network.wire().cut()
        yield* flowing(Fiber.await(closing.fiber), "100 millis")
        assert.deepStrictEqual([closing.outcome(), received], ["succeeded", ["0", "1", "2"]])
        assert.strictEqual(network.wires.length, 2)
      })
    )
  )

  it.effect("succeeds although the link is cut at any point of its last words", () =>
    inScope(
      Effect.gen(function* () {
        for (let bytesMore = 1; bytesMore <= 30; bytesMore++) {
          for (const direction of ["toServer", "toClient"] as const) {
            const { client, network, theirs } = yield* pair()
            yield* collect(theirs)
            yield* collect(client)
            yield* client.send(bytes("1"))
            yield* flowing(client.flush)
            yield* flowing(Effect.sleep("100 millis"))
            network.wire()[direction].cutAfter(bytesMore)
            const where = `${bytesMore} bytes ${direction}`
            assert.strictEqual(yield* flowing(tagOf(client.close), "100 millis"), "succeeded", where)
            const theirEnd = yield* begin(theirs.join)
            yield* flowing(Fiber.await(theirEnd.fiber), "1 second")
            assert.strictEqual(theirEnd.outcome(), "succeeded", where)
          }
        }
      })
    )
  )

  it.effect("gives up at the end of its patience and not before, and says what was not taken", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network, theirs } = yield* pair()
        yield* theirs.send(bytes("untaken"))
        yield* settle
        network.wire().blackhole(true)
        network.hang(true)
        yield* client.sendAll(numbered(2))
        const start = yield* now
        const closing = yield* begin(client.close)
        const flushing = yield* begin(client.flush)
        const again = yield* begin(client.close)
        yield* TestClock.adjust("29999 millis")
        yield* settle
        assert.deepStrictEqual([closing.outcome(), flushing.outcome()], ["pending", "pending"])
        yield* TestClock.adjust("1 millis")
        yield* settle
        assert.deepStrictEqual([closing.outcome(), closing.at() - start], ["CloseTimedOut", 30_000])
        assert.deepStrictEqual([flushing.outcome(), again.outcome()], ["CloseTimedOut", "CloseTimedOut"])
        assert.deepInclude(yield* reasonOf(client.join), { _tag: "CloseTimedOut", unacknowledged: 2, untaken: 1 })
        const { fateUnknown, notSent } = yield* client.leftovers
        assert.deepStrictEqual([fateUnknown.map(text), notSent], [["0", "1"], []])
        assert.deepStrictEqual(yield* Stream.runHead(client.messages).pipe(Effect.map((head) => head._tag)), "Some")
        const wires = network.wires.length
        network.hang(false)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(network.wires.length, wires) // nothing is dialled after the end
      })
    )
  )

  it.effect("of a session that never was up and has sent nothing needs nobody", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        network.hang(true)
        const client = yield* connect(network)
        yield* settle
        assert.strictEqual(yield* tagOf(client.close), "succeeded")
        assert.strictEqual(yield* tagOf(client.close), "succeeded")
        assert.strictEqual(yield* tagOf(client.join), "succeeded")
      })
    )
  )

  it.effect("called while it waits to dial again keeps its patience, and the session is over with it", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        network.refuse(1000)
        const client = yield* connect(network, { policy: { ...steady, close: "5 seconds" } })
        yield* client.send(bytes("1"))
        yield* TestClock.adjust("1500 millis")
        assert.deepInclude(yield* client.state, { _tag: "Waiting" })
        const closing = yield* begin(client.close)
        yield* TestClock.adjust("4999 millis")
        assert.strictEqual(closing.outcome(), "pending")
        yield* TestClock.adjust("1 millis")
        yield* settle
        assert.strictEqual(closing.outcome(), "CloseTimedOut")
      })
    )
  )

  it.effect("interrupted ends the session at once, and another one that waits is told so", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        yield* client.send(bytes("1"))
        const closing = yield* begin(client.close)
        const second = yield* begin(client.close)
        yield* settle
        yield* Fiber.interrupt(closing.fiber)
        yield* settle
        assert.deepStrictEqual([second.outcome(), yield* tagOf(client.join)], ["Closed", "Closed"])
        assert.deepInclude(yield* flowing(reasonOf(theirs.join)), { _tag: "EndedByPeer", code: "Failed" })
      })
    )
  )

  it.effect("of both sides at the same time succeeds on both", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        yield* client.sendAll(numbered(20))
        yield* theirs.sendAll(numbered(20))
        const [up, down] = [yield* collect(theirs), yield* collect(client)]
        const both = yield* flowing(Effect.all([tagOf(client.close), tagOf(theirs.close)], { concurrency: 2 }))
        assert.deepStrictEqual(both, ["succeeded", "succeeded"])
        assert.deepStrictEqual([up.received.length, down.received.length], [20, 20])
      })
    )
  )

  it.effect("of the other side ends messages normally and makes later sends fail", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        yield* theirs.sendAll(numbered(3))
        const { join, received } = yield* collect(client)
        yield* flowing(theirs.close)
        yield* flowing(join)
        assert.deepStrictEqual(received, ["0", "1", "2"])
        assert.deepStrictEqual(yield* Effect.exit(client.join), Exit.void)
        assert.strictEqual(yield* tagOf(client.send(bytes("late"))), "Closed")
        assert.strictEqual(yield* tagOf(client.close), "succeeded")
      })
    )
  )
})

describe("Releasing a client that was not closed", () => {
  it.effect("sends what was accepted, and ends the session in good order", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const server = yield* serve(network)
        const scope = yield* Scope.make()
        const client = yield* Scope.provide(connect(network), scope)
        yield* client.sendAll(numbered(100))
        const theirs = yield* flowing(server.next)
        const { join, received } = yield* collect(theirs)
        const waiting = yield* begin(Stream.runDrain(client.messages))
        yield* flowing(Scope.close(scope, Exit.void))
        yield* flowing(join)
        assert.strictEqual(received.length, 100)
        assert.deepStrictEqual(yield* Effect.exit(flowing(theirs.join)), Exit.void)
        assert.strictEqual(waiting.outcome(), "Closed")
      })
    )
  )

  it.effect("tells a peer that does not take it that the session is given up", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const server = yield* serve(network)
        const scope = yield* Scope.make()
        const client = yield* Scope.provide(connect(network), scope)
        yield* client.send(bytes("1"))
        const theirs = yield* flowing(server.next)
        const releasing = yield* begin(Scope.close(scope, Exit.void))
        yield* TestClock.adjust("30 seconds")
        yield* flowing(Fiber.await(releasing.fiber))
        assert.deepInclude(yield* reasonOf(theirs.join), { _tag: "EndedByPeer", code: "Failed" })
      })
    )
  )

  it.effect("is over at the end of its patience when the network is dead, and every operation is told", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        network.hang(true)
        const scope = yield* Scope.make()
        const policy = { ...steady, close: "5 seconds", backlog: { messagesMax: 1 } } as const
        const client = yield* Scope.provide(connect(network, { policy }), scope)
        yield* client.send(bytes("1"))
        const operations = yield* Effect.forEach(
          [
            client.send(bytes("2")),
            client.deliver(bytes("3")),
            client.flush,
            client.join,
            Stream.runDrain(client.messages)
          ],
          (operation) => begin(operation)
        )
        const releasing = yield* begin(Scope.close(scope, Exit.void))
        yield* TestClock.adjust("4999 millis")
        yield* settle
        assert.strictEqual(releasing.outcome(), "pending")
        yield* TestClock.adjust("1 millis")
        yield* settle
        assert.strictEqual(releasing.outcome(), "succeeded")
        assert.deepStrictEqual(
          operations.map(({ outcome }) => outcome()),
          ["Closed", "Closed", "CloseTimedOut", "CloseTimedOut", "CloseTimedOut"]
        )
      })
    )
  )
})
