import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option, Schema, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { ConnectionError } from "holdfast"
import { type Bytes, channel, next, quiet } from "./ChannelPair.ts"
import * as MemoryLink from "./MemoryLink.ts"
import * as ServerTesting from "./ServerTesting.ts"
import { begin, type Ends, inScope, large, now, numbered, pair, reasonOf, steady, tagOf, upOf } from "./SessionPair.ts"
import { bytes, connect, flowing, settle, text } from "./SessionTesting.ts"

/** What arrives, as text, and how it ended. */
const collect = Effect.fnUntraced(function* (from: Bytes) {
  const received: Array<string> = []
  const fiber = yield* from.messages.pipe(
    Stream.runForEach((message) => Effect.sync(() => received.push(text(message)))),
    Effect.forkChild
  )
  return { received, fiber }
})

describe("Channels of a session", () => {
  it.effect("carry messages both ways beside its own, each in order, and end one direction at a time", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        const { incoming, ours, theirs } = yield* channel(ends)
        assert.strictEqual(incoming.name, "one")
        const there = yield* collect(theirs)
        const back = yield* collect(ours)
        yield* ours.sendAll(numbered(50))
        yield* theirs.sendAll(numbered(5, 100))
        yield* ends.client.send(bytes("the session's own"))
        yield* flowing(ours.flush)
        assert.deepStrictEqual(there.received, numbered(50).map(text))
        yield* ours.end
        yield* flowing(Fiber.join(there.fiber))
        assert.strictEqual((yield* reasonOf(ours.send(bytes("late")))) instanceof ConnectionError.Closed, true)
        yield* theirs.send(bytes("still open"))
        yield* theirs.end
        yield* flowing(Fiber.join(back.fiber))
        assert.deepStrictEqual(back.received, [...numbered(5, 100).map(text), "still open"])
        yield* flowing(Effect.all([ours.join, theirs.join]))
        const [own] = yield* flowing(ends.theirs.messages.pipe(Stream.take(1), Stream.runCollect))
        assert.strictEqual(text(own!), "the session's own")
      })
    )
  )

  it.effect("open without a round trip: the first message arrives with the opening, in one direction's time", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair({ ...quiet, network: { latency: "1 second" } })
        yield* flowing(ends.client.deliver(bytes("up")).pipe(Effect.timeoutOption("3 seconds")), "50 millis")
        const opening = yield* begin(
          Effect.scoped(
            Effect.gen(function* () {
              const theirs = yield* (yield* next(ends.theirs)).accept()
              const [first] = yield* theirs.messages.pipe(Stream.take(1), Stream.runCollect)
              assert.strictEqual(text(first!), "first")
            })
          )
        )
        yield* settle
        const ours = yield* ends.client.open("quick")
        yield* ours.send(bytes("first"))
        yield* settle
        yield* TestClock.adjust("999 millis")
        yield* settle
        assert.strictEqual(opening.outcome(), "pending")
        yield* TestClock.adjust("1 millis")
        yield* settle
        assert.strictEqual(opening.outcome(), "succeeded")
      })
    )
  )

  it.effect("are opened by either side, by the thousand", () =>
    inScope(
      Effect.gen(function* () {
        const limits = { channelsMax: 3000 }
        const ends = yield* pair({ client: { limits }, server: { limits } })
        const echo = (session: Ends) =>
          Effect.forkChild(
            Stream.runForEach(session.channels, (incoming) =>
              Effect.forkChild(
                Effect.scoped(
                  Effect.gen(function* () {
                    const accepted = yield* incoming.accept()
                    yield* accepted.handle((message) => accepted.send(message))
                  })
                )
              )
            )
          )
        yield* echo(ends.client)
        yield* echo(ends.theirs)
        const ask = (session: Ends, name: string) =>
          Effect.scoped(
            Effect.gen(function* () {
              const ours = yield* session.open(name)
              yield* ours.send(bytes(name))
              const [answer] = yield* ours.messages.pipe(Stream.take(1), Stream.runCollect)
              yield* ours.end
              return text(answer!)
            })
          )
        const names = Array.from({ length: 2000 }, (_, i) => `channel ${i}`)
        const both = Effect.all(
          [ends.client, ends.theirs].map((session) =>
            Effect.forEach(names, (name) => ask(session, name), { concurrency: "unbounded" })
          ),
          { concurrency: 2 }
        )
        assert.deepStrictEqual(yield* flowing(both), [names, names])
        yield* flowing(Effect.all([ends.client.flush, ends.theirs.flush]))
      })
    )
  )

  it.effect("go on after every reconnect, exactly once and in order, opened before or during the cut", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        const { ours, theirs } = yield* channel(ends)
        const there = yield* collect(theirs)
        for (let round = 0; round < 6; round++) {
          ends.network.wire().toServer.cutAfter(100 + 37 * round)
          yield* ours.sendAll(numbered(100, round * 100))
          yield* flowing(Effect.sleep("3 seconds"), "100 millis")
        }
        ends.network.wire().cut()
        yield* settle
        const second = yield* ends.client.open("two") // while no link is up
        yield* second.send(bytes("early"))
        const accepted = yield* (yield* flowing(next(ends.theirs))).accept()
        const [early] = yield* flowing(accepted.messages.pipe(Stream.take(1), Stream.runCollect))
        assert.strictEqual(text(early!), "early")
        yield* flowing(ours.flush)
        assert.deepStrictEqual(there.received, numbered(600).map(text))
      })
    )
  )

  it.effect("that nobody reads stop themselves after a bounded number of bytes, and nothing else", () =>
    inScope(
      Effect.gen(function* () {
        const limits = { channelWindowBytes: 10_000, growthBytesMax: 0 }
        const backlog = { bytesMax: 20_000 }
        const ends = yield* pair({ ...quiet, server: { ...quiet.server, limits } })
        const unread = yield* channel(ends, "unread", { backlog })
        const read = yield* channel(ends, "read", { backlog })
        let accepted = 0
        const sending = Effect.forever(
          Effect.andThen(
            unread.ours.send(large(1000)),
            Effect.sync(() => accepted++)
          )
        )
        yield* Effect.forkChild(sending)
        const { received } = yield* collect(read.theirs)
        yield* flowing(Effect.sleep("1 minute"), "1 second")
        assert.strictEqual(accepted, 19)
        const { untakenBytes } = yield* unread.theirs.state
        assert.isAtMost(untakenBytes, 10_000)
        const up = yield* upOf(ends.client)
        assert.deepStrictEqual(up.creditAwaitedOn, Option.some("unread"))
        assert.isTrue(Option.isSome(up.creditAwaitedSince))
        assert.deepStrictEqual((yield* upOf(ends.theirs)).consumerSlowOn, Option.some("unread"))
        assert.isTrue(Option.isSome((yield* unread.ours.state).creditAwaitedSince))
        assert.isTrue(Option.isNone((yield* read.ours.state).creditAwaitedSince))
        yield* read.ours.sendAll(numbered(100))
        yield* flowing(read.ours.flush)
        assert.strictEqual(received.length, 100)
        yield* flowing(ends.client.deliver(bytes("own")).pipe(Effect.raceFirst(Stream.runDrain(ends.theirs.messages))))
      })
    )
  )

  it.effect("of which both applications write before they read both wait, and patience ends it with its name", () =>
    inScope(
      Effect.gen(function* () {
        const limits = { channelWindowBytes: 1000, growthBytesMax: 0 }
        const ends = yield* pair({ client: { ...quiet.client, limits }, server: { ...quiet.server, limits } })
        const backlog = { bytesMax: 2000, patience: "5 seconds" } as const
        const { ours, theirs } = yield* channel(ends, "both", { backlog }, { backlog })
        const writes = yield* Effect.forEach([ours, theirs], (end) =>
          begin(Effect.forEach(numbered(9), () => end.send(large(500)), { discard: true }))
        )
        yield* settle
        yield* TestClock.adjust("4999 millis")
        yield* settle
        assert.deepStrictEqual(
          writes.map(({ outcome }) => outcome()),
          ["pending", "pending"]
        )
        yield* TestClock.adjust("1 millis")
        yield* settle
        assert.deepStrictEqual(
          writes.map(({ outcome }) => outcome()),
          ["BacklogExceeded", "BacklogExceeded"]
        )
        const later = yield* Effect.forkChild(reasonOf(ours.send(large(500))))
        yield* settle
        yield* TestClock.adjust("5 seconds")
        const reason = yield* Fiber.join(later)
        assert.isTrue(reason instanceof ConnectionError.BacklogExceeded && reason.channel === "both")
        const reading = yield* collect(theirs) // reading resolves it
        yield* flowing(ours.flush)
        assert.strictEqual(reading.received.length, 3)
      })
    )
  )

  it.effect(
    "that are refused, reset or left tell the other side so, also across a cut, and take nothing with them",
    () =>
      inScope(
        Effect.gen(function* () {
          const ends = yield* pair()
          const refused = yield* ends.client.open("unwanted")
          yield* refused.send(bytes("lost"))
          yield* (yield* flowing(next(ends.theirs))).refuse("no such thing")
          const reason = yield* flowing(reasonOf(refused.flush))
          assert.deepInclude(reason, { _tag: "ChannelReset", code: "Refused", detail: "no such thing", by: "peer" })
          assert.deepStrictEqual((yield* refused.leftovers).fateUnknown.map(text), ["lost"])

          const { ours, theirs } = yield* channel(ends, "two")
          const waiting = yield* begin(Effect.asVoid(Stream.runDrain(theirs.messages)))
          ends.network.wire().cut()
          yield* settle
          yield* ours.reset("broken")
          assert.strictEqual(yield* tagOf(ours.send(bytes("late"))), "ChannelReset")
          yield* flowing(Effect.sleep("3 seconds"), "100 millis")
          assert.strictEqual(waiting.outcome(), "ChannelReset")
          assert.deepInclude(yield* reasonOf(theirs.join), { code: "Failed", detail: "broken", by: "peer" })

          const scope = yield* Scope.make()
          const left = yield* ends.client.open("three").pipe(Scope.provide(scope))
          yield* left.send(bytes("goes"))
          const kept = yield* (yield* flowing(next(ends.theirs))).accept()
          yield* Scope.close(scope, Exit.void)
          const goes = yield* collect(kept)
          yield* flowing(Effect.exit(Fiber.join(goes.fiber)))
          assert.deepStrictEqual(goes.received, ["goes"])
          assert.deepInclude(yield* flowing(reasonOf(kept.join)), { _tag: "ChannelReset", code: "Abandoned" })
          yield* ends.client.send(bytes("own"))
          const [own] = yield* flowing(ends.theirs.messages.pipe(Stream.take(1), Stream.runCollect))
          assert.strictEqual(text(own!), "own")
        })
      )
  )

  it.effect("are no more than the other side allows, and one that has ended makes room for the next", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair({ server: { limits: { channelsMax: 2 } } })
        const one = yield* channel(ends, "one")
        yield* channel(ends, "two")
        assert.deepInclude(yield* reasonOf(Effect.scoped(ends.client.open("three"))), {
          _tag: "ChannelRefused",
          channel: "three"
        })
        yield* one.ours.end
        yield* one.theirs.end
        yield* flowing(Effect.all([Stream.runDrain(one.ours.messages), Stream.runDrain(one.theirs.messages)]))
        yield* flowing(Effect.all([one.ours.join, one.theirs.join]))
        yield* flowing(Effect.sleep("1 second"), "100 millis")
        yield* ends.client.open("three")
        assert.strictEqual((yield* flowing(next(ends.theirs))).name, "three")
      })
    )
  )

  it.effect("have Schemas of their own; what does not decode resets the channel and not the session", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        const numbers = yield* ends.client.open("numbers", { send: Schema.Number })
        const accepted = yield* (yield* flowing(next(ends.theirs))).accept({ receive: Schema.Number })
        yield* numbers.send(42)
        const [answer] = yield* flowing(accepted.messages.pipe(Stream.take(1), Stream.runCollect))
        assert.strictEqual(answer, 42)

        const wrong = yield* ends.client.open("wrong", { send: Schema.String })
        const strict = yield* (yield* flowing(next(ends.theirs))).accept({ receive: Schema.Number })
        yield* wrong.send("no number")
        assert.strictEqual(yield* flowing(tagOf(Stream.runDrain(strict.messages))), "MessageInvalid")
        assert.deepInclude(yield* flowing(reasonOf(wrong.join)), { _tag: "ChannelReset", code: "Invalid" })
        assert.strictEqual((yield* ends.client.state)._tag, "Up")
      })
    )
  )

  it.effect("end with their session, and say what was not taken", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair({ ...quiet, client: { policy: { silence: "1 hour", close: "2 seconds" } } })
        const { ours, theirs } = yield* channel(ends)
        yield* ours.sendAll(numbered(3))
        yield* settle
        const closing = yield* Effect.forkChild(Effect.exit(ends.client.close))
        yield* settle
        assert.deepStrictEqual(yield* ends.client.state, { _tag: "Closing", unacknowledged: 3 })
        yield* TestClock.adjust("2 seconds")
        assert.isTrue(Exit.isFailure(yield* Fiber.join(closing)))
        assert.deepStrictEqual((yield* ours.leftovers).fateUnknown.map(text), ["0", "1", "2"])
        assert.strictEqual(yield* tagOf(ours.join), "CloseTimedOut")
        yield* flowing(Effect.exit(theirs.join))
        assert.strictEqual(yield* tagOf(Effect.scoped(ends.client.open("late"))), "CloseTimedOut")
      })
    )
  )

  it.effect("are drained when the session closes in good order", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        const { ours, theirs } = yield* channel(ends)
        const { received } = yield* collect(theirs)
        yield* ours.sendAll(numbered(30))
        yield* flowing(ends.client.close)
        assert.deepStrictEqual(received, numbered(30).map(text))
      })
    )
  )
})

