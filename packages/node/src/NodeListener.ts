/**
 * Listeners over Node's sockets. Each gives Effect's `SocketServer`, so whatever takes one takes these; the sockets
 * that it hands out are links (`NodeLink`): they can be reset at once, tell what they hold, and know who is there.
 *
 * Listening starts when the layer is built. A connection that no handler reads is closed when its handler ends.
 */
import { NodeSocket, NodeSocketServer } from "@effect/platform-node"
import { Cause, Context, Duration, Effect, Exit, Fiber, Layer, Scope } from "effect"
import * as SocketServer from "effect/socket/SocketServer"
import { promises as Dns } from "node:dns"
import type { IncomingMessage, Server as HttpServer } from "node:http"
import type * as Net from "node:net"
import * as Tls from "node:tls"
import * as Connection from "./internal/connection.ts"
import * as WebSocketServer from "./internal/webSocketServer.ts"
import * as KernelOptions from "./KernelOptions.ts"
import type { NodeLink } from "./NodeLink.ts"
import { isLoopback, PlaintextRefused } from "./Plaintext.ts"

type Server = SocketServer.SocketServer["Service"]

/** Where to listen. */
export interface TcpOptions extends Net.ServerOpts {
  /** Name or address to bind. Default: `127.0.0.1`, so that nobody listens to the world by accident. */
  readonly host?: string | undefined
  /** Port to bind; 0 lets the kernel choose, `address` of the server tells which. */
  readonly port: number
  /** Connections that wait to be accepted. Default: Node's, 511. */
  readonly backlog?: number | undefined
  /** Bind outside loopback although nothing is encrypted. Default: false. */
  readonly plaintext?: boolean | undefined
  /** Options of the kernel for every connection. One that cannot be set fails the listening. */
  readonly kernel?: KernelOptions.KernelOptions | undefined
}

/** Where to listen, and as whom. The certificate protects the session's secret, so any address may be bound. */
export interface TlsOptions extends Omit<TcpOptions, "plaintext">, Tls.TlsOptions {}

/** Which requests are upgraded to WebSockets, and how. */
export interface WebSocketUpgradeOptions {
  /** Only requests for this path, whatever their query. Default: all. */
  readonly path?: string | undefined
  /**
   * Says who is let in, from the request: its `Origin`, its cookies, its address. A defect is a no. Without it
   * everybody is, also scripts of foreign pages in the browser of somebody who is logged in: credentials that a
   * browser sends by itself, such as cookies, prove nothing without a look at `Origin`.
   */
  readonly verify?: ((request: IncomingMessage) => Effect.Effect<boolean>) | undefined
  /** How long `verify` may take, and on a server of our own the request. Then it is refused. Default 10 s. */
  readonly handshakeTimeout?: Duration.Input | undefined
  /** The largest message that is accepted, in bytes; a larger one ends the link with code 1009. Default 1 MiB. */
  readonly payloadBytesMax?: number | undefined
  /** Speak to addresses outside loopback although nothing is encrypted. Default: false. */
  readonly plaintext?: boolean | undefined
  /** Options of the kernel for every connection. One that cannot be set fails the listening. */
  readonly kernel?: KernelOptions.KernelOptions | undefined
}

/** Where to listen for WebSockets, and as whom. */
export interface WebSocketOptions extends WebSocketUpgradeOptions {
  /** Name or address to bind. Default: `127.0.0.1`, so that nobody listens to the world by accident. */
  readonly host?: string | undefined
  /** Port to bind; 0 lets the kernel choose, `address` of the server tells which. */
  readonly port: number
  /** Connections that wait to be accepted. Default: Node's, 511. */
  readonly backlog?: number | undefined
  /** Speaks `wss:`. The certificate protects the session's secret, so any address may be bound. */
  readonly tls?: Tls.TlsOptions | undefined
}

