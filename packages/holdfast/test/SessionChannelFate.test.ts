import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Metric, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import type { ConnectionError } from "holdfast"
import { channel, next, quiet } from "./ChannelPair.ts"
import * as MemoryLink from "./MemoryLink.ts"
import * as ServerTesting from "./ServerTesting.ts"
import { begin, type Ends, inScope, large, numbered, pair, reasonOf, steady, tagOf } from "./SessionPair.ts"
import { bytes, connect, flowing, settle, text } from "./SessionTesting.ts"

describe("The channels that the other side opens", () => {
  it.effect("are handed out one by one: a consumer that stops leaves the others to the next one", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        for (const name of ["one", "two", "three"]) yield* ends.client.open(name)
        yield* settle
        const names: Array<string> = []
        for (let i = 0; i < 3; i++) {
          const first = yield* flowing(Effect.timeoutOption(next(ends.theirs), "1 minute"), "1 second")
          names.push(first._tag === "Some" ? first.value.name : "none")
        }
        assert.deepStrictEqual(names, ["one", "two", "three"])
      })
    )
  )

  it.effect("may be refused with many words, of which the beginning is told", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        const ours = yield* ends.client.open("one")
        yield* (yield* flowing(next(ends.theirs))).refuse("no".repeat(1000))
        const reason = yield* flowing(reasonOf(ours.join))
        assert.deepInclude(reason, { _tag: "ChannelReset", code: "Refused" })
        assert.isTrue(reason !== "succeeded" && "detail" in reason && reason.detail.startsWith("nono"))
        yield* ours.leftovers
        assert.strictEqual((yield* ends.client.state)._tag, "Up")
      })
    )
  )
})

describe("A channel", () => {
  it.effect("is over as soon as its last acknowledgement was written, whatever else is said afterwards", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair(quiet)
        const { ours, theirs } = yield* channel(ends)
        const joining = yield* Effect.forEach([ours, theirs], (end) => begin(end.join))
        yield* theirs.end
        yield* Effect.forkChild(Stream.runDrain(ours.messages))
        yield* flowing(Effect.sleep("1 second"))
        yield* ours.end
        yield* flowing(Effect.sleep("1 second"))
        yield* Effect.forkChild(Stream.runDrain(theirs.messages))
        yield* flowing(Effect.sleep("1 second"))
        assert.deepStrictEqual(
          joining.map(({ outcome }) => outcome()),
          ["succeeded", "succeeded"]
        )
      })
    )
  )

  it.effect("may be asked for before the first link is up, and is opened with it", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        network.refuse(3)
        const server = yield* ServerTesting.start(network)
        const client = yield* connect(network, { policy: steady })
        const opening = yield* begin(
          Effect.flatMap(client.open("early"), (ours) => ours.deliver(bytes("first"))) as Effect.Effect<
            void,
            ConnectionError.ConnectionError
          >
        )
        yield* settle
        assert.strictEqual(opening.outcome(), "pending")
        const session = yield* flowing(server.next, "100 millis")
        const theirs = yield* (yield* flowing(next(session))).accept()
        const [first] = yield* flowing(theirs.messages.pipe(Stream.take(1), Stream.runCollect))
        assert.strictEqual(text(first!), "first")
      })
    )
  )

  it.effect("that is asked for while the other side goes away is opened on the session that follows", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const port = yield* ServerTesting.port(network)
        const first = yield* ServerTesting.start(yield* port)
        const client = yield* connect(network, { policy: steady })
        yield* client.send(bytes("begin"))
        const old = yield* flowing(first.next)
        const unread = yield* channel({ client, theirs: old })
        yield* unread.ours.send(bytes("holds it up"))
        const stopping = yield* Effect.forkChild(first.stop)
        yield* flowing(Effect.sleep("2 seconds"))
        const opening = yield* Effect.forkChild(client.open("late"), { startImmediately: true })
        const second = yield* ServerTesting.start(yield* port)
        yield* Effect.forkChild(Stream.runDrain(old.messages))
        yield* Effect.forkChild(Stream.runDrain(unread.theirs.messages))
        yield* Effect.forkChild(Stream.runDrain(unread.ours.messages))
        yield* flowing(Fiber.join(stopping), "100 millis")
        const fresh = yield* flowing(second.next, "100 millis")
        assert.strictEqual((yield* flowing(next(fresh))).name, "late")
        const late = yield* Fiber.join(opening)
        yield* late.send(bytes("arrives"))
        assert.isTrue(Exit.isSuccess(yield* Effect.exit(unread.ours.join)))
      })
    )
  )
})

