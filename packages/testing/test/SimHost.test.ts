import { assert, describe, it } from "@effect/vitest"
import { Fault, SimHost, SimNetwork } from "@holdfast/testing"
import { Clock, Deferred, Effect, Exit, Fiber, Random, type Scope } from "effect"
import { Mac, SecureRandom } from "effect/crypto"
import { createHmac } from "node:crypto"
import { accepting, type Believer, dialing } from "./Programs.ts"

type Network = SimNetwork.SimNetwork

const simulate = <A, E>(body: (network: Network, host: SimHost.SimHost) => Effect.Effect<A, E, Scope.Scope>) =>
  SimNetwork.run({ seed: 1 }, (network) => body(network, network.host("server")))

/** Notes when each of these sleeps ended, in the machine's wall and monotonic time. */
const sleeping = Effect.fnUntraced(function* (
  network: Network,
  host: SimHost.SimHost,
  ...seconds: ReadonlyArray<number>
) {
  const woken: Array<{
    readonly seconds: number
    readonly at: number
    readonly monotonic: number
    readonly wall: number
  }> = []
  yield* host.run(
    Effect.forEach(seconds, (seconds) =>
      Effect.forkScoped(
        Effect.gen(function* () {
          yield* Effect.sleep(seconds * 1000)
          const wall = yield* Clock.currentTimeMillis
          const monotonic = Number(yield* Clock.monotonicTimeNanos) / 1e6
          woken.push({ seconds, at: network.now(), monotonic, wall })
        })
      )
    )
  )
  return woken
})

const endOf = (believer: Believer): string | undefined => believer.ended?.how

