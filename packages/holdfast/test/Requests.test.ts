import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Logger, Random, Schema, Scope } from "effect"
import { ConnectionError, Requests } from "holdfast"
import { asking, byHand, echoing, incoming, Narrow, Prices, serving, Unknown } from "./RequestsTesting.ts"
import { harm } from "./SessionHarm.ts"
import { below, inScope, pair, steady, tagOf } from "./SessionPair.ts"
import { bytes, flowing, settle } from "./SessionTesting.ts"

const forEver = { patience: "Infinity" } as const

describe("Requests over a channel", () => {
  it.effect("are many at once, and each gets its own answer, in whatever order they come", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        yield* serving(
          Prices.serve(ends.theirs, (name) => Effect.delay(Effect.succeed(Number(name)), 500 - Number(name)))
        )
        const prices = yield* Prices.client(ends.client, forEver)
        const order: Array<number> = []
        const ask = (number: number) =>
          Effect.tap(prices.ask(String(number)), (answer) => Effect.sync(() => order.push(answer)))
        const numbers = Array.from({ length: 200 }, (_, i) => i)
        const answers = Effect.forEach(numbers, ask, { concurrency: "unbounded" })
        assert.deepStrictEqual(yield* flowing(answers, "1 millis"), numbers)
        assert.deepStrictEqual(order, numbers.toReversed())
        assert.strictEqual(yield* prices.outstanding, 0)
      })
    )
  )

  it.effect("go both ways on one session, on as many channels as are opened", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        yield* serving(Prices.serve(ends.theirs, () => Effect.succeed(1)))
        yield* serving(Prices.serve(ends.client, () => Effect.succeed(2)))
        const there = yield* Prices.client(ends.client, forEver)
        const again = yield* Prices.client(ends.client, forEver)
        const back = yield* Prices.client(ends.theirs, forEver)
        const answers = yield* flowing(Effect.all([there.ask("a"), again.ask("b"), back.ask("c")], { concurrency: 3 }))
        assert.deepStrictEqual(answers, [1, 1, 2])
      })
    )
  )

  it.effect("carry bytes as they are where no schema is given", () =>
    inScope(
      Effect.gen(function* () {
        const { echo } = yield* echoing(yield* pair())
        assert.deepStrictEqual(yield* flowing(echo.ask(Uint8Array.of(1, 2, 3))), Uint8Array.of(3, 2, 1))
        assert.deepStrictEqual(yield* flowing(echo.ask(new Uint8Array(0))), new Uint8Array(0))
      })
    )
  )

  it.effect("asked in one turn go out in one write", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        yield* serving(Prices.serve(ends.theirs, () => Effect.succeed(1)))
        const prices = yield* Prices.client(ends.client, forEver)
        yield* flowing(prices.ask("first"))
        yield* settle
        const { toServer } = ends.network.wire()
        const bytesFor = Effect.fnUntraced(function* (names: ReadonlyArray<string>) {
          yield* flowing(Effect.sleep("1 second")) // until all is acknowledged
          const before = toServer.written()
          toServer.stall(true)
          const all = yield* Effect.forkChild(
            Effect.forEach(names, (name) => prices.ask(name), { concurrency: "unbounded" })
          )
          yield* settle
          const written = toServer.written() - before
          toServer.stall(false)
          assert.strictEqual((yield* flowing(Fiber.join(all))).length, names.length)
          return written
        })
        const one = yield* bytesFor(["a"])
        assert.isAbove(one, 9) // the record, and what is around it
        assert.strictEqual(yield* bytesFor(["a", "b", "c", "d"]), one + 3 * 9)
      })
    )
  )

  it.effect(
    "of which many come at once are answered, and asked again, by parts: none waits until all are handled",
    () =>
      inScope(
        Effect.gen(function* () {
          const ends = yield* pair()
          const { toClient, toServer } = ends.network.wire()
          const answered: Array<number> = []
          const handler = (request: Uint8Array) => {
            answered.push(toClient.written())
            return Effect.succeed(request)
          }
          const Echo = Requests.make("echo")
          yield* serving(Echo.serve(ends.theirs, handler))
          const echo = yield* Echo.client(ends.client, forEver)
          yield* flowing(echo.ask(bytes("first")))
          yield* flowing(Effect.sleep("1 second")) // until all is acknowledged
          answered.length = 0
          const asked: Array<number> = []
          const twice = Effect.andThen(
            Effect.tap(echo.ask(bytes("once")), () => Effect.sync(() => asked.push(toServer.written()))),
            echo.ask(bytes("again"))
          )
          yield* flowing(
            Effect.all(
              Array.from({ length: 80 }, () => twice),
              { concurrency: "unbounded" }
            )
          )
          for (const written of [answered, asked]) {
            assert.isAtLeast(written.length, 80)
            const parts = new Set(written.slice(0, 80))
            assert.strictEqual(parts.size, 3)
            assert.strictEqual(written[31], written[0])
            assert.isAbove(written[32]!, written[31]! + 32 * 9)
          }
        })
      )
  )

  it.effect("fail with the handler's typed failure, and the channel goes on", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        yield* serving(
          Prices.serve(ends.theirs, (symbol) => (symbol === "ACME" ? Effect.succeed(42) : new Unknown({ symbol })))
        )
        const prices = yield* Prices.client(ends.client, forEver)
        const failure = yield* flowing(Effect.flip(prices.ask("HOLD")))
        assert.deepStrictEqual(failure, new Unknown({ symbol: "HOLD" }))
        assert.strictEqual(yield* flowing(prices.ask("ACME")), 42)
      })
    )
  )

  it.effect("whose handler has a defect are told so without details, which the other side's log has", () =>
    inScope(
      Effect.gen(function* () {
        const logged: Array<string> = []
        const logger = Logger.make(({ cause, message }) => {
          logged.push(`${String(message)} ${JSON.stringify(cause)}`)
        })
        const ends = yield* pair()
        const handlers: Record<string, () => Effect.Effect<number>> = {
          dies: () => Effect.die(new Error("the password is swordfish")),
          throws: () => {
            throw new Error("swordfish again")
          },
          interrupts: () => Effect.interrupt,
          "does not encode": () => Effect.succeed("swordfish" as unknown as number)
        }
        yield* serving(
          Effect.provide(
            Prices.serve(ends.theirs, (name) => handlers[name]?.() ?? Effect.succeed(1)),
            Logger.layer([logger])
          )
        )
        const prices = yield* Prices.client(ends.client, forEver)
        for (const name of Object.keys(handlers)) {
          const failure = yield* flowing(Effect.flip(prices.ask(name)))
          assert.instanceOf(failure, ConnectionError.ConnectionError)
          assert.propertyVal(failure.reason, "_tag", "RequestFailed")
          assert.propertyVal(failure.reason, "outcome", name === "interrupts" ? "Interrupted" : "Died")
          assert.notInclude(JSON.stringify(failure) + failure.message, "swordfish")
        }
        assert.strictEqual(logged.length, 3)
        assert.isTrue(logged.every((line) => line.includes("the handler of a request died")))
        assert.strictEqual(yield* flowing(prices.ask("well")), 1)
      })
    )
  )

  it.effect("that the other side's schema does not know fail alone, and answers that ours does not know", () =>
    inScope(
      Effect.gen(function* () {
        const Newer = Requests.make("prices", {
          request: Schema.Union([Schema.String, Schema.Struct({ symbol: Schema.String })]),
          response: Schema.Union([Schema.Number, Schema.Literal("sold out")])
        })
        const ends = yield* pair()
        yield* serving(Newer.serve(ends.client, (request) => Effect.succeed(request === "gone" ? "sold out" : 1)))
        yield* serving(Prices.serve(ends.theirs, () => Effect.succeed(1)))
        const newer = yield* Newer.client(ends.client, forEver)
        const older = yield* Prices.client(ends.theirs, forEver)
        const refused = yield* flowing(Effect.flip(newer.ask({ symbol: "ACME" })))
        assert.deepInclude(refused.reason, { _tag: "RequestFailed", outcome: "Invalid", channel: "prices" })
        const strange = yield* flowing(Effect.flip(older.ask("gone")))
        assert.instanceOf(strange, ConnectionError.ConnectionError)
        assert.deepInclude(strange.reason, { _tag: "MessageInvalid", direction: "receive" })
        assert.strictEqual(yield* flowing(newer.ask("ACME")), 1)
        assert.strictEqual(yield* flowing(older.ask("ACME")), 1)
        assert.strictEqual(yield* older.outstanding, 0)
      })
    )
  )

  it.effect("that are too large, or whose answers are, fail alone", () =>
    inScope(
      Effect.gen(function* () {
        const bytesMax = 1000
        const policy = { ...steady, backlog: { bytesMax } }
        const ends = yield* pair({ client: { policy }, server: { policy } })
        const Sized = Requests.make("sized", { request: Schema.Number, response: Schema.String })
        const Sent = Requests.make("sent", { request: Schema.String, response: Schema.Number })
        yield* serving(Sized.serve(ends.theirs, (size) => Effect.succeed("x".repeat(size))))
        yield* serving(Sent.serve(ends.client, (text) => Effect.succeed(text.length)))
        const sized = yield* Sized.client(ends.client, forEver)
        const sent = yield* Sent.client(ends.theirs, forEver)
        const all = yield* flowing(
          Effect.all([sized.ask(10), Effect.flip(sized.ask(2000)), sized.ask(20)], { concurrency: 3 })
        )
        assert.deepStrictEqual([all[0].length, all[2].length], [10, 20])
        assert.deepInclude(all[1].reason, { _tag: "RequestFailed", outcome: "Died" })
        const both = yield* flowing(
          Effect.all([sent.ask("x"), Effect.flip(sent.ask("x".repeat(2000))), sent.ask("xy")], { concurrency: 3 })
        )
        assert.deepStrictEqual([both[0], both[1].reason._tag, both[2]], [1, "BacklogExceeded", 2])
        assert.strictEqual(yield* sent.outstanding, 0)
      })
    )
  )
})

