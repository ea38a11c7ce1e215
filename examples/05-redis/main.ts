/** Counts on Redis: `node --conditions=source examples/05-redis/main.ts [port]`. Stop, kill and freeze it meanwhile. */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, References, Schedule, Stream } from "effect"
import { Redis } from "./redis.ts"

const program = Effect.gen(function* () {
  const { command, pushes } = yield* Redis
  const count = Effect.all([command("INCR", "demo"), command("PUBLISH", "demo", "one more")], { concurrency: 2 })
  const reported = Effect.matchEffect(count, {
    onFailure: ({ message }) => Console.log(message),
    onSuccess: Console.log
  })
  const heard = Stream.runForEach(pushes, Console.log)
  yield* Effect.all([heard, Effect.repeat(reported, Schedule.spaced("1 second"))], { concurrency: 2 })
})

program.pipe(
  Effect.provide(Redis.layer({ port: Number(process.argv[2] ?? 6379), channels: ["demo"] })),
  Effect.provideService(References.MinimumLogLevel, "Debug"), // what becomes of the connection
  NodeRuntime.runMain
)
