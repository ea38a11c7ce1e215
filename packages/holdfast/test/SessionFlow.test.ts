import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Option } from "effect"
import { TestClock } from "effect/testing"
import { begin, inScope, large, pair, steady, upOf } from "./SessionPair.ts"
import { bytes, collect, connect, flowing, settle } from "./SessionTesting.ts"

/** A client that sends a kilobyte whenever there is room, to an application that reads nothing. */
const unread = Effect.gen(function* () {
  const ends = yield* pair({
    client: { policy: { backlog: { bytesMax: 20_000 } } },
    server: { limits: { windowBytes: 10_000 } }
  })
  let accepted = 0
  yield* Effect.forkChild(
    Effect.forever(
      Effect.andThen(
        ends.client.send(large(1000)),
        Effect.sync(() => accepted++)
      )
    )
  )
  yield* settle
  return { ...ends, accepted: () => accepted }
})

describe("A session whose application reads nothing", () => {
  it.effect("costs bounded memory on both sides, stops data only, and is not given up for hours", () =>
    inScope(
      Effect.gen(function* () {
        const { accepted, client, network, theirs } = yield* unread
        yield* TestClock.adjust("10 seconds")
        const { toClient, toServer } = network.wire()
        const [up, down] = [toServer.written(), toClient.written()]
        yield* TestClock.adjust("2 hours")
        assert.strictEqual(accepted(), 19) // 19 * 1002 bytes are kept, and one more send waits
        assert.strictEqual(network.wires.length, 1)
        assert.isBelow(up, 10_000 + 1000) // the window, and some control frames
        const heartbeats = (2 * 3600) / 2.5
        assert.isAtLeast(toServer.written() - up, heartbeats * 2)
        assert.isBelow(toServer.written() - up, heartbeats * 40)
        assert.isAtLeast(toClient.written() - down, heartbeats * 2)
        yield* client.wake // a probe is answered
        yield* settle
        assert.strictEqual((yield* upOf(client)).incarnation, 1)
        assert.strictEqual((yield* upOf(theirs)).incarnation, 1)
      })
    )
  )

  it.effect("says so on both sides, since when, and takes it back at once when it reads", () =>
    inScope(
      Effect.gen(function* () {
        yield* TestClock.adjust("3 seconds")
        const { client, theirs } = yield* unread
        const at = yield* Effect.map(upOf(theirs), ({ since }) => since)
        yield* TestClock.adjust("1 minute")
        // Two acknowledgements measure the way first.
        const isSoon = (since: Option.Option<number>) => Option.exists(since, (then) => then >= at && then <= at + 20)
        assert.isTrue(isSoon((yield* upOf(theirs)).consumerSlowSince))
        assert.isTrue(isSoon((yield* upOf(client)).creditAwaitedSince))
        assert.deepStrictEqual((yield* upOf(client)).consumerSlowSince, Option.none())
        const { received } = yield* collect(theirs)
        yield* flowing(Effect.sleep("100 millis"), "10 millis")
        assert.isAbove(received.length, 19)
        assert.deepStrictEqual((yield* upOf(theirs)).consumerSlowSince, Option.none())
        assert.deepStrictEqual((yield* upOf(client)).creditAwaitedSince, Option.none())
      })
    )
  )

  it.effect("is told of at the instant at which the window is full, without waiting for the next heartbeat", () =>
    inScope(
      Effect.gen(function* () {
        const { client } = yield* pair({ server: { limits: { windowBytes: 10_000 } } })
        yield* client.send(large(9998)) // fills it to the byte
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual((yield* upOf(client)).creditAwaitedSince, Option.none())
        yield* client.send(bytes("one more"))
        yield* settle
        assert.isTrue(Option.isSome((yield* upOf(client)).creditAwaitedSince))
      })
    )
  )

  it.effect("still receives acknowledgements for what it sends", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* unread
        const { received } = yield* collect(client)
        yield* flowing(theirs.deliver(bytes("down")))
        assert.deepStrictEqual(received, ["down"])
      })
    )
  )

  it.effect("gets a message that is larger than the window, alone", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network, theirs } = yield* pair({ server: { limits: { windowBytes: 10_000 } } })
        yield* client.sendAll([bytes("first"), large(100_000), bytes("last")])
        yield* TestClock.adjust("1 minute")
        assert.isBelow(network.wire().toServer.written(), 11_000) // while `first` is not taken
        const { received } = yield* collect(theirs)
        yield* flowing(client.flush)
        assert.deepStrictEqual(
          received.map((one) => one.length),
          [5, 100_000, 4]
        )
      })
    )
  )
})

