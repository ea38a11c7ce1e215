// Lesson 5, heartbeats are not enough (Open vSwitch): they flow one way while the backlog grows, so both sides ask, and
// what waits is bounded.
import { assert, describe, it } from "@effect/vitest"
import { Fault, type SimNetwork } from "@holdfast/testing"
import { Effect, Exit, Option, type Scope } from "effect"
import { Presets } from "holdfast"
import { plainClient, plainServer } from "./Plain.ts"
import {
  type Client,
  complete,
  connecting,
  endings,
  lastArrivalAt,
  message,
  sending,
  serving,
  simulate,
  toldOf
} from "./Sessions.ts"

/** Open vSwitch has no heartbeats: it asks. */
const policy = { heartbeat: "Infinity", silence: Presets.openVSwitch("5 seconds"), stall: "Infinity" } as const

const ways = [
  { name: "what the client sends is lost", fault: Fault.oneWay("client", "server") },
  { name: "what the server sends is lost", fault: Fault.oneWay("server", "client") },
  { name: "the server is frozen", fault: Fault.freeze("server") }
] as const

describe("heartbeats that flow one way", () => {
  for (const { fault, name } of ways) {
    it.effect(`break plain code where ${name}: a minute of writes, 50 MB in memory, and not a word`, () =>
      simulate(
        Effect.fnUntraced(function* (network) {
          yield* plainServer(network, { beatMillis: 1000 })
          const host = network.host("client")
          const plain = yield* host.run(plainClient(network))
          // As most programs do: nobody waits for `drain`.
          const writing = Effect.forever(
            Effect.andThen(Effect.forkChild(plain.opened.write([new Uint8Array(100_000)])), Effect.sleep("100 millis"))
          )
          yield* host.run(Effect.forkScoped(Effect.ignore(writing)))
          yield* Effect.sleep("3 seconds")
          yield* network.inflict(fault)
          yield* Effect.sleep("1 minute")
          assert.isUndefined(plain.ended)
          assert.isAbove(plain.link.progress!().queuedBytes, 50_000_000)
        })
      )
    )
  }

  for (const { fault, name } of ways) {
    for (const [what, backlog, bytes] of [
      ["500 messages", { messagesMax: 500, whenFull: "fail" }, 100],
      ["1 MB", { bytesMax: 1_000_000, whenFull: "fail" }, 100_000]
    ] as const) {
      it.effect(`are bounded by ${what} where ${name}, and the sender is told`, () =>
        simulate(
          Effect.fnUntraced(function* (network) {
            yield* serving(network, { policy })
            const client = yield* connecting(network, { policy: { ...policy, backlog } })
            yield* client.host.run(client.session.deliver(message(0)))
            yield* network.inflict(fault)
            const exit = yield* Effect.exit(sending(client, 10_000, 1, bytes))
            const { reason } = Option.getOrThrow(Exit.findErrorOption(exit))
            assert(reason._tag === "BacklogExceeded")
            // The figures are those with the message that was refused.
            assert.isAtMost(reason.messages - 1, reason.messagesMax)
            assert.isAtMost(reason.bytes - bytes, reason.bytesMax)
            assert.isTrue(reason.messages > reason.messagesMax || reason.bytes > reason.bytesMax)
            assert.isBelow(network.now(), 1000)
          })
        )
      )
    }
  }

  it.effect("fill no backlog of 500 messages while the peer takes them", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network, { policy })
        const client = yield* connecting(network, {
          policy: { ...policy, backlog: { messagesMax: 500, whenFull: "fail" } }
        })
        yield* sending(client, 10_000, 1)
        yield* complete(client, served, 10_000)
      })
    )
  )
})

/** An idle session whose peer falls silent: what was asked and when it was over, in milliseconds of silence. */
const silent = Effect.fnUntraced(function* (
  network: SimNetwork.SimNetwork,
  fault: Fault.Fault,
  meanwhile: (client: Client) => Effect.Effect<unknown, unknown, Scope.Scope> = () => Effect.void
) {
  const served = yield* serving(network, { policy: { ...policy, silence: "Infinity" } })
  const client = yield* connecting(network, { policy })
  yield* client.host.run(client.session.deliver(message(0)))
  yield* Effect.sleep("100 millis")
  const since = lastArrivalAt(network, "client")
  const asked = toldOf(client, "Asked").length
  yield* network.play([Fault.at(0, fault, { for: "20 seconds" })])
  yield* meanwhile(client)
  yield* Effect.sleep("17 seconds")
  const millis = ({ worldAt }: { readonly worldAt: number }) => Math.round((worldAt - since) * 1000) / 1000
  const asks = toldOf(client, "Asked").slice(asked).map(millis)
  const over = toldOf(client, "Ended").map((ended) => [ended.error.reason._tag, millis(ended)])
  yield* sending(client, 9, 0, 100, 1)
  yield* complete(client, served, 10)
  return { asks, over }
})

describe("Open vSwitch's probe of 5 s", () => {
  for (const { fault, name } of ways) {
    it.effect(`asks after exactly 5 s and drops after exactly 10 s where ${name}, and nothing is lost`, () =>
      simulate(
        Effect.fnUntraced(function* (network) {
          assert.deepStrictEqual(yield* silent(network, fault), { asks: [5000], over: [["PeerSilent", 10_000]] })
        })
      )
    )
  }

  it.effect("asks a healthy peer that has nothing to say every 5 s for an hour and never drops it", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        yield* serving(network, { policy })
        const client = yield* connecting(network, { policy })
        yield* client.host.run(client.session.deliver(message(0)))
        yield* Effect.sleep("1 hour")
        // The server asks, too, and each question is a sign of life for the other side.
        assert.isAtLeast(toldOf(client, "Asked").length, 300)
        assert.deepStrictEqual(endings(client), [])
      })
    )
  )

  for (const { asks, over, seconds } of [
    { seconds: 2, asks: [3000], over: 5000 },
    { seconds: 8, asks: [8000], over: 16_000 }
  ]) {
    it.effect(
      `replaced by ${seconds} s after 3 s of silence, as when an election timer changes, drops at ${over} ms`,
      () =>
        simulate(
          Effect.fnUntraced(function* (network) {
            const replace = (client: Client) =>
              Effect.gen(function* () {
                const silence = network.now() - lastArrivalAt(network, "client")
                yield* Effect.sleep(3000 - silence)
                yield* client.host.run(client.session.setPolicy({ silence: Presets.openVSwitch(`${seconds} seconds`) }))
              })
            assert.deepStrictEqual(yield* silent(network, Fault.partition("client", "server"), replace), {
              asks,
              over: [["PeerSilent", over]]
            })
          })
        )
    )
  }
})
