/**
 * Upgrades requests of an HTTP server to WebSockets and hands them out as links. Whoever does not complete its request
 * within the server's time, is not let in, or came before anybody runs, costs one descriptor at most.
 */
import { NodeSocketServer, NodeWS } from "@effect/platform-node"
import { Duration, Effect, FiberSet, type Scope } from "effect"
import { constVoid } from "effect/Function"
import * as NetAddress from "effect/net/NetAddress"
import * as SocketServer from "effect/socket/SocketServer"
import * as Http from "node:http"
import * as Https from "node:https"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import type * as Tls from "node:tls"
import type { WebSocketUpgradeOptions } from "../NodeListener.ts"
import * as WebSocketConnection from "./webSocketConnection.ts"

type Server = SocketServer.SocketServer["Service"]

/** How long a request may take, and whoever decides about it, unless told otherwise. */
export const handshakeTimeoutDefault = Duration.seconds(10)

/** An HTTP server that does nothing but upgrade; it ends with the scope, and all its connections too. */
export const listen = Effect.fnUntraced(function* (
  listenOptions: Net.ListenOptions,
  tls: Tls.TlsOptions | undefined,
  handshakeTimeout: Duration.Duration
): Effect.fn.Return<Http.Server, SocketServer.SocketServerError, Scope.Scope> {
  const millis = Math.ceil(Duration.toMillis(handshakeTimeout))
  const bounds: Http.ServerOptions = {
    headersTimeout: millis,
    requestTimeout: millis,
    connectionsCheckingInterval: Math.ceil(millis / 10),
    noDelay: true
  }
  const server =
    tls === undefined
      ? Http.createServer(bounds, refuse)
      : Https.createServer({ ...tls, ...bounds, handshakeTimeout: millis }, refuse)
  const connections = new Set<Net.Socket>()
  server.on("connection", (connection) => {
    connections.add(connection)
    connection.once("close", () => connections.delete(connection))
  })
  yield* Effect.addFinalizer(() =>
    Effect.callback<void>((resume) => {
      server.close(() => resume(Effect.void))
      for (const connection of connections) connection.destroy()
    })
  )
  yield* Effect.callback<void, SocketServer.SocketServerError>((resume) => {
    server.on("error", (cause) => resume(Effect.fail(openError(cause))))
    server.listen(listenOptions, () => resume(Effect.void))
  })
  return server
})

/** A plain request is told what is spoken here. */
const refuse: Http.RequestListener = (_request, response) => {
  response.writeHead(426, { connection: "close", upgrade: "websocket" }).end()
}

/** One request that became a WebSocket. */
interface Accepted {
  readonly socket: NodeWS.WebSocket
  readonly stream: Net.Socket
  readonly request: Http.IncomingMessage
}

/** Upgrades what is for us until the scope closes. `set` is run on each connection before it is handed out. */
export const upgrading = Effect.fnUntraced(function* (
  server: Http.Server,
  { handshakeTimeout, path, payloadBytesMax, verify }: WebSocketUpgradeOptions,
  isOurs: boolean,
  set: (stream: Net.Socket) => Effect.Effect<void>
): Effect.fn.Return<Server, SocketServer.SocketServerError, Scope.Scope> {
  const address = yield* addressOf(server)
  const upgrades = new NodeWS.WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: payloadBytesMax ?? WebSocketConnection.payloadBytesMaxDefault
  })
  const pending = new Set<Duplex>()
  const waiting = new Set<Accepted>()
  const decide = yield* FiberSet.makeRuntime()
  const hold = (accepted: Accepted) => {
    waiting.add(accepted)
    accepted.socket.once("close", () => waiting.delete(accepted))
  }
  let hand = hold

  const upgrade = (request: Http.IncomingMessage, stream: Net.Socket, head: Buffer) =>
    upgrades.handleUpgrade(request, stream, head, (socket) => {
      socket.pause() // nothing may be lost before somebody reads
      socket.on("error", constVoid)
      hand({ socket, stream, request })
    })

  const onUpgrade = (request: Http.IncomingMessage, stream: Duplex, head: Buffer) => {
    if (path !== undefined && request.url?.split("?")[0] !== path) {
      if (isOurs) answer(stream, 404)
      return
    }
    const connection = stream as Net.Socket
    if (verify === undefined) return upgrade(request, connection, head)
    const forget = () => void pending.delete(stream)
    pending.add(stream)
    stream.on("error", constVoid)
    stream.once("close", forget)
    decide(
      verify(request).pipe(
        Effect.timeoutOrElse({
          duration: handshakeTimeout ?? handshakeTimeoutDefault,
          orElse: () => Effect.succeed(false)
        }),
        Effect.catchDefect((defect) => Effect.as(Effect.logError("verify failed", defect), false)),
        Effect.map((isWelcome) => {
          forget()
          stream.off("close", forget)
          if (isWelcome) upgrade(request, connection, head)
          else answer(stream, 403)
        })
      )
    )
  }

  yield* Effect.acquireRelease(
    Effect.sync(() => server.on("upgrade", onUpgrade)),
    () =>
      Effect.sync(() => {
        server.off("upgrade", onUpgrade)
        for (const stream of pending) stream.destroy()
        for (const { socket } of waiting) socket.terminate()
      })
  )

  const run: Server["run"] = <R, E, A>(
    handler: (socket: Parameters<Parameters<Server["run"]>[0]>[0]) => Effect.Effect<A, E, R>
  ) =>
    Effect.gen(function* () {
      const fork = yield* FiberSet.makeRuntime<R>()
      const before = hand
      hand = ({ request, socket, stream }) => {
        const link = Effect.tap(WebSocketConnection.accepted(socket, stream), set(stream))
        fork(
          Effect.flatMap(link, handler).pipe(
            Effect.scoped,
            Effect.ignoreCause({ log: "Unhandled", message: "Unhandled error in SocketServer" }),
            Effect.provideService(NodeSocketServer.IncomingMessage, request)
          )
        )
      }
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          hand = before
        })
      )
      for (const accepted of [...waiting]) {
        waiting.delete(accepted)
        hand(accepted)
      }
      return yield* Effect.never
    }).pipe(Effect.scoped) as Effect.Effect<never, SocketServer.SocketServerError, R>

  return { address, run }
})

const answer = (stream: Duplex, status: number): void => {
  stream.on("error", constVoid)
  stream.once("finish", () => stream.destroy())
  stream.end(`HTTP/1.1 ${status} ${Http.STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
}

const addressOf = (server: Net.Server): Effect.Effect<NetAddress.SocketAddress, SocketServer.SocketServerError> =>
  Effect.suspend((): Effect.Effect<NetAddress.SocketAddress, SocketServer.SocketServerError> => {
    const address = server.address()
    if (address === null) return Effect.fail(openError(new Error("the HTTP server is not listening yet: listen first")))
    if (typeof address === "string") return Effect.succeed(NetAddress.unixPathAddress(address))
    return Effect.mapError(
      Effect.fromResult(NetAddress.inetAddressFromIpString(address.address, address.port)),
      openError
    )
  })

export const openError = (cause: unknown): SocketServer.SocketServerError =>
  new SocketServer.SocketServerError({ reason: new SocketServer.SocketServerOpenError({ cause }) })
