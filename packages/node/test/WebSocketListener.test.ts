import { NodeSocketServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { NodeLink, NodeListener } from "@holdfast/node"
import { Context, Duration, Effect, Fiber, Logger, Queue } from "effect"
import * as Socket from "effect/socket/Socket"
import * as SocketServer from "effect/socket/SocketServer"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import * as Plain from "./Plain.ts"
import * as PlainWebSocket from "./PlainWebSocket.ts"

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
  yield* write(new TextEncoder().encode("hello"))
  return yield* pull
}, Effect.scoped)

const dial = (server: Server, path = "/") =>
  NodeLink.webSocket({ url: `ws://127.0.0.1:${Plain.portOf(server)}${path}` })

/** The status of an answer to a plain request. */
const status = (port: number, path = "/") =>
  Effect.callback<number | undefined>((resume) => {
    Http.get({ port, path, host: "127.0.0.1", agent: false }, (response) => {
      response.resume()
      resume(Effect.succeed(response.statusCode))
    })
  })

/** An HTTP server of somebody else, which answers everything with 200. */
const site = Effect.acquireRelease(
  Effect.callback<Http.Server>((resume) => {
    const server = Http.createServer((_request, response) => response.end("site"))
    server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
  }),
  (server) =>
    Effect.callback<void>((resume) => {
      server.close(() => resume(Effect.void))
      server.closeAllConnections()
    })
)

describe("a listener for WebSockets", () => {
  it.live("is a layer that gives Effect's SocketServer", () =>
    Effect.gen(function* () {
      const server = yield* SocketServer.SocketServer
      yield* serve(server, echo)
      assert.deepStrictEqual(yield* echoed(yield* dial(server)), ["hello"])
    }).pipe(Effect.provide(NodeListener.layerWebSocket({ host: "localhost", port: 0 })))
  )

  it.live("speaks TLS, and asks for certificates where it is told to", () =>
    Effect.gen(function* () {
      const { cert, key } = Plain.identity
      const tls = { ...Plain.identity, ca: cert, requestCert: true }
      const server = yield* NodeListener.makeWebSocket({ port: 0, tls })
      yield* serve(server, echo)
      const url = `wss://localhost:${Plain.portOf(server)}/`
      assert.deepStrictEqual(yield* echoed(yield* NodeLink.webSocket({ url, tls: { ca: cert, cert, key } })), ["hello"])
      const anonymous = yield* NodeLink.webSocket({ url, tls: { ca: cert } })
      assert.isTrue(Socket.isSocketError(yield* Effect.flip(echoed(anonymous))))
    })
  )

  it.live("refuses to bind outside loopback without TLS, unless the program says plaintext", () =>
    Effect.gen(function* () {
      for (const host of ["0.0.0.0", "::"]) {
        const refused = yield* Effect.flip(Effect.scoped(NodeListener.makeWebSocket({ host, port: 0 })))
        assert.deepInclude(refused, { _tag: "PlaintextRefused", host, address: host })
      }
      yield* NodeListener.makeWebSocket({ host: "0.0.0.0", port: 0, tls: Plain.identity })
      const server = yield* NodeListener.makeWebSocket({ host: "0.0.0.0", port: 0, plaintext: true })
      yield* serve(server, echo)
      assert.deepStrictEqual(yield* echoed(yield* dial(server)), ["hello"])
    })
  )

  it.live("fails typed where the port is taken", () =>
    Effect.gen(function* () {
      const server = yield* NodeListener.makeWebSocket({ port: 0 })
      const error = yield* Effect.flip(Effect.scoped(NodeListener.makeWebSocket({ port: Plain.portOf(server) })))
      assert.strictEqual(error._tag, "SocketServerError")
    })
  )

  it.live("keeps those who come before anybody runs, with what they say, and closes them if nobody does", () =>
    Effect.gen(function* () {
      const early = yield* Effect.scoped(
        Effect.gen(function* () {
          const server = yield* NodeListener.makeWebSocket({ port: 0 })
          const served = yield* PlainWebSocket.dial(Plain.portOf(server))
          served.webSocket.send("hello")
          yield* Effect.sleep("50 millis")
          const running = yield* serve(server, echo)
          yield* Plain.until(() => served.messages.length === 1)
          yield* Fiber.interrupt(running)
          yield* Plain.until(() => served.code === 1000)
          return yield* PlainWebSocket.dial(Plain.portOf(server))
        })
      )
      yield* Plain.until(() => early.code !== undefined)
    })
  )

  it.live("is gone when it is released, although somebody has dialled and asks for nothing", () =>
    Effect.gen(function* () {
      const [took] = yield* Effect.timed(
        Effect.scoped(
          Effect.gen(function* () {
            for (const tls of [undefined, Plain.identity]) {
              const server = yield* NodeListener.makeWebSocket({ port: 0, tls })
              yield* Plain.connect(Plain.portOf(server))
            }
          })
        )
      )
      assert.isBelow(Duration.toMillis(took), 5000)
    })
  )
})

