import { Frame } from "@holdfast/protocol"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Socket from "effect/socket/Socket"
import type { Session } from "holdfast"
import * as MemoryLink from "./MemoryLink.ts"
import { begin, inScope, numbered, reasonOf, serveOf, steady, tagOf, upOf } from "./SessionPair.ts"
import { bytes, collect, connect, crypto, flowing, Plain, settle } from "./SessionTesting.ts"

/** A client whose link is cut after so many bytes of one direction, at its first and at its second dial. */
const cutting = Effect.fnUntraced(function* (direction: "toServer" | "toClient", dial: number, bytesMore: number) {
  const network = yield* MemoryLink.make({
    onConnect: (wire) => {
      if (++dials === dial) wire[direction].cutAfter(bytesMore)
    }
  })
  let dials = 0
  const server = yield* serveOf(Plain)(network)
  const client = yield* connect(network, { policy: steady })
  yield* client.sendAll(numbered(3))
  return { client, network, server }
})

describe("A handshake", () => {
  it.effect("of a fresh session may be cut anywhere, in both directions: one handler gets each message once", () =>
    inScope(
      Effect.gen(function* () {
        for (const direction of ["toServer", "toClient"] as const) {
          for (let cut = 1; cut <= 130; cut += 5) {
            const { client, server } = yield* cutting(direction, 1, cut)
            const theirs = yield* flowing(server.next, "50 millis")
            const { received } = yield* collect(theirs)
            yield* flowing(client.flush, "50 millis")
            assert.deepStrictEqual(received, ["0", "1", "2"], `${direction} ${cut}`)
            yield* flowing(client.close, "50 millis")
          }
        }
      })
    )
  )

  it.effect("of a resume may be cut anywhere, in both directions, and the session goes on", () =>
    inScope(
      Effect.gen(function* () {
        for (const direction of ["toServer", "toClient"] as const) {
          for (let cut = 1; cut <= 170; cut += 7) {
            const { client, network, server } = yield* cutting(direction, 2, cut)
            const { received } = yield* collect(yield* flowing(server.next, "50 millis"))
            yield* flowing(client.flush, "50 millis")
            network.wire().cut()
            yield* client.sendAll(numbered(3, 3))
            yield* flowing(client.flush, "50 millis")
            assert.deepStrictEqual(received, ["0", "1", "2", "3", "4", "5"], `${direction} ${cut}`)
            assert.strictEqual((yield* upOf(client)).opened, "Resumed", `${direction} ${cut}`)
            yield* flowing(client.close, "50 millis")
          }
        }
      })
    )
  )

  it.effect("may meet a close, an end, an interruption or a release at any turn, and everything settles", () =>
    inScope(
      Effect.gen(function* () {
        for (const what of ["close", "end", "interrupted close", "release", "setPolicy and wake"]) {
          for (let turns = 0; turns < 24; turns++) {
            const network = yield* MemoryLink.make()
            const scope = yield* Scope.make()
            const server = yield* serveOf(Plain)(network)
            const consuming = yield* Effect.forkChild(
              Effect.flatMap(server.next, (theirs) => theirs.handle(() => Effect.void))
            )
            const client = yield* Scope.provide(connect(network, { policy: { ...steady, close: "3 seconds" } }), scope)
            yield* client.send(bytes("1"))
            const delivering = yield* begin(client.deliver(bytes("2")))
            yield* Effect.yieldNow.pipe(Effect.repeat({ times: turns }))
            if (what === "close") yield* flowing(client.close)
            if (what === "end") yield* client.end
            if (what === "setPolicy and wake") yield* Effect.andThen(Effect.orDie(client.setPolicy({})), client.wake)
            if (what === "interrupted close") {
              const closing = yield* Effect.forkChild(client.close)
              yield* Effect.yieldNow.pipe(Effect.repeat({ times: turns % 5 }))
              yield* Fiber.interrupt(closing)
            }
            if (what !== "release" && what !== "interrupted close") {
              yield* flowing(Fiber.await(delivering.fiber))
              assert.strictEqual(delivering.outcome(), "succeeded", `${what} after ${turns} turns`)
            }
            yield* flowing(Scope.close(scope, Exit.void), "100 millis")
            yield* settle
            assert.notStrictEqual(delivering.outcome(), "pending", `${what} after ${turns} turns`)
            const ended = yield* begin(client.join)
            assert.notStrictEqual(ended.outcome(), "pending", `${what} after ${turns} turns`)
            yield* Fiber.interrupt(consuming)
          }
        }
      })
    )
  )

  it.effect(
    "with a server that goes away at any turn ends in a session with the next one, and no message is silent",
    () =>
      inScope(
        Effect.gen(function* () {
          for (let turns = 0; turns < 40; turns += 2) {
            const network = yield* MemoryLink.make()
            const scope = yield* Scope.make()
            const policy = { ...steady, close: "2 seconds" } as const
            const limits = { retryAfter: "100 millis", goAwaySpread: "10 millis" } as const
            const received: Array<string> = []
            const handler = (session: Session.Session<Uint8Array, Uint8Array>) =>
              session.handle((message) => Effect.sync(() => received.push(message.join())))
            const server = Plain.serve(handler, { policy, limits })
            const built = (into: Scope.Scope) =>
              Layer.build(server.pipe(Layer.provide(network.serverLayer), Layer.provide(crypto))).pipe(
                Scope.provide(into)
              )
            yield* built(scope)
            const client = yield* connect(network, {
              policy,
              onLost: ({ fateUnknown, notSent }) => Effect.succeed([...fateUnknown, ...notSent])
            })
            const all = Array.from({ length: 20 }, (_, i) => Uint8Array.of(i))
            const sending = yield* Effect.forkChild(
              Effect.forEach(all, (message) => Effect.andThen(client.send(message), Effect.yieldNow))
            )
            yield* Effect.yieldNow.pipe(Effect.repeat({ times: turns }))
            const going = yield* Effect.forkChild(Scope.close(scope, Exit.void))
            yield* settle
            yield* built(yield* Effect.scope)
            yield* flowing(Fiber.join(going), "50 millis")
            yield* flowing(Fiber.join(sending), "50 millis")
            yield* flowing(client.flush, "50 millis")
            assert.deepStrictEqual(
              [...new Set(received)].toSorted((a, b) => Number(a) - Number(b)),
              all.map(String)
            )
            yield* flowing(Effect.exit(client.close), "50 millis")
          }
        })
      )
  )

  it.effect("whose link dies while its first frame is stuck is over at once, and not with policy.open", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const stuck = Effect.succeed({ write: () => Effect.never, writeAll: () => Effect.never })
        const link = Socket.make({ reader: network.link.reader, writer: stuck })
        const client = yield* connect(network, { policy: steady, link: Effect.succeed(link) })
        yield* TestClock.adjust("1 second")
        yield* settle
        assert.deepInclude(yield* client.state, { _tag: "Handshaking" })
        network.wire().cut()
        yield* settle
        assert.deepInclude(yield* client.state, { _tag: "Waiting", retryAt: 2000 })
      })
    )
  )

  it.effect("that a server never answers is over with policy.open, and tried again", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const client = yield* connect(network, { policy: { ...steady, open: "2 seconds" } })
        yield* settle
        const closing = yield* begin(client.send(bytes("1")))
        assert.strictEqual(closing.outcome(), "succeeded")
        yield* TestClock.adjust("10 seconds")
        yield* settle
        assert.strictEqual(network.wires.length, 4) // 2 s each, and 1 s between them
        assert.strictEqual(network.wires.filter((wire) => wire.isOpen()).length, 1)
        yield* flowing(Effect.exit(client.close), "1 second")
        assert.deepInclude(yield* reasonOf(client.join), { _tag: "CloseTimedOut", unacknowledged: 1 })
        assert.strictEqual(yield* tagOf(client.send(bytes("2"))), "Closed")
      })
    )
  )

  it.effect(
    "with a server that sends more frames at once than there can be is its violation, and costs no memory",
    () =>
      inScope(
        Effect.gen(function* () {
          const heartbeat = Frame.encode({ _tag: "Heartbeat" })
          const ruleOf = Effect.fnUntraced(function* (frames: number) {
            const network = yield* MemoryLink.make()
            const batch: [Uint8Array] = [new Uint8Array(Buffer.concat(Array.from({ length: frames }, () => heartbeat)))]
            const reader = Effect.map(network.link.reader, (reader) => ({ ...reader, pull: Effect.succeed(batch) }))
            const link = Socket.make({ reader, writer: network.link.writer })
            const client = yield* connect(network, { policy: steady, link: Effect.succeed(link) })
            const reason = yield* flowing(reasonOf(client.join))
            return reason !== "succeeded" && reason._tag === "ProtocolViolated" ? reason.rule : reason
          })
          assert.include(yield* ruleOf(131_072), "Heartbeat instead of")
          assert.include(yield* ruleOf(131_073), "a frame that was not asked for yet")
        })
      )
  )
})
