/**
 * A reading each second: `node --conditions=source examples/07-lines-without-ping/main.ts [host] [port]`, to
 * `socat -u TCP-LISTEN:7000,fork,reuseaddr STDOUT`, in the clear. Pull the cable, wait half a minute, and plug it in again.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Random, References, Schedule } from "effect"
import { layer, Reading, Readings } from "./readings.ts"

const program = Effect.gen(function* () {
  const readings = yield* Readings
  const celsius = Random.nextIntBetween(15, 25)
  const report = Effect.flatMap(celsius, (celsius) => readings.send(new Reading({ sensor: "roof", celsius })))
  yield* Effect.repeat(report, Schedule.spaced("1 second"))
})

const [host = "127.0.0.1", port = "7000"] = process.argv.slice(2)
program.pipe(
  Effect.provide(layer({ host, port: Number(port), plaintext: true })),
  Effect.provideService(References.MinimumLogLevel, "Debug"), // what becomes of the connection
  NodeRuntime.runMain
)
