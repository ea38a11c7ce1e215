import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Random, Schema } from "effect"
import * as TestClock from "effect/testing/TestClock"
import { type Connection, ConnectionError } from "holdfast"
import {
  begin,
  collected,
  connected,
  dialling,
  eventsOf,
  Mute,
  numbered,
  type Peer,
  peerOf,
  steady,
  tagOf
} from "./ConnectionTesting.ts"
import * as MemoryLink from "./MemoryLink.ts"
import { inScope } from "./SessionPair.ts"
import { settle, until } from "./TestTime.ts"

const choices = ["sendAgain", "giveBack", "drop"] as const

describe("a message that no link has seen", () => {
  for (const fateUnknown of choices) {
    it.effect(`goes out on the next one, whatever the choice: ${fateUnknown}`, () =>
      inScope(
        Effect.gen(function* () {
          const { connection, network, nextPeer } = yield* connected({ fateUnknown })
          for (let round = 0; round < 3; round++) {
            network.wire().cut()
            yield* settle
            yield* connection.sendAll(numbered(3, round * 3))
            yield* until(round * 3000 + 1000)
            const peer = yield* nextPeer
            yield* settle
            assert.deepStrictEqual(peer.messages(), numbered(3, round * 3))
            yield* until(round * 3000 + 3000) // long enough for its fate to be known
          }
        })
      )
    )
  }
})

