/** Counts over MQTT: `node --conditions=source examples/06-mqtt/main.ts [port]`. Stop, kill and freeze the broker meanwhile. */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, References, Schedule, Stream } from "effect"
import { Mqtt } from "./mqtt.ts"

const program = Effect.gen(function* () {
  const { publish, published } = yield* Mqtt
  let n = 0
  const count = Effect.suspend(() => publish("demo/count", String(++n)))
  const heard = Stream.runForEach(published, ({ payload, topic }) => Console.log(`${topic}: ${payload.toString()}`))
  yield* Effect.all([heard, Effect.repeat(count, Schedule.spaced("1 second"))], { concurrency: 2 })
})

const at = { host: "127.0.0.1", port: Number(process.argv[2] ?? 1883) }
program.pipe(
  Effect.provide(Mqtt.layer({ ...at, clientId: "demo", topics: ["demo/#"] })),
  Effect.provideService(References.MinimumLogLevel, "Debug"), // what becomes of the connection
  NodeRuntime.runMain
)
