// What a session leaves behind over every kind of link. One test at a time, since it counts what the whole process holds.
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Layer, Schedule, Scope } from "effect"
import * as SocketServer from "effect/socket/SocketServer"
import { type Link, Session } from "holdfast"
import { kinds, type Stage } from "./Links.ts"
import * as Plain from "./Plain.ts"

class Bytes extends Session.Service<Bytes>()("test/Plain") {}

const policy = { reconnect: Schedule.spaced("20 millis"), close: "5 seconds" } as const

/** Both ends of a session that lost its first link. */
const pair = Effect.fnUntraced(function* ({ link, relay, server }: Stage) {
  yield* Layer.build(
    Bytes.serve((session) => Effect.exit(session.handle(() => Effect.void)), { policy }).pipe(
      Layer.provide(Layer.succeed(SocketServer.SocketServer, server))
    )
  )
  const links: Array<Link.Link> = []
  const client = yield* Bytes.make({
    link: Effect.tap(link, (made) => Effect.sync(() => links.push(made))),
    policy
  })
  yield* client.deliver(new Uint8Array(10))
  yield* links.at(-1)?.destroy ?? Effect.sync(relay.cut)
  yield* client.deliver(new Uint8Array(10))
  return client
})

/** Descriptors and timers that this process has now and had not when `before` was taken. */
const more = (before: ReadonlyArray<string>): ReadonlyArray<string> => {
  const known = [...before]
  return process.getActiveResourcesInfo().filter((name) => {
    const at = known.indexOf(name)
    if (at >= 0) known.splice(at, 1)
    return at < 0 && /TCP|TLS|Pipe|Timeout|Connect|Write|Shutdown/.test(name)
  })
}

describe("a session leaves no descriptor and no timer behind", () => {
  for (const { name, stage } of kinds) {
    it.live(`over ${name}, closed or only released`, () =>
      Effect.gen(function* () {
        for (const isClosed of [true, false]) {
          const before = process.getActiveResourcesInfo()
          const scope = yield* Scope.make()
          yield* Effect.gen(function* () {
            const client = yield* Effect.flatMap(stage, pair)
            yield* Plain.until(() => more(before).length > 0) // or the next look could find nothing whatever was left
            if (isClosed) yield* client.close
          }).pipe(Scope.provide(scope))
          const [took] = yield* Effect.timed(Scope.close(scope, Exit.void))
          assert.isBelow(Duration.toMillis(took), 8000)
          yield* Plain.until(() => more(before).length === 0)
          assert.deepStrictEqual(more(before), [])
        }
      })
    )
  }
})