describe("a message that may have arrived when its link ended", () => {
  /** A peer that reads and never answers, so that fates stay unknown; two messages were handed to its link. */
  const unsure = Effect.fnUntraced(function* (fateUnknown: Connection.FateUnknown, mute = false) {
    const setup = yield* connected({
      fateUnknown,
      mute,
      peer: { answers: false, reads: !mute },
      network: { capacityBytes: 10 }
    })
    const events = yield* eventsOf(setup.connection)
    yield* setup.connection.sendAll(["one", "two"])
    if (mute) yield* setup.connection.send("three: this one does not fit")
    yield* settle
    return { ...setup, events }
  })

  const fatesOf = (events: ReadonlyArray<Connection.ConnectionEvent>) =>
    events.flatMap((event) => (event._tag === "FateUnknown" ? [[event.count, event.choice]] : []))

  it.effect("goes out again, first and in order, with `sendAgain`", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, events, network, peer } = yield* unsure("sendAgain")
        assert.deepStrictEqual(peer.messages(), ["one", "two"])
        network.wire().cut()
        yield* connection.send("new")
        yield* until(1000)
        const second = yield* peerOf(yield* network.accept)
        yield* settle
        assert.deepStrictEqual(second.messages(), ["one", "two", "new"])
        assert.deepStrictEqual(fatesOf(events), [[2, "sendAgain"]])
      })
    )
  )

  it.effect("goes out before what no link has seen, although that waited longer", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, network, nextPeer } = yield* connected({
          mute: true,
          network: { capacityBytes: 5 },
          peer: { reads: false }
        })
        yield* connection.send("the link cannot hold it")
        yield* settle
        yield* connection.send("behind")
        network.wire().cut()
        yield* until(1000)
        const second = yield* nextPeer
        yield* second.read
        yield* settle
        assert.deepStrictEqual(second.messages(), ["the link cannot hold it", "behind"])
      })
    )
  )

  it.effect("is with no link that is being given up, however long that takes", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make({ capacityBytes: 5 })
        const { link } = network
        const slowly = Effect.andThen(Effect.sleep("1 second"), link.destroy ?? Effect.void)
        const connection = yield* Mute.make({
          link: Effect.succeed({ ...link, destroy: slowly }),
          fateUnknown: "sendAgain",
          policy: steady
        })
        const first = yield* peerOf(yield* network.accept, { reads: false })
        yield* connection.send("the link cannot hold it")
        yield* settle
        yield* connection.giveUp(new ConnectionError.DetectorFired({ detector: "test", detail: "" }))
        yield* settle
        yield* connection.send("for the next")
        yield* first.read // so that the write ends after all
        yield* until(3000)
        const second = yield* peerOf(yield* network.accept)
        yield* settle
        assert.deepStrictEqual(first.messages(), ["the link cannot hold it"])
        assert.deepStrictEqual(second.messages(), ["the link cannot hold it", "for the next"])
      })
    )
  )

  it.effect("comes back to its owner with `giveBack`, and is not sent again by itself", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, events, network } = yield* unsure("giveBack")
        network.wire().cut()
        yield* settle
        assert.deepStrictEqual(yield* connection.leftovers, { fateUnknown: ["one", "two"], notSent: [] })
        const { all } = yield* collected(connection.returned)
        assert.deepStrictEqual(all, ["one", "two"])
        yield* connection.send("new")
        yield* until(1000)
        const second = yield* peerOf(yield* network.accept)
        yield* settle
        assert.deepStrictEqual(second.messages(), ["new"])
        assert.deepStrictEqual(fatesOf(events), [[2, "giveBack"]])
      })
    )
  )

  it.effect("is forgotten with `drop`, counted where its write was still under way", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, events, network } = yield* unsure("drop", true)
        network.wire().cut()
        yield* settle
        assert.deepStrictEqual(yield* connection.leftovers, { fateUnknown: [], notSent: [] })
        assert.deepStrictEqual(fatesOf(events), [[3, "drop"]])
      })
    )
  )

  it.effect("is known to have arrived when a ping that followed it was answered, and not before", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, network, peer } = yield* unsure("giveBack")
        yield* until(1000)
        assert.strictEqual(peer.heard.at(-1), "PING", "it was asked")
        assert.deepStrictEqual((yield* connection.leftovers).fateUnknown, ["one", "two"])
        yield* connection.send("behind")
        yield* settle
        yield* peer.say("PONG")
        yield* settle
        assert.deepStrictEqual((yield* connection.leftovers).fateUnknown, ["behind"])
        network.wire().cut()
        yield* settle
        const { all } = yield* collected(connection.returned)
        assert.deepStrictEqual(all, ["behind"])
      })
    )
  )

  it.effect("is known to have arrived, without a ping, as far as the link tells", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, network, peer } = yield* connected({
          fateUnknown: "giveBack",
          mute: true,
          peer: { reads: false }
        })
        yield* connection.sendAll(["one", "two"])
        yield* until(1000)
        assert.deepStrictEqual((yield* connection.leftovers).fateUnknown, ["one", "two"], "the link still has them")
        yield* peer.read
        yield* until(2000)
        assert.deepStrictEqual((yield* connection.leftovers).fateUnknown, [])
        yield* peer.freeze
        yield* connection.send("three")
        yield* settle
        network.wire().cut()
        yield* settle
        assert.deepStrictEqual((yield* connection.leftovers).fateUnknown, ["three"])
      })
    )
  )

  it.effect("is known to have arrived, on a plain socket without a ping, when the socket took it", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, network } = yield* connected({
          fateUnknown: "giveBack",
          mute: true,
          network: { plain: true, capacityBytes: 5 },
          peer: { reads: false }
        })
        yield* connection.sendAll(["one"])
        yield* settle
        yield* connection.send("too large for it")
        yield* settle
        network.wire().cut()
        yield* settle
        assert.deepStrictEqual((yield* connection.leftovers).fateUnknown, ["too large for it"])
      })
    )
  )

  it.effect("is told apart, at the end, from what no link has seen", () =>
    inScope(
      Effect.gen(function* () {
        for (const fateUnknown of ["sendAgain", "giveBack"] as const) {
          const { connection, network } = yield* dialling({ fateUnknown, policy: { close: "1 second" } })
          yield* peerOf(yield* network.accept, { answers: false })
          network.refuse(Infinity)
          yield* connection.send("seen")
          yield* settle
          network.wire().cut()
          yield* settle
          yield* connection.send("not seen")
          const closing = yield* Effect.forkScoped(tagOf(connection.close))
          yield* until(fateUnknown === "sendAgain" ? 1000 : 2000)
          assert.strictEqual(yield* Fiber.join(closing), "CloseTimedOut")
          assert.deepStrictEqual(yield* connection.leftovers, { fateUnknown: ["seen"], notSent: ["not seen"] })
        }
      })
    )
  )
})

