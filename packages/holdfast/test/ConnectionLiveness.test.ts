import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Option, Schedule, Stream } from "effect"
import { ConnectionError, type Link, Presets } from "holdfast"
import {
  collected,
  connected,
  dialling,
  eventsOf,
  type Line,
  numbered,
  peerOf,
  tagOf,
  upOf
} from "./ConnectionTesting.ts"
import { inScope } from "./SessionPair.ts"
import { settle, until } from "./TestTime.ts"

/** The reasons for which incarnations ended, and when. */
const endsOf = Effect.fnUntraced(function* (connection: Line) {
  const events = yield* eventsOf(connection)
  return () => events.flatMap((event) => (event._tag === "Ended" ? [[event.at, event.error.reason._tag]] : []))
})

describe("a peer that is silent", () => {
  it.effect("is asked by the dialect's ping after 5 s and given up after 10 s", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, peer } = yield* connected({ peer: { answers: false } })
        const ends = yield* endsOf(connection)
        yield* until(4999)
        assert.deepStrictEqual(peer.heard, [])
        yield* until(5000)
        assert.deepStrictEqual(peer.heard, ["PING"])
        yield* until(9999)
        assert.deepStrictEqual(ends(), [])
        yield* until(10_000)
        assert.deepStrictEqual(ends(), [[10_000, "PeerSilent"]])
      })
    )
  )

  it.effect("but answers is left alone for ever, and its round trip is known", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, network } = yield* dialling({ network: { latency: "30 millis" } })
        const ends = yield* endsOf(connection)
        const accepted = yield* Effect.forkScoped(Effect.flatMap(network.accept, peerOf))
        yield* until(600_000)
        assert.deepStrictEqual(ends(), [])
        assert.isAbove((yield* Fiber.join(accepted)).heard.length, 100)
        const { roundTripTime } = yield* upOf(connection)
        assert.strictEqual(Option.getOrThrow(Option.map(roundTripTime, Duration.toMillis)), 60)
      })
    )
  )

  it.effect("is never accused where the dialect cannot ask", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, peer } = yield* connected({ mute: true })
        const ends = yield* endsOf(connection)
        yield* until(Duration.toMillis("6 hours"))
        assert.deepStrictEqual([ends(), peer.heard], [[], []])
      })
    )
  )

  it.effect("is asked at once when we are told that the network is back", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, peer } = yield* connected()
        yield* until(1000)
        yield* connection.wake
        yield* settle
        assert.deepStrictEqual(peer.heard, ["PING"])
      })
    )
  )

  it.effect("gets heartbeats where the policy sets them, unless we say something else", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, peer } = yield* connected({
          fateUnknown: "drop",
          policy: { heartbeat: "3 seconds", silence: "Infinity" }
        })
        yield* until(2000)
        yield* connection.send("x")
        yield* until(4999)
        assert.deepStrictEqual(peer.heard, ["x"])
        yield* until(8000)
        assert.deepStrictEqual(peer.heard, ["x", "PING", "PING"])
      })
    )
  )

  it.effect("may ask itself, and is answered although nobody consumes", () =>
    inScope(
      Effect.gen(function* () {
        const { peer } = yield* connected()
        yield* peer.say("a", "PING", "b", "PING")
        yield* settle
        assert.deepStrictEqual(peer.heard, ["PONG", "PONG"])
      })
    )
  )

  it.effect("that asks for ever and reads nothing is given up before its answers fill the memory", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, network } = yield* dialling({ network: { capacityBytes: 200_000 } })
        const ends = yield* endsOf(connection)
        const peer = yield* peerOf(yield* network.accept, { reads: false })
        for (let i = 0; i < 10; i++) {
          yield* peer.say(...Array.from({ length: 10_000 }, () => "PING")).pipe(Effect.ignore)
          yield* settle
        }
        assert.deepStrictEqual(
          ends().map(([, reason]) => reason),
          ["BacklogExceeded"]
        )
      })
    )
  )
})

