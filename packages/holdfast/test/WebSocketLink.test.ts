import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import type * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import { Link, WebSocketLink } from "holdfast"
import { type FakeWebSocket, platform } from "./FakeWebSocket.ts"

const url = "wss://example.org/telemetry"
const chunk = (size: number) => new Uint8Array(size).fill(7)

/** A link that has dialled, and the other side of it. */
const opened = Effect.fnUntraced(function* (options: Partial<WebSocketLink.Options> = {}) {
  const { latest, layer } = platform()
  const link = yield* Effect.provide(WebSocketLink.make({ url, ...options }), layer)
  const dialling = yield* Effect.forkChild(link.reader, { startImmediately: true })
  const socket = latest()
  socket.opens()
  return { link, socket, pull: (yield* Fiber.join(dialling)).pull, writer: yield* link.writer }
})

/** The cause with which the dial fails. */
const refusal = Effect.fnUntraced(function* (options: WebSocketLink.Options, then: (socket: FakeWebSocket) => void) {
  const { layer, made } = platform()
  const link = yield* Effect.provide(WebSocketLink.make(options), layer)
  const dialling = yield* Effect.forkChild(Effect.flip(Effect.scoped(link.reader)), { startImmediately: true })
  if (made[0] !== undefined) then(made[0])
  const { reason } = yield* Fiber.join(dialling)
  return (reason as Socket.SocketOpenError).cause as Error
})

describe("writing", () => {
  it.effect("waits while more than 128 KiB are buffered, and goes on when they have drained", () =>
    Effect.gen(function* () {
      const { link, socket, writer } = yield* opened()
      yield* writer.write(chunk(128 * 1024))
      const writing = yield* Effect.forkChild(writer.writeAll([chunk(1)]), { startImmediately: true })
      yield* TestClock.adjust("1 minute")
      assert.isUndefined(writing.pollUnsafe())
      assert.deepStrictEqual(link.progress(), { queuedBytes: 128 * 1024 + 1 })
      socket.drains()
      yield* TestClock.adjust("50 millis")
      assert.deepStrictEqual(writing.pollUnsafe(), Exit.void)
      assert.deepStrictEqual(link.progress(), { queuedBytes: 0 })
    })
  )

  it.effect("takes no time while there is room, and keeps each piece as one message", () =>
    Effect.gen(function* () {
      const { socket, writer } = yield* opened({ queuedBytesMax: 6 })
      yield* writer.writeAll([chunk(1), chunk(2)])
      yield* writer.write(chunk(3))
      assert.deepStrictEqual(socket.sent, [chunk(1), chunk(2), chunk(3)])
    })
  )

  it.effect("fails once the peer has closed, although the platform takes what is sent", () =>
    Effect.gen(function* () {
      const { pull, socket, writer } = yield* opened()
      yield* writer.write(chunk(200_000)).pipe(Effect.forkChild({ startImmediately: true }))
      const waiting = yield* Effect.forkChild(Effect.flip(writer.write(chunk(1))), { startImmediately: true })
      socket.ends(4001)
      yield* TestClock.adjust("50 millis")
      assert.strictEqual((yield* Fiber.join(waiting)).reason._tag, "SocketWriteError")
      assert.strictEqual((yield* Effect.flip(writer.write(chunk(1)))).reason._tag, "SocketWriteError")
      assert.deepInclude((yield* Effect.flip(pull)).reason, { _tag: "SocketCloseError", code: 4001 })
    })
  )
})

describe("destroy", () => {
  it.effect(
    "settles the pull at once and the writes within 50 ms, although the platform goes on closing for ever",
    () =>
      Effect.gen(function* () {
        const { link, pull, socket, writer } = yield* opened()
        const pulling = yield* Effect.forkChild(Effect.flip(pull), { startImmediately: true })
        const writing = yield* Effect.forkChild(Effect.flip(writer.write(chunk(200_000))), { startImmediately: true })
        yield* link.destroy
        assert.deepInclude((yield* Fiber.join(pulling)).reason, { _tag: "SocketCloseError", code: 1006 })
        yield* TestClock.adjust("50 millis")
        assert.strictEqual((yield* Fiber.join(writing)).reason._tag, "SocketWriteError")
        assert.deepStrictEqual([socket.readyState, socket.closedWith], [2, [4000]])
        socket.says(chunk(1)) // a late message reaches nobody
        assert.strictEqual((yield* Effect.flip(pull)).reason._tag, "SocketCloseError")
      })
  )

  it.effect("ends a dial that nobody answers, and before the dial does nothing", () =>
    Effect.gen(function* () {
      const { latest, layer } = platform()
      const link = yield* Effect.provide(WebSocketLink.make({ url }), layer)
      yield* link.destroy
      const dialling = yield* Effect.forkChild(Effect.flip(Effect.scoped(link.reader)), { startImmediately: true })
      yield* link.destroy
      assert.strictEqual((yield* Fiber.join(dialling))._tag, "SocketError")
      assert.deepStrictEqual(latest().closedWith, [4000])
    })
  )
})

