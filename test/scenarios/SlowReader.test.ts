// Lesson 1, zrepl's variable receive rate: a receiver that stalls for 10 s and goes on sending heartbeats is slow, not dead.
import { assert, describe, it } from "@effect/vitest"
import { Fault, type SimNetwork } from "@holdfast/testing"
import { Duration, Effect, Option } from "effect"
import { plainClient, plainServer } from "./Plain.ts"
import {
  type Client,
  complete,
  connecting,
  endings,
  lastArrivalAt,
  sending,
  serving,
  simulate,
  toldOf
} from "./Sessions.ts"

const stall = Fault.slowReader("server", 0)
const loopback = { link: { segmentBytesMax: 32_768, latency: "50 micros", bytesPerSecond: 50_000_000 } } as const
const slower = { link: { ...loopback.link, bytesPerSecond: 5_000_000 } } as const

/** zrepl's figures. A server that does not read for long must not blame its client for that. */
const policy = { heartbeat: "1 second" } as const
const serverPolicy = { ...policy, silence: "Infinity" } as const
const limits = { windowBytes: 64 * 1024 * 1024, frame: "Infinity" } as const

const isStalled = ({ host, session }: Client) =>
  Effect.map(host.run(session.state), (state) => state._tag === "Up" && Option.isSome(state.stalledSince))

/** Sends for ever; whatever is accepted must arrive. */
const flooding = (client: Client) => client.host.run(Effect.forkScoped(Effect.ignore(sending(client, 1e9, 1, 32_768))))

const session = Effect.fnUntraced(function* (
  network: SimNetwork.SimNetwork,
  more: Parameters<typeof connecting>[1] = {}
) {
  const served = yield* serving(network, { policy: serverPolicy, limits })
  const client = yield* connecting(network, { ...more, policy: { ...policy, ...more.policy } })
  yield* flooding(client)
  yield* Effect.sleep("2 seconds")
  return { client, served }
})

describe("zrepl: variable receive rate", () => {
  it.effect("breaks a write deadline of 5 s: it kills a peer whose last heartbeat came within the second", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        yield* plainServer(network, { beatMillis: 1000 })
        yield* network.play([Fault.at("2 seconds", stall, { for: "10 seconds" })])
        const plain = yield* network.host("client").run(plainClient(network))
        const error = yield* network
          .host("client")
          .run(
            Effect.flip(
              Effect.forever(
                Effect.andThen(
                  Effect.timeout(plain.opened.write([new Uint8Array(65_536)]), "5 seconds"),
                  Effect.sleep(1)
                )
              )
            )
          )
        assert.strictEqual((error as { readonly _tag: string })._tag, "TimeoutError")
        assert.isBelow(network.now(), 12_000)
        assert.isAtMost(network.now() - plain.receivedAt, 1000)
        assert.isUndefined(plain.ended)
      }),
      loopback
    )
  )

  it.effect(
    "is called stalled by a session 5 s after the last progress, and moves again within a second of the reader",
    () =>
      simulate(
        Effect.fnUntraced(function* (network) {
          const { client } = yield* session(network)
          const stalledAt = network.now()
          yield* network.play([Fault.at(0, stall, { for: "10 seconds" })])
          yield* Effect.sleep("4.9 seconds")
          assert.isFalse(yield* isStalled(client))
          yield* Effect.sleep("200 millis")
          assert.isTrue(yield* isStalled(client))
          yield* Effect.sleep("6 seconds")
          assert.isFalse(yield* isStalled(client))
          assert.deepStrictEqual(endings(client), [])
          const [moved, ...more] = toldOf(client, "Moved")
          assert.deepStrictEqual(more, [])
          assert.isAtLeast(moved!.worldAt, stalledAt + 10_000)
          assert.isAtMost(moved!.worldAt, stalledAt + 11_000)
        }),
        slower
      )
  )

  it.effect("is visible for an hour when the peer beats and never reads, and nobody is killed", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const { client } = yield* session(network)
        yield* network.inflict(stall)
        yield* Effect.sleep("1 hour")
        assert.isTrue(yield* isStalled(client))
        assert.deepStrictEqual(endings(client), [])
        assert.isAtMost(network.now() - lastArrivalAt(network, "client"), 1001)
      }),
      slower
    )
  )

  it.effect("ends such a peer at `stalledLimit`, 30 s after the last progress, and not before", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const { client } = yield* session(network, { policy: { stalledLimit: "30 seconds" } })
        const since = network.now()
        yield* network.inflict(stall)
        yield* Effect.sleep("29.9 seconds")
        assert.deepStrictEqual(endings(client), [])
        yield* Effect.sleep("200 millis")
        assert.deepStrictEqual(endings(client), ["Stalled"])
        const [ended] = toldOf(client, "Ended")
        const { reason } = ended!.error
        assert(reason._tag === "Stalled")
        assert.closeTo(Duration.toMillis(reason.missingFor), 30_000, 1)
        assert.closeTo(ended!.worldAt - since, 30_000, 100)
        assert.isAbove(reason.outstandingBytes, 0)
      }),
      slower
    )
  )

  it.effect("is not even called stalled when it reads 100 kB/s, which looks the same to a write deadline", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const { client } = yield* session(network)
        yield* network.inflict(Fault.slowReader("server", 100_000))
        yield* Effect.sleep("1 minute")
        assert.deepStrictEqual(toldOf(client, "Stalled"), [])
        assert.deepStrictEqual(endings(client), [])
      }),
      slower
    )
  )

  it.effect("is called slow and not stalled when it is its application that takes 10 s for each message", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network, { taking: () => Effect.sleep("10 seconds") })
        const client = yield* connecting(network, { policy: { ...policy, close: "5 minutes" } })
        yield* sending(client, 20, 0, 300_000)
        yield* Effect.sleep("30 seconds")
        const state = yield* client.host.run(client.session.state)
        assert.isTrue(state._tag === "Up" && Option.isSome(state.creditAwaitedSince))
        assert.isFalse(yield* isStalled(client))
        yield* complete(client, served, 20)
        assert.deepStrictEqual(toldOf(client, "Stalled"), [])
      }),
      slower
    )
  )

  it.effect("is given up within 10 s when its heartbeats stop too", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const { client } = yield* session(network)
        yield* network.inflict(Fault.freeze("server"))
        const since = lastArrivalAt(network, "client")
        yield* Effect.sleep("11 seconds")
        assert.strictEqual(endings(client).length, 1)
        assert.include(["PeerSilent", "WriteStuck"], endings(client)[0])
        assert.isAtMost(toldOf(client, "Ended")[0]!.worldAt - since, 10_001)
      }),
      slower
    )
  )
})
