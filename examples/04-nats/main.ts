/**
 * Counts on a NATS server, and says what happens: `node --conditions=source examples/04-nats/main.ts [port]`. Stop, kill
 * and freeze the server meanwhile (`kill -STOP`): every number still arrives.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, References, Schedule, Stream } from "effect"
import { layer, Nats } from "./nats.ts"

const program = Effect.gen(function* () {
  const nats = yield* Nats
  let n = 0
  const count = Effect.suspend(() => nats.send({ _tag: "Publish", subject: "demo.count", text: String(++n) }))
  const heard = Stream.runForEach(nats.messages, Console.log)
  yield* Effect.all([heard, Effect.repeat(count, Schedule.spaced("1 second"))], { concurrency: 2 })
})

const at = { host: "127.0.0.1", port: Number(process.argv[2] ?? 4222) }
program.pipe(
  Effect.provide(layer({ servers: [at], subjects: ["demo.>"] })),
  Effect.provideService(References.MinimumLogLevel, "Debug"), // what becomes of the connection
  NodeRuntime.runMain
)
