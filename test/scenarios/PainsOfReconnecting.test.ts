// What users of such libraries suffer from, one scenario for each pain, beside the naive way: coming back.
import { assert, describe, it } from "@effect/vitest"
import { Fault, SimHost, type SimNetwork } from "@holdfast/testing"
import { Effect, Layer, Redacted, Schedule } from "effect"
import { Presets, Session } from "holdfast"
import { plainClient, plainServer } from "./Plain.ts"
import {
  complete,
  connecting,
  dialsOf,
  endings,
  message,
  Numbers,
  port,
  sending,
  serving,
  simulate,
  toldOf,
  upTo
} from "./Sessions.ts"

const machines = ["client", "server"] as const

/** How many fall into each bucket of so many milliseconds, from `since` on. */
const histogram = (instants: ReadonlyArray<number>, since: number, bucketMillis: number): ReadonlyArray<number> => {
  const buckets: Array<number> = []
  for (const instant of instants) {
    const bucket = Math.floor((instant - since) / bucketMillis)
    buckets[bucket] = (buckets[bucket] ?? 0) + 1
  }
  return Array.from(buckets, (count) => count ?? 0)
}

describe("pain 6: the thundering herd of 500 clients after a server restart", () => {
  const clients = 500
  const bucketMillis = 50
  const restart = [Fault.at(0, Fault.kill("server"), { for: "1 second" })]

  it.effect("comes all at once where everybody waits for a second", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        yield* plainServer(network)
        const host = network.host("client")
        const connection = Effect.gen(function* () {
          const plain = yield* plainClient(network)
          yield* Effect.repeat(Effect.sleep("1 second"), { until: () => plain.ended !== undefined })
        })
        const forever = Effect.repeat(Effect.scoped(Effect.ignore(connection)), Schedule.spaced("1 second"))
        for (const _ of upTo(clients)) yield* host.run(Effect.forkScoped(forever))
        yield* Effect.sleep("5 seconds")
        const since = network.now()
        yield* network.play(restart)
        yield* Effect.sleep("10 seconds")
        const dials = dialsOf(network).filter((at) => at > since)
        assert.isAtLeast(Math.max(...histogram(dials, since, bucketMillis)), clients)
      })
    )
  )

  it.effect("is spread over a session's first retries, and all are back within seconds", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        yield* serving(network)
        const sessions: Array<Session.Session<Uint8Array, Uint8Array>> = []
        for (const _ of upTo(clients)) {
          const { session } = yield* connecting(network, {
            policy: { reconnect: Presets.fullJitter("1 second", "5 seconds") },
            onLost: ({ fateUnknown, notSent }) => Effect.succeed([...fateUnknown, ...notSent])
          })
          sessions.push(session)
        }
        yield* Effect.sleep("1 second")
        const since = network.now()
        yield* network.play(restart)
        yield* Effect.sleep("10 seconds")
        const dials = histogram(
          dialsOf(network).filter((at) => at > since),
          since,
          bucketMillis
        )
        // A second of server time for all: nobody comes in a crowd, not even at the first retry.
        assert.isAtMost(Math.max(...dials), clients / 8)
        const firstSecond = dials.slice(0, 1000 / bucketMillis)
        assert.isTrue(firstSecond.every((count) => count > 0))
        const states = yield* Effect.forEach(sessions, ({ state }) => state)
        assert.strictEqual(states.filter(({ _tag }) => _tag === "Up").length, clients)
      })
    )
  )

  it.effect("costs a single client of a server that is only cut off no more than its first delay", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        yield* serving(network)
        const client = yield* connecting(network, {
          policy: { reconnect: Presets.fullJitter("1 second", "5 seconds") }
        })
        yield* sending(client, 1)
        yield* Effect.sleep("1 second")
        const since = network.now()
        yield* network.play([Fault.at(0, Fault.cut(...machines))])
        yield* Effect.sleep("2 seconds")
        const [, again] = toldOf(client, "Opened")
        assert.isAtMost(again!.worldAt - since, 1010)
      })
    )
  )
})