describe("a peer that does not read", () => {
  it.effect("and is silent ends the incarnation at the end of `stall`, 30 s where nobody can be asked", () =>
    inScope(
      Effect.gen(function* () {
        const { connection } = yield* connected({ mute: true, network: { capacityBytes: 10 }, peer: { reads: false } })
        const ends = yield* endsOf(connection)
        yield* until(1000)
        yield* connection.send("longer than that")
        yield* until(30_999)
        assert.deepStrictEqual(ends(), [])
        assert.strictEqual(Option.getOrUndefined((yield* upOf(connection)).stalledSince), 1000)
        yield* until(31_000)
        assert.deepStrictEqual(ends(), [[31_000, "WriteStuck"]])
      })
    )
  )

  it.effect("but gives signs of life is stalled, and only `stalledLimit` ends it", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, peer } = yield* connected({
          mute: true,
          network: { capacityBytes: 10 },
          peer: { reads: false },
          policy: { stall: "5 seconds", stalledLimit: "1 minute" }
        })
        const ends = yield* endsOf(connection)
        yield* collected(connection.messages)
        yield* Effect.forkScoped(Effect.repeat(Effect.ignore(peer.say("alive")), Schedule.spaced("1 second")))
        yield* connection.send("longer than that")
        yield* until(59_999)
        assert.deepStrictEqual(ends(), [])
        yield* until(60_000)
        assert.deepStrictEqual(ends(), [[60_000, "Stalled"]])
      })
    )
  )

  it.effect("and reads again is told as moved", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, peer } = yield* connected({
          mute: true,
          network: { capacityBytes: 10 },
          peer: { reads: false },
          policy: { stall: Presets.openVSwitch("5 seconds") }
        })
        const events = yield* eventsOf(connection)
        yield* connection.send("longer than that")
        yield* until(6000)
        yield* peer.read
        yield* until(20_000)
        const tags = events
          .map(({ _tag }) => _tag)
          .filter((tag) => tag === "Stalled" || tag === "Moved" || tag === "Ended")
        assert.deepStrictEqual(tags, ["Stalled", "Moved"])
      })
    )
  )

  it.effect("does not keep a large message from moving piece by piece", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, peer } = yield* connected({
          mute: true,
          network: { plain: true, bytesPerSecond: 5_000 }
        })
        const ends = yield* endsOf(connection)
        yield* connection.send("x".repeat(900_000))
        yield* until(200_000)
        assert.deepStrictEqual(ends(), [])
        assert.strictEqual(peer.heard[0]?.length, 900_000)
      })
    )
  )
})

describe("our own slow consumer", () => {
  const readAheadBytesMax = 10_000
  const line = "x".repeat(999) // and a line break

  const slow = Effect.fnUntraced(function* (progress?: () => Link.Progress) {
    const setup = yield* connected({
      progress,
      readAheadBytesMax,
      network: { capacityBytes: 1000 },
      policy: { stalledLimit: "Infinity" }
    })
    const ends = yield* endsOf(setup.connection)
    const saying = yield* Effect.forkScoped(setup.peer.say(...Array.from({ length: 50 }, () => line)))
    yield* settle
    return { ...setup, ends, saying }
  })

  it.effect("costs bounded memory and makes the peer wait, and the state says since when", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, network, saying } = yield* slow()
        const read = network.wire().toClient.read()
        assert.isTrue(read >= readAheadBytesMax && read <= readAheadBytesMax + 1000, `${read} bytes were read ahead`)
        assert.isUndefined(saying.pollUnsafe())
        assert.strictEqual(Option.getOrUndefined((yield* upOf(connection)).consumerSlowSince), 0)
        const all = yield* connection.messages.pipe(Stream.take(50), Stream.runCollect)
        assert.strictEqual(all.length, 50)
        yield* collected(connection.messages)
        assert.isTrue(Option.isNone((yield* upOf(connection)).consumerSlowSince))
      })
    )
  )

  it.effect("makes nobody look dead: the clock of silence stands still for hours", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, ends, peer } = yield* slow()
        yield* until(Duration.toMillis("3 hours"))
        assert.deepStrictEqual([ends(), peer.heard], [[], []])
        const all = yield* connection.messages.pipe(Stream.take(50), Stream.runCollect)
        assert.strictEqual(all.length, 50)
      })
    )
  )

  it.effect("hides a peer that died meanwhile only until it reads: then it is asked, and given up in time", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, ends, network } = yield* slow()
        network.wire().blackhole(true)
        yield* until(3_600_000)
        assert.deepStrictEqual(ends(), [])
        yield* collected(connection.messages)
        const events = yield* eventsOf(connection)
        yield* until(3_604_999)
        assert.isFalse(events.some(({ _tag }) => _tag === "Asked"))
        yield* until(3_605_000)
        assert.isTrue(events.some(({ _tag }) => _tag === "Asked"))
        yield* until(3_609_999)
        assert.deepStrictEqual(ends(), [])
        yield* until(3_610_000)
        assert.deepStrictEqual(ends(), [[3_610_000, "PeerSilent"]])
      })
    )
  )

  for (const unanswered of [2, 1]) {
    const how = unanswered === 2 ? "does not hide a peer that died from" : "is not taken for a dead peer by"
    it.effect(`${how} the kernel's figures: something of ours is outstanding, and ${unanswered} unanswered`, () =>
      inScope(
        Effect.gen(function* () {
          let sentBytes = 0
          const { connection, ends, network } = yield* slow(() => ({
            source: "kernel",
            queuedBytes: 0,
            unacknowledgedBytes: sentBytes,
            acknowledgedBytes: 1,
            acknowledgedAgoMillis: 3_600_000,
            unanswered: sentBytes === 0 ? 0 : unanswered
          }))
          network.wire().blackhole(true)
          yield* until(3_600_000)
          sentBytes = 5
          yield* connection.send("hello")
          yield* until(3_609_999)
          assert.deepStrictEqual(ends(), [])
          yield* until(3_610_000)
          const isDead = unanswered === 2
          assert.deepStrictEqual(ends(), isDead ? [[3_610_000, "WriteStuck"]] : [])
          if (!isDead) assert.isTrue(Option.isSome((yield* upOf(connection)).stalledSince))
        })
      )
    )
  }

  it.effect("does not stop what we send, nor make the peer stuck that waits for us", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, ends, peer } = yield* slow()
        yield* peer.freeze // it waits until we read, as a program with one thread does
        yield* connection.sendAll(Array.from({ length: 20 }, () => line))
        yield* until(600_000)
        assert.deepStrictEqual(ends(), [])
        yield* collected(connection.messages)
        yield* peer.read
        yield* until(601_000)
        assert.strictEqual(peer.messages().length, 20)
      })
    )
  )

  it.effect("hides the end of the link until it reads, and still gets what was read before", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, ends, network } = yield* slow()
        network.wire().cut()
        yield* until(1000)
        assert.deepStrictEqual(ends(), [])
        const { all } = yield* collected(connection.messages)
        yield* until(2000)
        assert.deepStrictEqual(ends(), [[1000, "LinkFailed"]])
        const second = yield* peerOf(yield* network.accept)
        yield* second.say("from the second")
        yield* settle
        assert.isAtLeast(all.length, 10)
        assert.strictEqual(all.at(-1), "from the second")
      })
    )
  )
})