describe("the backlog", () => {
  const full = Effect.fnUntraced(function* (whenFull: Connection.WhenFull, backlog = {}) {
    const setup = yield* dialling({
      fateUnknown: "giveBack",
      policy: { backlog: { messagesMax: 3, ...backlog, whenFull } }
    })
    setup.network.hang(true)
    yield* settle
    return setup
  })

  it.effect("lets a sender wait, in order, and one that is interrupted is withdrawn", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, network } = yield* full("wait")
        yield* connection.sendAll(numbered(2))
        const batch = yield* begin(connection.sendAll(numbered(2, 2))) // one of them fits
        const behind = yield* begin(connection.send("behind"))
        assert.deepStrictEqual([batch.outcome(), behind.outcome()], ["pending", "pending"])
        yield* Fiber.interrupt(batch.fiber)
        network.hang(false)
        const peer = yield* peerOf(yield* network.accept)
        yield* until(100)
        assert.strictEqual(behind.outcome(), "succeeded")
        assert.deepStrictEqual(peer.messages(), ["m0", "m1", "m2", "behind"])
      })
    )
  )

  it.effect("lets a sender wait as long as it has patience, and what was not accepted then never goes", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, network } = yield* full("wait", { patience: "5 seconds" })
        yield* connection.sendAll(numbered(3))
        const late = yield* begin(connection.send("late"))
        yield* settle
        yield* TestClock.adjust("4999 millis")
        yield* settle
        assert.strictEqual(late.outcome(), "pending")
        yield* TestClock.adjust("1 millis")
        yield* settle
        assert.strictEqual(late.outcome(), "BacklogExceeded")
        network.hang(false)
        const peer = yield* peerOf(yield* network.accept)
        yield* until(6000)
        assert.deepStrictEqual(peer.messages(), ["m0", "m1", "m2"])
      })
    )
  )

  it.effect("fails a sender with its figures, all or nothing, where the policy says so", () =>
    inScope(
      Effect.gen(function* () {
        const { connection } = yield* full("fail")
        yield* connection.sendAll(numbered(2))
        const { reason } = yield* Effect.flip(connection.sendAll(["x", "y"]))
        assert.isTrue(reason._tag === "BacklogExceeded" && reason.messages === 4 && reason.messagesMax === 3)
        yield* connection.send("x")
        assert.deepStrictEqual((yield* connection.leftovers).notSent, ["m0", "m1", "x"])
      })
    )
  )

  it.effect("drops the oldest, counted and told, where the policy says so", () =>
    inScope(
      Effect.gen(function* () {
        const { connection } = yield* full("dropOldest")
        const events = yield* eventsOf(connection)
        yield* connection.sendAll(numbered(5))
        yield* connection.send("last")
        yield* settle
        assert.deepStrictEqual((yield* connection.leftovers).notSent, ["m3", "m4", "last"])
        const discarded = events.flatMap((event) => (event._tag === "Discarded" ? [[event.count, event.bytes]] : []))
        assert.deepStrictEqual(discarded, [
          [2, 6],
          [1, 3]
        ])
      })
    )
  )

  it.effect("never drops what is with the link: then the newest goes", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, peer } = yield* connected({
          fateUnknown: "giveBack",
          peer: { answers: false },
          policy: { backlog: { messagesMax: 2, whenFull: "dropOldest" } }
        })
        yield* connection.sendAll(numbered(2))
        yield* settle
        yield* connection.send("newest")
        yield* settle
        assert.deepStrictEqual(peer.messages(), numbered(2))
        assert.deepStrictEqual(yield* connection.leftovers, { fateUnknown: numbered(2), notSent: [] })
      })
    )
  )

  it.effect("refuses what can never fit", () =>
    inScope(
      Effect.gen(function* () {
        for (const whenFull of ["wait", "fail", "dropOldest"] as const) {
          const { connection } = yield* full(whenFull, { bytesMax: 5 })
          assert.strictEqual(yield* tagOf(connection.send("123456")), "BacklogExceeded")
        }
      })
    )
  )

  it.effect("counts what was given back until its owner has taken it", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, network } = yield* connected({
          fateUnknown: "giveBack",
          peer: { answers: false },
          policy: { backlog: { messagesMax: 2 } }
        })
        yield* connection.sendAll(numbered(2))
        yield* settle
        network.wire().cut()
        yield* settle
        const waiting = yield* begin(connection.send("x"))
        yield* settle
        assert.strictEqual(waiting.outcome(), "pending")
        yield* collected(connection.returned)
        assert.strictEqual(waiting.outcome(), "succeeded")
      })
    )
  )

  it.effect("that is full asks at once what has arrived, so that a fast sender is not held up", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, peer } = yield* connected({ policy: { backlog: { messagesMax: 10 } } })
        const sending = yield* begin(connection.sendAll(numbered(100)))
        yield* until(999)
        assert.strictEqual(sending.outcome(), "succeeded")
        assert.deepStrictEqual(peer.messages(), numbered(100))
      })
    )
  )

  it.effect("can be replaced: who waits is let in, or told", () =>
    inScope(
      Effect.gen(function* () {
        const { connection } = yield* full("wait")
        yield* connection.sendAll(numbered(3))
        const first = yield* begin(connection.send("first"))
        const second = yield* begin(connection.send("second"))
        yield* connection.setPolicy({ backlog: { messagesMax: 4 } })
        yield* settle
        assert.deepStrictEqual([first.outcome(), second.outcome()], ["succeeded", "pending"])
        yield* connection.setPolicy({ backlog: { whenFull: "fail" } })
        yield* settle
        assert.strictEqual(second.outcome(), "BacklogExceeded")
      })
    )
  )
})

