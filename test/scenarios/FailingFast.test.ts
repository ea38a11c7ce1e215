// Lesson 4, failing fast: the cable is pulled in mid-stream, and writes go on succeeding for a quarter of an hour.
import { assert, describe, it } from "@effect/vitest"
import { Fault } from "@holdfast/testing"
import { Effect } from "effect"
import { Guard } from "holdfast"
import { plainClient, plainServer } from "./Plain.ts"
import {
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

const cable = Fault.partition("client", "server")

const writers = [
  { name: "idle", everyMillis: 3_600_000 },
  { name: "busy", everyMillis: 100 }
] as const

describe("a cable that is pulled in mid-stream", () => {
  for (const { everyMillis, name } of writers) {
    it.effect(
      `is ${name === "idle" ? "not noticed in an hour" : "noticed after 15 minutes"} by a plain socket, ${name}`,
      () =>
        simulate(
          Effect.fnUntraced(function* (network) {
            const server = yield* plainServer(network)
            const host = network.host("client")
            const plain = yield* host.run(plainClient(network))
            let written = 0
            const writing = Effect.forever(
              Effect.andThen(
                Effect.suspend(() =>
                  Effect.andThen(
                    plain.opened.write([message(0)]),
                    Effect.sync(() => written++)
                  )
                ),
                Effect.sleep(everyMillis)
              )
            )
            yield* host.run(Effect.forkScoped(Effect.ignore(writing)))
            yield* Effect.sleep("3 seconds")
            yield* network.inflict(cable)
            const before = written
            yield* Effect.sleep("1 hour")
            if (name === "idle") return assert.isUndefined(plain.ended)
            assert.strictEqual(plain.ended?.how, "ETIMEDOUT")
            assert.isAbove(plain.ended!.at, 900_000)
            // All of these were told that they had succeeded.
            assert.isAbove(written - before, 500)
            assert.isBelow(server.receivedBytes, 5000)
          })
        )
    )

    it.effect(`is noticed by a session, ${name}, 10 s after the last byte, and nothing is lost`, () =>
      simulate(
        Effect.fnUntraced(function* (network) {
          const served = yield* serving(network)
          const client = yield* connecting(network)
          yield* client.host.run(Effect.forkScoped(sending(client, name === "idle" ? 1 : 600, 100)))
          yield* Effect.sleep("3 seconds")
          yield* network.play([Fault.at(0, cable, { for: "1 minute" })])
          const since = lastArrivalAt(network, "client")
          yield* Effect.sleep("6 seconds")
          assert.deepStrictEqual(endings(client), [])
          yield* Effect.sleep("9 seconds")
          const [ended, ...more] = toldOf(client, "Ended")
          assert.deepStrictEqual(more, [])
          assert.include(["PeerSilent", "WriteStuck"], ended!.error.reason._tag)
          assert.isAtMost(ended!.worldAt - since, 10_001)
          yield* Effect.sleep("1 minute")
          yield* complete(client, served, name === "idle" ? 1 : 600)
          assert.deepStrictEqual(
            toldOf(client, "Opened").map(({ opened }) => opened),
            ["Fresh", "Resumed"]
          )
        })
      )
    )

    it.effect(`and put back after 4 s is not noticed by a session, ${name}`, () =>
      simulate(
        Effect.fnUntraced(function* (network) {
          const served = yield* serving(network)
          const client = yield* connecting(network)
          yield* client.host.run(Effect.forkScoped(sending(client, name === "idle" ? 1 : 300, 100)))
          yield* network.play([Fault.at("3 seconds", cable, { for: "4 seconds" })])
          yield* Effect.sleep("1 minute")
          assert.deepStrictEqual(endings(client), [])
          yield* complete(client, served, name === "idle" ? 1 : 300)
        })
      )
    )
  }

  it.effect("is noticed within 40 s by a guard, over a protocol that has no ping and no acknowledgement", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        yield* plainServer(network)
        const host = network.host("client")
        const plain = yield* host.run(plainClient(network, (link) => Guard.make(link)))
        const writing = Effect.forever(
          Effect.andThen(plain.opened.write([message(0, 20_000)]), Effect.sleep("100 millis"))
        )
        yield* host.run(Effect.forkScoped(Effect.ignore(writing)))
        yield* Effect.sleep("1 minute")
        assert.isUndefined(plain.ended)
        yield* network.inflict(cable)
        const cutAt = network.now()
        yield* Effect.sleep("2 minutes")
        assert.isAtLeast(plain.ended!.at - cutAt, 20_000)
        assert.isAtMost(plain.ended!.at - cutAt, 40_000)
      })
    )
  )
})
