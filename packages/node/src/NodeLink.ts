/**
 * Links over Node's sockets: TCP, TLS, unix sockets and WebSockets, which can be reset at once and tell what they still
 * hold.
 *
 * Each constructor is an effect that makes a fresh link, as `Session` wants it: run once for every incarnation.
 * Nothing is dialled until the link's `reader` is acquired; the scope of that acquisition owns the connection, and
 * when it has closed, the descriptor is closed.
 *
 * Nothing is read until it is pulled, and a write waits while the kernel does not take it. The reader also lends what it
 * has read: `borrow` of `Link.Reader`. A WebSocket reads ahead of the pull by 64 KiB, and lends nothing.
 */
import { Effect } from "effect"
import type { Link } from "holdfast"
import * as Dns from "node:dns"
import * as Net from "node:net"
import * as Tls from "node:tls"
import * as Connection from "./internal/connection.ts"
import * as WebSocketConnection from "./internal/webSocketConnection.ts"
import type * as Kernel from "./Kernel.ts"
import type { KernelOptions } from "./KernelOptions.ts"
import { isLoopback, PlaintextRefused } from "./Plaintext.ts"

/**
 * A link over a Node socket. It offers all that a link may offer.
 *
 * - `destroy` sends a reset and closes the descriptor; it waits for nothing. What the kernel still had to send is
 *   forgotten, so no later byte of ours reaches the peer. What had already reached the peer's kernel stays readable
 *   there. A unix socket knows no reset: it is closed, and the peer may read what was in flight.
 * - `progress` tells the bytes that Node still holds (`writableLength`), where a chunk counts until the kernel has all
 *   of it, and what the kernel knows of the rest where it can be asked (`Kernel.report`): its `source` says which.
 * - `peer` is the remote address without the port, `undefined` for unix sockets and before the connection is up.
 */
export interface NodeLink extends Link.Link {
  readonly destroy: Effect.Effect<void>
  readonly progress: () => Kernel.Report
  readonly peer: string | undefined
}

/** Where to connect to, as `net.connect` takes it. `noDelay` is always on: Holdfast batches by itself. */
export interface TcpOptions extends Net.TcpNetConnectOpts {
  /** Dial outside loopback although nothing is encrypted. Default: false. */
  readonly plaintext?: boolean | undefined
  /** Options of the kernel. One that cannot be set fails the reader with a `SocketOpenError`. */
  readonly kernel?: KernelOptions | undefined
}

/** Where to connect to, and whom to trust, as `tls.connect` takes it. */
export interface TlsOptions extends Omit<Tls.ConnectionOptions, "socket" | "path" | "host" | "port"> {
  /** Name or address of the server. Default: `localhost`. */
  readonly host?: string | undefined
  readonly port: number
  /** Options of the kernel. One that cannot be set fails the reader with a `SocketOpenError`. */
  readonly kernel?: KernelOptions | undefined
}

/** Where to connect to, and how. */
export interface WebSocketOptions {
  /** `ws:` or `wss:`, with path and query. */
  readonly url: string | URL
  /** Subprotocols to offer; the server must choose one of them. */
  readonly protocols?: string | ReadonlyArray<string> | undefined
  /** Headers of the request, such as `Origin`, `Cookie` or `Authorization`. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Whom to trust and who we are, for `wss:`, as `tls.connect` takes it. */
  readonly tls?: Omit<TlsOptions, "host" | "port" | "kernel" | "lookup"> | undefined
  /** How names are resolved. Default: as the system does. */
  readonly lookup?: Net.LookupFunction | undefined
  /**
   * The largest message that is accepted, in bytes; a larger one ends the link. Default 1 MiB: Holdfast's own are at
   * most 64 KiB.
   */
  readonly payloadBytesMax?: number | undefined
  /** Dial outside loopback although nothing is encrypted. Default: false. */
  readonly plaintext?: boolean | undefined
  /** Options of the kernel. One that cannot be set fails the reader with a `SocketOpenError`. */
  readonly kernel?: KernelOptions | undefined
}

/**
 * A TCP link.
 *
 * Outside loopback it refuses to dial unless `plaintext` is true: the reader fails with a `SocketOpenError` whose
 * cause is a `PlaintextRefused`. What counts is the address that is dialled, not the name: a name that resolves
 * to any address outside loopback is refused.
 *
 * ```ts
 * import { NodeLink } from "@holdfast/node"
 * import { Schema } from "effect"
 * import { Session } from "holdfast"
 *
 * class Telemetry extends Session.Service<Telemetry>()("app/Telemetry", { toServer: Schema.String }) {}
 *
 * const Client = Telemetry.layer({ link: NodeLink.tcp({ host: "127.0.0.1", port: 7000 }) })
 * ```
 */