describe("who is let in", () => {
  it.live("only who asks for a WebSocket, at the path", () =>
    Effect.gen(function* () {
      const server = yield* NodeListener.makeWebSocket({ port: 0, path: "/here" })
      yield* serve(server, echo)
      const port = Plain.portOf(server)
      assert.strictEqual(yield* status(port, "/here"), 426)
      assert.strictEqual((yield* PlainWebSocket.dial(port)).error, "Unexpected server response: 404")
      assert.deepStrictEqual(yield* echoed(yield* dial(server, "/here?token=1")), ["hello"])
    })
  )

  it.live("only whom `verify` lets in; a defect is a no, and so is no answer in time", () =>
    Effect.gen(function* () {
      const server = yield* NodeListener.makeWebSocket({
        port: 0,
        handshakeTimeout: "1 second", // what is answered is answered at once, however busy the machine
        verify: ({ headers }) => {
          switch (headers.origin) {
            case "https://ours.example":
              return Effect.succeed(true)
            case "https://dies.example":
              return Effect.die("broken")
            case "https://waits.example":
              return Effect.never
            default:
              return Effect.succeed(false)
          }
        }
      })
      yield* serve(server, echo)
      const from = (origin: string) => PlainWebSocket.dial(Plain.portOf(server), { origin })
      assert.isUndefined((yield* from("https://ours.example")).error)
      for (const name of ["theirs", "dies", "waits"]) {
        assert.strictEqual((yield* from(`https://${name}.example`)).error, "Unexpected server response: 403")
      }
    }).pipe(Effect.provide(Logger.layer([])))
  )

  it.live("not who takes too long for the request", () =>
    Effect.gen(function* () {
      const server = yield* NodeListener.makeWebSocket({ port: 0, handshakeTimeout: "1 second" })
      yield* serve(server, echo)
      const peers = [yield* Plain.connect(Plain.portOf(server)), yield* Plain.connect(Plain.portOf(server))]
      peers[1]!.socket.write("GET / HTTP/1.1\r\nHost: here\r\nUpgrade: webso")
      for (const { socket } of peers) {
        socket.resume()
        yield* Plain.until(() => socket.closed)
      }
      assert.deepStrictEqual(yield* echoed(yield* dial(server)), ["hello"])
    })
  )

  it.live("is told to the handler by the request itself", () =>
    Effect.gen(function* () {
      const server = yield* NodeListener.makeWebSocket({ port: 0 })
      const urls = yield* Queue.unbounded<string | undefined>()
      yield* serve(server, () =>
        Effect.contextWith((context: Context.Context<never>) =>
          Queue.offer(urls, Context.getUnsafe(context, NodeSocketServer.IncomingMessage).url)
        )
      )
      yield* PlainWebSocket.dial(Plain.portOf(server), { path: "/a?b=c" })
      assert.strictEqual(yield* Queue.take(urls), "/a?b=c")
    })
  )
})