describe("Requests that are interrupted", () => {
  it.effect("interrupt their handler, and only that one", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        const hand = byHand()
        yield* serving(Prices.serve(ends.theirs, hand.handler))
        const prices = yield* Prices.client(ends.client, forEver)
        const first = yield* asking(prices.ask("first"))
        const second = yield* asking(prices.ask("second"))
        yield* settle
        assert.deepStrictEqual(hand.running(), ["first", "second"])
        yield* Fiber.interrupt(first.fiber)
        yield* settle
        assert.deepStrictEqual([hand.interrupted, hand.running()], [["first"], ["second"]])
        assert.strictEqual(yield* prices.outstanding, 1)
        yield* hand.answer("second", 2)
        assert.strictEqual(second.outcome(), 2)
      })
    )
  )

  it.effect("are told after a reconnect where the link was cut meanwhile", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        const hand = byHand()
        yield* serving(Prices.serve(ends.theirs, hand.handler))
        const prices = yield* Prices.client(ends.client, forEver)
        const asked = yield* asking(prices.ask("one"))
        yield* settle
        ends.network.wire().cut()
        yield* settle
        yield* Fiber.interrupt(asked.fiber)
        yield* settle
        assert.deepStrictEqual(hand.interrupted, [])
        yield* flowing(Effect.sleep("2 seconds"), "100 millis")
        assert.strictEqual(ends.network.wires.length, 2)
        assert.deepStrictEqual([hand.begun, hand.interrupted], [["one"], ["one"]])
        assert.strictEqual(yield* prices.outstanding, 0)
      })
    )
  )

  it.effect("are not even sent where they waited for a slot, and give theirs back where they had one", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        const hand = byHand()
        yield* serving(Narrow.serve(ends.theirs, hand.handler))
        const prices = yield* Narrow.client(ends.client, forEver)
        const names = ["a", "b", "c", "d"]
        const asked = yield* Effect.forEach(names, (name) => asking(prices.ask(name)))
        yield* settle
        assert.deepStrictEqual([hand.begun, yield* prices.outstanding], [["a", "b"], 4])
        yield* Fiber.interrupt(asked[2]!.fiber)
        yield* Fiber.interrupt(asked[0]!.fiber)
        yield* settle
        assert.deepStrictEqual([hand.begun, hand.interrupted], [["a", "b", "d"], ["a"]])
        yield* hand.answer("d", 4)
        yield* hand.answer("b", 2)
        assert.deepStrictEqual([asked[1]!.outcome(), asked[3]!.outcome()], [2, 4])
        assert.strictEqual(yield* prices.outstanding, 0)
      })
    )
  )

  it.effect("keep their slot until a handler that cannot be interrupted has ended", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        const hand = byHand()
        yield* serving(Narrow.serve(ends.theirs, (name) => Effect.uninterruptible(hand.handler(name))))
        const prices = yield* Narrow.client(ends.client, forEver)
        const asked = yield* Effect.forEach(["a", "b", "c"], (name) => asking(prices.ask(name)))
        yield* settle
        yield* Fiber.interrupt(asked[0]!.fiber)
        yield* settle
        assert.deepStrictEqual(hand.begun, ["a", "b"])
        yield* hand.answer("a", 1)
        assert.deepStrictEqual(hand.begun, ["a", "b", "c"])
        yield* Effect.all([hand.answer("b", 2), hand.answer("c", 3)])
        assert.deepStrictEqual([asked[1]!.outcome(), asked[2]!.outcome()], [2, 3])
      })
    )
  )
})

