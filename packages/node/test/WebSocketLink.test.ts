import { assert, describe, it } from "@effect/vitest"
import { NodeLink, NodeListener } from "@holdfast/node"
import { Effect, Exit, Fiber, Scope } from "effect"
import type * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import { Link } from "holdfast"
import type * as Net from "node:net"
import { isDeepStrictEqual } from "node:util"
import * as Plain from "./Plain.ts"
import * as PlainWebSocket from "./PlainWebSocket.ts"
import * as Relay from "./Relay.ts"

const chunk = Plain.chunk

const dial = (port: number, options: Partial<NodeLink.WebSocketOptions> = {}) =>
  NodeLink.webSocket({ url: `ws://127.0.0.1:${port}`, ...options })

/** The error with which the reader fails. */
const refusal = (link: Effect.Effect<NodeLink.NodeLink>) =>
  link.pipe(
    Effect.flatMap((link) => link.reader),
    Effect.scoped,
    Effect.flip,
    Effect.map(({ reason }) => (reason as Socket.SocketOpenError).cause as NodeJS.ErrnoException)
  )

describe("writing", () => {
  it.live("waits while the peer does not read, and goes on when it does", () =>
    Effect.gen(function* () {
      const peer = yield* PlainWebSocket.listen({ isPaused: true })
      const link = yield* dial(peer.port)
      yield* link.reader
      const { write } = yield* link.writer
      const leaks: Array<string> = []
      const onWarning = ({ name }: Error) => void leaks.push(name)
      process.on("warning", onWarning)
      yield* Effect.addFinalizer(() => Effect.sync(() => process.off("warning", onWarning)))
      let writtenBytes = 0
      const writing = yield* Effect.forkChild(
        Effect.repeat(
          Effect.tap(
            Effect.suspend(() => write(chunk)),
            () => Effect.sync(() => void (writtenBytes += chunk.length))
          ),
          { times: 999 }
        )
      )
      yield* Plain.still(() => writtenBytes)
      assert.isUndefined(writing.pollUnsafe())
      assert.isBelow(link.progress().queuedBytes, 4 * chunk.length) // not the 60 MB that are to come
      peer.connections[0]!.socket.resume()
      yield* Fiber.join(writing)
      assert.deepStrictEqual(leaks, [])
      yield* Plain.until(() => peer.connections[0]!.messageBytes === 1000 * chunk.length)
    })
  )

  it.live("never waits while the peer reads, and keeps each piece as one message", () =>
    Effect.gen(function* () {
      const peer = yield* PlainWebSocket.listen()
      const link = yield* dial(peer.port)
      yield* link.reader
      yield* Plain.until(() => peer.connections.length === 1)
      const sizes: Array<number> = []
      peer.connections[0]!.webSocket.on("message", (data: Buffer) => sizes.push(data.length))
      const { write, writeAll } = yield* link.writer
      yield* writeAll([new Uint8Array(1), new Uint8Array(70_000), new Uint8Array(0)])
      yield* write(new Uint8Array(5))
      yield* Plain.until(() => sizes.length === 4)
      assert.deepStrictEqual(sizes, [1, 70_000, 0, 5])
    })
  )

  it.live("fails once the peer has closed, and so does the pull, with the code", () =>
    Effect.gen(function* () {
      const peer = yield* PlainWebSocket.listen()
      const link = yield* dial(peer.port)
      const { pull } = yield* link.reader
      const { write } = yield* link.writer
      yield* Plain.until(() => peer.connections.length === 1)
      peer.connections[0]!.webSocket.close(4001, "enough")
      const { reason } = yield* Effect.flip(pull)
      assert.deepInclude(reason, { _tag: "SocketCloseError", code: 4001 })
      assert.strictEqual((yield* Effect.flip(write(chunk))).reason._tag, "SocketWriteError")
    })
  )
})

