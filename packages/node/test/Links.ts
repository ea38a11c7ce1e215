/** Every kind of link, as one table: how to listen, and how to dial through a relay that does harm. */
import { NodeSocket, NodeSocketServer } from "@effect/platform-node"
import { NodeLink, NodeListener } from "@holdfast/node"
import { Effect, type Scope } from "effect"
import * as Socket from "effect/socket/Socket"
import type * as SocketServer from "effect/socket/SocketServer"
import { type Link, WebSocketLink } from "holdfast"
import { mkdtempSync } from "node:fs"
import * as Http from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as MemoryLink from "../../holdfast/test/MemoryLink.ts"
import * as Plain from "./Plain.ts"
import * as Relay from "./Relay.ts"

type Server = SocketServer.SocketServer["Service"]

/** A server, how it is dialled, and what can be done to the connections in between. */
export interface Stage {
  readonly server: Server
  readonly link: Effect.Effect<Link.Link>
  readonly relay: Relay.Relay
}

export interface Kind {
  readonly name: string
  readonly stage: Effect.Effect<Stage, unknown, Scope.Scope>
  /** The server knows where its clients are. */
  readonly tellsPeer: boolean
}

const loopback = "127.0.0.1"

/** A server on a port, dialled through the relay. */
const onPort = <E>(
  name: string,
  listen: Effect.Effect<Server, E, Scope.Scope>,
  dial: (port: number) => Effect.Effect<Link.Link>,
  tellsPeer = true
): Kind => ({
  name,
  tellsPeer,
  stage: Effect.gen(function* () {
    const server = yield* listen
    const to = { port: Plain.portOf(server), host: loopback }
    const relay = yield* Relay.listen({ port: 0, host: loopback }, to)
    return { server, relay, link: dial(relay.port) }
  })
})

const { cert, key } = Plain.identity

/** The server wants the client's certificate, and the client the server's name, which is not the address it dials. */
const mutual = {
  server: { ca: cert, cert, key, requestCert: true },
  client: { ca: cert, cert, key, servername: "localhost" }
}

const unix: Kind = {
  name: "a unix socket",
  tellsPeer: false,
  stage: Effect.gen(function* () {
    const folder = mkdtempSync(join(tmpdir(), "holdfast-"))
    const [path, behind] = [join(folder, "relay"), join(folder, "server")]
    const server = yield* NodeListener.makeUnix({ path: behind })
    const relay = yield* Relay.listen({ path }, { path: behind })
    return { server, relay, link: NodeLink.unix({ path }) }
  })
}

/** No transport at all: what is lost here is the session's own fault. */
const memory: Kind = {
  name: "memory",
  tellsPeer: false,
  stage: Effect.gen(function* () {
    let ignoring = 0
    const network = yield* MemoryLink.make({
      onConnect: (wire) => {
        if (ignoring-- > 0) wire.blackhole(true)
      }
    })
    const all = (harm: (wire: MemoryLink.Wire) => void) => () => network.wires.forEach((wire) => harm(wire))
    return {
      server: network.server,
      link: Effect.sync(() => network.newLink()),
      relay: {
        dials: () => network.wires.length,
        open: () => network.wires.filter((wire) => wire.isOpen()).length,
        cut: all((wire) => wire.cut()),
        close: all((wire) => {
          wire.close("client")
          wire.close("server")
        }),
        swallow: all((wire) => wire.blackhole(true)),
        ignore: (connections) => {
          ignoring = connections
        }
      }
    }
  })
}

const sharedServer = Effect.acquireRelease(
  Effect.callback<Http.Server>((resume) => {
    const server = Http.createServer((_request, response) => response.end())
    server.listen(0, loopback, () => resume(Effect.succeed(server)))
  }),
  (server) => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
)

export const kinds: ReadonlyArray<Kind> = [
  memory,
  onPort("TCP", NodeListener.makeTcp({ port: 0 }), (port) => NodeLink.tcp({ port, host: loopback })),
  onPort("TLS with certificates on both sides", NodeListener.makeTls({ port: 0, ...mutual.server }), (port) =>
    NodeLink.tls({ port, host: loopback, ...mutual.client })
  ),
  unix,
  onPort("a WebSocket", NodeListener.makeWebSocket({ port: 0 }), (port) =>
    NodeLink.webSocket({ url: `ws://${loopback}:${port}` })
  ),
  onPort(
    "a WebSocket over TLS with certificates on both sides",
    NodeListener.makeWebSocket({ port: 0, tls: mutual.server }),
    (port) => NodeLink.webSocket({ url: `wss://${loopback}:${port}`, tls: mutual.client })
  ),
  onPort(
    "a WebSocket of the platform, to an HTTP server that serves other things",
    Effect.flatMap(sharedServer, (server) => NodeListener.makeWebSocketUpgrade(server, { path: "/live" })),
    (port) =>
      WebSocketLink.make({ url: `ws://${loopback}:${port}/live` }).pipe(
        Effect.provide(Socket.layerWebSocketConstructorGlobal)
      )
  ),
  onPort(
    "Effect's own TCP socket, which can neither be reset nor tell anything",
    NodeSocketServer.make({ port: 0, host: loopback }),
    (port) => NodeSocket.makeNet({ port, host: loopback }),
    false
  ),
  onPort(
    "Effect's own WebSocket, which never pushes back",
    NodeSocketServer.makeWebSocket({ port: 0, host: loopback }),
    (port) =>
      Socket.makeWebSocket(`ws://${loopback}:${port}`, { openTimeout: "Infinity" }).pipe(
        Effect.provide(Socket.layerWebSocketConstructorGlobal)
      ),
    false
  )
]
