import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option, Schedule, Stream } from "effect"
import { TestClock } from "effect/testing"
import type { Session } from "holdfast"
import * as MemoryLink from "./MemoryLink.ts"
import { begin, inScope, large, numbered, reasonOf, serveOf, steady, tagOf, upOf } from "./SessionPair.ts"
import { bytes, collect, connect, flowing, Plain, settle, text } from "./SessionTesting.ts"

type OnLost = Session.ClientOptions<Uint8Array, never, never, never>["onLost"]

/** A client whose server can be replaced by one that knows nothing, as after a crash. */
const crashing = Effect.fnUntraced(function* (onLost?: OnLost, messages?: Iterable<Uint8Array>) {
  const first = yield* MemoryLink.make()
  const second = yield* MemoryLink.make()
  let network = first
  const client = yield* connect(
    { ...first, link: first.link },
    { link: Effect.sync(() => network.link), policy: steady, onLost }
  )
  const before = yield* serveOf(Plain)(first)
  const after = yield* serveOf(Plain)(second)
  const theirs = yield* flowing(before.next)
  if (messages !== undefined) yield* client.sendAll(messages)
  const crash = Effect.gen(function* () {
    yield* settle
    network = second
    first.wire().cut()
    yield* TestClock.adjust("1 second")
    yield* settle
  })
  return { client, theirs, crash, first, second, next: after.next }
})

const texts = ({ fateUnknown, notSent }: Session.Leftovers<Uint8Array>) => [fateUnknown.map(text), notSent.map(text)]