describe("over links that are cut at any byte", () => {
  /** Sends numbered messages while links are cut after some bytes; returns what each peer read and what came back. */
  const harmed = Effect.fnUntraced(function* (fateUnknown: Connection.FateUnknown, seed: number) {
    const count = 60
    const cutting = { on: true }
    const { connection, network } = yield* dialling({
      fateUnknown,
      network: {
        onConnect: (wire) => {
          if (cutting.on) wire.toServer.cutAfter(lengths.shift() ?? 5)
        }
      }
    })
    const lengths = yield* Effect.forEach(Array.from({ length: 200 }), () => Random.nextIntBetween(1, 60)).pipe(
      Random.withSeed(seed)
    )
    const peers: Array<Peer> = []
    yield* Effect.forkScoped(
      Effect.forever(Effect.map(Effect.flatMap(network.accept, peerOf), (peer) => peers.push(peer)))
    )
    const { all } = yield* collected(connection.returned)
    for (let at = 0; at < count; at++) {
      yield* connection.send(`m${at}`)
      if (at % 3 === 0) yield* until(at * 400)
    }
    yield* until(60_000)
    cutting.on = false
    yield* until(70_000)
    const read = peers.flatMap((peer) => peer.messages())
    return { sent: numbered(count), read, returned: all, left: yield* connection.leftovers }
  })

  const seeds = { seed: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 100_000 })) }
  const properties = { arbitrary: { runs: 8, seed: 3 } }

  it.effect.prop(
    "`sendAgain` loses nothing, and repeats only in order",
    seeds,
    ({ seed }) =>
      inScope(
        Effect.gen(function* () {
          const { left, read, sent } = yield* harmed("sendAgain", seed)
          const first = [...new Set(read.filter((line) => sent.includes(line)))]
          assert.deepStrictEqual(first, sent)
          assert.deepStrictEqual(left, { fateUnknown: [], notSent: [] })
        })
      ),
    properties
  )

  it.effect.prop(
    "`giveBack` repeats nothing, and what was not read came back",
    seeds,
    ({ seed }) =>
      inScope(
        Effect.gen(function* () {
          const { left, read, returned, sent } = yield* harmed("giveBack", seed)
          const whole = read.filter((line) => sent.includes(line))
          assert.deepStrictEqual(whole, [...new Set(whole)])
          const accounted = new Set([...whole, ...returned])
          assert.deepStrictEqual(
            sent.filter((line) => !accounted.has(line)),
            []
          )
          assert.deepStrictEqual(left, { fateUnknown: [], notSent: [] })
        })
      ),
    properties
  )

  it.effect.prop(
    "`drop` repeats nothing and gives nothing back",
    seeds,
    ({ seed }) =>
      inScope(
        Effect.gen(function* () {
          const { left, read, returned, sent } = yield* harmed("drop", seed)
          const whole = read.filter((line) => sent.includes(line))
          assert.deepStrictEqual(whole, [...new Set(whole)])
          assert.deepStrictEqual([returned, left], [[], { fateUnknown: [], notSent: [] }])
        })
      ),
    properties
  )
})