/**
 * Listens on TCP. Outside loopback it fails with `PlaintextRefused` unless `plaintext` is true. A name is resolved
 * once, and the address it resolved to is bound.
 */
export const makeTcp = Effect.fnUntraced(function* (
  options: TcpOptions
): Effect.fn.Return<Server, SocketServer.SocketServerError | PlaintextRefused, Scope.Scope> {
  const { host = "127.0.0.1", kernel, plaintext, ...listen } = options
  const address = yield* resolve(host)
  if (plaintext !== true && !isLoopback(address)) return yield* new PlaintextRefused({ host, address })
  yield* checked(kernel)
  return links(yield* NodeSocketServer.make({ ...listen, host: address, noDelay: true }), kernel)
})

/**
 * Listens on TLS. A connection is handed out when its handshake is done; one that does not complete it within
 * `handshakeTimeout` (milliseconds, default 10,000; Node's own is 120,000) is closed.
 */
export const makeTls = (options: TlsOptions): Effect.Effect<Server, SocketServer.SocketServerError, Scope.Scope> => {
  const { host = "127.0.0.1", kernel, ...listen } = options
  return checked(kernel).pipe(
    Effect.andThen(NodeSocketServer.makeTls({ handshakeTimeout: 10_000, ...listen, host, noDelay: true })),
    Effect.map((server) => links(server, kernel))
  )
}

/** Listens on a unix socket. Node removes the file when the listener is released; one left by a crash is in the way. */
export const makeUnix = (
  options: Net.ServerOpts & { readonly path: string }
): Effect.Effect<Server, SocketServer.SocketServerError, Scope.Scope> =>
  Effect.map(NodeSocketServer.make(options), (server) => links(server, undefined))

/**
 * Listens for WebSockets, whose messages are binary and never compressed. Outside loopback it fails with
 * `PlaintextRefused` unless it has `tls` or `plaintext` is true. A request that asks for anything else is refused. A handler finds its request in `NodeSocketServer.IncomingMessage`.
 */
export const makeWebSocket = Effect.fnUntraced(function* (
  options: WebSocketOptions
): Effect.fn.Return<Server, SocketServer.SocketServerError | PlaintextRefused, Scope.Scope> {
  const { backlog, host = "127.0.0.1", kernel, plaintext, port, tls } = options
  const address = yield* resolve(host)
  if (tls === undefined && plaintext !== true && !isLoopback(address)) {
    return yield* new PlaintextRefused({ host, address })
  }
  yield* checked(kernel)
  const listening = { host: address, port, ...(backlog === undefined ? {} : { backlog }) }
  const timeout = Duration.fromInputUnsafe(options.handshakeTimeout ?? WebSocketServer.handshakeTimeoutDefault)
  const server = yield* WebSocketServer.listen(listening, tls, timeout)
  return yield* WebSocketServer.upgrading(server, options, true, (stream) => set(stream, kernel))
})

/**
 * Upgrades requests of an HTTP server that serves other things as well; it must be listening. Requests for other paths
 * are left to its other listeners, and it is not closed: what bounds a slow request is its own `headersTimeout`. Where it
 * is neither HTTPS nor bound to loopback it fails with `PlaintextRefused`, unless `plaintext` is true: say that where a
 * proxy in front encrypts.
 */
export const makeWebSocketUpgrade = Effect.fnUntraced(function* (
  server: HttpServer,
  options: WebSocketUpgradeOptions = {}
): Effect.fn.Return<Server, SocketServer.SocketServerError | PlaintextRefused, Scope.Scope> {
  const bound = server.address()
  if (!(server instanceof Tls.Server) && options.plaintext !== true && typeof bound === "object" && bound !== null) {
    const { address } = bound
    if (!isLoopback(address)) return yield* new PlaintextRefused({ host: address, address })
  }
  yield* checked(options.kernel)
  return yield* WebSocketServer.upgrading(server, options, false, (stream) => set(stream, options.kernel))
})

