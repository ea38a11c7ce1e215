import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Random, Stream } from "effect"
import { harm } from "./SessionHarm.ts"
import { below, type Ends, inScope, pair, steady } from "./SessionPair.ts"
import { bytes, flowing, text } from "./SessionTesting.ts"

const policy = { ...steady, close: "20 seconds", backlog: { messagesMax: 30 } } as const

/** Sends numbers until it is told that no more are accepted; says how many were. */
const sending = Effect.fnUntraced(function* (session: Ends) {
  let accepted = 0
  const one = Effect.suspend(() => session.send(bytes(`${accepted}`)))
  const all = Effect.forever(
    Effect.andThen(
      one,
      Effect.andThen(
        Effect.sync(() => accepted++),
        Effect.sleep("3 millis")
      )
    )
  )
  yield* Effect.forkChild(Effect.ignore(all))
  return () => accepted
})

/** Consumers that stop now and then, inside of what they were given, one way or another. */
const consuming = Effect.fnUntraced(function* (session: Ends) {
  const seen: Array<string> = []
  const stop = Effect.fnUntraced(function* (message: Uint8Array) {
    if ((yield* below(20)) === 0) return yield* Effect.fail("stopped")
    if ((yield* below(10)) === 0) yield* Effect.sleep(yield* below(50))
    seen.push(text(message))
  })
  const some = Effect.match(session.handle(stop), { onFailure: (error) => error === "stopped", onSuccess: () => false })
  yield* Effect.forkChild(Effect.repeat(some, { while: (isStopped) => isStopped }))
  return seen
})

/** Both ends send and consume over harmed links; one of them closes at some instant. */
const life = Effect.fnUntraced(function* () {
  const { client, network, theirs } = yield* pair({
    network: { capacityBytes: 2000 },
    client: { policy, limits: { windowBytes: 500 } },
    server: { policy, limits: { windowBytes: 300, resumeWindow: "15 seconds" } }
  })
  const [up, down] = [yield* sending(client), yield* sending(theirs)]
  const [atServer, atClient] = [yield* consuming(theirs), yield* consuming(client)]
  const harming = yield* Effect.forkChild(
    Effect.gen(function* () {
      for (let i = 0; i < 8; i++) {
        yield* Effect.sleep(yield* below(2000))
        if ((yield* below(4)) === 0) network.refuse(yield* below(20))
        yield* harm(network)
      }
    })
  )
  yield* flowing(Effect.sleep(yield* below(8000)), "5 millis")
  const closer = (yield* below(2)) === 0 ? client : theirs
  const closed = yield* flowing(Effect.exit(closer.close), "20 millis")
  yield* flowing(Fiber.await(harming), "50 millis")
  const ends = yield* flowing(Effect.all([Effect.exit(client.join), Effect.exit(theirs.join)]), "1 second")
  const sides = [
    { accepted: up(), seen: atServer, left: yield* client.leftovers },
    { accepted: down(), seen: atClient, left: yield* theirs.leftovers }
  ] as const
  return { closed, ends, sides, closedFirst: closer === client ? 0 : 1 }
})

describe("A session with two ends that send, consume and close over links that are harmed", () => {
  let good = 0
  for (let seed = 1; seed <= 8; seed++) {
    it.effect(`loses nothing silently, repeats nothing and keeps the order (seed ${seed})`, () =>
      inScope(life()).pipe(
        Effect.map(({ closed, closedFirst, ends, sides }) => {
          for (const { accepted, left, seen } of sides) {
            const numbers = Array.from({ length: accepted }, (_, i) => String(i))
            assert.deepStrictEqual(seen, numbers.slice(0, seen.length), `seed ${seed}: order, and once`)
            const known = [...left.fateUnknown.map(text), ...left.notSent.map(text)]
            const taken = accepted - known.length
            assert.deepStrictEqual(known, numbers.slice(taken), `seed ${seed}: what is left is the rest`)
            assert.isAtMost(taken, seen.length, `seed ${seed}: what is not left was taken`)
            assert.isAtLeast(
              accepted - left.notSent.length,
              seen.length,
              `seed ${seed}: what was not sent was not seen`
            )
          }
          if (Exit.isSuccess(closed)) {
            good++
            const ours = sides[closedFirst]!
            assert.strictEqual(ours.seen.length, ours.accepted, `seed ${seed}: a good close means that all was taken`)
          }
          assert.isTrue(
            ends.every((end) => Exit.isSuccess(end) || Exit.hasFails(end)),
            `seed ${seed}: typed ends`
          )
        }),
        Random.withSeed(`swarm ${seed}`)
      )
    )
  }

  it("closes well in many of these lives, and not in all of them", () => {
    assert.isAtLeast(good, 2)
    assert.isBelow(good, 8)
  })

  it.effect("is silent about nothing: a stream of messages ends with the session's end", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        const ended = yield* Effect.forkChild(Effect.exit(Stream.runDrain(theirs.messages)))
        yield* flowing(client.close)
        assert.deepStrictEqual(yield* flowing(Fiber.join(ended)), Exit.void)
      })
    )
  )
})