describe("Bounds of requests", () => {
  it.effect("no more handlers run than whoever answers allows, on all channels together, and the rest in order", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        const hand = byHand()
        yield* serving(Prices.serve(ends.theirs, hand.handler, { concurrencyMax: 2 }))
        const prices = yield* Prices.client(ends.client, forEver)
        const more = yield* Prices.client(ends.client, forEver)
        const asked = yield* Effect.forEach(["a", "b", "c"], (name) => asking(prices.ask(name)))
        yield* settle
        const other = yield* asking(more.ask("d"))
        yield* settle
        assert.deepStrictEqual(hand.begun, ["a", "b"])
        yield* Fiber.interrupt(asked[2]!.fiber) // while it waits there for its turn
        yield* settle
        yield* hand.answer("a", 1)
        assert.deepStrictEqual(hand.begun, ["a", "b", "d"])
        yield* hand.answer("d", 4)
        assert.deepStrictEqual([asked[0]!.outcome(), other.outcome()], [1, 4])
        assert.deepStrictEqual([yield* prices.outstanding, yield* more.outstanding], [1, 0])
      })
    )
  )

  for (const [what, record] of [
    ["a slot that there is not", [0, 0, 0, 0, 2]],
    ["a slot that is taken", [0, 0, 0, 0, 1]],
    ["a kind that there is not", [9, 0, 0, 0, 0]],
    ["a reply", [2, 0, 0, 0, 0]],
    ["half a record", [0, 0, 0]]
  ] as const) {
    it.effect(`whoever asks with ${what} loses the channel`, () =>
      inScope(
        Effect.gen(function* () {
          const ends = yield* pair()
          const hand = byHand()
          const server = yield* serving(
            Effect.flatMap(incoming(ends.theirs), (from) => Narrow.serve(from, hand.handler))
          )
          const raw = yield* ends.client.open("prices")
          yield* raw.send(Uint8Array.of(0, 0, 0, 0, 1, ...bytes('"a"')))
          yield* flowing(raw.flush)
          assert.deepStrictEqual(hand.running(), ["a"])
          yield* raw.send(Uint8Array.from([...record, ...bytes('"b"')].slice(0, record.length === 3 ? 3 : undefined)))
          assert.strictEqual(yield* flowing(tagOf(raw.join)), "ChannelReset")
          assert.isTrue(Exit.isFailure(yield* flowing(Fiber.join(server))))
          assert.deepStrictEqual([hand.running(), hand.interrupted], [[], ["a"]])
        })
      )
    )
  }

  it.effect("a request that was told to stop twice, or never was, is nothing to complain of", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        const hand = byHand()
        yield* serving(Narrow.serve(ends.theirs, hand.handler))
        const raw = yield* ends.client.open("prices")
        yield* raw.sendAll([
          Uint8Array.of(1, 0, 0, 0, 0),
          Uint8Array.of(0, 0, 0, 0, 0, ...bytes('"a"')),
          Uint8Array.of(1, 0, 0, 0, 0),
          Uint8Array.of(1, 0, 0, 0, 0)
        ])
        yield* flowing(raw.flush)
        assert.deepStrictEqual([hand.begun, hand.interrupted], [["a"], ["a"]])
        assert.strictEqual((yield* raw.state).untakenMessages, 1) // one reply
      })
    )
  )

  for (const [what, record] of [
    ["to no request", [2, 0, 0, 0, 1, 49]],
    ["that is a request", [0, 0, 0, 0, 0, 49]],
    ["of half a record", [2, 0]]
  ] as const) {
    it.effect(`whoever answers with a reply ${what} loses the channel, and all who wait are told`, () =>
      inScope(
        Effect.gen(function* () {
          const ends = yield* pair()
          const prices = yield* Narrow.client(ends.client, forEver)
          const asked = yield* asking(prices.ask("a"))
          const raw = yield* (yield* incoming(ends.theirs)).accept()
          yield* settle
          yield* raw.send(Uint8Array.from(record))
          assert.strictEqual(yield* flowing(tagOf(raw.join)), "ChannelReset")
          assert.strictEqual(asked.outcome(), "ChannelReset")
          assert.strictEqual((yield* asking(prices.ask("b"))).outcome(), "ChannelReset")
        })
      )
    )
  }

  it.effect("are refused where they cannot be", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        for (const bound of [0, -1, 1.5, Number.NaN, 65_537]) {
          assert.throws(() => Requests.make("a", { outstandingMax: bound }), /outstandingMax is .* from 1 to 65536/)
          const served = yield* Effect.exit(Prices.serve(ends.theirs, () => Effect.never, { concurrencyMax: bound }))
          assert.isTrue(Exit.hasDies(served))
        }
        assert.strictEqual(Requests.make("a", { outstandingMax: 65_536 }).name, "a")
      })
    )
  )
})

