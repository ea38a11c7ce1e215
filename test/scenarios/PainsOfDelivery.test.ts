// What users of such libraries suffer from, one scenario for each pain, beside the naive way: messages and memory.
import { assert, describe, it } from "@effect/vitest"
import { Fault, type SimNetwork } from "@holdfast/testing"
import { Effect, Exit, Option, Schedule } from "effect"
import { plainClient, plainServer } from "./Plain.ts"
import {
  complete,
  connecting,
  dialsOf,
  endings,
  message,
  numberOf,
  sending,
  serving,
  simulate,
  toldOf,
  upTo
} from "./Sessions.ts"

const machines = ["client", "server"] as const

/**
 * The naive way to reconnect: dial again at once, and say `first` before going on. Messages are 100 bytes; the server
 * answers each with its number, which is the naive acknowledgement.
 */
const naive = Effect.fnUntraced(function* (
  network: SimNetwork.SimNetwork,
  count: number,
  resend: (unanswered: ReadonlyArray<number>) => ReadonlyArray<number>
) {
  const seen: Array<number> = []
  let part = new Uint8Array(0)
  yield* plainServer(network, {
    received: Effect.fnUntraced(function* (bytes, { write }) {
      part = Uint8Array.from([...part, ...bytes])
      for (; part.length >= 100; part = part.slice(100)) {
        seen.push(numberOf(part))
        yield* write([message(numberOf(part), 4)])
      }
    })
  })
  const unanswered = new Set<number>()
  let next = 0
  const connection = Effect.gen(function* () {
    part = new Uint8Array(0)
    const plain = yield* plainClient(network)
    for (const n of resend([...unanswered])) yield* plain.opened.write([message(n)])
    while (plain.ended === undefined) {
      for (const bytes of plain.received.splice(0)) {
        for (let at = 0; at + 4 <= bytes.length; at += 4) unanswered.delete(numberOf(bytes.subarray(at)))
      }
      if (next === count && unanswered.size === 0) return
      if (next < count) {
        unanswered.add(next)
        yield* plain.opened.write([message(next++)])
      }
      yield* Effect.sleep("10 millis")
    }
    return yield* Effect.fail("cut")
  })
  const retried = Effect.retry(Effect.scoped(connection), Schedule.spaced("100 millis"))
  yield* Effect.timeoutOption(network.host("client").run(retried), "1 minute")
  return seen
})

const cuts = [503, 1207, 2611, 3389].map((millis) => Fault.at(millis, Fault.cut(...machines)))
const far = { link: { latency: "20 millis" } } as const

describe("where nothing is cut", () => {
  it.effect("pains 2 and 10 befall nobody: the naive way takes 300 messages once, and in order", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        assert.deepStrictEqual(yield* naive(network, 300, (unanswered) => unanswered), upTo(300))
      }),
      far
    )
  )
})

describe("pain 2: messages lost around a reconnect", () => {
  it.effect("befalls whoever dials again and goes on", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        yield* network.play(cuts)
        const seen = yield* naive(network, 300, () => [])
        assert.isBelow(new Set(seen).size, 300)
      }),
      far
    )
  )

  it.effect("does not befall a session, whatever is cut and when", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network)
        const client = yield* connecting(network)
        yield* network.play(cuts)
        yield* sending(client, 500, 10)
        yield* complete(client, served, 500)
        assert.isAtLeast(endings(client).length, 3)
      }),
      far
    )
  )
})

describe("pain 10: duplicates after resend", () => {
  it.effect("befalls whoever sends again what was not answered", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        yield* network.play(cuts)
        const seen = yield* naive(network, 300, (unanswered) => unanswered)
        assert.isAbove(seen.length, new Set(seen).size)
      }),
      far
    )
  )

  it.effect("does not befall a session whose acknowledgements are lost: only the way back is gone, ten times", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network)
        const client = yield* connecting(network)
        yield* network.play(
          upTo(10).flatMap((n) => [
            Fault.at(`${n * 20 + 3} seconds`, Fault.oneWay("server", "client"), { for: "500 millis" }),
            Fault.at(n * 20_000 + 3400, Fault.cut(...machines))
          ])
        )
        yield* sending(client, 2500, 100)
        yield* complete(client, served, 2500)
        assert.isAtLeast(endings(client).length, 10)
      }),
      far
    )
  )
})

