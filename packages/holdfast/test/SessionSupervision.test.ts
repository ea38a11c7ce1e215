import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option, Redacted, Schedule, Stream } from "effect"
import { TestClock } from "effect/testing"
import { ConnectionError, Session } from "holdfast"
import * as MemoryLink from "./MemoryLink.ts"
import { begin, inScope, now, numbered, pair, reasonOf, serveOf, steady, tagOf, upOf } from "./SessionPair.ts"
import { bytes, collect, connect, flowing, Plain, serve, settle } from "./SessionTesting.ts"

/** All operations of a session that is over, or will be. */
const operations = (session: Session.Session<Uint8Array, Uint8Array>) =>
  Effect.forEach(
    [
      session.deliver(bytes("x")),
      session.flush,
      session.join,
      Stream.runDrain(session.messages),
      session.handle(() => Effect.void)
    ],
    (operation) => begin(operation)
  )

describe("A session that is not up yet", () => {
  it.effect("is there at once, accepts messages, and delivers them when the first connect succeeds at last", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        network.refuse(3)
        const client = yield* connect(network, { policy: steady })
        yield* client.sendAll(numbered(3))
        yield* settle
        assert.deepInclude(yield* client.state, { _tag: "Waiting", attempt: 1, retryAt: 1000 })
        const server = yield* serve(network)
        yield* TestClock.adjust("2999 millis")
        yield* settle
        assert.strictEqual(network.wires.length, 0)
        yield* TestClock.adjust("1 millis")
        const { received } = yield* collect(yield* flowing(server.next))
        yield* flowing(client.flush)
        assert.deepStrictEqual(received, ["0", "1", "2"])
        assert.strictEqual((yield* upOf(client)).opened, "Fresh")
      })
    )
  )

  it.effect("tells every operation the terminal error, pending or later", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        network.refuse(1000)
        const reconnect = Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 2 }))
        const client = yield* connect(network, { policy: { reconnect } })
        const pending = yield* operations(client)
        yield* TestClock.adjust("1999 millis")
        yield* settle
        assert.isTrue(pending.every(({ outcome }) => outcome() === "pending"))
        yield* TestClock.adjust("1 millis")
        yield* settle
        const outcomes = (all: typeof pending) => new Set(all.map(({ outcome }) => outcome()))
        assert.deepStrictEqual(outcomes(pending), new Set(["RetriesExhausted"]))
        const later = yield* operations(client)
        assert.deepStrictEqual(outcomes(later), new Set(["RetriesExhausted"]))
        assert.strictEqual(yield* tagOf(client.send(bytes("x"))), "RetriesExhausted")
        assert.strictEqual(yield* tagOf(client.end), "RetriesExhausted")
        assert.strictEqual(yield* tagOf(client.close), "RetriesExhausted")
        assert.deepInclude(yield* reasonOf(client.join), { _tag: "RetriesExhausted", attempts: 3 })
      })
    )
  )

  it.effect("is not dialled again after a refusal, and every operation carries it", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        yield* serve(network, { authorize: () => Effect.fail("who are you?") })
        const client = yield* connect(network, { policy: steady })
        const pending = yield* operations(client)
        yield* settle
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(new Set(pending.map(({ outcome }) => outcome())), new Set(["Refused"]))
        assert.deepInclude(yield* reasonOf(client.join), { code: "Unauthorized", detail: "who are you?" })
        assert.strictEqual(network.wires.length, 1)
      })
    )
  )

  it.effect("gives a dial and its handshake one deadline, to the millisecond", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        network.hang(true)
        const client = yield* connect(network, { policy: { ...steady, open: "3 seconds" } })
        yield* settle
        assert.deepStrictEqual(yield* client.state, { _tag: "Connecting", attempt: 1 })
        yield* TestClock.adjust("2 seconds")
        network.hang(false) // the link comes up, and nobody answers
        yield* settle
        assert.deepStrictEqual(yield* client.state, { _tag: "Handshaking", attempt: 1 })
        yield* TestClock.adjust("999 millis")
        yield* settle
        assert.deepStrictEqual(yield* client.state, { _tag: "Handshaking", attempt: 1 })
        yield* TestClock.adjust("1 millis")
        yield* settle
        const state = yield* client.state
        assert.deepInclude(state, { _tag: "Waiting", retryAt: 4000 })
        assert.deepInclude(Option.getOrThrow(state._tag === "Waiting" ? state.error : Option.none()).reason, {
          _tag: "OpenTimedOut",
          stage: "handshake"
        })
        assert.isFalse(network.wire().isOpen())
      })
    )
  )

  it.effect("is refused at construction where its policy cannot work", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const error = yield* Effect.flip(connect(network, { policy: { silence: Schedule.spaced("5 seconds") } }))
        assert.deepStrictEqual([error._tag, error.fields], ["PolicyError", ["silence"]])
        assert.strictEqual(network.wires.length, 0)
      })
    )
  )

  it.effect("is refused at construction where its limits are no bounds", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const client = yield* Effect.flip(connect(network, { limits: { windowBytes: 7 } }))
        assert.deepStrictEqual(client.fields, ["limits"])
        assert.include(client.message, "windowBytes is not a number of at least 8")
        yield* connect(network, { limits: { windowBytes: 8 } })
        for (const limits of [{ sessionsMax: -1 }, { bytesMax: NaN }, { resumeWindow: "soon" as never }]) {
          const server = yield* Effect.flip(serve(network, { limits }))
          assert.include(server.message, Object.keys(limits).join())
        }
        yield* serve(network, { limits: { sessionsMax: 1, resumeWindow: 0, retryAfter: "Infinity" } })
      })
    )
  )
})

