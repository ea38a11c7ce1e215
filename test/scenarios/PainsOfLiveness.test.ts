// What users of such libraries suffer from, one scenario for each pain, beside the naive way: who is alive, and who is not.
import { assert, describe, it } from "@effect/vitest"
import { Fault, type SimNetwork } from "@holdfast/testing"
import { Effect, type Scope } from "effect"
import { type PlainClient, plainClient, plainServer } from "./Plain.ts"
import {
  complete,
  connecting,
  dialsOf,
  endings,
  lastArrivalAt,
  message,
  sending,
  serving,
  simulate,
  toldOf
} from "./Sessions.ts"

const machines = ["client", "server"] as const

/** What most programs do: a timer looks every second whether something came in the last 10 s, and says when not. */
const naiveWatchdog = Effect.fnUntraced(function* (
  network: SimNetwork.SimNetwork,
  plain: PlainClient,
  eachSecond: Effect.Effect<unknown, unknown> = Effect.void
): Effect.fn.Return<{ accusedAt: number | undefined }, never, Scope.Scope> {
  const verdict = { accusedAt: undefined as number | undefined }
  const look = Effect.gen(function* () {
    while (verdict.accusedAt === undefined) {
      yield* Effect.sleep("1 second")
      if (network.now() - plain.receivedAt > 10_000) verdict.accusedAt = network.now()
      else yield* eachSecond
    }
  })
  yield* Effect.forkScoped(Effect.ignore(look))
  return verdict
})

describe("pain 1: half-open links are never noticed", () => {
  it.effect("by a plain socket that only reads: an hour, and the connection looks open", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        yield* plainServer(network, { beatMillis: 1000 })
        const plain = yield* network.host("client").run(plainClient(network))
        yield* Effect.sleep("3 seconds")
        yield* network.play([Fault.at(0, Fault.natForgets(...machines))])
        yield* Effect.sleep("1 hour")
        assert.isUndefined(plain.ended)
        assert.isAbove(network.now() - plain.receivedAt, 3_500_000)
      })
    )
  )

  it.effect("but by both ends of a session within 10 s, and the next link is up in the same second", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network)
        const client = yield* connecting(network)
        yield* sending(client, 10)
        yield* Effect.sleep("3 seconds")
        yield* network.play([Fault.at(0, Fault.natForgets(...machines))])
        const since = lastArrivalAt(network, "client")
        yield* Effect.sleep("20 seconds")
        assert.deepStrictEqual(endings(client), ["PeerSilent"])
        assert.isAtMost(toldOf(client, "Ended")[0]!.worldAt - since, 10_001)
        const reopened = toldOf(client, "Opened")[1]!
        assert.strictEqual(reopened.opened, "Resumed")
        assert.isBelow(reopened.worldAt - toldOf(client, "Ended")[0]!.worldAt, 1000)
        yield* complete(client, served, 10)
      })
    )
  )

  it.effect("and an idle one that is well lives on one link for hours", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network)
        const client = yield* connecting(network)
        yield* sending(client, 1)
        yield* Effect.sleep("3 hours")
        assert.deepStrictEqual(endings(client), [])
        assert.strictEqual(dialsOf(network).length, 1)
        yield* sending(client, 1, 0, 100, 1)
        yield* complete(client, served, 2)
      }),
      { packetsMax: 100 }
    )
  )
})

describe("pain 3: a heartbeat starves behind a big payload", () => {
  const slow = { link: { bytesPerSecond: 100_000, segmentBytesMax: 1448 } } as const
  const payloadBytes = 4_000_000

  it.effect("where it waits for the payload: a busy, healthy link is accused", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const server = yield* plainServer(network)
        const host = network.host("client")
        const plain = yield* host.run(plainClient(network))
        yield* host.run(Effect.forkScoped(Effect.ignore(plain.opened.write([new Uint8Array(payloadBytes)]))))
        yield* Effect.sleep("10 millis")
        yield* host.run(Effect.forkScoped(Effect.ignore(plain.opened.write([message(0)]))))
        const verdict = yield* host.run(naiveWatchdog(network, plain))
        yield* Effect.sleep("15 seconds")
        assert.isDefined(verdict.accusedAt)
        // Everything was well: the payload was on its way, and the ping behind it.
        assert.isUndefined(plain.ended)
        assert.isAbove(server.receivedBytes, 1_000_000)
        assert.isBelow(server.receivedBytes, payloadBytes)
      }),
      slow
    )
  )

  it.effect("and does not in a session: 4 MB each way at 100 kB/s, and nobody is accused", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network)
        const client = yield* connecting(network, { policy: { close: "10 minutes" } })
        yield* sending(client, 1, 0, payloadBytes)
        while (served.sessions.length === 0) yield* Effect.sleep("10 millis")
        yield* network.host("server").run(served.sessions[0]!.send(message(0, payloadBytes)))
        yield* client.host.run(Effect.forkScoped(Effect.ignore(client.session.handle(() => Effect.void))))
        yield* complete(client, served, 1)
        assert.isAbove(network.now(), 39_000)
        assert.strictEqual(dialsOf(network).length, 1)
      }),
      slow
    )
  )

  it.effect("though a peer that dies in the midst of it is given up within 10 s", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network)
        const client = yield* connecting(network, { policy: { close: "10 minutes" } })
        yield* sending(client, 1, 0, payloadBytes)
        yield* network.play([Fault.at("10 seconds", Fault.natForgets(...machines))])
        yield* Effect.sleep("10 seconds")
        const since = lastArrivalAt(network, "client")
        assert.deepStrictEqual(endings(client), [])
        yield* Effect.sleep("11 seconds")
        assert.strictEqual(endings(client).length, 1)
        assert.isAtMost(toldOf(client, "Ended")[0]!.worldAt - since, 10_001)
        yield* complete(client, served, 1)
      }),
      slow
    )
  )
})

