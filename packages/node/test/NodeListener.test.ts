import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Queue } from "effect"
import * as NetAddress from "effect/net/NetAddress"
import * as Socket from "effect/socket/Socket"
import * as SocketServer from "effect/socket/SocketServer"
import { existsSync, mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NodeLink, NodeListener } from "@holdfast/node"
import * as Plain from "./Plain.ts"

type Server = SocketServer.SocketServer["Service"]

/** Runs the server for the rest of the test. */
const serve = <E>(server: Server, handler: (link: NodeLink.NodeLink) => Effect.Effect<unknown, E>) =>
  Effect.forkScoped(
    server.run((socket) => handler(socket as NodeLink.NodeLink)),
    { startImmediately: true }
  )

/** Keeps each link up and hands it to the test. */
const offer = (links: Queue.Queue<NodeLink.NodeLink>) => (link: NodeLink.NodeLink) =>
  link.reader.pipe(Effect.andThen(Queue.offer(links, link)), Effect.andThen(Effect.never), Effect.scoped)

const echo = (link: Socket.Socket) =>
  Effect.gen(function* () {
    const { pull } = yield* link.reader
    const { writeAll } = yield* link.writer
    while (true) yield* writeAll(yield* pull)
  }).pipe(Effect.scoped, Effect.ignore)

const echoed = Effect.fnUntraced(function* (link: Socket.Socket) {
  const pull = yield* Socket.readerString(link)
  const { write } = yield* link.writer
  yield* write("hello")
  return yield* pull
}, Effect.scoped)

describe("the sockets of a listener", () => {
  it.live("are links that know their peer and can be reset at once", () =>
    Effect.gen(function* () {
      const server = yield* NodeListener.makeTcp({ port: 0 })
      const links = yield* Queue.unbounded<NodeLink.NodeLink>()
      yield* serve(server, offer(links))
      const peer = yield* Plain.connect(Plain.portOf(server))
      const link = yield* Queue.take(links)
      assert.strictEqual(link.peer, "127.0.0.1")
      const writtenBytes = yield* Plain.fill(link)
      const { queuedBytes } = link.progress()
      yield* link.destroy
      peer.socket.resume()
      yield* Plain.until(() => peer.ended !== undefined)
      assert.include(Plain.reset, peer.ended)
      assert.isAtMost(peer.receivedBytes, writtenBytes - queuedBytes + Plain.chunk.length)
    })
  )

  it.live("can be reset before anybody reads from them", () =>
    Effect.gen(function* () {
      const server = yield* NodeListener.makeTcp({ port: 0 })
      yield* serve(server, (link) => Effect.andThen(link.destroy, Effect.never))
      const peer = yield* Plain.connect(Plain.portOf(server))
      peer.socket.resume()
      yield* Plain.until(() => peer.ended !== undefined)
      assert.strictEqual(peer.ended, "ECONNRESET")
    })
  )

  it.live("are closed when their handler ends without having read", () =>
    Effect.gen(function* () {
      const server = yield* NodeListener.makeTcp({ port: 0 })
      yield* serve(server, () => Effect.void)
      const peer = yield* Plain.connect(Plain.portOf(server))
      peer.socket.resume()
      yield* Plain.until(() => peer.ended !== undefined)
    })
  )

  it.live("fail their reader when the peer left before it was acquired", () =>
    Effect.gen(function* () {
      const server = yield* NodeListener.makeTcp({ port: 0 })
      const links = yield* Queue.unbounded<NodeLink.NodeLink>()
      yield* serve(server, (link) => Effect.andThen(Queue.offer(links, link), Effect.never))
      const peer = yield* Plain.connect(Plain.portOf(server))
      const link = yield* Queue.take(links)
      peer.socket.resetAndDestroy()
      const attempt = Effect.flip(Effect.scoped(Effect.flatMap(link.reader, ({ pull }) => Effect.forever(pull))))
      assert.isTrue(Socket.isSocketError(yield* attempt))
    })
  )

  it.live("are all closed when the server's run is interrupted", () =>
    Effect.gen(function* () {
      const server = yield* NodeListener.makeTcp({ port: 0 })
      const links = yield* Queue.unbounded<NodeLink.NodeLink>()
      const running = yield* serve(server, offer(links))
      const peer = yield* Plain.connect(Plain.portOf(server))
      yield* Queue.take(links)
      yield* Fiber.interrupt(running)
      peer.socket.resume()
      yield* Plain.until(() => peer.ended !== undefined)
      assert.strictEqual(peer.ended, "end")
    })
  )
})