describe("destroy", () => {
  it.live("resets at once although 10 MB are queued to a peer that does not read", () =>
    Effect.gen(function* () {
      const peer = yield* PlainWebSocket.listen({ isPaused: true })
      const link = yield* dial(peer.port)
      yield* link.reader
      const writtenBytes = yield* Plain.fill(link)
      const { queuedBytes } = link.progress()
      assert.isAtLeast(queuedBytes, 10_000_000)
      yield* link.destroy
      const seen = peer.connections[0]!
      seen.socket.resume()
      yield* Plain.until(() => seen.ended !== undefined)
      assert.include(Plain.reset, seen.ended)
      assert.isAtMost(seen.messageBytes, writtenBytes - queuedBytes + chunk.length)
    })
  )

  it.live("settles a write that waits for room, and the pull", () =>
    Effect.gen(function* () {
      const peer = yield* PlainWebSocket.listen({ isPaused: true })
      const link = yield* dial(peer.port)
      const { pull } = yield* link.reader
      const { write } = yield* link.writer
      const pulling = yield* Effect.forkChild(Effect.flip(pull))
      const writing = yield* Effect.forkChild(Effect.flip(Effect.forever(write(chunk))))
      yield* Plain.until(() => link.progress().queuedBytes > chunk.length)
      yield* link.destroy
      assert.strictEqual((yield* Fiber.join(writing)).reason._tag, "SocketWriteError")
      assert.strictEqual((yield* Fiber.join(pulling)).reason._tag, "SocketCloseError")
    })
  )

  it.live("ends a dial whose request is not answered, and so does an interruption", () =>
    Effect.gen(function* () {
      const peer = yield* Plain.listenTcp
      for (const end of ["destroy", "interrupt"] as const) {
        const link = yield* dial(peer.port)
        const dialling = yield* Effect.forkChild(Effect.flip(Effect.scoped(link.reader)))
        yield* Plain.until(() => peer.connections.length === (end === "destroy" ? 1 : 2))
        if (end === "destroy") {
          yield* link.destroy
          assert.strictEqual((yield* Fiber.join(dialling)).reason._tag, "SocketOpenError")
        } else yield* Fiber.interrupt(dialling)
        const seen = peer.connections.at(-1)!
        seen.socket.resume()
        yield* Plain.until(() => seen.ended !== undefined)
      }
    })
  )

  it.live("before the dial does nothing", () =>
    Effect.gen(function* () {
      const link = yield* dial(9)
      yield* link.destroy
      assert.deepStrictEqual(link.progress(), { source: "node", queuedBytes: 0 })
    })
  )
})

describe("the dial", () => {
  it.effect("has no limit of its own: after an hour it still waits", () =>
    Effect.gen(function* () {
      const peer = yield* Plain.listenTcp
      const link = yield* dial(peer.port)
      const dialling = yield* Effect.forkChild(Effect.scoped(link.reader))
      yield* TestClock.withLive(Plain.until(() => peer.connections.length === 1))
      peer.connections[0]!.socket.resume()
      yield* TestClock.withLive(Plain.until(() => peer.connections[0]!.receivedBytes > 0)) // the request is there
      yield* TestClock.adjust("1 hour")
      assert.isUndefined(dialling.pollUnsafe())
    })
  )

  it.live("fails with the system's code, or with what the server answered", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* refusal(dial(9))).code, "ECONNREFUSED")
      const peer = yield* PlainWebSocket.listen({ verifyClient: () => false })
      assert.strictEqual((yield* refusal(dial(peer.port))).message, "Unexpected server response: 401")
      const cut = yield* Plain.listenTcp
      cut.server.on("connection", (socket) => socket.resetAndDestroy())
      assert.strictEqual((yield* refusal(dial(cut.port))).code, "ECONNRESET")
    })
  )

  it.live("refuses what is no address of a WebSocket", () =>
    Effect.gen(function* () {
      for (const url of ["http://localhost", "localhost:9", "nonsense"]) {
        assert.include((yield* refusal(NodeLink.webSocket({ url }))).message, "ws: or wss:")
      }
      const peer = yield* PlainWebSocket.listen()
      assert.strictEqual((yield* refusal(dial(peer.port, { protocols: "no such" }))).name, "SyntaxError")
    })
  )

  it.live("refuses to speak in the clear outside loopback, unless the program says so", () =>
    Effect.gen(function* () {
      const lookup: Net.LookupFunction = (_host, _options, callback) =>
        callback(null, [{ address: "10.77.0.1", family: 4 }])
      for (const [url, address] of [
        ["ws://10.77.0.1", "10.77.0.1"],
        ["ws://[2001:db8::1]:80", "2001:db8::1"],
        ["ws://berlin.example", "10.77.0.1"]
      ] as const) {
        const refused: object = yield* refusal(NodeLink.webSocket({ url, lookup }))
        assert.deepInclude(refused, { _tag: "PlaintextRefused", address })
      }
      const peer = yield* PlainWebSocket.listen()
      const link = yield* NodeLink.webSocket({ url: `ws://0.0.0.0:${peer.port}`, plaintext: true })
      yield* Effect.scoped(link.reader)
    })
  )

  it.live("offers headers and subprotocols, and no compression", () =>
    Effect.gen(function* () {
      let offered: unknown
      const peer = yield* PlainWebSocket.listen({
        perMessageDeflate: true,
        verifyClient: ({ origin, req }: { origin: string; req: { headers: NodeJS.Dict<string | string[]> } }) => {
          offered = [origin, req.headers["sec-websocket-protocol"], req.headers["sec-websocket-extensions"]]
          return true
        }
      })
      const link = yield* dial(peer.port, { headers: { Origin: "https://a.example" }, protocols: ["mqtt", "other"] })
      yield* link.reader
      assert.deepStrictEqual(offered, ["https://a.example", "mqtt,other", undefined])
    })
  )
})