describe("pain 4: the watchdog itself is defeated", () => {
  it.effect("where it writes its ping itself: the write never ends, and neither does its patience", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        yield* plainServer(network)
        const host = network.host("client")
        const plain = yield* host.run(plainClient(network))
        yield* network.inflict(Fault.freeze("server"))
        yield* host.run(Effect.forkScoped(Effect.ignore(plain.opened.write([new Uint8Array(8_000_000)]))))
        const verdict = yield* host.run(naiveWatchdog(network, plain, plain.opened.write([message(0)])))
        yield* Effect.sleep("10 minutes")
        assert.isUndefined(verdict.accusedAt)
      })
    )
  )

  it.effect("but not in a session: 8 MB stuck in its writes, and the frozen peer is given up within 10 s", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network)
        const client = yield* connecting(network)
        yield* client.host.run(client.session.deliver(message(0)))
        yield* network.play([Fault.at(0, Fault.freeze("server"), { for: "1 minute" })])
        const since = network.now()
        yield* sending(client, 80, 0, 100_000, 1)
        yield* Effect.sleep("11 seconds")
        assert.strictEqual(endings(client).length, 1)
        assert.isAtMost(toldOf(client, "Ended")[0]!.worldAt - since, 10_001)
        yield* Effect.sleep("1 minute")
        yield* complete(client, served, 81)
      })
    )
  )

  it.effect("nor gives it up a peer that reads them slowly, for as long as it takes", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network)
        const client = yield* connecting(network, { policy: { close: "10 minutes" } })
        yield* network.play([Fault.at(0, Fault.slowReader("server", 200_000), { for: "1 minute" })])
        yield* sending(client, 80, 0, 100_000)
        yield* complete(client, served, 80)
        assert.isAbove(network.now(), 35_000)
        assert.strictEqual(dialsOf(network).length, 1)
      }),
      { link: { segmentBytesMax: 32_768 } }
    )
  )

  it.effect("nor by what we send ourselves: a busy writer notices a silent peer as soon as an idle one", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        yield* serving(network)
        const client = yield* connecting(network)
        yield* client.host.run(client.session.deliver(message(0)))
        yield* network.inflict(Fault.oneWay("server", "client"))
        const since = lastArrivalAt(network, "client")
        yield* client.host.run(Effect.forkScoped(Effect.ignore(sending(client, 10_000, 10, 100, 1))))
        yield* Effect.sleep("11 seconds")
        assert.isAtMost(toldOf(client, "Ended")[0]!.worldAt - since, 10_001)
      })
    )
  )
})

