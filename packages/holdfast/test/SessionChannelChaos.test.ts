import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option, Random, Scope, Stream } from "effect"
import type { SessionChannel } from "holdfast"
import * as MemoryLink from "./MemoryLink.ts"
import { below, type Ends, numbered, serveOf, steady } from "./SessionPair.ts"
import { connect, flowing, Plain, settle, text } from "./SessionTesting.ts"

type Bytes = SessionChannel.SessionChannel<Uint8Array, Uint8Array>

/** Everything that can be waited for on a channel, some of it left at any moment. */
const live = Effect.fnUntraced(function* (end: Bytes, seen: Array<string>) {
  const sending = Effect.gen(function* () {
    const kind = yield* below(5)
    for (const message of numbered(30)) {
      if (kind === 0) yield* end.deliver(message)
      else yield* end.send(message)
    }
    if (kind === 1) yield* end.flush
    if (kind === 2) return yield* end.reset("enough")
    yield* end.end
  })
  const reading = Effect.gen(function* () {
    const kind = yield* below(4)
    if (kind === 0)
      return yield* end.messages.pipe(Stream.take(5), Stream.runDrain, Effect.andThen(Effect.fail("enough")))
    if (kind === 1) {
      return yield* end.handle((message) => Effect.sync(() => seen.push(text(message))))
    }
    yield* end.messages.pipe(Stream.runForEach((message) => Effect.sync(() => seen.push(text(message)))))
  })
  yield* Effect.all([sending, reading], { concurrency: 2, discard: true })
})

describe("Channels among everything that can happen at once", () => {
  it.effect("never keep anybody waiting for what cannot come, and every message comes once and in order", () =>
    Effect.gen(function* () {
      for (let round = 0; round < 60; round++) {
        const scope = yield* Scope.make()
        const limits = { channelWindowBytes: 40, windowBytes: 60, growthBytesMax: 30, channelsMax: 12 }
        const side = { limits, policy: { ...steady, close: "5 seconds", backlog: { messagesMax: 4 } } } as const
        const outcome = yield* Effect.gen(function* () {
          const network = yield* MemoryLink.make({ capacityBytes: 300 })
          const { next } = yield* serveOf(Plain)(network, side)
          const client = yield* connect(network, side)
          const theirs = yield* flowing(next)
          const streams: Array<Array<string>> = []
          const watch = () => {
            const seen: Array<string> = []
            streams.push(seen)
            return seen
          }
          const accept = (session: Ends) =>
            session.channels.pipe(
              Stream.runForEach((incoming) =>
                incoming.accept().pipe(
                  Effect.flatMap((end) => live(end, watch())),
                  Effect.scoped,
                  Effect.exit,
                  Effect.forkScoped
                )
              ),
              Effect.exit
            )
          yield* Effect.forkScoped(accept(client))
          yield* Effect.forkScoped(accept(theirs))
          const open = (session: Ends, i: number) =>
            Effect.gen(function* () {
              yield* Effect.sleep(`${i % 7} seconds`)
              const end = yield* session.open(`${i}`)
              const living = yield* Effect.forkChild(live(end, watch()))
              if ((yield* below(4)) === 0) {
                yield* Effect.sleep(yield* below(3000))
                yield* Fiber.interrupt(living)
              }
              yield* Fiber.join(living)
              if ((yield* below(2)) === 0) yield* Effect.raceFirst(end.join, Effect.sleep("20 seconds"))
            }).pipe(Effect.scoped, Effect.exit)
          const cutting = Effect.gen(function* () {
            for (let i = 0; i < 8; i++) {
              yield* Effect.sleep(yield* below(1500))
              if (yield* Random.nextBoolean) network.wires.at(-1)?.cut()
              else network.wires.at(-1)?.toServer.cutAfter(yield* below(400))
            }
          })
          const own = (session: Ends) =>
            Effect.all([session.sendAll(numbered(40)), session.messages.pipe(Stream.take(40), Stream.runDrain)], {
              concurrency: 2
            })
          const work = Effect.all(
            [
              own(client),
              own(theirs),
              cutting,
              Effect.forEach(
                Array.from({ length: 16 }, (_, i) => i),
                (i) => open(i % 2 === 0 ? client : theirs, i),
                {
                  concurrency: "unbounded"
                }
              )
            ],
            { concurrency: "unbounded" }
          )
          const done = yield* flowing(Effect.timeoutOption(Effect.exit(work), "5 minutes"), "100 millis")
          yield* settle
          for (const seen of streams) assert.deepStrictEqual(seen, numbered(seen.length).map(text))
          return done
        }).pipe(Scope.provide(scope))
        yield* flowing(Scope.close(scope, Exit.void), "500 millis")
        assert.isTrue(Option.isSome(outcome), `round ${round} hangs`)
        if (Option.isSome(outcome))
          assert.isTrue(Exit.isSuccess(outcome.value), `round ${round}: the session itself has failed`)
      }
    })
  )
})
