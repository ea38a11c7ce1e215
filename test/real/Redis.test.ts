// The Redis example against a real server: replies in order, published messages beside them, and commands whose link died.
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Schedule } from "effect"
import { Presets } from "holdfast"
import { Redis, type Reply } from "../../examples/05-redis/redis.ts"
import { collected, eventually, lives, policy, running } from "./harness/Example.ts"
import * as Server from "./harness/Server.ts"

const missing = Server.missingOf("redis-server")
if (missing !== undefined && process.env["CI"] !== undefined) throw new Error(missing)

const onServer = it.live.skipIf(missing !== undefined)

/** A server, the example, and how to ask the server beside it. */
const start = Effect.fnUntraced(function* (silence = policy.silence) {
  const server = yield* Server.start("redis-server")
  const { host, port } = server
  const context = yield* Layer.build(Redis.layer({ host, port, channels: ["news"], policy: { ...policy, silence } }))
  const { command, connection, pushes } = Context.get(context, Redis)
  const pushed = yield* collected(pushes)
  const told = yield* lives(connection.events)
  const cli = (...words: ReadonlyArray<string>) =>
    Effect.map(Server.ask("redis-cli", "-h", host, "-p", String(port), ...words), (answer) => answer.trim())
  const news = () => pushed.flatMap(([kind, , text]) => (kind === "message" ? [text] : []))
  yield* eventually(() => told.opened === 1)
  return { server, command, connection, news, told, cli }
})

const upTo = (count: number) => Array.from({ length: count }, (_, n) => n + 1)

describe.concurrent(`Redis${missing === undefined ? "" : `: ${missing}`}`, () => {
  onServer("answers 1,000 commands at once, each with its own reply, and publishes between them", () =>
    Effect.gen(function* () {
      const { command, news } = yield* start()
      const one = (n: number) =>
        n % 100 === 0
          ? Effect.as(command("PUBLISH", "news", String(n)), n)
          : Effect.map(command("ECHO", String(n)), Number)
      const replies = yield* Effect.forEach(upTo(1000), one, { concurrency: "unbounded" })
      assert.deepStrictEqual(replies, upTo(1000))
      yield* eventually(() => news().length === 10)
      const refused = yield* Effect.flip(command("NONSENSE"))
      assert.strictEqual(refused._tag, "RedisError")
      assert.deepStrictEqual(yield* command("ECHO", "still in order"), "still in order")
    })
  )

  onServer("counts as its program says", () =>
    Effect.gen(function* () {
      const { port } = yield* Server.start("redis-server")
      const { printed } = yield* running("05-redis", String(port))
      yield* eventually(() => printed().includes("[ 2, 1 ]") && printed().includes("'one more'"))
    })
  )

  onServer("is not given up for a pause that is shorter than the patience", () =>
    Effect.gen(function* () {
      const { cli, command, told } = yield* start(Presets.openVSwitch("2 seconds"))
      yield* cli("CLIENT", "PAUSE", "1000")
      assert.strictEqual(yield* command("ECHO", "late"), "late")
      yield* Effect.sleep("5 seconds")
      assert.deepStrictEqual([told.opened, told.ends], [1, []])
    })
  )

  onServer("is given up for a longer one, although its machine answers, and used again when it is over", () =>
    Effect.gen(function* () {
      const { cli, command, told } = yield* start()
      yield* cli("CLIENT", "PAUSE", "6000")
      const failed = yield* Effect.flip(command("INCR", "a"))
      assert.include(
        ["PeerSilent", "AnswerOverdue"],
        failed._tag === "ConnectionError" ? failed.reason._tag : failed._tag
      )
      yield* eventually(() => told.opened >= 2)
      assert.strictEqual(yield* command("ECHO", "again"), "again")
    })
  )

  onServer("loses no command that no link has seen, and fails those that it may have carried out", () =>
    Effect.gen(function* () {
      const { cli, command, news, server, told } = yield* start()
      const replies: Array<Reply> = []
      let asked = 0
      let failed = 0
      const ask = Effect.suspend(() => {
        asked++
        return Effect.forkScoped(
          Effect.matchEffect(command("INCR", "counter"), {
            onFailure: () => Effect.sync(() => void failed++),
            onSuccess: (reply) => Effect.sync(() => void replies.push(reply))
          })
        )
      })
      const asking = yield* Effect.forkScoped(Effect.repeat(ask, Schedule.spaced("5 millis")))
      const flows = Effect.suspend(() => {
        const from = replies.length
        return eventually(() => replies.length > from + 20)
      })
      const givenUpAfter = (harm: Effect.Effect<void>) =>
        Effect.suspend(() => {
          const before = told.ends.length
          return Effect.andThen(
            harm,
            eventually(() => told.ends.length > before)
          )
        })
      yield* flows
      yield* cli("CLIENT", "KILL", "TYPE", "pubsub")
      yield* flows
      yield* givenUpAfter(server.kill)
      const whileDown = yield* Effect.forkScoped(
        Effect.forEach(upTo(100), (n) => command("ECHO", String(n)), { concurrency: "unbounded" })
      )
      yield* server.start
      assert.deepStrictEqual(yield* Fiber.join(whileDown), upTo(100).map(String))
      yield* flows
      yield* givenUpAfter(server.freeze)
      yield* server.thaw
      yield* flows
      yield* server.stop
      yield* server.start
      yield* flows
      yield* Fiber.interrupt(asking)
      yield* eventually(() => replies.length + failed === asked)

      // Each reply is a number of its own; what is missing between them is of commands that failed.
      const counter = Number(yield* cli("GET", "counter"))
      assert.strictEqual(new Set(replies).size, replies.length)
      assert.isAtLeast(counter, replies.length)
      assert.isAtMost(counter, replies.length + failed)
      assert.isAbove(failed, 0)
      yield* cli("PUBLISH", "news", "still subscribed")
      yield* eventually(() => news().includes("still subscribed"))
    })
  )
})