describe("the links of a listener for WebSockets", () => {
  it.live("know their peer and can be reset at once, TLS or not", () =>
    Effect.gen(function* () {
      for (const tls of [undefined, Plain.identity]) {
        const server = yield* NodeListener.makeWebSocket({ port: 0, tls })
        const links = yield* Queue.unbounded<NodeLink.NodeLink>()
        yield* serve(server, offer(links))
        const scheme = tls === undefined ? "ws" : "wss"
        const client = yield* NodeLink.webSocket({
          url: `${scheme}://127.0.0.1:${Plain.portOf(server)}`,
          tls: { ca: Plain.identity.cert, checkServerIdentity: () => undefined }
        })
        const { pull } = yield* client.reader
        const link = yield* Queue.take(links)
        assert.strictEqual(link.peer, "127.0.0.1")
        yield* Plain.until(() => link.progress().source === (process.platform === "linux" ? "kernel" : "node"))
        yield* Plain.fill(link)
        assert.isAtLeast(link.progress().queuedBytes, 10_000_000)
        yield* link.destroy
        const { reason } = yield* Effect.flip(Effect.forever(pull))
        const isEnd = reason._tag === "SocketCloseError" && reason.code === 1006
        const how = isEnd ? "end" : ((reason as Socket.SocketReadError).cause as NodeJS.ErrnoException).code
        assert.include(Plain.reset, how ?? "nothing")
      }
    })
  )

  it.live("can be reset before anybody reads, are closed when their handler ends, and all when the run ends", () =>
    Effect.gen(function* () {
      for (const [handler, code] of [
        [(link: NodeLink.NodeLink) => Effect.andThen(link.destroy, Effect.never), 1006],
        [() => Effect.void, 1006],
        [(link: NodeLink.NodeLink) => Effect.scoped(link.reader), 1000]
      ] as const) {
        const server = yield* NodeListener.makeWebSocket({ port: 0 })
        yield* serve(server, handler)
        const peer = yield* PlainWebSocket.dial(Plain.portOf(server))
        yield* Plain.until(() => peer.code !== undefined)
        assert.strictEqual(peer.code, code)
      }
      const server = yield* NodeListener.makeWebSocket({ port: 0 })
      const links = yield* Queue.unbounded<NodeLink.NodeLink>()
      const running = yield* serve(server, offer(links))
      const peer = yield* PlainWebSocket.dial(Plain.portOf(server))
      yield* Queue.take(links)
      yield* Fiber.interrupt(running)
      yield* Plain.until(() => peer.code === 1000)
    })
  )

  it.live("refuse what is too large with 1009, and compress nothing", () =>
    Effect.gen(function* () {
      const server = yield* NodeListener.makeWebSocket({ port: 0, payloadBytesMax: 10_000 })
      yield* serve(server, echo)
      const peer = yield* PlainWebSocket.dial(Plain.portOf(server), { perMessageDeflate: true })
      assert.strictEqual(peer.webSocket.extensions, "")
      peer.webSocket.send(new Uint8Array(10_000))
      yield* Plain.until(() => peer.messages.length === 1)
      peer.webSocket.send(new Uint8Array(10_001))
      yield* Plain.until(() => peer.code !== undefined)
      assert.strictEqual(peer.code, 1009)
    })
  )

  it.live("push back: a write waits while the client does not read, and goes on when it does", () =>
    Effect.gen(function* () {
      const server = yield* NodeListener.makeWebSocket({ port: 0 })
      const links = yield* Queue.unbounded<NodeLink.NodeLink>()
      yield* serve(server, offer(links))
      const peer = yield* PlainWebSocket.dial(Plain.portOf(server))
      peer.webSocket.pause()
      const link = yield* Queue.take(links)
      const { write } = yield* link.writer
      const writing = yield* Effect.forkChild(Effect.repeat(write(Plain.chunk), { times: 999 }))
      yield* Plain.until(() => link.progress().queuedBytes > 0)
      yield* Effect.sleep("200 millis")
      assert.isUndefined(writing.pollUnsafe())
      assert.isBelow(link.progress().queuedBytes, 4 * Plain.chunk.length)
      peer.webSocket.resume()
      yield* Fiber.join(writing)
    })
  )
})

describe("upgrading on a server of somebody else", () => {
  it.live("leaves its other requests and upgrades alone, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const http = yield* site
      const { port } = http.address() as AddressInfo
      http.on("upgrade", ({ url }, stream) => {
        if (url === "/theirs") stream.end("HTTP/1.1 418 Theirs\r\n\r\n")
      })
      yield* Effect.scoped(
        Effect.gen(function* () {
          const server = yield* SocketServer.SocketServer
          yield* serve(server, echo)
          assert.deepStrictEqual(yield* echoed(yield* dial(server, "/ours")), ["hello"])
          assert.strictEqual(yield* status(port, "/ours"), 200)
          assert.strictEqual(
            (yield* PlainWebSocket.dial(port, { path: "/theirs" })).error,
            "Unexpected server response: 418"
          )
        }).pipe(Effect.provide(NodeListener.layerWebSocketUpgrade(http, { path: "/ours" })))
      )
      assert.strictEqual(http.listenerCount("upgrade"), 1)
      assert.strictEqual(yield* status(port), 200)
    })
  )

  it.live("refuses one that is bound outside loopback in the clear, or does not listen yet", () =>
    Effect.gen(function* () {
      const idle = Http.createServer()
      const notYet = yield* Effect.flip(Effect.scoped(NodeListener.makeWebSocketUpgrade(idle)))
      assert.strictEqual(notYet._tag, "SocketServerError")
      const open = yield* Effect.acquireRelease(
        Effect.callback<Http.Server>((resume) => {
          const server = Http.createServer().listen(0, "0.0.0.0", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const refused = yield* Effect.flip(Effect.scoped(NodeListener.makeWebSocketUpgrade(open)))
      assert.deepInclude(refused, { _tag: "PlaintextRefused", address: "0.0.0.0" })
      const server = yield* NodeListener.makeWebSocketUpgrade(open, { plaintext: true })
      yield* serve(server, echo)
      assert.deepStrictEqual(yield* echoed(yield* dial(server)), ["hello"])
    })
  )
})
