/**
 * The TCP connections of the programs at both ends of the tunnel: half-close, reset and back-pressure as the kernel has them.
 */
import { NodeSink, NodeStream } from "@effect/platform-node"
import { Plaintext } from "@holdfast/node"
import { Effect, Schema, type Scope, type Sink, type Stream } from "effect"
import { promises as Dns } from "node:dns"
import * as Net from "node:net"
import { type Address, text } from "./address.ts"

/** A connection was not made, or broke. */
export class TcpFailed extends Schema.TaggedError<TcpFailed>()("TcpFailed", {
  message: Schema.String
}) {}

/** One connection. It is reset when the scope closes, unless both directions have ended. */
export interface Tcp {
  readonly peer: string
  /** What arrives, until the other side ends its direction. Nothing is read ahead of the consumer but 64 KiB. */
  readonly incoming: Stream.Stream<Uint8Array, TcpFailed>
  /** Takes bytes as fast as the other side does. It does not end the direction. */
  readonly outgoing: Sink.Sink<void, Uint8Array, never, TcpFailed>
  /** Ends our direction: half-close. Succeeds when the kernel has everything. */
  readonly end: Effect.Effect<void, TcpFailed>
}

/** A connection that was accepted. */
export const accepted = (socket: Net.Socket): Effect.Effect<Tcp, never, Scope.Scope> =>
  Effect.as(
    Effect.acquireRelease(Effect.succeed(socket), () => Effect.sync(() => finish(socket))),
    {
      peer: `${socket.remoteAddress ?? "?"}:${socket.remotePort ?? "?"}`,
      incoming: NodeStream.fromReadable({ evaluate: () => socket, onError: failed, closeOnDone: false }),
      outgoing: NodeSink.fromWritable({ evaluate: () => socket, onError: failed, endOnDone: false }),
      end: Effect.callback((resume) => {
        socket.end((error?: Error | null) => resume(error == null ? Effect.void : Effect.fail(failed(error))))
      })
    }
  )

/** Dials, within the time that a person waits. */
export const connect = (address: Address): Effect.Effect<Tcp, TcpFailed, Scope.Scope> =>
  Effect.callback<Net.Socket, TcpFailed>((resume) => {
    const socket = Net.connect({ ...address, allowHalfOpen: true, noDelay: true })
    const refused = (error: Error) =>
      resume(Effect.fail(new TcpFailed({ message: `${text(address)}: ${error.message}` })))
    socket.on("error", ignored).once("error", refused)
    socket.once("connect", () => {
      socket.off("error", refused)
      resume(Effect.succeed(socket))
    })
    return Effect.sync(() => socket.destroy())
  }).pipe(
    Effect.timeoutOrElse({
      duration: connectTimeout,
      orElse: () => Effect.fail(new TcpFailed({ message: `${text(address)}: no answer within ${connectTimeout}` }))
    }),
    Effect.flatMap(accepted)
  )

/**
 * Listens, and stops to accept when the scope closes; the connections that it has accepted live on. Outside loopback it
 * refuses unless `plaintext` is true: whoever comes in there has proved nothing, and is not encrypted.
 */
export const listen = Effect.fnUntraced(function* (
  address: Address,
  plaintext: boolean,
  accept: (socket: Net.Socket) => void
): Effect.fn.Return<Address, TcpFailed | Plaintext.PlaintextRefused, Scope.Scope> {
  const { address: ip } = yield* Effect.tryPromise({ try: () => Dns.lookup(address.host), catch: failed })
  if (!plaintext && !Plaintext.isLoopback(ip)) {
    return yield* new Plaintext.PlaintextRefused({ host: address.host, address: ip })
  }
  return yield* Effect.map(
    Effect.acquireRelease(
      Effect.callback<Net.Server, TcpFailed>((resume) => {
        const server = Net.createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true })
        server.on("connection", (socket) => {
          socket.on("error", ignored)
          accept(socket)
        })
        server.once("error", (error) =>
          resume(Effect.fail(new TcpFailed({ message: `cannot listen on ${text(address)}: ${error.message}` })))
        )
        server.listen({ host: ip, port: address.port }, () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.sync(() => server.close())
    ),
    (server) => {
      const bound = server.address()
      return { host: address.host, port: bound !== null && typeof bound === "object" ? bound.port : address.port }
    }
  )
})

/** What has ended on both sides goes by itself; everything else is reset. */
const finish = (socket: Net.Socket): void => {
  if (socket.destroyed || (socket.readableEnded && socket.writableFinished)) return
  reset(socket)
}

/**
 * Resets at once. `resetAndDestroy` alone waits until all that was written has gone, which may be never; and while its
 * FIN is on the way a socket cannot be reset: Node would say EINVAL and keep the descriptor for ever.
 */
const reset = (socket: Net.Socket): void => {
  if (!socket.writableEnded || socket.writableFinished) socket.resetAndDestroy()
  socket.destroy()
}

const failed = (cause: unknown) => new TcpFailed({ message: cause instanceof Error ? cause.message : String(cause) })

/** A socket without a listener would end the process with its error. */
const ignored = () => {}

const connectTimeout = "10 seconds"
