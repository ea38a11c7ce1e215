import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Fiber, Option, Random, Stream } from "effect"
import { TestClock } from "effect/testing"
import type { Session } from "holdfast"
import { Presets } from "holdfast"
import * as MemoryLink from "./MemoryLink.ts"
import { below, type Ends, inScope, large, now, pair, pairOf, serveOf, steady, upOf } from "./SessionPair.ts"
import { Large } from "./SessionSchemas.ts"
import { bytes, collect, connect, flowing, Plain, settle } from "./SessionTesting.ts"
import { unsteady } from "./TestTime.ts"

/** What happens to a session from now on. */
const watch = Effect.fnUntraced(function* (session: Ends) {
  const events: Array<Session.SessionEvent> = []
  yield* session.events.pipe(
    Stream.runForEach((event) => Effect.sync(() => events.push(event))),
    Effect.forkChild({ startImmediately: true })
  )
  const reasons = () => events.flatMap((event) => (event._tag === "Ended" ? [[event.error.reason._tag, event.at]] : []))
  return { events, reasons }
})

/** Up, with a last sign of life at this very instant. */
const fresh = Effect.fnUntraced(function* (client: Ends) {
  yield* TestClock.adjust("1 second")
  yield* client.wake
  yield* settle
  return yield* now
})

describe("A peer that is gone", () => {
  it.effect("is noticed at exactly the instant that the policy says, and one millisecond before it is not", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network } = yield* pair()
        const start = yield* fresh(client)
        const { events, reasons } = yield* watch(client)
        network.wire().blackhole(true)
        yield* TestClock.adjust("9999 millis")
        yield* settle
        assert.strictEqual((yield* upOf(client)).incarnation, 1)
        assert.deepStrictEqual(
          events.map(({ _tag, at }) => [_tag, at - start]),
          [["Asked", 5000]]
        )
        yield* TestClock.adjust("1 millis")
        yield* settle
        assert.deepStrictEqual(reasons(), [["PeerSilent", start + 10_000]])
        yield* TestClock.adjust("1 second")
        yield* settle
        assert.strictEqual((yield* upOf(client)).opened, "Resumed")
      })
    )
  )

  it.effect("is noticed at that instant although a write is stuck", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network, theirs } = yield* pair({ network: { capacityBytes: 1024 } })
        const start = yield* fresh(client)
        const { reasons } = yield* watch(client)
        network.wire().blackhole(true)
        yield* TestClock.adjust("1 second")
        yield* client.send(large(1_000_000))
        yield* TestClock.adjust("8999 millis")
        yield* settle
        assert.deepStrictEqual(reasons(), [])
        assert.strictEqual(network.wire().toServer.queued(), 1024) // it is stuck
        yield* TestClock.adjust("1 millis")
        yield* settle
        assert.deepStrictEqual(reasons(), [["PeerSilent", start + 10_000]])
        const { received } = yield* collect(theirs)
        yield* flowing(client.flush, "100 millis")
        assert.strictEqual(received.length, 1)
      })
    )
  )

  it.effect("is given another policy's time when that replaces the one in force", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network } = yield* pair()
        const start = yield* fresh(client)
        const { reasons } = yield* watch(client)
        network.wire().blackhole(true)
        yield* TestClock.adjust("3 seconds")
        yield* Effect.orDie(client.setPolicy({ silence: Presets.openVSwitch("2 seconds") }))
        yield* TestClock.adjust("1999 millis")
        assert.deepStrictEqual(reasons(), [])
        yield* TestClock.adjust("1 millis")
        yield* settle
        assert.deepStrictEqual(reasons(), [["PeerSilent", start + 5000]])
      })
    )
  )
})

describe("A peer that is slow", () => {
  const deafServer = { policy: { silence: "Infinity" } } as const

  it.effect("and beats is not given up for hours; it is shown as stalled, and moves on", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network, theirs } = yield* pair({ server: deafServer })
        const start = yield* fresh(client)
        const { events, reasons } = yield* watch(client)
        network.wire().toServer.stall(true) // its process does not read
        yield* client.send(large(200_000))
        yield* TestClock.adjust("4999 millis")
        yield* settle
        assert.deepStrictEqual((yield* upOf(client)).stalledSince, Option.none())
        yield* TestClock.adjust("1 millis")
        yield* settle
        assert.deepStrictEqual((yield* upOf(client)).stalledSince, Option.some(start))
        yield* TestClock.adjust("3 hours")
        assert.deepStrictEqual(reasons(), [])
        const { received } = yield* collect(theirs)
        network.wire().toServer.stall(false)
        yield* flowing(client.flush)
        assert.strictEqual(received.length, 1)
        assert.deepStrictEqual((yield* upOf(client)).stalledSince, Option.none())
        const moved = events.find(({ _tag }) => _tag === "Moved")
        assert.isTrue(moved?._tag === "Moved" && Duration.toMillis(moved.stalledFor) >= 3 * 3_600_000)
        assert.strictEqual(network.wires.length, 1)
      })
    )
  )

  it.effect("is given up where stalledLimit says so, at that instant, and the session is resumed", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network } = yield* pair({
          server: deafServer,
          client: { policy: { stalledLimit: "30 seconds" } }
        })
        const start = yield* fresh(client)
        const { reasons } = yield* watch(client)
        network.wire().toServer.stall(true)
        yield* client.send(large(200_000))
        yield* TestClock.adjust("29999 millis")
        yield* settle
        assert.deepStrictEqual(reasons(), [])
        yield* TestClock.adjust("1 millis")
        yield* settle
        assert.deepStrictEqual(reasons(), [["Stalled", start + 30_000]])
        yield* TestClock.adjust("1 second")
        yield* settle
        assert.strictEqual((yield* upOf(client)).opened, "Resumed")
      })
    )
  )

  it.effect("because its link is, sends one message for a minute, and neither side is given up", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network, theirs } = yield* pairOf(Large)({
          network: { bytesPerSecond: 1_000_000 },
          client: { policy: { backlog: { bytesMax: 100_000_000 } } }
        })
        const { events } = yield* watch(client)
        const start = yield* now
        yield* Effect.forkChild(theirs.handle(() => Effect.void))
        yield* flowing(client.deliver(large(60_000_000)), "20 millis")
        assert.isAtLeast((yield* now) - start, 60_000)
        assert.deepStrictEqual([events, network.wires.length], [[], 1])
      })
    )
  )
})