describe("The end of a channel of requests", () => {
  const begin = Effect.gen(function* () {
    const ends = yield* pair()
    const hand = byHand()
    const server = yield* serving(Narrow.serve(ends.theirs, hand.handler))
    const scope = yield* Scope.make()
    const prices = yield* Scope.provide(Narrow.client(ends.client, forEver), scope)
    const asked = yield* Effect.forEach(["a", "b", "c"], (name) => asking(prices.ask(name)))
    yield* settle
    assert.deepStrictEqual(hand.running(), ["a", "b"])
    const outcomes = () => asked.map(({ outcome }) => outcome())
    return { ...ends, hand, server, scope, prices, asked, outcomes }
  })

  it.effect("by the scope of whoever asks settles all with Closed, and interrupts the handlers", () =>
    inScope(
      Effect.gen(function* () {
        const { hand, outcomes, prices, scope } = yield* begin
        yield* flowing(Scope.close(scope, Exit.void))
        yield* settle
        assert.deepStrictEqual(outcomes(), ["Closed", "Closed", "Closed"])
        assert.deepStrictEqual([hand.running(), hand.begun], [[], ["a", "b"]])
        assert.strictEqual((yield* asking(prices.ask("d"))).outcome(), "Closed")
        assert.strictEqual(yield* prices.outstanding, 0)
      })
    )
  )

  it.effect("by whoever answers settles all with ChannelReset", () =>
    inScope(
      Effect.gen(function* () {
        const { hand, outcomes, server } = yield* begin
        yield* flowing(Fiber.interrupt(server))
        yield* settle
        assert.deepStrictEqual(outcomes(), ["ChannelReset", "ChannelReset", "ChannelReset"])
        assert.deepStrictEqual(hand.running(), [])
      })
    )
  )

  it.effect("in good order by whoever answers settles all too", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        const prices = yield* Narrow.client(ends.client, forEver)
        const asked = yield* asking(prices.ask("a"))
        const raw = yield* (yield* incoming(ends.theirs)).accept()
        yield* raw.end
        yield* settle
        assert.strictEqual(asked.outcome(), "ChannelReset")
        assert.include(String(asked.error()), "nobody answers there any more")
      })
    )
  )

  it.effect("with the session settles all with its reason, and serving ends", () =>
    inScope(
      Effect.gen(function* () {
        const { client, hand, outcomes, server, theirs } = yield* begin
        yield* Effect.forkChild(Effect.exit(theirs.handle(() => Effect.fail("enough"), { onFailure: "end" })))
        yield* client.send(bytes("end it"))
        yield* flowing(Fiber.join(server))
        yield* settle
        assert.deepStrictEqual(outcomes(), ["EndedByPeer", "EndedByPeer", "EndedByPeer"])
        assert.deepStrictEqual(hand.running(), [])
      })
    )
  )

  it.effect("other channels of a session that only answers requests are refused", () =>
    inScope(
      Effect.gen(function* () {
        const ends = yield* pair()
        yield* serving(Prices.serve(ends.theirs, () => Effect.succeed(1)))
        const other = yield* ends.client.open("something else")
        assert.strictEqual(yield* flowing(tagOf(other.join)), "ChannelReset")
        const prices = yield* Prices.client(ends.client, forEver)
        assert.strictEqual(yield* flowing(prices.ask("a")), 1)
      })
    )
  )
})

