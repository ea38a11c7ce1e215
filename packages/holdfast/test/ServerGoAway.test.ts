import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import type { Session } from "holdfast"
import * as MemoryLink from "./MemoryLink.ts"
import * as RawClient from "./RawClient.ts"
import * as ServerTesting from "./ServerTesting.ts"
import { scenario } from "./ServerTesting.ts"
import { bytes, collect, connect, flowing, settle, text } from "./SessionTesting.ts"

type ServerSession = ServerTesting.ServerSession

/** A handler that keeps what it takes, after a while for each message. */
const taking =
  (into: Array<string>, millis = 0) =>
  (session: ServerSession) =>
    session.handle((message) =>
      Effect.andThen(
        Effect.sleep(millis),
        Effect.sync(() => into.push(text(message)))
      )
    )

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => String(from + i))

describe("Session: a server that goes away", () => {
  it.effect("lets its clients finish what was sent, and they begin a fresh session elsewhere with the rest", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const behind = yield* ServerTesting.port(network)
        const [first, second]: [Array<string>, Array<string>] = [[], []]
        const limits = { windowBytes: 40, retryAfter: "3 seconds" } as const
        const old = yield* ServerTesting.start(yield* behind, { handler: taking(first, 100), limits })
        const client = yield* connect(network)
        yield* client.sendAll(numbers(1, 60).map(bytes))
        yield* flowing(Effect.sleep("1 second"))
        yield* ServerTesting.start(yield* behind, { handler: taking(second), limits })
        const stopping = yield* Effect.forkChild(old.stop)
        yield* client.send(bytes("61"))
        yield* flowing(client.flush, "50 millis")
        assert.isAbove(first.length, 10)
        assert.isBelow(first.length, 60)
        assert.deepStrictEqual([...first, ...second], numbers(1, 61))
        yield* flowing(Fiber.join(stopping), "50 millis")
        assert.deepStrictEqual(old.told(), ["SessionOpened", "LinkEnded EndedByPeer Drained", "SessionEnded Success"])
        assert.deepInclude(yield* client.state, { _tag: "Up", opened: "Fresh" })
      })
    )
  )

  it.effect("says so to one client after the other, spread over time, and tells them when to come back", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const behind = yield* ServerTesting.port(network)
        const limits = { goAwaySpread: "8 seconds", retryAfter: "5 seconds" } as const
        const handler = (session: ServerSession) => session.handle(() => Effect.void)
        const old = yield* ServerTesting.start(yield* behind, { limits, handler })
        const told: Array<number> = []
        const clients: Array<Session.Session<Uint8Array, Uint8Array>> = []
        for (let i = 0; i < 4; i++) {
          const client = yield* connect({ ...network, link: network.newLink() })
          clients.push(client)
          yield* flowing(client.deliver(bytes("x")))
        }
        const start = yield* Clock.currentTimeMillis
        for (const client of clients) {
          yield* Effect.forkChild(
            Effect.gen(function* () {
              yield* Stream.runHead(Stream.filter(client.events, ({ _tag }) => _tag === "GoingAway"))
              told.push((yield* Clock.currentTimeMillis) - start)
            })
          )
        }
        yield* settle
        yield* ServerTesting.start(yield* behind, { handler })
        const stopping = yield* Effect.forkChild(old.stop)
        yield* settle
        assert.strictEqual(told.length, 1)
        yield* flowing(Fiber.join(stopping), "40 millis")
        assert.strictEqual(told.length, 4)
        for (const [i, at] of told.entries()) assert.isBelow(Math.abs(at - i * 2000), 100, String(told))
        for (const client of clients) yield* flowing(client.deliver(bytes("y")), "100 millis")
        assert.strictEqual(network.wires.length, 8)
      })
    )
  )

  it.effect("refuses newcomers with a hint, and still serves those who resume", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const limits = { retryAfter: "7 seconds" } as const
        const server = yield* ServerTesting.start(network, { limits })
        const ticket = yield* RawClient.begin(yield* RawClient.dial(network))
        const theirs = yield* server.next
        const stopping = yield* Effect.forkChild(server.stop)
        yield* settle
        const newcomer = yield* RawClient.dial(network)
        yield* newcomer.send(RawClient.hello())
        assert.deepInclude(yield* newcomer.next, { _tag: "Refused", code: "Draining", retryAfterMillis: 7000 })
        const again = yield* RawClient.dial(network)
        assert.strictEqual((yield* RawClient.resume(again, ticket, { epoch: 2 }))._tag, "Resumed")
        const tags: Array<string> = []
        for (let i = 0; i < 3; i++) tags.push((yield* again.next)._tag)
        assert.deepStrictEqual(tags, ["Positions", "Channels", "GoAway"]) // it is told on the new link, too
        const { reason } = yield* Effect.flip(theirs.send(bytes("more")))
        assert.strictEqual(reason._tag, "GoneAway")
        yield* again.send({ _tag: "Close", code: "Drained", epoch: 0, detail: "" })
        yield* flowing(Fiber.join(stopping))
        assert.isTrue(Exit.isSuccess(yield* Effect.exit(theirs.join)))
      })
    )
  )

  it.effect("gives up a client that does not finish when its patience of close is over, not before", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const server = yield* ServerTesting.start(network, { policy: { close: "9 seconds", silence: "1 hour" } })
        const client = yield* connect(network, { policy: { silence: "1 hour" } })
        const theirs = yield* server.next
        yield* client.send(bytes("never taken"))
        yield* flowing(Effect.sleep("1 second"))
        const stopping = yield* Effect.forkChild(server.stop)
        yield* settle
        yield* TestClock.adjust("8999 millis")
        yield* settle
        assert.isUndefined(stopping.pollUnsafe())
        assert.strictEqual((yield* theirs.state)._tag, "Up")
        yield* TestClock.adjust("1 millis")
        const { reason } = yield* Effect.flip(theirs.join)
        assert.strictEqual(reason._tag, "GoneAway")
        yield* flowing(Fiber.join(stopping))
        const lost = yield* Effect.flip(flowing(client.join))
        assert.deepInclude(lost.reason, { _tag: "SessionLost", fateUnknown: 1, notSent: 0 })
      })
    )
  )

  it.effect("a client whose rest was not drained decides in onLost, and goes on with the next server", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const behind = yield* ServerTesting.port(network)
        const [first, second]: [Array<string>, Array<string>] = [[], []]
        const old = yield* ServerTesting.start(yield* behind, {
          handler: taking(first, 1000),
          policy: { close: "5 seconds" },
          limits: { windowBytes: 30 }
        })
        const gaps: Array<[fateUnknown: ReadonlyArray<string>, notSent: ReadonlyArray<string>]> = []
        const client = yield* connect(network, {
          onLost: ({ fateUnknown, notSent }) =>
            Effect.sync(() => {
              gaps.push([fateUnknown.map(text), notSent.map(text)])
              return notSent
            })
        })
        yield* client.sendAll(numbers(1, 40).map(bytes))
        yield* flowing(Effect.sleep("2500 millis"))
        yield* ServerTesting.start(yield* behind, { handler: taking(second) })
        yield* flowing(old.stop, "50 millis")
        yield* client.send(bytes("41"))
        yield* flowing(client.flush, "50 millis")
        const [gap] = gaps
        assert(gap !== undefined && gaps.length === 1)
        const [fateUnknown, notSent] = gap
        assert.isAbove(fateUnknown.length, 0)
        assert.deepStrictEqual(second, [...notSent, "41"])
        // What the old server took may be among those of unknown fate; nothing else is anywhere twice or missing.
        const known = first.filter((message) => !fateUnknown.includes(message))
        assert.deepStrictEqual([...known, ...fateUnknown, ...notSent], numbers(1, 40))
        assert.deepInclude(yield* client.state, { _tag: "Up", opened: "Gap" })
      })
    )
  )

  it.effect("a handler that cannot answer any more has not failed: its client comes back elsewhere", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const behind = yield* ServerTesting.port(network)
        const echo = (session: ServerSession) =>
          session.handle((message) => Effect.andThen(Effect.sleep("1 second"), session.send(message)))
        const old = yield* ServerTesting.start(yield* behind, { handler: echo })
        const client = yield* connect(network, {
          onLost: ({ fateUnknown, notSent }) => Effect.succeed([...fateUnknown, ...notSent])
        })
        const { received } = yield* collect(client)
        yield* client.send(bytes("x"))
        yield* flowing(Effect.sleep("500 millis"))
        yield* ServerTesting.start(yield* behind, { handler: echo })
        yield* flowing(old.stop, "50 millis")
        yield* flowing(Effect.sleep("5 seconds"), "50 millis")
        assert.deepStrictEqual(received, ["x"])
        assert.deepInclude(yield* client.state, { _tag: "Up", opened: "Gap" })
        assert.deepStrictEqual(old.told(), ["SessionOpened", "LinkEnded GoneAway", "SessionEnded Failure"])
      })
    )
  )

  it.effect("waits for handlers that still have something to do, and interrupts what is left", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const done: Array<string> = []
        const note = (what: string) => Effect.sync(() => done.push(what))
        let runs = 0
        const handler = (session: ServerSession) =>
          session
            .handle(() => Effect.void)
            .pipe(
              Effect.ignore,
              Effect.andThen(++runs === 1 ? Effect.sleep("3 seconds") : Effect.never),
              Effect.andThen(note("finished")),
              Effect.onInterrupt(() => note("interrupted"))
            )
        const server = yield* ServerTesting.start(network, { handler, policy: { close: "10 seconds" } })
        for (let i = 0; i < 2; i++) {
          const client = yield* connect({ ...network, link: network.newLink() })
          yield* flowing(client.deliver(bytes("x")))
        }
        const start = yield* Clock.currentTimeMillis
        yield* flowing(server.stop, "50 millis")
        assert.deepStrictEqual(done, ["finished", "interrupted"])
        assert.isBelow(Math.abs((yield* Clock.currentTimeMillis) - start - 10_000), 1100)
      })
    )
  )

  it.effect("an idle client leaves at once, and not with the next frame that happens to come", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const handler = (session: ServerSession) => session.handle(() => Effect.void)
        const server = yield* ServerTesting.start(network, { handler, policy: { heartbeat: "1 hour" } })
        const client = yield* connect(network, { policy: { silence: "3 hours" } })
        yield* flowing(client.deliver(bytes("x")))
        yield* flowing(Effect.sleep("1 second"))
        yield* Effect.forkChild(server.stop)
        yield* settle
        assert.strictEqual((yield* client.state)._tag, "Waiting")
        assert.include(server.told(), "LinkEnded EndedByPeer Drained")
      })
    )
  )

  it.effect("with nobody there it ends at once", () =>
    Effect.gen(function* () {
      const network = yield* MemoryLink.make()
      const server = yield* ServerTesting.start(network)
      yield* settle
      yield* server.stop
      assert.strictEqual(yield* Clock.currentTimeMillis, 0)
    })
  )
})