describe("reading", () => {
  it.live("stops while nobody pulls, and goes on", () =>
    Effect.gen(function* () {
      const peer = yield* PlainWebSocket.listen()
      const link = yield* dial(peer.port)
      const { pull } = yield* link.reader
      yield* Plain.until(() => peer.connections.length === 1)
      const { socket, webSocket } = peer.connections[0]!
      for (let n = 0; n < 500; n++) webSocket.send(chunk)
      yield* Effect.sleep("200 millis")
      assert.isAbove(socket.writableLength, 0)
      let receivedBytes = 0
      while (receivedBytes < 500 * chunk.length) for (const { length } of yield* pull) receivedBytes += length
      assert.strictEqual(receivedBytes, 500 * chunk.length)
    })
  )

  it.live("fails on a message that is larger than the bound, and takes one that is not", () =>
    Effect.gen(function* () {
      const peer = yield* PlainWebSocket.listen()
      for (const [size, fits] of [
        [10_000, true],
        [10_001, false]
      ] as const) {
        const link = yield* dial(peer.port, { payloadBytesMax: 10_000 })
        const { pull } = yield* link.reader
        const count = fits ? 1 : 2
        yield* Plain.until(() => peer.connections.length === count)
        peer.connections.at(-1)!.webSocket.send(new Uint8Array(size))
        if (fits) assert.strictEqual((yield* pull)[0].length, size)
        else {
          const { reason } = yield* Effect.flip(pull)
          assert.strictEqual(
            ((reason as Socket.SocketReadError).cause as NodeJS.ErrnoException).code,
            "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH"
          )
        }
      }
    })
  )

  it.live("tells a reset by its code", () =>
    Effect.gen(function* () {
      const peer = yield* PlainWebSocket.listen()
      const link = yield* Link.open(yield* dial(peer.port))
      yield* Plain.until(() => peer.connections.length === 1)
      peer.connections[0]!.socket.resetAndDestroy()
      const { reason } = yield* Effect.flip(link.pull)
      assert.deepInclude(reason, { _tag: "LinkFailed", code: "ECONNRESET", during: "read" })
    })
  )

  it.live("takes text for a violation where a session or a connection reads", () =>
    Effect.gen(function* () {
      const peer = yield* PlainWebSocket.listen()
      const link = yield* Link.open(yield* dial(peer.port))
      yield* Plain.until(() => peer.connections.length === 1)
      peer.connections[0]!.webSocket.send("text")
      assert.strictEqual((yield* Effect.flip(link.pull)).reason._tag, "ProtocolViolated")
    })
  )
})

