/**
 * Links over the platform's `WebSocket`: for browsers, and for whatever else has one. On Node prefer `NodeLink.webSocket`,
 * which can do more.
 *
 * Effect's `Socket.makeWebSocket` does the reading. Three things are different: a write waits while too much is buffered,
 * `destroy` gives the connection up at once, and only `policy.open` bounds the dial.
 *
 * What a browser cannot do: it cannot reset a connection, so what it had buffered when it was destroyed, at most
 * `queuedBytesMax` and one write, may still reach the peer, where a session refuses it as overtaken. It cannot stop
 * reading either: what nobody pulls is kept, up to `receivedBytesMax`. And it does not tell why a dial failed.
 */
import { Effect, Exit, Schedule, Scope } from "effect"
import * as Predicate from "effect/Predicate"
import * as Socket from "effect/socket/Socket"
import { destroyCode } from "./internal/destroy.ts"
import type { Link, Progress } from "./Link.ts"
import { PlaintextRefused } from "./Plaintext.ts"

/** A link that can be given up at once and tells what is buffered. */
export interface WebSocketLink extends Link {
  readonly destroy: Effect.Effect<void>
  readonly progress: () => Progress
}

/** Where to connect to, and how much may wait. */
export interface Options {
  /** `wss:`, or `ws:` within this machine, with path and query. */
  readonly url: string | URL
  /** Subprotocols to offer; the server must choose one of them. */
  readonly protocols?: string | ReadonlyArray<string> | undefined
  /**
   * A write waits while more than this is buffered. Default 128 KiB: what is buffered is in front of the next heartbeat.
   * The platform does not say when there is room again, so that is looked up every 1 ms to 50 ms; in a background tab,
   * whose timers are slowed down, once a second.
   */
  readonly queuedBytesMax?: number | undefined
  /**
   * What may arrive and wait to be pulled; more ends the link with a `SocketReadError`. Default 16 MiB. A session keeps to
   * its `windowBytes` anyway; this is for peers that know no such thing.
   */
  readonly receivedBytesMax?: number | undefined
  /** Dial outside this machine although nothing is encrypted. Default: false. */
  readonly plaintext?: boolean | undefined
}

/**
 * A link that dials when its reader is acquired. For `ws:` to any host but `localhost` or a loopback address the reader
 * fails with a `SocketOpenError` whose cause is a `PlaintextRefused`, unless `plaintext` is true.
 *
 * ```ts
 * import { Layer } from "effect"
 * import * as Socket from "effect/socket/Socket"
 * import { Session, WebSocketLink } from "holdfast"
 *
 * class Telemetry extends Session.Service<Telemetry>()("app/Telemetry") {}
 *
 * const Client = Telemetry.layer({ link: WebSocketLink.make({ url: "wss://example.org/telemetry" }) }).pipe(
 *   Layer.provide(Socket.layerWebSocketConstructorGlobal)
 * )
 * ```
 */
export const make = (options: Options): Effect.Effect<WebSocketLink, never, Socket.WebSocketConstructor> =>
  Effect.flatMap(Socket.WebSocketConstructor, (construct) => {
    const queuedBytesMax = options.queuedBytesMax ?? queuedBytesMaxDefault
    const highWaterMark = options.receivedBytesMax ?? receivedBytesMaxDefault
    let socket: Socket.WebSocketLike | undefined
    let life: Scope.Closeable | undefined
    let closeCode = orderlyCode

    const connect = Effect.acquireRelease(
      Effect.flatMap(allowed(options), ({ href }) =>
        Effect.try({
          try: () => (socket = construct(href, [options.protocols ?? []].flat())),
          catch: openError
        })
      ),
      (socket) => Effect.sync(() => socket.close(closeCode))
    )
    const withReason = Effect.mapError((error: Socket.SocketError) => explain(error, options.url))
    const room = Effect.suspend(() => (socket === undefined ? closed : waitForRoom(socket, queuedBytesMax)))

    return Effect.map(
      Socket.fromWebSocket(connect, { openTimeout: "Infinity", highWaterMark }),
      ({ reader, writer }) => ({
        ...Socket.make({
          reader: Effect.gen(function* () {
            // A scope of its own: `destroy` ends the reader by closing it, long before the platform has closed anything.
            life = yield* Scope.fork(yield* Effect.scope)
            closeCode = orderlyCode
            const { pull, upgrade } = yield* Scope.provide(reader, life)
            return { pull: withReason(pull), upgrade }
          }).pipe(withReason),
          writer: Effect.map(writer, ({ write, writeAll }) => ({
            write: (chunk) => (Socket.isCloseEvent(chunk) ? write(chunk) : Effect.andThen(write(chunk), room)),
            writeAll: (chunks) => Effect.andThen(writeAll(chunks), room)
          }))
        }),
        destroy: Effect.suspend(() => {
          closeCode = destroyCode
          return life === undefined ? Effect.void : Scope.close(life, Exit.void)
        }),
        progress: () => ({ queuedBytes: socket === undefined ? 0 : bufferedBytes(socket) })
      })
    )
  })