describe("pain 11: acknowledgements that never settle after a cut", () => {
  for (const { cut, name } of [
    { cut: false, name: "settle on a plain connection that is well" },
    { cut: true, name: "befall whoever waits for an answer on one that is not: an hour, and nothing" }
  ]) {
    it.effect(name, () =>
      simulate(
        Effect.fnUntraced(function* (network) {
          yield* plainServer(network, {
            received: (_, { write }) => Effect.andThen(Effect.sleep("100 millis"), write([message(0, 4)]))
          })
          const asking = Effect.gen(function* () {
            const plain = yield* plainClient(network)
            yield* plain.opened.write([message(0)])
            yield* Effect.repeat(Effect.sleep("1 second"), { until: () => plain.received.length > 0 })
          })
          if (cut) yield* network.play([Fault.at("50 millis", Fault.natForgets(...machines))])
          const answer = yield* Effect.timeoutOption(network.host("client").run(Effect.scoped(asking)), "1 hour")
          assert.strictEqual(Option.isSome(answer), !cut)
        })
      )
    )
  }

  it.effect("settle with success once the session has resumed", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network, { taking: () => Effect.sleep("100 millis") })
        const client = yield* connecting(network)
        yield* network.play([Fault.at("50 millis", Fault.cut(...machines))])
        yield* client.host.run(client.session.deliver(message(0)))
        assert.deepStrictEqual(served.taken, [0])
        assert.strictEqual(endings(client).length, 1)
      })
    )
  )

  it.effect("settle with a typed error when the server never comes back and the retries are over", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        yield* serving(network, { taking: () => Effect.never })
        const reconnect = Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 5 }))
        const { host, session } = yield* connecting(network, { policy: { reconnect } })
        yield* network.play([Fault.at("1 second", Fault.kill("server"))])
        const operations = [session.deliver(message(0)), session.flush, session.join, session.close]
        const exits = yield* host.run(
          Effect.forEach(operations, (operation) => Effect.exit(operation), { concurrency: "unbounded" })
        )
        for (const exit of exits) {
          assert.include(
            ["RetriesExhausted", "CloseTimedOut", "Closed"],
            Option.getOrThrow(Exit.findErrorOption(exit)).reason._tag
          )
        }
        assert.isBelow(network.now(), 60_000)
      })
    )
  )
})

describe("pain 5: unbounded memory of a slow reader", () => {
  it.effect("befalls whoever writes without waiting: 100 MB after 100 s", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        yield* plainServer(network)
        yield* network.inflict(Fault.slowReader("server", 1000))
        const host = network.host("client")
        const plain = yield* host.run(plainClient(network))
        for (let n = 0; n < 1000; n++) {
          yield* host.run(Effect.forkScoped(plain.opened.write([new Uint8Array(100_000)])))
          yield* Effect.sleep("100 millis")
        }
        assert.isAbove(plain.link.progress!().queuedBytes, 90_000_000)
      })
    )
  )

  it.effect(
    "does not befall a session: an application that takes nothing for an hour costs its window and backlog",
    () =>
      simulate(
        Effect.fnUntraced(function* (network) {
          let isTaking = false
          const served = yield* serving(network, {
            taking: () => Effect.repeat(Effect.sleep("1 second"), { until: () => isTaking })
          })
          const client = yield* connecting(network, { policy: { backlog: { bytesMax: 4_000_000 } } })
          let sent = 0
          const sending = Effect.forEach(upTo(1000), (n) =>
            Effect.andThen(
              client.session.send(message(n, 100_000)),
              Effect.sync(() => sent++)
            )
          )
          yield* client.host.run(Effect.forkScoped(sending))
          yield* Effect.sleep("1 hour")
          assert.isAtMost(sent, 41)
          const inKernels = [client.host, network.host("server")].flatMap((host) => host.connections())
          assert.isBelow(
            inKernels.reduce((sum, one) => sum + one.unacknowledgedBytes + one.unreadBytes, 0),
            2000
          )
          assert.deepStrictEqual(endings(client), [])
          isTaking = true
          yield* Effect.repeat(Effect.sleep("10 seconds"), { until: () => sent === 1000, times: 1000 })
          assert.strictEqual(sent, 1000)
          assert.isAbove(served.taken.length, 900)
        }),
        { link: { segmentBytesMax: 32_768 } }
      )
  )
})