describe("A backlog that is full", () => {
  const small = { client: { policy: { ...steady, backlog: { messagesMax: 3 } } } } as const
  const failing = { client: { policy: { ...steady, backlog: { messagesMax: 3, whenFull: "fail" } } } } as const
  const three = [bytes("1"), bytes("2"), bytes("3")]

  it.effect("makes a send wait, and lets it in when there is room", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair(small)
        yield* client.sendAll(three)
        const fourth = yield* begin(client.send(bytes("4")))
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(fourth.outcome(), "pending")
        const { received } = yield* collect(theirs)
        yield* flowing(Fiber.await(fourth.fiber))
        yield* flowing(client.flush)
        assert.deepStrictEqual([fourth.outcome(), received], ["succeeded", ["1", "2", "3", "4"]])
      })
    )
  )

  it.effect("fails a send where the policy says so, and not the one before", () =>
    inScope(
      Effect.gen(function* () {
        const { client } = yield* pair(failing)
        yield* client.sendAll(three.slice(1))
        const both = yield* begin(client.sendAll(three.slice(1))) // all or nothing
        const third = yield* begin(client.send(bytes("3")))
        const fourth = yield* begin(client.deliver(bytes("4")))
        assert.deepStrictEqual(
          [both.outcome(), third.outcome(), fourth.outcome()],
          ["BacklogExceeded", "succeeded", "BacklogExceeded"]
        )
      })
    )
  )

  it.effect("counts bytes as well as messages", () =>
    inScope(
      Effect.gen(function* () {
        const { client } = yield* pair({
          client: { policy: { ...steady, backlog: { bytesMax: 1002, whenFull: "fail" } } }
        })
        assert.strictEqual((yield* begin(client.send(large(1001)))).outcome(), "BacklogExceeded")
        assert.strictEqual((yield* begin(client.send(large(1000)))).outcome(), "succeeded") // 2 bytes say its length
        assert.strictEqual((yield* begin(client.send(large(0)))).outcome(), "BacklogExceeded")
      })
    )
  )

  it.effect("interrupting a send that waits withdraws it and no other", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair(small)
        yield* client.sendAll(three)
        const fourth = yield* begin(client.send(bytes("4")))
        const fifth = yield* begin(client.sendAll([bytes("5"), bytes("6")]))
        const last = yield* begin(client.send(bytes("7")))
        yield* Fiber.interrupt(fourth.fiber)
        const { received } = yield* collect(theirs)
        yield* flowing(Fiber.await(last.fiber))
        yield* flowing(client.flush)
        assert.deepStrictEqual([fifth.outcome(), received], ["succeeded", ["1", "2", "3", "5", "6", "7"]])
      })
    )
  )

  it.effect("interrupting a sendAll that is partly in withdraws the rest", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair(small)
        const many = yield* begin(client.sendAll([...three, bytes("4"), bytes("5")]))
        yield* settle
        assert.strictEqual(many.outcome(), "pending")
        yield* Fiber.interrupt(many.fiber)
        const { received } = yield* collect(theirs)
        yield* flowing(client.deliver(bytes("next")))
        assert.deepStrictEqual(received, ["1", "2", "3", "next"])
      })
    )
  )

  it.effect("interrupting a send that waits lets a smaller one behind it in at once", () =>
    inScope(
      Effect.gen(function* () {
        const { client } = yield* pair({ client: { policy: { ...steady, backlog: { bytesMax: 1000 } } } })
        yield* client.send(large(500))
        const huge = yield* begin(client.send(large(900)))
        const tiny = yield* begin(client.send(large(100)))
        yield* settle
        assert.deepStrictEqual([huge.outcome(), tiny.outcome()], ["pending", "pending"])
        yield* Fiber.interrupt(huge.fiber)
        assert.strictEqual(tiny.outcome(), "succeeded")
      })
    )
  )

  it.effect("is enlarged by a new policy at once", () =>
    inScope(
      Effect.gen(function* () {
        const { client } = yield* pair(small)
        yield* client.sendAll(three)
        const fourth = yield* begin(client.send(bytes("4")))
        const fifth = yield* begin(client.send(bytes("5")))
        yield* Effect.orDie(client.setPolicy({ backlog: { messagesMax: 4 } }))
        assert.deepStrictEqual([fourth.outcome(), fifth.outcome()], ["succeeded", "pending"])
      })
    )
  )

  it.effect("fails what waits when a new policy does not wait, or leaves no room for it ever", () =>
    inScope(
      Effect.gen(function* () {
        const { client } = yield* pair({ client: { policy: { ...steady, backlog: { bytesMax: 1000 } } } })
        yield* client.send(large(500))
        const huge = yield* begin(client.send(large(900)))
        const other = yield* begin(client.send(large(400)))
        const delivery = yield* begin(client.deliver(large(600)))
        yield* Effect.orDie(client.setPolicy({ backlog: { bytesMax: 950 } }))
        assert.strictEqual(huge.outcome(), "pending") // 900 may fit one day
        yield* Effect.orDie(client.setPolicy({ backlog: { bytesMax: 899 } }))
        assert.deepStrictEqual([huge.outcome(), other.outcome()], ["BacklogExceeded", "pending"])
        yield* Effect.orDie(client.setPolicy({ backlog: { bytesMax: 903, whenFull: "fail" } }))
        assert.deepStrictEqual([other.outcome(), delivery.outcome()], ["BacklogExceeded", "BacklogExceeded"])
      })
    )
  )

  it.effect("of a whole server is shared: what one session frees lets another one send", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network, server, theirs } = yield* pair({ server: { limits: { bytesMax: 1000 } } })
        yield* connect(network, { link: Effect.sync(network.newLink), policy: steady })
        const second = yield* flowing(server.next)
        yield* second.send(large(50))
        yield* theirs.send(large(900))
        const waiting = yield* begin(second.send(large(900)))
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(waiting.outcome(), "pending")
        yield* collect(client)
        yield* flowing(theirs.flush)
        assert.strictEqual(waiting.outcome(), "succeeded")
      })
    )
  )
})
