// A session: bulk on one channel, small messages on another. Its probe is the one of its watchdog; one is under way at a time.
import { NodeLink, NodeListener } from "@holdfast/node"
import { Duration, Effect, Layer, Option, Stream } from "effect"
import { Session } from "holdfast"
import { bulkBytes, type Contestant, type Load, stopwatch } from "../Load.ts"

class Loaded extends Session.Service<Loaded>()("test/Loaded") {}

const number = (id: number) => new TextEncoder().encode(String(id))
const numberOf = (message: Uint8Array) => Number(new TextDecoder().decode(message))

export const contestant: Contestant = {
  serve: (host, port) => {
    let receivedBytes = 0
    const server = Loaded.serve((session) =>
      Stream.runForEach(session.channels, (incoming) =>
        Effect.gen(function* () {
          const channel = yield* incoming.accept()
          if (incoming.name === "small") return yield* channel.handle(channel.send)
          yield* Stream.runForEachArray(channel.messages, (messages) =>
            Effect.sync(() => {
              for (const { length } of messages) receivedBytes += length
            })
          )
        }).pipe(Effect.scoped, Effect.forkScoped)
      )
    ).pipe(Layer.provide(NodeListener.layerTcp({ host, port, plaintext: true })))
    return Effect.runPromise(
      Effect.callback((resume) => {
        Effect.runFork(
          Effect.scoped(
            Effect.andThen(Layer.build(server), () => {
              resume(Effect.succeed({ receivedBytes: () => receivedBytes }))
              return Effect.never
            })
          )
        )
      })
    )
  },
  dial: (host, port, killed) =>
    Effect.runPromise(
      Effect.callback<Load>((resume) => {
        Effect.runFork(
          Effect.gen(function* () {
            const session = yield* Loaded.make({ link: NodeLink.tcp({ host, port, plaintext: true }) })
            yield* Effect.forkScoped(
              Stream.runForEach(session.events, (event) =>
                Effect.sync(() => {
                  if (event._tag === "Ended") killed(event.error.message)
                })
              )
            )
            const large = new Uint8Array(bulkBytes).fill(7)
            const [bulk, small] = [yield* session.open("bulk"), yield* session.open("small")]
            const smalls = stopwatch((id) => Effect.runFork(small.send(number(id))))
            yield* Effect.forkScoped(small.handle((message) => Effect.sync(() => smalls.answered(numberOf(message)))))
            // Each answer to a probe is published with a round trip of its own.
            const probe = Effect.gen(function* () {
              const before = roundTripOf(yield* session.state)
              yield* session.wake
              const answered = session.changes.pipe(
                Stream.map(roundTripOf),
                Stream.filter((roundTrip) => roundTrip !== before)
              )
              return Option.match(Option.flatten(yield* Stream.runHead(answered)), {
                onNone: () => Number.NaN,
                onSome: Duration.toMillis
              })
            })
            resume(
              Effect.succeed({
                bulk: () => void Effect.runFork(Effect.forever(bulk.send(large))),
                probe: () => Effect.runPromise(probe),
                probesOverlap: false,
                small: smalls.time
              })
            )
            return yield* Effect.never
          }).pipe(Effect.scoped)
        )
      })
    )
}

const roundTripOf = (state: Session.State) => (state._tag === "Up" ? state.roundTripTime : Option.none())