/** {@link makeTcp} as a layer. */
export const layerTcp = (
  options: TcpOptions
): Layer.Layer<SocketServer.SocketServer, SocketServer.SocketServerError | PlaintextRefused> =>
  Layer.effect(SocketServer.SocketServer, makeTcp(options))

/** {@link makeTls} as a layer. */
export const layerTls = (options: TlsOptions): Layer.Layer<SocketServer.SocketServer, SocketServer.SocketServerError> =>
  Layer.effect(SocketServer.SocketServer, makeTls(options))

/** {@link makeUnix} as a layer. */
export const layerUnix = (
  options: Net.ServerOpts & { readonly path: string }
): Layer.Layer<SocketServer.SocketServer, SocketServer.SocketServerError> =>
  Layer.effect(SocketServer.SocketServer, makeUnix(options))

/** {@link makeWebSocket} as a layer. */
export const layerWebSocket = (
  options: WebSocketOptions
): Layer.Layer<SocketServer.SocketServer, SocketServer.SocketServerError | PlaintextRefused> =>
  Layer.effect(SocketServer.SocketServer, makeWebSocket(options))

/** {@link makeWebSocketUpgrade} as a layer. */
export const layerWebSocketUpgrade = (
  server: HttpServer,
  options?: WebSocketUpgradeOptions
): Layer.Layer<SocketServer.SocketServer, SocketServer.SocketServerError | PlaintextRefused> =>
  Layer.effect(SocketServer.SocketServer, makeWebSocketUpgrade(server, options))

/**
 * The same server, handing out links. Each handler runs in a fiber of ours and not in the server's, which would keep all that
 * it needs to make a socket of another kind.
 */
const links = (server: Server, options: KernelOptions.KernelOptions | undefined): Server => ({
  address: server.address,
  run: Effect.fnUntraced(function* <R, E, _>(handler: (link: NodeLink) => Effect.Effect<_, E, R>) {
    const running = new Set<Fiber.Fiber<_, E>>()
    const report = Effect.runForkWith(yield* Effect.context())
    const accept = Effect.contextWith((context: Context.Context<R>) =>
      Effect.sync(() => {
        const stream = Context.getUnsafe(context, NodeSocket.NetSocket)
        const connection = Connection.accepted(stream)
        const own = Scope.makeUnsafe()
        const handling = Effect.suspend(() =>
          options === undefined
            ? handler(connection.link)
            : Effect.andThen(set(stream, options), handler(connection.link))
        )
        const fiber = Effect.runForkWith(Context.add(context, Scope.Scope, own))(
          Effect.onExit(handling, (exit) => Scope.close(own, exit))
        )
        running.add(fiber)
        fiber.addObserver((exit) => {
          running.delete(fiber)
          connection.abandon()
          if (Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause)) report(Effect.ignoreCause(exit, unhandled))
        })
      })
    )
    return yield* Effect.ensuring(
      server.run(() => accept),
      Effect.suspend(() => Fiber.interruptAll([...running]))
    )
  })
})

const unhandled = { log: "Unhandled", message: "a handler of connections has failed" } as const

/** They were tried before the first connection came, so a refusal now is a defect. */
const set = (stream: Net.Socket, options: KernelOptions.KernelOptions | undefined): Effect.Effect<void> =>
  options === undefined ? Effect.void : Effect.orDie(KernelOptions.set(Connection.transportOf(stream), options))

const checked = (
  options: KernelOptions.KernelOptions | undefined
): Effect.Effect<void, SocketServer.SocketServerError> =>
  options === undefined ? Effect.void : Effect.mapError(KernelOptions.check(options), WebSocketServer.openError)

const resolve = (host: string): Effect.Effect<string, SocketServer.SocketServerError> =>
  Effect.tryPromise({
    try: () => Dns.lookup(host).then(({ address }) => address),
    catch: WebSocketServer.openError
  })
