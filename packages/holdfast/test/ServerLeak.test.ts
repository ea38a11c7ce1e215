import { assert, describe, it } from "@effect/vitest"
import { Effect, Metric } from "effect"
import { TestClock } from "effect/testing"
import * as MemoryLink from "./MemoryLink.ts"
import * as RawClient from "./RawClient.ts"
import * as Rubbish from "./Rubbish.ts"
import * as ServerTesting from "./ServerTesting.ts"
import { scenario } from "./ServerTesting.ts"
import { bytes, settle } from "./SessionTesting.ts"

/** Runs a test with the number of fibers that have begun and not ended. */
const counting = <A, E, R>(body: (fibers: () => number) => Effect.Effect<A, E, R>) => {
  let count = 0
  return Effect.provideService(
    body(() => count),
    Metric.FiberRuntimeMetrics,
    {
      recordFiberStart: () => void count++,
      recordFiberEnd: () => void count--
    }
  )
}

const settled = Effect.repeat(settle, { times: 5 })

/** So many hundred links; each hundred is gone when the next one comes. */
const hundreds = Effect.fnUntraced(function* <E>(
  network: MemoryLink.Network,
  times: number,
  use: (link: RawClient.RawLink) => Effect.Effect<unknown, E>,
  meanwhile: Effect.Effect<void> = settled
) {
  for (let i = 0; i < times; i++) {
    yield* Effect.scoped(
      Effect.gen(function* () {
        for (let j = 0; j < 100; j++) yield* use(yield* RawClient.dial(network))
        yield* meanwhile
      })
    )
    yield* settled
  }
})

const end = { _tag: "Close", code: "Normal", epoch: 0, detail: "" } as const

describe("Session: what a server keeps", () => {
  for (const [what, rubbish] of [...Rubbish.first, ["nothing", new Uint8Array(0), ""] as const]) {
    it.effect(`of 1,000 links that brought ${what}: nothing`, () =>
      counting((fibers) =>
        scenario(
          Effect.gen(function* () {
            const network = yield* MemoryLink.make()
            const server = yield* ServerTesting.start(network, { limits: { handshakesMax: 100, sessionsMax: 1 } })
            yield* settled
            const before = fibers()
            yield* hundreds(network, 10, (link) => link.send(rubbish))
            assert.strictEqual(server.told().filter((event) => event.startsWith("LinkRefused")).length, 1000)
            assert.strictEqual(server.events.length, 1000)
            assert.strictEqual(fibers(), before)
            yield* RawClient.begin(yield* RawClient.dial(network))
            yield* server.next
          })
        )
      )
    )
  }

  const kinds: ReadonlyArray<
    readonly [
      how: string,
      use: (link: RawClient.RawLink) => Effect.Effect<unknown, unknown>,
      meanwhile?: Effect.Effect<void>
    ]
  > = [
    ["were ended by their clients", (link) => Effect.andThen(RawClient.begin(link), link.send(end))],
    ["expired", RawClient.begin],
    ["expired without having begun", (link) => Effect.andThen(link.send(RawClient.hello()), link.next)],
    ["fell silent, and expired", RawClient.begin, Effect.andThen(settled, TestClock.adjust("20 seconds"))],
    [
      "broke the rules, and expired",
      (link) => Effect.andThen(RawClient.begin(link), link.send(Uint8Array.of(0x7f, 0)))
    ],
    [
      "had a handler that failed",
      (link) => Effect.andThen(RawClient.begin(link), link.send(RawClient.data(0, bytes("fail"))))
    ]
  ]
  for (const [how, use, meanwhile] of kinds) {
    it.effect(`of 1,000 sessions that ${how}: nothing`, () =>
      counting((fibers) =>
        scenario(
          Effect.gen(function* () {
            const network = yield* MemoryLink.make()
            const server = yield* ServerTesting.start(network, {
              handler: (session) => session.handle(() => Effect.fail("no")),
              limits: { sessionsMax: 1000 }
            })
            yield* settled
            const before = fibers()
            yield* hundreds(network, 10, use, meanwhile)
            yield* TestClock.adjust("2 minutes")
            yield* settled
            assert.strictEqual(server.told().filter((event) => event.startsWith("SessionEnded")).length, 1000)
            assert.strictEqual(fibers(), before)
            assert.isTrue(network.wires.every((wire) => !wire.isOpen()))
            yield* hundreds(network, 1, use, meanwhile) // all places are free again
            assert.strictEqual(server.told().filter((event) => event === "SessionOpened").length, 1100)
          })
        )
      )
    )
  }

  it.effect("of a session after 1,000 resumes: one link and as many fibers as at first", () =>
    counting((fibers) =>
      scenario(
        Effect.gen(function* () {
          const network = yield* MemoryLink.make()
          yield* ServerTesting.start(network)
          const ticket = yield* RawClient.begin(yield* RawClient.dial(network))
          yield* settled
          yield* TestClock.adjust("1 second")
          const before = fibers()
          for (let epoch = 2; epoch < 1002; epoch++) {
            const answer = yield* RawClient.resume(yield* RawClient.dial(network), ticket, { epoch })
            assert.strictEqual(answer._tag, "Resumed")
          }
          yield* TestClock.adjust("1 second")
          yield* settled
          assert.strictEqual(network.wires.filter((wire) => wire.isOpen()).length, 1)
          assert.strictEqual(fibers(), before)
        })
      )
    )
  )
})