describe("A window", () => {
  /** How long it takes, in milliseconds, until 4 MB were taken over a way of 50 ms. */
  const lasting = (windowBytesMax: number) =>
    Effect.gen(function* () {
      const ends = yield* pair({
        network: { latency: "50 millis", capacityBytes: 10_000_000 },
        server: { limits: { windowBytes: 65_536, channelWindowBytes: 65_536, windowBytesMax } }
      })
      yield* flowing(Effect.sleep("1 second"))
      const scope = yield* Effect.scope
      const own = Stream.runDrain(ends.theirs.messages)
      yield* Effect.forkIn(own, scope)
      const since = yield* now
      yield* flowing(
        Effect.andThen(ends.client.sendAll(Array.from({ length: 400 }, () => large(10_000))), ends.client.flush)
      )
      return (yield* now) - since
    })

  it.effect("grows with what is taken in a round trip, up to its bound", () =>
    Effect.gen(function* () {
      const fixed = yield* inScope(lasting(65_536))
      const growing = yield* inScope(lasting(4_194_304))
      assert.isAbove(fixed, (4_000_000 / 65_536) * 100)
      assert.isBelow(growing, fixed / 2)
    })
  )

  it.effect("that has grown holds no more than the session allows, and the reserve of others is left alone", () =>
    inScope(
      Effect.gen(function* () {
        const limits = { channelWindowBytes: 10_000, windowBytesMax: 1_000_000, growthBytesMax: 50_000 }
        const ends = yield* pair({ ...quiet, server: { ...quiet.server, limits } })
        const grown = yield* Effect.forEach(["one", "two", "three"], (name) => channel(ends, name))
        for (const { ours, theirs } of grown) {
          const { fiber } = yield* collect(theirs)
          yield* ours.sendAll(Array.from({ length: 1000 }, () => large(1000)))
          yield* flowing(ours.flush)
          yield* Fiber.interrupt(fiber)
        }
        const fresh = yield* channel(ends, "fresh")
        for (const { ours } of [...grown, fresh]) yield* ours.sendAll(Array.from({ length: 300 }, () => large(1000)))
        yield* flowing(Effect.sleep("1 minute"), "1 second")
        const held = yield* Effect.forEach([...grown, fresh], ({ theirs }) => theirs.state)
        const total = held.reduce((sum, { untakenBytes }) => sum + untakenBytes, 0)
        assert.isAtMost(total, 4 * 10_000 + 50_000)
        assert.isAbove(total, 4 * 9000 + 49_000)
        assert.isAtLeast(held[3]!.untakenBytes, 9000)
      })
    )
  )
})