describe("pain 8: a laptop that slept for 8 hours", () => {
  it.effect("believes in its connection for as long as its timers say, which stood still", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        yield* plainServer(network, { beatMillis: 1000 })
        const host = network.host("client")
        const plain = yield* host.run(plainClient(network))
        yield* Effect.sleep("3 seconds")
        yield* network.play([
          Fault.at(0, Fault.suspend("client"), { for: "8 hours" }),
          Fault.at("1 hour", Fault.natForgets(...machines))
        ])
        yield* Effect.sleep("8 hours")
        yield* Effect.sleep("1 hour")
        assert.isUndefined(plain.ended)
      })
    )
  )

  it.effect("asks within a second of waking, resumes within its policy's bound, and has lost nothing", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network, { limits: { resumeWindow: "1 day" } })
        const client = yield* connecting(network)
        yield* sending(client, 10)
        yield* Effect.sleep("3 seconds")
        // A NAT on its way forgets it, so nobody tells it that the server has given it up.
        yield* network.play([
          Fault.at(0, Fault.suspend("client"), { for: "8 hours" }),
          Fault.at("1 hour", Fault.natForgets(...machines))
        ])
        yield* Effect.sleep("8 hours")
        const wokeAt = network.now()
        yield* sending(client, 10, 0, 100, 10)
        yield* Effect.sleep("20 seconds")
        const [asked] = toldOf(client, "Asked").filter(({ worldAt }) => worldAt >= wokeAt)
        assert.isAtMost(asked!.worldAt - wokeAt, 1000)
        const [, reopened] = toldOf(client, "Opened")
        assert.strictEqual(reopened?.opened, "Resumed")
        assert.isAtMost(reopened!.worldAt - wokeAt, 11_000)
        yield* complete(client, served, 20)
      })
    )
  )

  it.effect("does not give up a link that lived through a nap of 2 s", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network)
        const client = yield* connecting(network)
        yield* network.play([Fault.at("3 seconds", Fault.suspend("client"), { for: "2 seconds" })])
        yield* sending(client, 100, 100)
        yield* complete(client, served, 100)
        assert.strictEqual(toldOf(client, "Opened").length, 1)
      })
    )
  )
})

describe("pain 9: false deaths after an event-loop stall", () => {
  for (const seconds of [5, 10, 60]) {
    it.effect(
      `of ${seconds} s befall ${seconds >= 10 ? "whoever looks at the clock before the socket" : "nobody"}`,
      () =>
        simulate(
          Effect.fnUntraced(function* (network) {
            yield* plainServer(network, { beatMillis: 1000 })
            const host = network.host("client")
            const plain = yield* host.run(plainClient(network))
            const verdict = yield* host.run(naiveWatchdog(network, plain))
            yield* network.play([Fault.at("3.5 seconds", Fault.blockedLoop("client"), { for: `${seconds} seconds` })])
            yield* Effect.sleep("2 minutes")
            assert.strictEqual(verdict.accusedAt !== undefined, seconds >= 10)
          })
        )
    )
  }

  for (const seconds of [5, 10, 60]) {
    for (const stalled of machines) {
      it.effect(`of ${seconds} s on the ${stalled} accuse nobody before reading and asking, and nothing is lost`, () =>
        simulate(
          Effect.fnUntraced(function* (network) {
            const served = yield* serving(network)
            const client = yield* connecting(network)
            yield* network.play([Fault.at("3 seconds", Fault.blockedLoop(stalled), { for: `${seconds} seconds` })])
            const until = 3000 + seconds * 1000
            yield* sending(client, 300, 200)
            yield* complete(client, served, 300)
            const accused = new Set(["PeerSilent", "WriteStuck"])
            const byClient = toldOf(client, "Ended").filter(({ error }) => accused.has(error.reason._tag))
            const byServer = served.events.filter(
              (event) => event._tag === "LinkEnded" && accused.has(event.error.reason._tag)
            )
            // Whoever stood still accuses nobody; the other one may, once its own patience is over, and then both resume.
            assert.deepStrictEqual(stalled === "client" ? byClient : byServer, [])
            const others = stalled === "client" ? byServer : byClient
            assert.isAtMost(others.length, seconds < 10 ? 0 : 1)
            for (const { worldAt } of others) assert.isBelow(worldAt, until + 1000)
            assert.isAtMost(dialsOf(network, "client").length, 1 + Math.ceil(seconds / 10))
          })
        )
      )
    }
  }
})

describe("close behind: a handler blocks the replies that keep a link alive", () => {
  it.effect("where one fiber reads, works and answers: a minute of work is a death", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        yield* plainServer(network, {
          received: (_, { write }) => Effect.andThen(Effect.sleep("1 minute"), write([message(0, 4)]))
        })
        const host = network.host("client")
        const plain = yield* host.run(plainClient(network))
        yield* host.run(plain.opened.write([message(0)]))
        const verdict = yield* host.run(naiveWatchdog(network, plain, plain.opened.write([message(1)])))
        yield* Effect.sleep("15 seconds")
        assert.isDefined(verdict.accusedAt)
      })
    )
  )

  it.effect("but not in a session: ten minutes for one message, one link, no question unanswered", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network, { taking: () => Effect.sleep("10 minutes") })
        const client = yield* connecting(network)
        yield* client.host.run(client.session.deliver(message(0)))
        assert.deepStrictEqual(served.taken, [0])
        assert.deepStrictEqual(endings(client), [])
        assert.isAbove(network.now(), 600_000)
      })
    )
  )
})