describe("TCP", () => {
  it.live("is a layer that gives Effect's SocketServer", () =>
    Effect.gen(function* () {
      const server = yield* SocketServer.SocketServer
      yield* serve(server, echo)
      assert.deepStrictEqual(yield* echoed(yield* NodeLink.tcp({ port: Plain.portOf(server) })), ["hello"])
    }).pipe(Effect.provide(NodeListener.layerTcp({ host: "localhost", port: 0 })))
  )

  it.live("binds loopback unless told otherwise", () =>
    Effect.gen(function* () {
      const { address } = yield* NodeListener.makeTcp({ port: 0 })
      assert.isTrue(NetAddress.isInetAddress(address) && String(address).includes("127.0.0.1"))
    })
  )

  it.live("refuses to bind outside loopback", () =>
    Effect.gen(function* () {
      for (const host of ["0.0.0.0", "::", "10.77.0.1"]) {
        const refused = yield* Effect.flip(Effect.scoped(NodeListener.makeTcp({ host, port: 0 })))
        assert.deepInclude(refused, { _tag: "PlaintextRefused", host, address: host })
      }
    })
  )

  it.live("binds anything where the program says plaintext", () =>
    Effect.gen(function* () {
      const server = yield* NodeListener.makeTcp({ host: "0.0.0.0", port: 0, plaintext: true })
      yield* serve(server, echo)
      assert.deepStrictEqual(yield* echoed(yield* NodeLink.tcp({ port: Plain.portOf(server) })), ["hello"])
    })
  )

  it.live("fails typed where the port is taken", () =>
    Effect.gen(function* () {
      const server = yield* NodeListener.makeTcp({ port: 0 })
      const error = yield* Effect.flip(Effect.scoped(NodeListener.makeTcp({ port: Plain.portOf(server) })))
      assert.strictEqual(error._tag, "SocketServerError")
    })
  )
})

describe("TLS", () => {
  it.live("carries bytes for a client that trusts the certificate", () =>
    Effect.gen(function* () {
      const server = yield* SocketServer.SocketServer
      yield* serve(server, echo)
      const link = yield* NodeLink.tls({ port: Plain.portOf(server), ca: Plain.identity.cert })
      assert.deepStrictEqual(yield* echoed(link), ["hello"])
    }).pipe(Effect.provide(NodeListener.layerTls({ host: "127.0.0.1", port: 0, ...Plain.identity })))
  )

  it.live("resets the TCP connection below it, although the peer does not read", () =>
    Effect.gen(function* () {
      const server = yield* NodeListener.makeTls({ port: 0, ...Plain.identity })
      const links = yield* Queue.unbounded<NodeLink.NodeLink>()
      yield* serve(server, offer(links))
      const client = yield* NodeLink.tls({ port: Plain.portOf(server), ca: Plain.identity.cert })
      const { pull } = yield* client.reader
      const link = yield* Queue.take(links)
      assert.strictEqual(link.peer, "127.0.0.1")
      yield* Plain.fill(link)
      yield* link.destroy
      const { reason } = yield* Effect.flip(Effect.forever(pull))
      assert.strictEqual(reason._tag, "SocketReadError")
      assert.strictEqual(((reason as Socket.SocketReadError).cause as NodeJS.ErrnoException).code, "ECONNRESET")
    })
  )

  it.live("closes a connection that does not complete its handshake in time", () =>
    Effect.gen(function* () {
      const server = yield* NodeListener.makeTls({ port: 0, handshakeTimeout: 50, ...Plain.identity })
      yield* serve(server, echo)
      const peer = yield* Plain.connect(Plain.portOf(server))
      peer.socket.resume()
      yield* Plain.until(() => peer.socket.closed)
    })
  )
})

describe("a unix socket", () => {
  it.live("carries bytes, and its file is gone when the listener is released", () =>
    Effect.gen(function* () {
      const path = join(mkdtempSync(join(tmpdir(), "holdfast-")), "listener")
      yield* Effect.gen(function* () {
        const server = yield* SocketServer.SocketServer
        const links = yield* Queue.unbounded<NodeLink.NodeLink>()
        yield* serve(server, (link) => Effect.andThen(Queue.offer(links, link), echo(link)))
        assert.deepStrictEqual(yield* echoed(yield* NodeLink.unix({ path })), ["hello"])
        assert.isUndefined((yield* Queue.take(links)).peer)
      }).pipe(Effect.scoped, Effect.provide(NodeListener.layerUnix({ path })))
      assert.isFalse(existsSync(path))
      const gone = yield* Effect.flip(Effect.scoped(Effect.flatMap(NodeLink.unix({ path }), (link) => link.reader)))
      assert.strictEqual(gone.reason._tag, "SocketOpenError")
    })
  )
})
