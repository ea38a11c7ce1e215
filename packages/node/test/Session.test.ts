import { assert, describe, it } from "@effect/vitest"
import { NodeLink, NodeListener } from "@holdfast/node"
import { Duration, Effect, Exit, Fiber, Layer, Queue, Schedule, Schema, Scope, Stream } from "effect"
import * as SocketServer from "effect/socket/SocketServer"
import { Session } from "holdfast"
import * as Plain from "./Plain.ts"

class Telemetry extends Session.Service<Telemetry>()("test/Telemetry", {
  toServer: Schema.Struct({ sensor: Schema.String, celsius: Schema.Number }),
  toClient: Schema.Number
}) {}

const policy = { reconnect: Schedule.spaced("20 millis") }

/** A server on a port of the kernel's choice, whose sessions come out of a queue. */
const serving = Effect.gen(function* () {
  const server = yield* NodeListener.makeTcp({ port: 0 })
  const sessions = yield* Queue.unbounded<Session.Session<number, { sensor: string; celsius: number }>>()
  yield* Layer.build(
    Telemetry.serve((session) => Effect.andThen(Queue.offer(sessions, session), Effect.exit(session.join)), {
      policy
    }).pipe(Layer.provide(Layer.succeed(SocketServer.SocketServer, server)))
  )
  return { port: Plain.portOf(server), next: Queue.take(sessions) }
})

/** A client that can reset its present link. */
const dialling = Effect.fnUntraced(function* (port: number) {
  const links: Array<NodeLink.NodeLink> = []
  const client = yield* Telemetry.make({
    link: Effect.tap(NodeLink.tcp({ port, host: "127.0.0.1" }), (link) => Effect.sync(() => links.push(link))),
    policy
  })
  return { client, links, reset: Effect.suspend(() => links.at(-1)?.destroy ?? Effect.void) }
})

/** Descriptors and timers that this process has now and had not when `before` was taken. */
const more = (before: ReadonlyArray<string>): ReadonlyArray<string> => {
  const known = [...before]
  return process.getActiveResourcesInfo().filter((name) => {
    const at = known.indexOf(name)
    if (at >= 0) known.splice(at, 1)
    return at < 0 && /TCP|Timeout|Connect|Write|Shutdown/.test(name)
  })
}

describe("a session over TCP", () => {
  it.live("delivers in both directions, and closes when everything was taken", () =>
    Effect.gen(function* () {
      const { next, port } = yield* serving
      const { client } = yield* dialling(port)
      yield* client.send({ sensor: "roof", celsius: 21.5 })
      const theirs = yield* next
      const seen: Array<string> = []
      yield* Effect.forkChild(
        theirs.handle(({ celsius, sensor }) => Effect.sync(() => seen.push(`${sensor} ${celsius}`)))
      )
      yield* client.flush
      assert.deepStrictEqual(seen, ["roof 21.5"])
      const answers = yield* Effect.forkChild(Stream.runCollect(client.messages))
      yield* theirs.deliver(42)
      yield* theirs.end
      assert.deepStrictEqual(yield* Fiber.join(answers), [42])
      yield* client.close
      assert.deepStrictEqual(yield* Effect.exit(theirs.join), Exit.void)
    })
  )

  it.live("repeats and loses nothing when its links are reset, again and again", () =>
    Effect.gen(function* () {
      const { next, port } = yield* serving
      const { client, links, reset } = yield* dialling(port)
      const numbers = Array.from({ length: 3000 }, (_, i) => i)
      yield* client.send({ sensor: "x".repeat(500), celsius: 0 })
      const theirs = yield* next
      const [up, down]: [Array<number>, Array<number>] = [[], []]
      yield* Effect.forkChild(theirs.handle(({ celsius }) => Effect.sync(() => up.push(celsius))))
      yield* Effect.forkChild(client.handle((number) => Effect.sync(() => down.push(number))))
      const sending = Effect.forEach(
        numbers.slice(1),
        (celsius) =>
          Effect.andThen(
            client.send({ sensor: "x".repeat(500), celsius }),
            celsius % 100 === 0 ? Effect.sleep(5) : Effect.void
          ),
        { discard: true }
      )
      const answering = theirs.sendAll(numbers)
      const cutting = Effect.gen(function* () {
        for (let count = 1; count <= 8; count++) {
          yield* Plain.until(() => links.length >= count)
          yield* Effect.sleep(count) // in the dial, in the handshake, or behind it
          yield* reset
        }
      })
      yield* Effect.all([sending, answering, cutting], { concurrency: "unbounded" })
      yield* Effect.all([client.flush, theirs.flush], { concurrency: "unbounded" })
      assert.deepStrictEqual([up, down], [numbers, numbers])
      assert.isAtLeast(links.length, 8)
      yield* client.close
    })
  )

  it.live("leaves no descriptor and no timer behind when it was closed, and none when it was only released", () =>
    Effect.gen(function* () {
      for (const isClosed of [true, false]) {
        const before = process.getActiveResourcesInfo()
        const scope = yield* Scope.make()
        yield* Effect.gen(function* () {
          const { next, port } = yield* serving
          const { client, reset } = yield* dialling(port)
          yield* client.send({ sensor: "roof", celsius: 1 })
          const theirs = yield* next
          yield* Effect.forkChild(Effect.exit(theirs.handle(() => Effect.void)))
          yield* reset
          yield* client.deliver({ sensor: "roof", celsius: 2 })
          assert.includeMembers([...more(before)], ["TCPSocketWrap", "Timeout"])
          if (isClosed) yield* client.close
        }).pipe(Scope.provide(scope))
        const [took] = yield* Effect.timed(Scope.close(scope, Exit.void))
        assert.isBelow(Duration.toMillis(took), 5000)
        yield* Plain.until(() => more(before).length === 0)
        assert.deepStrictEqual(more(before), [])
      }
    })
  )
})
