// Connect, write, finish, close: all without an error, and the other application never got the data (H2O's report). First
// the ways in which plain sockets lose in silence, then a session over a link that suffers each of them.
import { assert, describe, it } from "@effect/vitest"
import { NodeLink, NodeListener } from "@holdfast/node"
import { Context, Effect, Layer, Stream } from "effect"
import * as NetAddress from "effect/net/NetAddress"
import * as SocketServer from "effect/socket/SocketServer"
import type * as Net from "node:net"
import { spawn } from "./harness/Child.ts"
import { Numbers, policy } from "./harness/Numbers.ts"
import * as Plain from "./harness/Plain.ts"
import * as Relay from "./harness/Relay.ts"
import type * as Sink from "./harness/roles/sink.ts"

const payload = new Uint8Array(100_000).fill(1)

/** Longer than a busy machine keeps the client waiting that is to have left by then, shorter than a session's patience. */
const laterMillis = 400

/** What a server does to a connection, that costs the client its data. */
const treatments: Record<string, (socket: Net.Socket) => void> = {
  "says goodbye at once and never reads": (socket) => socket.end(),
  "says goodbye, and closes later with unread data": (socket) => {
    socket.end()
    setTimeout(() => socket.destroy(), laterMillis)
  },
  "reads a tenth and says goodbye": (socket) => {
    socket.on("readable", () => undefined)
    setTimeout(() => {
      socket.read(10_000)
      socket.end()
    }, laterMillis)
  },
  "closes with unread data, which is a reset": (socket) => {
    setTimeout(() => socket.destroy(), laterMillis)
  }
}

/** What a client does after its write, and believes that all is well. */
const departures: Record<string, (belief: Plain.Belief) => void> = {
  "goes on": () => undefined,
  ends: ({ socket }) => socket.end(),
  "ends and destroys once that is finished": ({ socket }) => socket.end(() => socket.destroy())
}

/** These pairs give the client an error: it still waits when the reset comes. */
const noticed = new Set([
  "closes with unread data, which is a reset: goes on",
  "closes with unread data, which is a reset: ends"
])

describe("plain sockets lose in silence", () => {
  for (const [treatment, treat] of Object.entries(treatments)) {
    for (const [departure, depart] of Object.entries(departures)) {
      if (noticed.has(`${treatment}: ${departure}`)) continue
      it.live(`when the server ${treatment} and the client ${departure}`, () =>
        Effect.gen(function* () {
          const server = yield* Plain.listen(treat)
          const belief = yield* Plain.send(server.port, payload, depart)
          yield* Plain.until(() => belief.closed)
          assert.isTrue(belief.connected)
          assert.isUndefined(belief.error)
          assert.strictEqual(belief.writtenBytes, payload.length)
          yield* Effect.sleep("200 millis")
          assert.isBelow(server.receivedBytes(), payload.length)
        })
      )
    }
  }

  for (const frozen of [true, false]) {
    const state = frozen ? "is frozen before it accepts" : "accepts and does not read"
    it.live(`when the server's process ${state}, and is killed later`, () =>
      Effect.gen(function* () {
        const server = yield* spawn<Sink.Fact>("sink", { reads: frozen } satisfies Sink.Argument)
        const { port } = yield* server.fact("Listening")
        if (frozen) yield* server.freeze
        const belief = yield* Plain.send(port, payload, ({ socket }) => socket.end(() => socket.destroy()))
        yield* Plain.until(() => belief.closed)
        yield* server.kill
        assert.isUndefined(belief.error)
        assert.strictEqual(belief.writtenBytes, payload.length)
        assert.isFalse(server.facts.some((fact) => fact._tag === "Received"))
      })
    )
  }
})

describe("a session over a link that suffers the same", () => {
  it.live("resumes each time: every message is taken once and in order", () =>
    Effect.gen(function* () {
      const count = 1500 // more than all links take before their harm comes
      const taken: Array<number> = []
      const ended: Array<string> = []
      const listener = yield* Layer.build(NodeListener.layerTcp({ port: 0 }))
      const { address } = Context.get(listener, SocketServer.SocketServer)
      yield* Layer.build(
        Numbers.serve((session) => session.handle(({ n }) => Effect.sync(() => taken.push(n))), { policy })
      ).pipe(Effect.provide(listener))
      const harms = Object.values(treatments)
      const relay = yield* Relay.listen(NetAddress.isInetAddress(address) ? address.port : 0, 50_000, harms)

      const session = yield* Numbers.make({ link: NodeLink.tcp({ port: relay.port }), policy })
      yield* session.events.pipe(
        Stream.runForEach((event) => Effect.sync(() => event._tag === "Ended" && ended.push(event.error.reason._tag))),
        Effect.forkScoped({ startImmediately: true })
      )
      const padding = "x".repeat(1000)
      for (let n = 0; n < count; n++) yield* session.send({ n, padding })
      yield* session.flush
      assert.deepStrictEqual(
        taken,
        Array.from({ length: count }, (_, n) => n)
      )
      assert.strictEqual(ended.length, harms.length)
      for (const reason of ended) assert.include(["LinkClosed", "LinkFailed"], reason)
      yield* session.close
    })
  )
})