describe("Messages that may be skipped", () => {
  it.effect("the oldest go when newer ones need room, are counted on both sides, and a hole is never waited for", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        const { ours, theirs } = yield* channel(ends, "latest", { backlog: { messagesMax: 3, whenFull: "dropOldest" } })
        const { received } = yield* collect(theirs)
        yield* ours.send(bytes("before"))
        yield* flowing(ours.flush)
        ends.network.wire().cut()
        yield* settle
        yield* ours.sendAll(numbered(10))
        assert.strictEqual((yield* ours.state).skippedSent, 7)
        yield* flowing(ours.flush, "100 millis")
        assert.deepStrictEqual(received, ["before", "7", "8", "9"])
        assert.strictEqual((yield* theirs.state).skippedReceived, 7)
      })
    )
  )

  it.effect("expire at their instant if no link has them, not before, and whoever waits is told", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair({ client: { policy: { reconnect: undefined } } })
        const { ours, theirs } = yield* channel(ends, "fresh", { expiresAfter: "1 minute" })
        const { received } = yield* collect(theirs)
        ends.network.hang(true)
        ends.network.wire().cut()
        yield* settle
        const old = yield* begin(ours.deliver(bytes("old")))
        yield* settle
        yield* TestClock.adjust("30 seconds")
        const young = yield* begin(ours.deliver(bytes("young")))
        yield* settle
        yield* TestClock.adjust("29999 millis")
        yield* settle
        assert.strictEqual(old.outcome(), "pending")
        yield* TestClock.adjust("1 millis")
        yield* settle
        assert.strictEqual(old.outcome(), "MessageSkipped")
        assert.strictEqual(young.outcome(), "pending")
        ends.network.hang(false)
        yield* flowing(Effect.sleep("29 seconds"), "100 millis")
        assert.strictEqual(young.outcome(), "succeeded")
        assert.deepStrictEqual(received, ["young"])
        assert.strictEqual((yield* theirs.state).skippedReceived, 1)
      })
    )
  )
})

describe("A server that goes away", () => {
  it.effect("ends its channels, lets what was accepted on them arrive, and takes what is on its way", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const server = yield* ServerTesting.start(network)
        const client = yield* connect(network, { policy: steady })
        yield* client.send(bytes("begin"))
        const session = yield* flowing(server.next)
        yield* Effect.forkChild(Stream.runDrain(session.messages))
        const { ours, theirs } = yield* channel({ client, theirs: session })
        yield* ours.sendAll(numbered(20))
        yield* theirs.sendAll(numbered(10))
        const stopping = yield* Effect.forkChild(server.stop)
        yield* settle
        assert.strictEqual(yield* tagOf(theirs.send(bytes("late"))), "GoneAway")
        assert.strictEqual(yield* tagOf(ours.send(bytes("late"))), "GoneAway")
        const there = yield* collect(theirs)
        const back = yield* collect(ours)
        yield* flowing(Fiber.join(stopping), "100 millis")
        assert.deepStrictEqual([there.received.length, back.received.length], [20, 10])
        assert.isTrue(Exit.isSuccess(yield* Effect.exit(ours.join)))
        assert.isTrue(Exit.isSuccess(yield* Effect.exit(session.join)))
      })
    )
  )
})