describe("An event loop that was blocked", () => {
  /** A client whose process is blocked: no timer fires and nothing is read; its peer waits for it. */
  const blocked = Effect.fnUntraced(function* (from: number, to: number) {
    const network = yield* MemoryLink.make()
    yield* serveOf(Plain)(network, { policy: { silence: "Infinity" } })
    const { clock } = yield* unsteady([from, to])
    const client = yield* connect(network, { policy: steady }).pipe(Effect.provideService(Clock.Clock, clock))
    yield* settle
    const { events, reasons } = yield* watch(client)
    yield* TestClock.adjust(from)
    yield* settle
    network.wire().toClient.stall(true)
    return { client, network, events, reasons }
  })

  it.effect("gives up nobody: it reads what was waiting first", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network, reasons } = yield* blocked(4000, 24_000)
        yield* TestClock.adjust("19999 millis")
        network.wire().toClient.stall(false)
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual([reasons(), (yield* upOf(client)).incarnation], [[], 1])
      })
    )
  )

  it.effect("gives up a peer that is gone one delay later", () =>
    inScope(
      Effect.gen(function* () {
        const { events, network, reasons } = yield* blocked(4000, 24_000)
        network.wire().toServer.blackhole(true)
        yield* TestClock.adjust("29999 millis")
        yield* settle
        assert.deepStrictEqual(reasons(), [])
        yield* TestClock.adjust("2501 millis") // its last heartbeat came at 2.5 s, and the rest is not on a grid
        yield* settle
        const asked = events.filter(({ _tag }) => _tag === "Asked").map(({ at }) => at)
        assert.deepStrictEqual([asked.slice(0, 2), reasons()], [[24_000, 29_000], [["PeerSilent", 34_000]]])
      })
    )
  )
})

describe("A probe", () => {
  it.effect("measures the round trip, and wake sends one now", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network } = yield* pair({ network: { latency: "50 millis" } })
        yield* flowing(Effect.sleep("1 second"), "10 millis")
        const before = network.wire().toServer.written()
        yield* client.wake
        yield* settle
        assert.strictEqual(network.wire().toServer.written() - before, 3)
        yield* flowing(Effect.sleep("200 millis"), "10 millis")
        assert.deepStrictEqual((yield* upOf(client)).roundTripTime, Option.some(Duration.millis(100)))
      })
    )
  )

  it.effect("is answered by a peer that never beats, so that nobody is given up", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network } = yield* pair({ server: { policy: { heartbeat: "Infinity" } } })
        const { events } = yield* watch(client)
        yield* TestClock.adjust("1 minute")
        assert.isAtLeast(events.length, 10)
        assert.isTrue(events.every(({ _tag }) => _tag === "Asked"))
        assert.strictEqual(network.wires.length, 1)
      })
    )
  )
})

describe("A last word", () => {
  it.effect("never lands inside of a frame that is being written, however little the link takes", () =>
    inScope(
      Effect.gen(function* () {
        for (let capacityBytes = 64; capacityBytes < 96; capacityBytes++) {
          const { client, theirs } = yield* pair({ network: { capacityBytes, bytesPerSecond: 10_000 } })
          const sent = large(500 + (yield* below(500)), 0x31)
          yield* theirs.send(sent)
          const received: Array<Uint8Array> = []
          const consuming = yield* client.messages.pipe(
            Stream.runForEach((message) => Effect.sync(() => received.push(message))),
            Effect.exit,
            Effect.forkChild
          )
          yield* flowing(Effect.sleep(1 + (yield* below(40))), "1 millis")
          const handling = theirs.handle(() => Effect.fail("no"), { onFailure: "end" })
          yield* client.send(bytes("x"))
          yield* flowing(Effect.exit(handling), "1 millis")
          yield* flowing(Fiber.join(consuming), "1 millis")
          const end = yield* Effect.flip(client.join)
          assert.strictEqual(end.reason._tag, "EndedByPeer", `${capacityBytes}`)
          for (const message of received) assert.deepStrictEqual(message, sent)
        }
      })
    ).pipe(Random.withSeed("last word"))
  )
})