describe("the reader's scope", () => {
  it.live("hands over what was written, closes with 1000, and the descriptor is closed", () =>
    Effect.gen(function* () {
      const peer = yield* PlainWebSocket.listen()
      yield* Effect.scoped(
        Effect.gen(function* () {
          const link = yield* dial(peer.port)
          yield* link.reader
          const { writeAll } = yield* link.writer
          yield* Plain.until(() => peer.connections.length === 1)
          yield* writeAll([chunk, chunk, chunk, chunk])
        })
      )
      const seen = peer.connections[0]!
      yield* Plain.until(() => seen.ended !== undefined)
      assert.deepStrictEqual([seen.ended, seen.messageBytes], ["end", 4 * chunk.length])
    })
  )

  it.live("fails a suspended pull, and resets a peer that does not answer within a second", () =>
    Effect.gen(function* () {
      const peer = yield* PlainWebSocket.listen({ isPaused: true })
      const link = yield* dial(peer.port)
      const scope = yield* Scope.make()
      const { pull } = yield* Scope.provide(link.reader, scope)
      const pulling = yield* Effect.forkChild(Effect.flip(pull), { startImmediately: true })
      yield* Plain.fill(link)
      yield* Scope.close(scope, Exit.void)
      assert.deepInclude((yield* Fiber.join(pulling)).reason, { _tag: "SocketCloseError", code: 1006 })
      const seen = peer.connections[0]!
      seen.socket.resume()
      yield* Plain.until(() => seen.ended !== undefined)
      assert.include(Plain.reset, seen.ended)
    })
  )

  it.live("may be acquired again after it has closed: a dial that is interrupted then is closed as well", () =>
    Effect.gen(function* () {
      const server = yield* NodeListener.makeWebSocket({ port: 0, tls: Plain.identity })
      yield* Effect.forkScoped(server.run((socket) => Effect.andThen(socket.reader, Effect.never)))
      const to = { port: Plain.portOf(server), host: "127.0.0.1" }
      const relay = yield* Relay.listen({ port: 0, host: "127.0.0.1" }, to)
      const link = yield* NodeLink.webSocket({
        url: `wss://localhost:${relay.port}`,
        tls: { ca: Plain.identity.cert }
      })
      yield* Effect.scoped(link.reader)
      yield* Plain.until(() => relay.open() === 0)
      relay.ignore(1)
      const again = yield* Effect.forkChild(Effect.scoped(link.reader))
      yield* Plain.until(() => relay.dials() === 2)
      yield* Fiber.interrupt(again)
      yield* Plain.until(() => relay.open() === 0)
    })
  )

  it.live("leaves neither descriptor nor timer nor listener after 300 dials, half of them destroyed", () =>
    Effect.gen(function* () {
      const peer = yield* PlainWebSocket.listen()
      const count = (kind: RegExp) => process.getActiveResourcesInfo().filter((active) => kind.test(active)).length
      const held = () => ({
        sockets: count(/TCPSocket|Connect|Write|Shutdown/),
        listeners: process.eventNames().reduce((sum, event) => sum + process.listenerCount(event), 0)
      })
      const once = Effect.fnUntraced(function* (n: number) {
        const link = yield* dial(peer.port)
        yield* link.reader
        const { write } = yield* link.writer
        yield* write(chunk.subarray(0, 100))
        if (n % 2 === 0) yield* link.destroy
      }, Effect.scoped)
      const settled = (dials: number) =>
        Plain.until(() => peer.connections.length === dials && peer.connections.every(({ socket }) => socket.closed))
      yield* once(0)
      yield* settled(1)
      const before = held()
      const timersBefore = count(/Timeout/)
      yield* Effect.forEach(
        Array.from({ length: 300 }, (_, n) => n),
        once,
        { concurrency: 10, discard: true }
      )
      yield* settled(301)
      yield* Plain.until(() => isDeepStrictEqual(held(), before) && count(/Timeout/) <= timersBefore)
      assert.deepStrictEqual(held(), before)
    })
  )
})

describe("what a link tells", () => {
  it.live("names the peer, and what the kernel knows where it can be asked", () =>
    Effect.gen(function* () {
      const peer = yield* PlainWebSocket.listen()
      const link = yield* NodeLink.webSocket({ url: `ws://[::ffff:127.0.0.1]:${peer.port}` })
      assert.isUndefined(link.peer)
      yield* link.reader
      assert.strictEqual(link.peer, "127.0.0.1")
      yield* Plain.until(() => link.progress().source === (process.platform === "linux" ? "kernel" : "node"))
    })
  )
})
