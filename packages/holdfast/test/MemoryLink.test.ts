import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Option } from "effect"
import * as Socket from "effect/socket/Socket"
import { Link } from "holdfast"
import * as MemoryLink from "./MemoryLink.ts"
import { settle, until } from "./TestTime.ts"

const bytes = (length: number, fill = 7) => new Uint8Array(length).fill(fill)

const connect = Effect.fnUntraced(function* (options?: MemoryLink.Options) {
  const network = yield* MemoryLink.make(options)
  const client = yield* Link.open(network.link)
  const server = yield* Link.open(yield* network.accept)
  return { network, client, server, wire: network.wire() }
})

const pulled = (opened: Link.Opened) =>
  Effect.map(opened.pull, (batch) => batch.reduce((n, chunk) => n + chunk.length, 0))
const reasonOf = (opened: Link.Opened) => Effect.map(Effect.flip(opened.pull), (error) => error.reason)

describe("MemoryLink", () => {
  it.effect("carries bytes both ways and counts them", () =>
    Effect.gen(function* () {
      const { client, server, wire } = yield* connect({ record: true })
      yield* client.write([bytes(2, 1), bytes(1, 2)])
      yield* server.write([bytes(5)])
      assert.strictEqual(yield* pulled(server), 3)
      assert.strictEqual(yield* pulled(client), 5)
      assert.deepStrictEqual(wire.toServer.recorded(), Uint8Array.of(1, 1, 2))
      assert.deepStrictEqual([wire.toServer.written(), wire.toServer.read(), wire.toServer.queued()], [3, 3, 0])
    })
  )

  it.effect("a write waits when the capacity is used up, and goes on when the far end reads", () =>
    Effect.gen(function* () {
      const { client, server, wire } = yield* connect({ capacityBytes: 10 })
      const writing = yield* Effect.forkChild(client.write([bytes(15)]))
      yield* settle
      assert.isUndefined(writing.pollUnsafe())
      assert.deepStrictEqual(client.progress?.(), { queuedBytes: 10 })
      assert.strictEqual(yield* pulled(server), 10)
      yield* Fiber.join(writing)
      assert.strictEqual(yield* pulled(server), 5)
      assert.strictEqual(wire.toServer.written(), 15)
    })
  )

  it.effect("a cut fails both ends with ECONNRESET and loses what was not read", () =>
    Effect.gen(function* () {
      const { client, server, wire } = yield* connect()
      yield* client.write([bytes(3)])
      wire.cut()
      for (const end of [client, server]) {
        const reason = yield* reasonOf(end)
        assert.deepStrictEqual([reason._tag, reason._tag === "LinkFailed" && reason.code], ["LinkFailed", "ECONNRESET"])
      }
      assert.isFalse(wire.isOpen())
    })
  )

  it.effect("an end in good order comes after what was written before it", () =>
    Effect.gen(function* () {
      const { client, server, wire } = yield* connect()
      yield* client.write([bytes(3)])
      wire.close("client")
      assert.strictEqual(yield* pulled(server), 3)
      const reason = yield* reasonOf(server)
      assert.deepStrictEqual([reason._tag, reason._tag === "LinkClosed" && reason.code], ["LinkClosed", 1000])
      yield* server.write([bytes(1)])
      assert.strictEqual(yield* pulled(client), 1)
    })
  )

  it.effect("a blackhole holds bytes back silently and delivers them when it is lifted", () =>
    Effect.gen(function* () {
      const { client, server, wire } = yield* connect()
      wire.toServer.blackhole(true)
      yield* client.write([bytes(3)])
      const reading = yield* Effect.forkChild(pulled(server))
      yield* settle
      assert.isUndefined(reading.pollUnsafe())
      wire.toServer.blackhole(false)
      assert.strictEqual(yield* Fiber.join(reading), 3)
    })
  )

  it.effect("a blackhole hides a destroyed end from its peer until the peer writes again", () =>
    Effect.gen(function* () {
      const { client, server, wire } = yield* connect()
      wire.blackhole(true)
      yield* client.destroy
      const reading = yield* Effect.forkChild(Effect.flip(server.pull))
      yield* settle
      assert.isUndefined(reading.pollUnsafe())
      wire.blackhole(false)
      yield* Effect.ignore(server.write([bytes(1)]))
      assert.strictEqual((yield* Fiber.join(reading)).reason._tag, "LinkFailed")
    })
  )

  it.effect("destroy takes back what the peer has not read", () =>
    Effect.gen(function* () {
      const { client, server } = yield* connect()
      yield* client.write([bytes(3)])
      yield* client.destroy
      assert.strictEqual((yield* reasonOf(server))._tag, "LinkFailed")
    })
  )

  it.effect("a process that closes with unread input resets its peer", () =>
    Effect.gen(function* () {
      const { client, server: link } = yield* MemoryLink.makePair()
      const opened = yield* Link.open(client)
      yield* Effect.scoped(Effect.andThen(Link.open(link), opened.write([bytes(3)])))
      const reason = yield* reasonOf(opened)
      assert.strictEqual(reason._tag === "LinkFailed" && reason.code, "ECONNRESET")
    })
  )

  it.effect("a process that closes with nothing unread ends in good order", () =>
    Effect.gen(function* () {
      const { client, server: link } = yield* MemoryLink.makePair()
      const opened = yield* Link.open(client)
      yield* Effect.scoped(Effect.flatMap(Link.open(link), (server) => server.write([bytes(2)])))
      assert.strictEqual(yield* pulled(opened), 2)
      assert.strictEqual((yield* reasonOf(opened))._tag, "LinkClosed")
    })
  )

  it.effect("a stalled process reads nothing until it goes on", () =>
    Effect.gen(function* () {
      const { client, server, wire } = yield* connect()
      wire.toServer.stall(true)
      yield* client.write([bytes(3)])
      assert.isTrue(
        Option.isNone(yield* Effect.raceFirst(Effect.option(server.pull), Effect.as(settle, Option.none())))
      )
      wire.toServer.stall(false)
      assert.strictEqual(yield* pulled(server), 3)
    })
  )

  it.effect("a cut after n bytes lets exactly n bytes through", () =>
    Effect.gen(function* () {
      const { client, server, wire } = yield* connect()
      wire.toServer.cutAfter(4)
      yield* client.write([bytes(3), bytes(3)])
      assert.strictEqual(yield* pulled(server), 4)
      assert.strictEqual((yield* reasonOf(server))._tag, "LinkFailed")
    })
  )

  it.effect("latency and rate delay bytes: 100 bytes at 1,000/s over 50 ms arrive after 150 ms", () =>
    Effect.gen(function* () {
      const { client, server: link } = yield* MemoryLink.makePair({ latency: "50 millis", bytesPerSecond: 1000 })
      const [a, b] = [yield* Link.open(client), yield* Link.open(link)]
      yield* a.write([bytes(100)])
      const reading = yield* Effect.forkChild(Effect.andThen(pulled(b), Clock.currentTimeMillis))
      yield* until(149)
      assert.isUndefined(reading.pollUnsafe())
      yield* until(150)
      assert.strictEqual(yield* Fiber.join(reading), 150)
    })
  )

  it.effect("refused dials fail, the next one connects", () =>
    Effect.gen(function* () {
      const network = yield* MemoryLink.make()
      network.refuse(1)
      const { reason } = yield* Effect.flip(Link.open(network.link))
      assert.strictEqual(reason._tag === "LinkFailed" && reason.code, "ECONNREFUSED")
      yield* Link.open(network.link)
      assert.strictEqual(network.wires.length, 1)
    })
  )

  it.effect("a server runs its handler for each connection", () =>
    Effect.gen(function* () {
      const network = yield* MemoryLink.make()
      const serving = yield* Effect.forkChild(
        network.server.run(
          Effect.fnUntraced(function* (socket) {
            const opened = yield* Link.open(socket)
            yield* opened.write(yield* opened.pull)
            return yield* Effect.never
          }, Effect.scoped)
        )
      )
      for (const length of [1, 2]) {
        const client = yield* Link.open(network.link)
        yield* client.write([bytes(length)])
        assert.strictEqual(yield* pulled(client), length)
      }
      yield* Fiber.interrupt(serving)
      assert.isFalse(network.wire().isOpen())
    })
  )

  it.effect("a plain link is no more than a Socket", () =>
    Effect.gen(function* () {
      const { client } = yield* MemoryLink.makePair({ plain: true })
      assert.deepStrictEqual([Socket.isSocket(client), Link.isLink(client)], [true, false])
    })
  )
})