describe("pain 5: an application that keeps up", () => {
  it.effect("makes nobody wait, whatever the backlog allows", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network)
        const client = yield* connecting(network, { policy: { backlog: { bytesMax: 200_000, whenFull: "fail" } } })
        yield* sending(client, 1000, 10, 10_000)
        yield* complete(client, served, 1000)
      })
    )
  )
})

describe("pain 13: replay of many megabytes that never ends", () => {
  const megabytes = 4
  const count = megabytes * 10
  const link = { bytesPerSecond: 500_000, segmentBytesMax: 8192 } as const
  const everyFewSeconds = upTo(40).map((n) => Fault.at(2000 + n * 3000, Fault.cut(...machines)))

  /** All of it over one connection, and from the beginning over the next one if that is cut; two minutes at most. */
  const beginningAnew = (network: SimNetwork.SimNetwork) => {
    const all = Effect.gen(function* () {
      const plain = yield* plainClient(network)
      for (const n of upTo(count)) yield* plain.opened.write([message(n, 100_000)])
      yield* Effect.sleep("5 seconds")
      if (plain.ended !== undefined) return yield* Effect.fail("cut")
    })
    const retried = Effect.retry(Effect.scoped(all), Schedule.spaced("100 millis"))
    return Effect.timeoutOption(network.host("client").run(retried), "2 minutes")
  }

  it.effect("befalls whoever begins at the beginning after each cut: two minutes, and never the last message", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const server = yield* plainServer(network)
        yield* network.play(everyFewSeconds)
        assert.isTrue(Option.isNone(yield* beginningAnew(network)))
        assert.isBelow(Math.max(...server.connections), megabytes * 1_000_000)
      }),
      { link }
    )
  )

  it.effect("befalls nobody where nothing is cut: 4 MB at 500 kB/s in 8 s", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const server = yield* plainServer(network)
        assert.isTrue(Option.isSome(yield* beginningAnew(network)))
        assert.strictEqual(server.receivedBytes, megabytes * 1_000_000)
        assert.isBelow(network.now(), 8000 + 6000)
      }),
      { link }
    )
  )

  it.effect("converges over a session, also as a single message, in little more time than its bytes take", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network)
        const policy = { reconnect: Schedule.spaced("100 millis"), close: "5 minutes" } as const
        const client = yield* connecting(network, { policy })
        yield* network.play(everyFewSeconds)
        yield* sending(client, count, 0, 100_000)
        yield* sending(client, 1, 0, megabytes * 1_000_000, count)
        yield* complete(client, served, count + 1)
        assert.isAtLeast(endings(client).length, 5)
        assert.isBelow(network.now(), ((2 * megabytes * 1e6) / link.bytesPerSecond) * 1000 * 1.5)
      }),
      { link }
    )
  )
})

describe("pain 12: close hangs on a dead network", () => {
  it.effect("befalls whoever waits for the other side's end: ten minutes", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        yield* plainServer(network)
        const host = network.host("client")
        const plain = yield* host.run(plainClient(network))
        yield* network.inflict(Fault.partition(...machines))
        yield* host.run(Effect.scoped(plain.link.writer)) // our end
        yield* Effect.sleep("10 minutes")
        assert.isUndefined(plain.ended)
        assert.isAbove(host.connections().length, 0)
      })
    )
  )

  it.effect("ends within `close` over a session, 5 s, with what was not taken, and leaves no fiber", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        yield* serving(network)
        const client = yield* connecting(network, { policy: { close: "5 seconds" } })
        yield* client.host.run(client.session.deliver(message(0)))
        yield* network.inflict(Fault.partition(...machines))
        yield* sending(client, 7)
        const since = network.now()
        const exit = yield* Effect.exit(client.host.run(client.session.close))
        const { reason } = Option.getOrThrow(Exit.findErrorOption(exit))
        assert(reason._tag === "CloseTimedOut")
        assert.strictEqual(reason.unacknowledged, 7)
        assert.isAtLeast(network.now() - since, 5000)
        assert.isAtMost(network.now() - since, 6001)
        yield* client.host.stop
        assert.strictEqual(client.host.fibers(), 0)
      })
    )
  )

  it.effect("and is done in a round trip or two in health", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network)
        const client = yield* connecting(network)
        yield* sending(client, 7)
        const since = network.now()
        yield* complete(client, served, 7)
        assert.isBelow(network.now() - since, 50)
        assert.strictEqual(dialsOf(network).length, 1)
        assert.strictEqual(toldOf(client, "Opened").length, 1)
      })
    )
  )
})
