// A guard and a connection in a dialect over every kind of link. What becomes of messages, and when, stands in
// packages/holdfast/test; here it is the links that must do their part.
import { assert, describe, it, vi } from "@effect/vitest"
import { Effect, Fiber, Schedule, Stream } from "effect"
import * as Socket from "effect/socket/Socket"
import { Connection, ConnectionError, Dialect, Guard } from "holdfast"
import { kinds, type Stage } from "./Links.ts"
import * as Plain from "./Plain.ts"

// Most of the time is waiting.
vi.setConfig({ maxConcurrency: 12 })

const lines = Dialect.lines().pipe(
  Dialect.withPing({ ping: "PING", pong: "PONG", isPing: (line) => line === "PING", isPong: (line) => line === "PONG" })
)

class Lines extends Connection.Service<Lines>()("test/Lines", { dialect: lines }) {}

/** Asks once, and gives up 400 ms after the last sign of life. */
const silence = Schedule.spaced("200 millis").pipe(Schedule.upTo({ times: 2 }))

/** A peer that knows nothing of Holdfast: it says back every line, and answers pings. */
const echoing = ({ server }: Stage) =>
  Effect.forkScoped(
    server.run((socket) =>
      Effect.gen(function* () {
        const { pull } = yield* socket.reader
        const { write } = yield* socket.writer
        while (true) {
          const text = Buffer.concat(yield* pull as Effect.Effect<ReadonlyArray<Uint8Array>, Socket.SocketError>)
          yield* write(new TextEncoder().encode(text.toString().replaceAll("PING", "PONG")))
        }
      }).pipe(Effect.scoped, Effect.ignore)
    ),
    { startImmediately: true }
  )

for (const { name, stage } of kinds) {
  describe.concurrent(`over ${name}`, () => {
    it.live("a guard lets a talk alone that goes on, and ends the link of one that falls silent, with the reason", () =>
      Effect.gen(function* () {
        const here = yield* stage
        yield* echoing(here)
        const socket = yield* Guard.make(yield* here.link, { policy: { silence } })
        const { pull } = yield* socket.reader
        const { write } = yield* socket.writer
        for (let n = 0; n < 8; n++) {
          yield* write(new TextEncoder().encode("hello"))
          yield* pull
          yield* Effect.sleep("100 millis")
        }
        const ending = yield* Effect.forkChild(Effect.flip(Effect.forever(pull)))
        here.relay.swallow()
        const { reason } = yield* Fiber.join(ending)
        assert(reason._tag === "SocketReadError" && ConnectionError.isConnectionError(reason.cause))
        assert.strictEqual(reason.cause.reason._tag, "PeerSilent")
      })
    )

    it.live("a connection asks a silent peer, dials again, and says again what it was not answered", () =>
      Effect.gen(function* () {
        const here = yield* stage
        yield* echoing(here)
        const connection = yield* Lines.make({
          link: here.link,
          fateUnknown: "sendAgain",
          policy: { silence, open: "3 seconds", reconnect: Schedule.spaced("20 millis") }
        })
        const heard: Array<string> = []
        yield* Effect.forkChild(Stream.runForEach(connection.messages, (line) => Effect.sync(() => heard.push(line))))
        yield* connection.send("first")
        yield* Plain.until(() => heard.includes("first"))
        for (const harm of [here.relay.swallow, here.relay.cut, here.relay.close]) {
          const [before, word] = [here.relay.dials(), `after ${here.relay.dials()}`]
          harm()
          yield* connection.send(word)
          yield* Plain.until(() => heard.includes(word))
          assert.isAbove(here.relay.dials(), before)
        }
      })
    )
  })
}