export const tcp = (options: TcpOptions): Effect.Effect<NodeLink> => Connection.dialled(dialTcp(options))

/**
 * A TLS link. The reader is acquired when the handshake is done; a certificate that does not hold fails it with a
 * `SocketOpenError`. `servername` defaults to `host` where that is a name.
 */
export const tls = (options: TlsOptions): Effect.Effect<NodeLink> => Connection.dialled(dialTls(options))

/** A link over a unix socket. It never leaves the machine, so it needs neither TLS nor `plaintext`. */
export const unix = (options: Net.IpcNetConnectOpts): Effect.Effect<NodeLink> =>
  Connection.dialled((own) => Effect.suspend(() => Connection.opened(own(Net.connect(options)), "connect")))

/**
 * A WebSocket link, whose messages are binary. The reader is acquired when the server has agreed to speak WebSocket; for
 * `ws:` the rule of {@link tcp} holds, for `wss:` that of {@link tls}. Three things are different from the WebSockets of
 * `effect/socket`: a write waits until the connection has room again, `destroy` resets the TCP connection below, and
 * only `policy.open` bounds the dial.
 *
 * What is written in one piece arrives as one message. Releasing the link in good order closes it with code 1000.
 *
 * ```ts
 * import { NodeLink } from "@holdfast/node"
 * import { Session } from "holdfast"
 *
 * class Telemetry extends Session.Service<Telemetry>()("app/Telemetry") {}
 *
 * const Client = Telemetry.layer({ link: NodeLink.webSocket({ url: "wss://example.org/telemetry" }) })
 * ```
 */
export const webSocket = (options: WebSocketOptions): Effect.Effect<NodeLink> =>
  WebSocketConnection.dialled(
    (own) =>
      Effect.suspend(() => {
        const { kernel, lookup, plaintext, tls } = options
        const url = URL.parse(String(options.url))
        if (url?.protocol !== "ws:" && url?.protocol !== "wss:") {
          return Connection.failed(new TypeError(`${String(options.url)} is not a URL that begins with ws: or wss:`))
        }
        const isSecure = url.protocol === "wss:"
        const host = url.hostname.replace(/^\[(.*)\]$/, "$1")
        const port = url.port === "" ? (isSecure ? 443 : 80) : Number(url.port)
        const to = { host, port, kernel, ...(lookup === undefined ? {} : { lookup }) }
        return isSecure ? dialTls({ ...tls, ...to })(own) : dialTcp({ ...to, plaintext })(own)
      }),
    options
  )

const dialTcp =
  ({ kernel, plaintext, ...connect }: TcpOptions): Connection.Dial =>
  (own) =>
    Effect.suspend(() => {
      const host = connect.host ?? "localhost"
      const open = (connect: Net.TcpNetConnectOpts) =>
        Effect.flatMap(Connection.opened(own(dial(connect)), "connect"), (socket) =>
          Connection.configured(socket, kernel)
        )
      if (plaintext === true) return open(connect)
      if (Net.isIP(host) !== 0 && !isLoopback(host)) {
        return Connection.failed(new PlaintextRefused({ host, address: host }))
      }
      return open({ ...connect, lookup: onlyLoopback(connect.lookup) })
    })

const dialTls =
  ({ host = "localhost", kernel, port, ...secure }: TlsOptions): Connection.Dial =>
  (own) =>
    Effect.suspend(() => {
      const lookup = secure.lookup === undefined ? {} : { lookup: secure.lookup }
      const servername = secure.servername ?? (Net.isIP(host) === 0 ? host : undefined)
      // A socket of our own below the encryption: only a plain TCP socket can be reset.
      const transport = own(dial({ host, port, ...lookup }))
      return Connection.opened(transport, "connect").pipe(
        Effect.flatMap((socket) => Connection.configured(socket, kernel)),
        Effect.flatMap((socket) =>
          Connection.opened(
            Tls.connect({ ...secure, socket, host, ...(servername === undefined ? {} : { servername }) }),
            "secureConnect"
          )
        )
      )
    })

const dial = (options: Net.TcpNetConnectOpts): Net.Socket => Net.connect({ ...options, noDelay: true })

/** Resolves names as usual, and refuses those that lead outside. */
const onlyLoopback =
  (lookup: Net.LookupFunction = systemLookup): Net.LookupFunction =>
  (host, options, callback) =>
    lookup(host, options, (error, resolved, family) => {
      if (error !== null) return callback(error, resolved, family)
      const addresses = typeof resolved === "string" ? [resolved] : resolved.map(({ address }) => address)
      const outside = addresses.find((address) => !isLoopback(address))
      if (outside === undefined) return callback(null, resolved, family)
      callback(new PlaintextRefused({ host, address: outside }), resolved, family)
    })

const systemLookup = Dns.lookup as Net.LookupFunction