describe("A session that the other side has lost", () => {
  it.effect("ends with SessionLost, and says what was not sent and what may have been taken", () =>
    inScope(
      Effect.gen(function* () {
        const { client, crash, first, theirs } = yield* crashing(undefined, numbered(3))
        const taken = yield* theirs.messages.pipe(Stream.take(1), Stream.runCollect)
        assert.strictEqual(taken.length, 1)
        yield* settle
        first.wire().toServer.stall(true)
        const stuck = large(200_000) // does not fit on the way
        yield* client.sendAll([stuck, bytes("last"), ...numbered(2, 10), large(1_000_000), bytes("unsent")])
        const pending = yield* Effect.all([
          begin(client.flush),
          begin(client.deliver(bytes("late"))),
          begin(client.join),
          begin(Stream.runDrain(client.messages))
        ])
        yield* settle
        yield* crash
        assert.deepStrictEqual(
          pending.map(({ outcome }) => outcome()),
          ["SessionLost", "SessionLost", "SessionLost", "SessionLost"]
        )
        const [fateUnknown, notSent] = texts(yield* client.leftovers)
        assert.deepStrictEqual(fateUnknown!.slice(0, 3), ["0", "1", "2"])
        assert.strictEqual(fateUnknown![3]!.length, 200_000)
        assert.deepStrictEqual(notSent!.slice(-2), ["unsent", "late"])
        const reason = yield* reasonOf(client.send(bytes("later")))
        assert.deepInclude(reason, {
          _tag: "SessionLost",
          lost: "Unknown",
          fateUnknown: fateUnknown!.length,
          notSent: notSent!.length
        })
        assert.deepInclude(yield* client.state, { _tag: "Closed" })
      })
    )
  )

  it.effect("goes on, openly, with what onLost chooses, and with what was accepted meanwhile behind it", () =>
    inScope(
      Effect.gen(function* () {
        let gap: Session.Gap<Uint8Array> | undefined
        const { client, crash, next } = yield* crashing(
          (lost) =>
            Effect.sync(() => {
              gap = lost
            }).pipe(Effect.andThen(Effect.sleep("5 seconds")), Effect.as([bytes("chosen"), ...lost.fateUnknown])),
          numbered(2)
        )
        const lost = yield* begin(client.deliver(bytes("2")))
        yield* crash
        assert.deepStrictEqual([texts(gap!), gap!.reason.fateUnknown], [[["0", "1", "2"], []], 3])
        yield* client.send(bytes("meanwhile"))
        const delivery = yield* begin(client.deliver(bytes("delivered")))
        const flush = yield* begin(client.flush)
        assert.strictEqual(lost.outcome(), "pending") // its fate is being decided
        yield* TestClock.adjust("5 seconds")
        const theirs = yield* flowing(next)
        assert.strictEqual(lost.outcome(), "SessionLost")
        assert.strictEqual(flush.outcome(), "SessionLost") // not all that was accepted before it was taken
        assert.strictEqual(delivery.outcome(), "pending")
        assert.strictEqual((yield* upOf(client)).opened, "Gap")
        const { received } = yield* collect(theirs)
        yield* flowing(client.flush)
        assert.deepStrictEqual(received, ["chosen", "0", "1", "2", "meanwhile", "delivered"])
        assert.strictEqual(delivery.outcome(), "succeeded")
      })
    )
  )

  it.effect("is resumed as usual after that, and says Gap only once", () =>
    inScope(
      Effect.gen(function* () {
        const { client, crash, second } = yield* crashing(() => Effect.succeed([]))
        yield* crash
        assert.strictEqual((yield* upOf(client)).opened, "Gap")
        second.wire().cut()
        yield* TestClock.adjust("1 second")
        yield* settle
        assert.strictEqual((yield* upOf(client)).opened, "Resumed")
        assert.deepStrictEqual(texts(yield* client.leftovers), [[], []])
      })
    )
  )

  it.effect("leaves what had arrived readable, once and in order, before what comes then", () =>
    inScope(
      Effect.gen(function* () {
        const { client, crash, next, theirs } = yield* crashing((gap) =>
          Effect.as(Effect.log(gap.untaken), [] as Array<Uint8Array>)
        )
        yield* theirs.sendAll(numbered(3))
        yield* settle
        const seen: Array<string> = []
        const working = (message: Uint8Array) =>
          Effect.andThen(
            Effect.sleep("2 seconds"),
            Effect.sync(() => seen.push(text(message)))
          )
        yield* Effect.forkChild(client.handle(working)) // the first message is in work when the server crashes
        yield* crash
        const again = yield* flowing(next)
        yield* again.sendAll(numbered(2, 10))
        yield* flowing(again.flush, "100 millis")
        assert.deepStrictEqual(seen, ["0", "1", "2", "10", "11"])
      })
    )
  )

  it.effect("leaves what had arrived readable after the end, too, and then says why there is no more", () =>
    inScope(
      Effect.gen(function* () {
        const { client, crash, theirs } = yield* crashing()
        yield* theirs.sendAll(numbered(3))
        yield* crash
        const { join, received } = yield* collect(client)
        assert.strictEqual(yield* tagOf(join), "SessionLost")
        assert.deepStrictEqual(received, ["0", "1", "2"])
      })
    )
  )

  it.effect(
    "ends typed when onLost chooses a message that is too large, and dies when onLost dies: nothing hangs",
    () =>
      inScope(
        Effect.gen(function* () {
          const large20 = large(20 * 1024 * 1024)
          const outsized = yield* crashing(() => Effect.succeed([large20]), numbered(1))
          const waiting = yield* begin(outsized.client.flush)
          yield* outsized.crash
          assert.deepStrictEqual(
            [waiting.outcome(), yield* tagOf(outsized.client.join)],
            ["MessageTooLarge", "MessageTooLarge"]
          )
          const dying = yield* crashing(() => Effect.die(new Error("a bug of the author")), numbered(1))
          const flushing = yield* begin(dying.client.flush)
          const joining = yield* begin(dying.client.join)
          yield* dying.crash
          assert.deepStrictEqual([flushing.outcome(), joining.outcome()], ["Closed", "died"])
          assert.isTrue(Exit.hasDies(yield* Effect.exit(dying.client.join)))
        })
      )
  )

  it.effect("is lost by its own server, too, when it was away for longer than the resume window, and not before", () =>
    inScope(
      Effect.gen(function* () {
        const run = Effect.fnUntraced(function* (away: number) {
          const network = yield* MemoryLink.make()
          const { next } = yield* serveOf(Plain)(network, { limits: { resumeWindow: "10 seconds" } })
          const client = yield* connect(network, { policy: { reconnect: Schedule.spaced(away) } })
          const theirs = yield* flowing(next)
          network.wire().cut()
          yield* settle
          const joined = yield* begin(theirs.join)
          yield* TestClock.adjust(away)
          yield* settle
          const state = yield* client.state
          return [state._tag === "Up" ? state.opened : yield* tagOf(client.join), joined.outcome()]
        })
        assert.deepStrictEqual(yield* run(9_999), ["Resumed", "pending"])
        assert.deepStrictEqual(yield* run(10_001), ["SessionLost", "Expired"])
      })
    )
  )

  it.effect("ends a close well when everything had been taken, and a close with messages with SessionLost", () =>
    inScope(
      Effect.gen(function* () {
        const run = Effect.fnUntraced(function* (isRead: boolean) {
          const { client, crash, first, theirs } = yield* crashing(undefined, numbered(2))
          if (isRead) {
            yield* collect(theirs)
            yield* flowing(client.flush)
          }
          first.wire().blackhole(true)
          const closing = yield* begin(client.close)
          yield* crash
          return closing.outcome()
        })
        assert.deepStrictEqual([yield* run(true), yield* run(false)], ["succeeded", "SessionLost"])
      })
    )
  )

  it.effect("hands a link back before it dials the one for the fresh session", () =>
    inScope(
      Effect.gen(function* () {
        const { client, crash, second } = yield* crashing(() => Effect.succeed([]))
        yield* crash
        yield* flowing(Effect.sleep("2 seconds"))
        assert.strictEqual((yield* upOf(client)).opened, "Gap")
        assert.deepStrictEqual(
          second.wires.map((wire) => wire.isOpen()),
          [false, true]
        )
      })
    )
  )

  it.effect("never begins anew by itself: a server that forgets a session it has just resumed ends it, too", () =>
    inScope(
      Effect.gen(function* () {
        const { client, crash, second } = yield* crashing()
        yield* crash
        const dials = second.wires.length
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(second.wires.length, dials)
        assert.isTrue(Option.isNone(Option.fromUndefinedOr(second.wires.find((wire) => wire.isOpen()))))
        assert.strictEqual(yield* tagOf(client.join), "SessionLost")
        const fiber = yield* Effect.forkChild(Effect.exit(client.close))
        assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
      })
    )
  )
})