describe("whoever judges", () => {
  it.effect("destroys the link before the next one is dialled, and says why", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, network } = yield* connected({ peer: { answers: false } })
        yield* until(10_000)
        assert.isFalse(network.wire().isOpen())
        const state = yield* connection.state
        assert.isTrue(state._tag === "Waiting" && state.error.reason._tag === "PeerSilent" && state.retryAt === 11_000)
        assert.deepStrictEqual(state._tag === "Waiting" ? Duration.toMillis(state.error.upFor) : undefined, 10_000)
      })
    )
  )

  it.effect("is not stopped by a write that never ends", () =>
    inScope(
      Effect.gen(function* () {
        const { connection } = yield* connected({ network: { capacityBytes: 5 }, peer: { reads: false } })
        const ends = yield* endsOf(connection)
        yield* connection.send("longer than that")
        yield* until(10_000)
        assert.deepStrictEqual(ends()[0]?.[0], 10_000)
      })
    )
  )

  it.effect("may be a detector of the user's, or the user", () =>
    inScope(
      Effect.gen(function* () {
        const fired = new ConnectionError.DetectorFired({ detector: "disk", detail: "full" })
        const { connection, network } = yield* connected({
          detectors: [() => Effect.delay(Effect.fail(ConnectionError.make(fired)), "3 seconds")]
        })
        const ends = yield* endsOf(connection)
        yield* until(3000)
        assert.deepStrictEqual(ends(), [[3000, "DetectorFired"]])
        yield* until(4000)
        yield* peerOf(yield* network.accept)
        yield* settle
        yield* connection.giveUp(fired)
        yield* settle
        assert.deepStrictEqual(ends()[1], [4000, "DetectorFired"])
      })
    )
  )

  it.effect("follows a policy that is replaced while up", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, peer } = yield* connected({ peer: { answers: false } })
        const ends = yield* endsOf(connection)
        yield* until(3000)
        yield* connection.setPolicy({ silence: Presets.openVSwitch("2 seconds") })
        yield* settle
        assert.deepStrictEqual(peer.heard, ["PING"])
        yield* until(4999)
        assert.deepStrictEqual(ends(), [])
        yield* until(5000)
        assert.deepStrictEqual(ends(), [[5000, "PeerSilent"]])
      })
    )
  )

  it.effect("gives up for good when `reconnect` is done, and everything settles", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, network } = yield* dialling({ policy: { reconnect: Presets.signalRReconnect } })
        network.refuse(Infinity)
        yield* connection.sendAll(numbered(2))
        const joined = yield* Effect.forkScoped(tagOf(connection.join))
        yield* until(41_999)
        assert.isUndefined(joined.pollUnsafe())
        yield* until(42_000)
        assert.deepStrictEqual(yield* joined.pollUnsafe()!, "RetriesExhausted")
        assert.deepStrictEqual(yield* connection.leftovers, { fateUnknown: [], notSent: numbered(2) })
      })
    )
  )
})