describe("pain 7: backoff that is reset wrongly, both ways", () => {
  const backoff = Schedule.min([Schedule.exponential("500 millis"), Schedule.spaced("20 seconds")])

  /** A server that answers the handshake and dies a moment later, for as long as told. */
  const dying = (isDying: () => boolean) => (link: { readonly destroy?: Effect.Effect<void> | undefined }) =>
    Effect.asVoid(
      Effect.forkDetach(
        Effect.andThen(
          Effect.sleep("100 millis"),
          Effect.suspend(() => (isDying() ? link.destroy! : Effect.void))
        )
      )
    )

  it.effect("on connect: whoever resets there dials a server that accepts and dies twice a second, for ever", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        yield* serving(network, { admit: dying(() => true) })
        // A stability of nothing is the naive way: the schedule begins anew whenever a link was up.
        yield* connecting(network, { policy: { reconnect: backoff, stability: "1 millis" } })
        yield* Effect.sleep("3 minutes")
        assert.isAbove(dialsOf(network).length, 270)
      })
    )
  )

  it.effect("is not, in a session: the same server is dialled at the capped pace", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        yield* serving(network, { admit: dying(() => true) })
        yield* connecting(network, { policy: { reconnect: backoff } })
        yield* Effect.sleep("3 minutes")
        assert.isBelow(dialsOf(network).length, 20)
      })
    )
  )

  it.effect("nor never: after an hour of health the first retry comes after the first delay", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        let isDying = true
        const served = yield* serving(network, { admit: dying(() => isDying) })
        const client = yield* connecting(network, { policy: { reconnect: backoff } })
        yield* Effect.sleep("2 minutes")
        isDying = false
        yield* Effect.sleep("1 hour")
        const cutAt = network.now()
        yield* network.play([Fault.at(0, Fault.cut(...machines))])
        yield* Effect.sleep("10 seconds")
        const [next, ...more] = dialsOf(network).filter((at) => at > cutAt)
        assert.closeTo(next! - cutAt, 500, 1)
        assert.deepStrictEqual(more, [])
        yield* sending(client, 1)
        yield* complete(client, served, 1)
      })
    )
  )
})

describe("pain 14: reconnecting that gives up, or never begins", () => {
  const later = (network: SimNetwork.SimNetwork) => Effect.andThen(Effect.sleep("1 hour"), serving(network))

  it.effect("befalls whoever has four tries: a server that is an hour late is never seen", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const client = yield* connecting(network, { policy: { reconnect: Presets.signalRReconnect } })
        const served = yield* later(network)
        yield* Effect.sleep("1 minute")
        const error = yield* Effect.flip(client.host.run(client.session.join))
        assert.strictEqual(error.reason._tag, "RetriesExhausted")
        assert.strictEqual(served.links.length, 0)
      })
    )
  )

  it.effect("does not befall a session: its first connect is retried like any other, and so is the next", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const client = yield* connecting(network)
        yield* sending(client, 10)
        const served = yield* later(network)
        yield* Effect.sleep("21 seconds")
        assert.deepStrictEqual(served.taken, upTo(10))
        yield* network.play([Fault.at(0, Fault.partition(...machines), { for: "90 seconds" })])
        yield* Effect.sleep("2 minutes")
        yield* sending(client, 10, 0, 100, 10)
        yield* complete(client, served, 20)
      })
    )
  )

  it.effect("is dialled once where it is there from the beginning", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network)
        const client = yield* connecting(network, { policy: { reconnect: Presets.signalRReconnect } })
        yield* sending(client, 10)
        yield* Effect.sleep("1 hour")
        yield* complete(client, served, 10)
        assert.strictEqual(dialsOf(network).length, 1)
      })
    )
  )

  it.effect("and waits no longer than a moment once it is told that the network is back", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const reconnect = Schedule.spaced("1 hour")
        const client = yield* connecting(network, { policy: { reconnect } })
        yield* Effect.sleep("10 seconds")
        yield* serving(network)
        const wokenAt = network.now()
        yield* client.host.run(client.session.wake)
        yield* client.host.run(client.session.deliver(message(0)))
        assert.isBelow(network.now() - wokenAt, 50)
      })
    )
  )
})