const queuedBytesMaxDefault = 128 * 1024
const receivedBytesMaxDefault = 16 * 1024 * 1024

const orderlyCode = 1000
const open = 1

/** Without TLS only within this machine. A browser cannot look up names, so of names only `localhost` is trusted. */
const allowed = ({ plaintext, url }: Options): Effect.Effect<URL, Socket.SocketError> =>
  Effect.suspend(() => {
    const parsed = URL.canParse(String(url)) ? new URL(url) : undefined
    if (parsed?.protocol === "wss:") return Effect.succeed(parsed)
    if (parsed?.protocol !== "ws:") {
      return Effect.fail(openError(new TypeError(`${String(url)} is not a URL that begins with ws: or wss:`)))
    }
    const { hostname } = parsed
    if (plaintext === true || loopback.test(hostname)) return Effect.succeed(parsed)
    return Effect.fail(openError(new PlaintextRefused({ host: hostname, address: hostname })))
  })

/** As a URL writes them. */
const loopback = /^(localhost|.+\.localhost|127\.\d+\.\d+\.\d+|\[::1\])$/

const waitForRoom = (socket: Socket.WebSocketLike, bytesMax: number): Effect.Effect<void, Socket.SocketError> => {
  const hasRoom = Effect.suspend(() =>
    socket.readyState === open ? Effect.succeed(bufferedBytes(socket) <= bytesMax) : closed
  )
  return Effect.asVoid(Effect.repeat(hasRoom, { schedule: looking, until: (hasRoom) => hasRoom }))
}

const looking = Schedule.min([Schedule.exponential("1 millis"), Schedule.spaced("50 millis")])

const bufferedBytes = (socket: Socket.WebSocketLike): number =>
  Predicate.hasProperty(socket, "bufferedAmount") && typeof socket.bufferedAmount === "number"
    ? socket.bufferedAmount
    : 0

const closed = Effect.suspend(() => Effect.fail(writeError(new Error("the WebSocket is closed, or is being closed"))))

const openError = (cause: unknown): Socket.SocketError =>
  new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause }) })

const writeError = (cause: unknown): Socket.SocketError =>
  new Socket.SocketError({ reason: new Socket.SocketWriteError({ cause }) })

/** A platform tells of what went wrong by an event, mostly without a reason. */
const explain = (error: Socket.SocketError, url: string | URL): Socket.SocketError => {
  const { reason } = error
  if (reason._tag !== "SocketOpenError" && reason._tag !== "SocketReadError") return error
  if (reason.cause instanceof Error) return error
  const told = Predicate.hasProperty(reason.cause, "error") ? reason.cause.error : undefined
  if (reason._tag === "SocketOpenError") {
    return openError(told ?? new Error(`${String(url)} could not be opened; the platform does not say why`))
  }
  const cause = told ?? new Error(`${String(url)} broke; the platform does not say why`)
  return new Socket.SocketError({ reason: new Socket.SocketReadError({ cause }) })
}