describe("Whoever waits on a channel of which messages expire", () => {
  it.effect("gets the room of those that have expired, at their instant, also while no link is up", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair(quiet)
        const ours = yield* ends.client.open("one", { backlog: { messagesMax: 1 }, expiresAfter: "10 seconds" })
        ends.network.hang(true)
        ends.network.wire().cut()
        yield* settle
        yield* ours.send(bytes("old"))
        yield* TestClock.adjust("4 seconds")
        const sending = yield* begin(ours.send(bytes("young")))
        const delivering = yield* begin(ours.deliver(bytes("last")))
        yield* settle
        yield* TestClock.adjust("5999 millis")
        yield* settle
        assert.strictEqual(sending.outcome(), "pending")
        yield* TestClock.adjust("1 millis")
        yield* settle
        assert.strictEqual(sending.outcome(), "succeeded")
        yield* TestClock.adjust("10 seconds") // the young one goes, the last one is accepted
        yield* settle
        assert.strictEqual(delivering.outcome(), "pending")
        yield* TestClock.adjust("10 seconds")
        yield* settle
        assert.strictEqual(delivering.outcome(), "MessageSkipped")
      })
    )
  )
})

/** Counts the fibers that have begun and not ended. */
const counting = <A, E, R>(body: (alive: () => number) => Effect.Effect<A, E, R>) => {
  let alive = 0
  return Effect.provideService(
    body(() => alive),
    Metric.FiberRuntimeMetrics,
    { recordFiberStart: () => void alive++, recordFiberEnd: () => void alive-- }
  )
}

/** What the other side does with a channel, by its name. */
const serveByName = (session: Ends) =>
  Stream.runForEach(session.channels, (incoming) => {
    if (incoming.name === "refused") return incoming.refuse("not wanted")
    return incoming.accept().pipe(
      Effect.flatMap((theirs) =>
        incoming.name === "reset"
          ? theirs.reset("over")
          : Effect.andThen(
              theirs.handle((message) => theirs.send(message)),
              theirs.end
            )
      ),
      Effect.scoped,
      Effect.ignore,
      Effect.forkScoped
    )
  })

