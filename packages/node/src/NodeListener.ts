/**
 * Listeners over Node's sockets. Each gives Effect's `SocketServer`, so whatever takes one takes these; the sockets
 * that it hands out are links (`NodeLink`): they can be reset at once, tell what they hold, and know who is there.
 *
 * Listening starts when the layer is built. A connection that no handler reads is closed when its handler ends.
 */
import { NodeSocket, NodeSocketServer } from "@effect/platform-node"
import { Context, Effect, Layer, type Scope } from "effect"
import * as SocketServer from "effect/socket/SocketServer"
import { promises as Dns } from "node:dns"
import * as Net from "node:net"
import * as Tls from "node:tls"
import * as Connection from "./internal/connection.ts"
import * as KernelOptions from "./KernelOptions.ts"
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

/** The same server, handing out links. */
const links = (server: Server, options: KernelOptions.KernelOptions | undefined): Server => ({
  address: server.address,
  run: (handler) => server.run(() => Effect.scoped(Effect.flatMap(accept(options), handler)))
})

/** `run` puts each connection into its handler's context; that is the way to the socket itself. */
const accept = (options: KernelOptions.KernelOptions | undefined) =>
  Effect.contextWith((context: Context.Context<Scope.Scope>) => {
    const stream = Context.getUnsafe(context, NodeSocket.NetSocket)
    const transport = stream instanceof Tls.TLSSocket ? below(stream) : stream
    const link = Connection.accepted(stream, transport)
    // They were tried before the first connection came, so a refusal now is a defect.
    return options === undefined ? link : Effect.tap(link, Effect.orDie(KernelOptions.set(transport, options)))
  })

const checked = (
  options: KernelOptions.KernelOptions | undefined
): Effect.Effect<void, SocketServer.SocketServerError> =>
  options === undefined ? Effect.void : Effect.mapError(KernelOptions.check(options), openError)

/**
 * The TCP socket below a TLS stream that a server accepted; only that one can be reset. Node has kept it in `_parent`
 * since 0.11 without documenting it, and offers no other way to it.
 */
const below = (stream: Tls.TLSSocket): Net.Socket => {
  const transport: unknown = Reflect.get(stream, "_parent")
  return transport instanceof Net.Socket ? transport : stream
}

const resolve = (host: string): Effect.Effect<string, SocketServer.SocketServerError> =>
  Effect.tryPromise({
    try: () => Dns.lookup(host).then(({ address }) => address),
    catch: openError
  })

const openError = (cause: unknown) =>
  new SocketServer.SocketServerError({ reason: new SocketServer.SocketServerOpenError({ cause }) })