describe("the dial", () => {
  it.effect("has no limit of its own: after an hour it still waits", () =>
    Effect.gen(function* () {
      const { latest, layer } = platform()
      const link = yield* Effect.provide(WebSocketLink.make({ url, protocols: "mqtt" }), layer)
      const dialling = yield* Effect.forkChild(link.reader, { startImmediately: true })
      yield* TestClock.adjust("1 hour")
      assert.isUndefined(dialling.pollUnsafe())
      assert.deepStrictEqual([latest().url, latest().protocols, latest().binaryType], [url, ["mqtt"], "arraybuffer"])
    })
  )

  it.effect("fails with a sentence, since platforms do not say why", () =>
    Effect.gen(function* () {
      const { message } = yield* refusal({ url }, (socket) => socket.breaks())
      assert.strictEqual(message, `${url} could not be opened; the platform does not say why`)
    })
  )

  it.effect("refuses to speak in the clear outside this machine, unless the program says so", () =>
    Effect.gen(function* () {
      for (const url of ["ws://berlin.example/", "ws://10.77.0.1:9", "ws://[2001:db8::1]/", "ws://127.0.0.1.example"]) {
        const refused: object = yield* refusal({ url }, () => {})
        assert.deepInclude(refused, { _tag: "PlaintextRefused", retryable: false }, url)
      }
      for (const url of ["ws://localhost:9", "ws://app.localhost", "ws://127.1", "ws://[::1]:9/x", "wss://a.example"]) {
        const failed: object = yield* refusal({ url }, (socket) => socket.breaks())
        assert.notDeepInclude(failed, { _tag: "PlaintextRefused" }, url)
      }
      const allowed: object = yield* refusal({ url: "ws://berlin.example", plaintext: true }, (socket) =>
        socket.breaks()
      )
      assert.notDeepInclude(allowed, { _tag: "PlaintextRefused" })
      assert.include((yield* refusal({ url: "https://a.example" }, () => {})).message, "ws: or wss:")
    })
  )
})

describe("reading", () => {
  it.effect("keeps what nobody pulls up to the bound, and ends the link beyond it", () =>
    Effect.gen(function* () {
      for (const [bytes, isOver] of [
        [1000, false],
        [1001, true]
      ] as const) {
        const { pull, socket } = yield* opened({ receivedBytesMax: 1000 })
        socket.says(chunk(bytes - 10))
        socket.says(chunk(10))
        assert.strictEqual((yield* pull).length, 2)
        const next = yield* Effect.forkChild(Effect.flip(pull), { startImmediately: true })
        assert.strictEqual(next.pollUnsafe() !== undefined, isOver)
        if (isOver) assert.strictEqual((yield* Fiber.join(next)).reason._tag, "SocketReadError")
      }
    })
  )

  it.effect("ends with a sentence where the platform only says that something broke", () =>
    Effect.gen(function* () {
      const { pull, socket } = yield* opened()
      socket.breaks()
      const { reason } = yield* Effect.flip(pull)
      assert.include(String((reason as Socket.SocketReadError).cause), "broke; the platform does not say why")
    })
  )

  it.effect("takes text for a violation where a session or a connection reads", () =>
    Effect.gen(function* () {
      const { latest, layer } = platform()
      const opening = yield* Effect.forkChild(
        Effect.flatMap(Effect.provide(WebSocketLink.make({ url }), layer), Link.open),
        { startImmediately: true }
      )
      latest().opens()
      const { pull } = yield* Fiber.join(opening)
      latest().says("text")
      assert.strictEqual((yield* Effect.flip(pull)).reason._tag, "ProtocolViolated")
    })
  )
})

describe("the reader's scope", () => {
  it.effect("closes with 1000 and waits for nobody, and the next acquisition dials again", () =>
    Effect.gen(function* () {
      const { layer, made } = platform()
      const link = yield* Effect.provide(WebSocketLink.make({ url }), layer)
      for (const count of [1, 2]) {
        const scope = yield* Scope.make()
        const dialling = yield* Effect.forkChild(Scope.provide(link.reader, scope), { startImmediately: true })
        assert.strictEqual(made.length, count)
        made.at(-1)!.opens()
        yield* Fiber.join(dialling)
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(made.at(-1)!.closedWith, [1000])
      }
    })
  )
})