describe("A session with many channels", () => {
  it.effect("leaves nothing of them behind, however each has ended, also across cuts", () =>
    counting((alive) =>
      inScope(
        Effect.gen(function* () {
          const limits = { channelsMax: 50 }
          const ends = yield* pair({ ...quiet, server: { ...quiet.server, limits } })
          yield* Effect.forkScoped(serveByName(ends.theirs))
          yield* flowing(Effect.sleep("1 second"))
          let before = 0
          const names = ["echo", "refused", "reset", "left", "failed"]
          const use = (name: string) =>
            Effect.gen(function* () {
              const ours = yield* ends.client.open(name)
              yield* ours.send(bytes("hello"))
              if (name === "left") return
              if (name === "failed") return yield* Effect.fail("for some reason")
              yield* ours.end
              yield* Stream.runDrain(ours.messages)
              yield* ours.join
            }).pipe(Effect.scoped, Effect.exit)
          for (let wave = 0; wave < 40; wave++) {
            if (wave % 4 === 3) ends.network.wire().cut()
            yield* settle
            const exits = yield* flowing(
              Effect.forEach(
                Array.from({ length: 50 }, (_, i) => names[i % 5]!),
                use,
                { concurrency: "unbounded" }
              ),
              "50 millis"
            )
            assert.deepStrictEqual(
              exits.slice(0, 5).map(({ _tag }) => _tag),
              ["Success", "Failure", "Failure", "Success", "Failure"]
            )
            yield* flowing(Effect.sleep("2 seconds"), "50 millis")
            yield* settle
            if (wave === 3) before = alive()
          }
          assert.strictEqual(alive(), before)
          yield* Effect.forEach(Array.from({ length: 50 }), () => ends.client.open("echo")) // there is room for all
          assert.deepInclude(yield* reasonOf(Effect.scoped(ends.client.open("one more"))), { _tag: "ChannelRefused" })
        })
      )
    )
  )

  it.effect("whose own messages nobody reads goes on with those of its channels", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair({
          ...quiet,
          server: { ...quiet.server, limits: { windowBytes: 1000, growthBytesMax: 0 } }
        })
        const { ours, theirs } = yield* channel(ends)
        const own = yield* begin(
          Effect.andThen(ends.client.sendAll(Array.from({ length: 50 }, () => large(100))), ends.client.flush)
        )
        const received: Array<string> = []
        yield* Effect.forkChild(theirs.handle((message) => Effect.sync(() => received.push(text(message)))))
        yield* ours.sendAll(numbered(1000))
        yield* flowing(ours.flush)
        assert.deepStrictEqual(received, numbered(1000).map(text))
        assert.strictEqual(own.outcome(), "pending")
        yield* Effect.forkChild(Stream.runDrain(ends.theirs.messages))
        yield* flowing(ends.client.flush)
        assert.strictEqual(own.outcome(), "succeeded")
      })
    )
  )

  it.effect("shares its link by their weights", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair({ ...quiet, network: { latency: "50 millis" } })
        const open = Effect.fnUntraced(function* (name: string, weight: number) {
          const ours = yield* ends.client.open(name, { weight })
          const theirs = yield* (yield* flowing(next(ends.theirs))).accept()
          let count = 0
          yield* Effect.forkChild(theirs.handle(() => Effect.sync(() => count++)))
          return { ours, count: () => count }
        })
        const light = yield* open("light", 1)
        const heavy = yield* open("heavy", 4)
        yield* Effect.forEach([light, heavy], ({ ours }) =>
          Effect.forkChild(ours.sendAll(Array.from({ length: 1000 }, () => large(1000))))
        )
        yield* flowing(Effect.repeat(Effect.sleep("5 millis"), { until: () => light.count() + heavy.count() >= 300 }))
        assert.isAbove(heavy.count(), 3 * light.count())
        assert.isAbove(light.count(), 0)
      })
    )
  )

  it.effect("closes in good order while both sides have channels open and everybody reads", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        const one = yield* channel(ends)
        const two = yield* channel({ client: ends.theirs, theirs: ends.client }, "two")
        const all = [one.ours, one.theirs, two.ours, two.theirs]
        const counts = all.map(() => 0)
        yield* Effect.forEach(all, (end, i) =>
          Effect.forkChild(Effect.exit(end.handle(() => Effect.sync(() => counts[i]!++))))
        )
        yield* Effect.forEach(all, (end) => end.sendAll(numbered(20)))
        const joins = yield* Effect.forEach(all, (end) => begin(end.join))
        const sends = yield* Effect.forEach(all, (end) => begin(end.flush))
        yield* flowing(ends.client.close)
        yield* flowing(Effect.exit(ends.theirs.join))
        yield* settle
        assert.deepStrictEqual(counts, [20, 20, 20, 20])
        assert.notInclude(
          [...joins, ...sends].map(({ outcome }) => outcome()),
          "pending"
        )
        assert.strictEqual(yield* tagOf(ends.theirs.join), "succeeded")
      })
    )
  )

  it.effect("whose handler ends leaves none of them waiting", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        yield* ServerTesting.start(network, {
          handler: (session) =>
            Effect.gen(function* () {
              yield* session.open("theirs")
              yield* (yield* next(session)).accept()
            })
        })
        const client = yield* connect(network, { policy: { ...steady, silence: "1 hour" } })
        const ours = yield* flowing(client.open("ours"))
        const reading = yield* begin(Stream.runDrain(ours.messages))
        const joining = yield* begin(ours.join)
        const delivering = yield* begin(ours.deliver(bytes("nobody takes it")))
        yield* flowing(Effect.exit(client.join), "1 second")
        yield* settle
        assert.notInclude(
          [reading, joining, delivering].map(({ outcome }) => outcome()),
          "pending"
        )
      })
    )
  )
})

describe("What is left of a channel", () => {
  for (const how of ["our reset", "their reset", "a scope that fails", "the end of the session"]) {
    it.effect(`after ${how}: what they may have, and what they never got, until its owner has it`, () =>
      inScope(
        Effect.gen(function* () {
          const ends = yield* pair(quiet)
          const scope = yield* Scope.make()
          const ours = yield* ends.client.open("one").pipe(Scope.provide(scope))
          const theirs = yield* (yield* flowing(next(ends.theirs))).accept()
          yield* ours.sendAll(numbered(2))
          yield* flowing(Effect.sleep("1 second"))
          ends.network.wire().cut()
          yield* settle
          yield* ours.sendAll(numbered(2, 2))
          if (how === "our reset") yield* ours.reset("no more")
          else if (how === "a scope that fails") yield* Scope.close(scope, Exit.fail("no"))
          else if (how === "the end of the session") yield* Effect.forkChild(Effect.exit(ends.client.close))
          else yield* theirs.reset("no more")
          yield* flowing(Effect.exit(ours.join), "100 millis")
          const { fateUnknown, notSent } = yield* ours.leftovers
          assert.deepStrictEqual([...fateUnknown, ...notSent].map(text), ["0", "1", "2", "3"])
          assert.includeMembers(fateUnknown.map(text), ["0", "1"])
          if (how === "our reset" || how === "a scope that fails") assert.deepStrictEqual(notSent.map(text), ["2", "3"])
        })
      )
    )
  }
})
