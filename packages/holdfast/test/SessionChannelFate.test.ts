import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import type { ConnectionError, SessionChannel } from "holdfast"
import * as MemoryLink from "./MemoryLink.ts"
import * as ServerTesting from "./ServerTesting.ts"
import { begin, type Ends, inScope, pair, type PairOptions, reasonOf, steady } from "./SessionPair.ts"
import { bytes, connect, flowing, settle, text } from "./SessionTesting.ts"

type Bytes = SessionChannel.SessionChannel<Uint8Array, Uint8Array>

/** The next channel that the other side opens. */
const next = (session: Ends): Effect.Effect<SessionChannel.Incoming, ConnectionError.ConnectionError> =>
  session.channels.pipe(
    Stream.take(1),
    Stream.runCollect,
    Effect.map(([first]) => first!)
  )

/** Both ends of one channel. */
const channel = Effect.fnUntraced(function* (ends: { readonly client: Ends; readonly theirs: Ends }, name = "one") {
  const ours: Bytes = yield* ends.client.open(name)
  const theirs: Bytes = yield* (yield* flowing(next(ends.theirs))).accept()
  return { ours, theirs }
})

/** Nobody says anything unless there is something to say. */
const quiet: PairOptions = { client: { policy: { silence: "1 hour" } }, server: { policy: { silence: "1 hour" } } }

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