describe("pain 15: stale credentials on reconnect", () => {
  const hour = 3_600_000
  /** A token is good for the hour of the world in which it was made. */
  const tokenOf = (network: SimNetwork.SimNetwork) => Redacted.make(`token ${Math.floor(network.now() / hour)}`)

  const guarded = (network: SimNetwork.SimNetwork) =>
    serving(network, {
      authorize: ({ credentials }) =>
        Redacted.value(credentials) === Redacted.value(tokenOf(network))
          ? Effect.succeed(Session.authorized("ada"))
          : Effect.fail("this token is not good any more")
    })

  it.effect("befall whoever makes them once: the cut of the next hour is the end", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        yield* guarded(network)
        const client = yield* connecting(network, { credentials: Effect.succeed(tokenOf(network)) })
        yield* client.host.run(client.session.deliver(message(0)))
        yield* network.play([Fault.at("90 minutes", Fault.cut(...machines))])
        const error = yield* Effect.flip(client.host.run(client.session.join))
        // Refused for good, and told so: no endless retry either.
        assert(error.reason._tag === "Refused")
        assert.strictEqual(error.reason.code, "Unauthorized")
        assert.strictEqual(dialsOf(network).length, 2)
      })
    )
  )

  it.effect("befall nobody within their hour: made once, they open the next link, too", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* guarded(network)
        const client = yield* connecting(network, { credentials: Effect.succeed(tokenOf(network)) })
        yield* network.play([Fault.at("30 minutes", Fault.cut(...machines))])
        yield* sending(client, 10, 240_000)
        yield* complete(client, served, 10)
        assert.strictEqual(toldOf(client, "Opened").length, 2)
      })
    )
  )

  it.effect("are not sent by a session that makes them for each attempt", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* guarded(network)
        const client = yield* connecting(network, { credentials: Effect.sync(() => tokenOf(network)) })
        yield* network.play(upTo(2).map((n) => Fault.at(`${90 + n * 60} minutes`, Fault.cut(...machines))))
        yield* sending(client, 40, 240_000)
        yield* complete(client, served, 40)
        assert.strictEqual(toldOf(client, "Opened").length, 3)
      })
    )
  )
})

describe("close behind: deploys", () => {
  it.effect(
    "spread their good-byes: 100 clients of a server that goes away come back over a second, and lose nothing",
    () =>
      simulate(
        Effect.fnUntraced(function* (network) {
          const clients = 100
          const taken: Array<number> = []
          const host = network.host("server")
          const server = Numbers.serve((session) => session.handle(() => Effect.sync(() => taken.push(0)))).pipe(
            Layer.provide(SimHost.layerListener({ port }))
          )
          yield* host.boot(Layer.build(server).pipe(Effect.orDie))
          const all = yield* Effect.forEach(upTo(clients), () =>
            connecting(network, { onLost: ({ fateUnknown, notSent }) => Effect.succeed([...fateUnknown, ...notSent]) })
          )
          for (const client of all) yield* sending(client, 3)
          yield* Effect.sleep("5 seconds")
          const since = network.now()
          yield* host.stop
          yield* host.boot(Layer.build(server).pipe(Effect.orDie))
          for (const client of all) yield* sending(client, 3)
          yield* Effect.sleep("30 seconds")
          const left = all.map((client) => toldOf(client, "GoingAway")[0]!.worldAt - since)
          assert.isAtMost(Math.max(...histogram(left, 0, 100)), clients / 4)
          assert.isAtMost(Math.max(...left), 1100)
          assert.strictEqual(taken.length, clients * 6)
        })
      )
  )
})

describe("close behind: a new connection before the server noticed that the old one died", () => {
  it.effect("takes over at once, long before the server's own patience is over", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network, { policy: { silence: "Infinity", stall: "Infinity" } })
        const client = yield* connecting(network)
        yield* sending(client, 10)
        yield* Effect.sleep("1 second")
        // The server keeps the old connection for ever; only its client knows better.
        yield* network.play([Fault.at(0, Fault.natForgets(...machines))])
        yield* sending(client, 10, 0, 100, 10)
        yield* Effect.sleep("12 seconds")
        assert.strictEqual(endings(client).length, 1)
        assert.strictEqual(toldOf(client, "Opened").length, 2)
        yield* complete(client, served, 20)
      })
    )
  )
})