describe("a simulated machine", () => {
  it.effect("wakes its sleepers when they are due, to the millisecond", () =>
    simulate(
      Effect.fnUntraced(function* (network, host) {
        const woken = yield* sleeping(network, host, 2, 1, 3)
        yield* Effect.sleep(2999)
        assert.deepStrictEqual(
          woken.map(({ at }) => at),
          [1000, 2000]
        )
        yield* Effect.sleep(1)
        assert.deepStrictEqual(
          woken.map(({ at, seconds }) => [seconds, at]),
          [
            [1, 1000],
            [2, 2000],
            [3, 3000]
          ]
        )
      })
    )
  )

  it.effect("wakes nobody while it is frozen, and all who were due when it thaws, in order", () =>
    simulate(
      Effect.fnUntraced(function* (network, host) {
        const woken = yield* sleeping(network, host, 5, 1, 20)
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* network.inflict(Fault.freeze("server"))
            yield* Effect.sleep("10 seconds")
            assert.deepStrictEqual(woken, [])
          })
        )
        yield* Effect.sleep("10 seconds")
        assert.deepStrictEqual(
          woken.map(({ at, monotonic, seconds }) => [seconds, at, monotonic]),
          [
            [1, 10_000, 10_000],
            [5, 10_000, 10_000],
            [20, 20_000, 20_000]
          ]
        )
      })
    )
  )

  it.effect("stands still while it sleeps, and finds its wall clock ahead", () =>
    simulate(
      Effect.fnUntraced(function* (network, host) {
        const woken = yield* sleeping(network, host, 5)
        yield* network.play([Fault.at("2 seconds", Fault.suspend("server"), { for: "8 hours" })])
        yield* Effect.sleep("8 hours")
        assert.deepStrictEqual(woken, [])
        yield* Effect.sleep("5 seconds")
        assert.deepStrictEqual(woken, [
          { seconds: 5, at: 8 * 3_600_000 + 5000, monotonic: 5000, wall: 8 * 3_600_000 + 5000 }
        ])
      })
    )
  )

  it.effect("has a wall clock that jumps, and clocks that drift", () =>
    simulate(
      Effect.fnUntraced(function* (network, host) {
        yield* network.inflict(Fault.clockJump("server", "1 hour", "back"))
        assert.deepStrictEqual(host.clocks(), { wallMillis: -3_600_000, monotonicMillis: 0 })
        yield* network.inflict(Fault.drift("server", 1000))
        const woken = yield* sleeping(network, host, 1001)
        yield* Effect.sleep(1_000_001)
        assert.strictEqual(woken.length, 1)
        assert.closeTo(woken[0]?.monotonic ?? 0, 1_001_000, 0.01)
        assert.closeTo(woken[0]?.at ?? 0, 1_000_000, 0.01)
      })
    )
  )

  it.effect("runs no finalizer when it crashes, and says nothing to anybody", () =>
    simulate(
      Effect.fnUntraced(function* (network, host) {
        let isFinalized = false
        yield* accepting(host)
        const believer = yield* dialing(network, network.host("client"))
        const waiting = yield* Effect.forkChild(
          host.run(Effect.onInterrupt(Effect.never, () => Effect.sync(() => (isFinalized = true))))
        )
        yield* Effect.sleep("1 second")
        const before = network.transcript.length
        yield* network.play([Fault.at(0, Fault.crash("server"), { for: "10 seconds" })])
        yield* Effect.sleep("5 seconds")
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(waiting)))
        assert.isFalse(isFinalized)
        assert.strictEqual(endOf(believer), undefined)
        assert.isFalse(
          network.transcript.slice(before).some((entry) => entry._tag === "Packet" && entry.from === "server")
        )
        yield* Effect.sleep("10 seconds")
        assert.strictEqual(endOf(believer), undefined)
        yield* network.host("client").run(believer.opened.write([new Uint8Array(1)]))
        yield* Effect.sleep("1 second")
        assert.strictEqual(endOf(believer), "ECONNRESET") // it does not know the connection
      })
    )
  )

  it.effect("runs nothing of a crashed program again, even if it is woken from outside", () =>
    simulate(
      Effect.fnUntraced(function* (network, host) {
        const outside = Deferred.makeUnsafe<void>()
        let ran = 0
        yield* host.run(
          Effect.forkScoped(
            Effect.andThen(
              Deferred.await(outside),
              Effect.sync(() => ran++)
            )
          )
        )
        yield* network.play([Fault.at("1 second", Fault.crash("server"), { for: "1 second" })])
        yield* Effect.sleep("3 seconds")
        yield* Deferred.succeed(outside, undefined)
        yield* Effect.sleep("1 second")
        assert.strictEqual(ran, 0)
      })
    )
  )

  it.effect("runs what it boots again after a crash, with new fibers", () =>
    simulate(
      Effect.fnUntraced(function* (network, host) {
        const booted: Array<number> = []
        yield* host.boot(Effect.sync(() => booted.push(network.now())))
        yield* network.play([Fault.at("2 seconds", Fault.crash("server"), { for: "3 seconds" })])
        yield* Effect.sleep("10 seconds")
        assert.deepStrictEqual(booted, [0, 5000])
      })
    )
  )

  it.effect("is interrupted while it is down", () =>
    simulate(
      Effect.fnUntraced(function* (network, host) {
        yield* network.inflict(Fault.crash("server"))
        assert.isTrue(Exit.hasInterrupts(yield* Effect.exit(host.run(Effect.void))))
      })
    )
  )

  it.effect("refuses a dial to a port where nobody listens, and to a name that is nobody's", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const client = network.host("client")
        const refused = yield* Effect.flip(dialing(network, client))
        assert.include(JSON.stringify(refused), "ECONNREFUSED")
        const unknown = yield* Effect.flip(dialing(network, client, { host: "nobody" }))
        assert.include(JSON.stringify(unknown), "ENOTFOUND")
      })
    )
  )

  it.effect("refuses to listen twice on one port", () =>
    simulate(
      Effect.fnUntraced(function* (_network, host) {
        yield* accepting(host)
        const error = yield* Effect.flip(host.run(SimHost.listen({ port: 7000 })))
        assert.include(String(error.reason.cause), "EADDRINUSE")
      })
    )
  )

  it.effect("has chance of its own, the same for the same seed, and HMAC that the world agrees with", () =>
    Effect.gen(function* () {
      const draw = (name: string) =>
        SimNetwork.run({ seed: 7 }, (network) =>
          network
            .host(name)
            .run(
              Effect.all([Random.nextInt, Effect.flatMap(SecureRandom.SecureRandom, (random) => random.randomBytes(8))])
            )
        )
      assert.deepStrictEqual(yield* draw("a"), yield* draw("a"))
      assert.notDeepEqual(yield* draw("a"), yield* draw("b"))
      for (const size of [0, 1, 55, 56, 64, 65, 200]) {
        const data = Uint8Array.from({ length: size }, (_, n) => n)
        const secret = data.slice(0, 40 + (size % 50))
        const tag = yield* SimNetwork.run({ seed: 1 }, (network) =>
          network.host("a").run(
            Effect.gen(function* () {
              const mac = yield* Effect.serviceOption(Mac.Mac)
              const key = yield* Mac.key(Mac.hmacSha256, secret.length === 0 ? new Uint8Array(1) : secret)
              return mac._tag === "Some" ? yield* mac.value.sign(key, data) : new Uint8Array()
            })
          )
        )
        const expected = createHmac("sha256", secret.length === 0 ? new Uint8Array(1) : secret)
          .update(data)
          .digest()
        assert.deepStrictEqual(tag, new Uint8Array(expected))
      }
    })
  )
})