describe("Requests over links that are harmed", () => {
  for (let seed = 1; seed <= 8; seed++) {
    it.effect(`are handled once, answered once and all settled, whoever is interrupted (seed ${seed})`, () =>
      inScope(
        Effect.gen(function* () {
          const limits = { windowBytes: 500, channelWindowBytes: 300 }
          const ends = yield* pair({
            network: { capacityBytes: 2000 },
            client: { limits },
            server: { limits: { ...limits, resumeWindow: "1 hour" } }
          })
          const Work = Requests.make("work", { request: Schema.Number, response: Schema.Number, outstandingMax: 16 })
          const handled: Array<number> = []
          const ended: Array<number> = []
          yield* serving(
            Work.serve(ends.theirs, (number) =>
              Effect.gen(function* () {
                handled.push(number)
                yield* Effect.sleep(yield* below(100))
                return number * 2
              }).pipe(Effect.ensuring(Effect.sync(() => ended.push(number))))
            )
          )
          const work = yield* Work.client(ends.client, forEver)
          const answered: Array<number> = []
          const interrupted: Array<number> = []
          const ask = Effect.fnUntraced(function* (number: number) {
            yield* Effect.sleep(yield* below(5000))
            const asked = yield* asking(work.ask(number))
            if ((yield* below(5)) === 0) {
              yield* Effect.sleep(yield* below(120))
              if (asked.outcome() === "pending") {
                interrupted.push(number)
                return yield* Fiber.interrupt(asked.fiber)
              }
            }
            yield* Fiber.join(asked.fiber)
            assert.strictEqual(asked.outcome(), number * 2)
            answered.push(number)
          })
          yield* Effect.forkChild(
            Effect.gen(function* () {
              for (let i = 0; i < 6; i++) {
                yield* Effect.sleep(yield* below(1500))
                yield* harm(ends.network)
              }
            })
          )
          const numbers = Array.from({ length: 300 }, (_, i) => i)
          yield* flowing(Effect.forEach(numbers, ask, { concurrency: "unbounded", discard: true }), "10 millis")
          yield* flowing(Effect.repeat(work.outstanding, { until: (count) => count === 0 }), "100 millis")
          assert.strictEqual(answered.length + interrupted.length, numbers.length)
          assert.strictEqual(new Set(handled).size, handled.length, "handled once")
          assert.includeMembers(handled, answered)
          assert.sameMembers(ended, handled)
          assert.isAbove(ends.network.wires.length, 1)
        })
      ).pipe(Random.withSeed(`requests ${seed}`))
    )
  }
})