describe("Each attempt", () => {
  it.effect("makes its own link and its own credentials, and an error of either is retried", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const seen: Array<string> = []
        const server = yield* serve(network, {
          authorize: ({ credentials }) =>
            Effect.sync(() => {
              seen.push(Redacted.value(credentials))
              return Session.authorized("one")
            })
        })
        let [links, tokens] = [0, 0]
        const client = yield* connect(network, {
          policy: steady,
          link: Effect.suspend(() =>
            ++links === 1 ? Effect.fail("no address") : Effect.succeed(network.link)
          ) as never,
          credentials: Effect.suspend(() =>
            ++tokens === 1 ? Effect.fail("no token") : Effect.succeed(Redacted.make(`token ${tokens}`))
          )
        })
        yield* TestClock.adjust("2 seconds")
        const theirs = yield* flowing(server.next)
        yield* collect(theirs)
        network.wire().cut()
        yield* TestClock.adjust("1 second")
        yield* flowing(client.deliver(bytes("x")))
        assert.deepStrictEqual([links, tokens, seen], [4, 3, ["token 2", "token 3"]])
        assert.strictEqual((yield* upOf(client)).opened, "Resumed")
      })
    )
  )

  it.effect("waits as policy.reconnect says, and a wake-up dials now", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network } = yield* pair({ client: { policy: { reconnect: Schedule.spaced("1 minute") } } })
        network.wire().cut()
        yield* settle
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(network.wires.length, 1)
        yield* client.wake
        yield* settle
        assert.strictEqual(network.wires.length, 2)
        assert.strictEqual((yield* upOf(client)).opened, "Resumed")
      })
    )
  )

  it.effect("follows a policy that was replaced meanwhile", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network } = yield* pair()
        yield* Effect.orDie(client.setPolicy({ reconnect: Schedule.spaced("7 seconds") }))
        const start = yield* now
        network.wire().cut()
        yield* settle
        assert.deepInclude(yield* client.state, { _tag: "Waiting", retryAt: start + 7000 })
        const refused = yield* Effect.flip(client.setPolicy({ stability: 0 }))
        assert.deepStrictEqual(refused.fields, ["stability"])
      })
    )
  )

  it.effect("follows a server's hint, and a full server's session begins when there is room", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network, theirs } = yield* pair({
          server: { limits: { sessionsMax: 1, retryAfter: "5 seconds" } }
        })
        const second = yield* connect(network, { link: Effect.sync(network.newLink), policy: steady })
        yield* settle
        const start = yield* now
        assert.deepInclude(yield* second.state, { _tag: "Waiting", retryAt: start + 5000 })
        yield* collect(theirs)
        yield* flowing(client.close)
        yield* flowing(Effect.sleep("6 seconds"), "100 millis")
        assert.strictEqual((yield* upOf(second)).opened, "Fresh")
      })
    )
  )
})

describe("A defect", () => {
  const dying: ReadonlyArray<readonly [string, Partial<Session.ClientOptions<Uint8Array, never, never, never>>]> = [
    ["a detector", { detectors: [() => Effect.andThen(Effect.sleep("2 seconds"), Effect.die(new Error("bug")))] }],
    ["a link factory", { link: Effect.die(new Error("bug")) }],
    ["a step of the policy's schedule", {}]
  ]
  for (const [what, options] of dying) {
    it.effect(`in ${what} ends the session, is not retried, and settles every pending operation`, () =>
      inScope(
        Effect.gen(function* () {
          const network = yield* MemoryLink.make()
          yield* serveOf(Plain)(network)
          let isChecked = false
          const bug = Schedule.spaced("2 seconds").pipe(
            Schedule.upTo({ times: 2 }),
            Schedule.modifyDelay(({ duration }) =>
              isChecked ? Effect.die(new Error("bug")) : Effect.succeed(duration)
            )
          )
          const client = yield* connect(network, { policy: { ...steady, silence: bug }, ...options })
          isChecked = true
          const pending = yield* operations(client)
          yield* TestClock.adjust("2 seconds")
          yield* settle
          const outcomes = pending.map(({ outcome }) => outcome())
          assert.deepStrictEqual(outcomes, ["Closed", "Closed", "died", "Closed", "Closed"])
          assert.isTrue(Exit.hasDies(yield* Effect.exit(client.join)))
          const dials = network.wires.length
          yield* TestClock.adjust("1 minute")
          assert.strictEqual(network.wires.length, dials)
          assert.deepInclude(yield* client.state, { _tag: "Closed" })
        })
      )
    )
  }

  it.effect("is not the same as a detector that fires: that ends the incarnation, and the session is resumed", () =>
    inScope(
      Effect.gen(function* () {
        const fired = ConnectionError.make(new ConnectionError.DetectorFired({ detector: "mine", detail: "x" }))
        let count = 0
        const { client, network, theirs } = yield* pair({
          client: {
            detectors: [
              (signs) =>
                ++count > 1
                  ? Effect.never
                  : Effect.andThen(Effect.sleep("2 seconds"), Effect.sync(signs.probe)).pipe(
                      Effect.andThen(Effect.fail(fired))
                    )
            ]
          }
        })
        const ended = yield* client.events.pipe(
          Stream.filter(({ _tag }) => _tag === "Ended"),
          Stream.runHead,
          Effect.forkChild
        )
        yield* TestClock.adjust("3 seconds")
        yield* settle
        assert.deepInclude(Option.getOrThrow(yield* Fiber.join(ended)), { _tag: "Ended", incarnation: 1, error: fired })
        assert.strictEqual((yield* upOf(client)).opened, "Resumed")
        assert.strictEqual((yield* upOf(theirs)).incarnation, 2)
        assert.strictEqual(network.wires.length, 2)
      })
    )
  )
})
