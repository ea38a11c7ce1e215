/**
 * One WebSocket of the `ws` package as a link. Effect's `Socket.fromWebSocket` reads it; here is what that leaves open: a
 * write waits for room, a reset waits for nothing, a graceful close waits only so long, and errors keep the system's code.
 */
import { NodeWS } from "@effect/platform-node"
import { Effect, type Scope } from "effect"
import { constVoid } from "effect/Function"
import * as Predicate from "effect/Predicate"
import * as Socket from "effect/socket/Socket"
import type { Socket as NetSocket } from "node:net"
import * as Kernel from "../Kernel.ts"
import type { NodeLink, WebSocketOptions } from "../NodeLink.ts"
import { type Dial, lingerMax, nothingYet, plainAddress, reset, transportOf } from "./connection.ts"

/** Eight times what Holdfast hands to a link at once. */
export const payloadBytesMaxDefault = 1024 * 1024

/** A link that dials and asks the server to upgrade. */
export const dialled = (
  dial: Dial,
  { headers = {}, payloadBytesMax, protocols, url }: WebSocketOptions
): Effect.Effect<NodeLink> =>
  Effect.suspend(() => {
    const wire: Wire = { transport: undefined, stream: undefined, socket: undefined, peer: undefined, error: undefined }
    const upgrade = (stream: NetSocket) =>
      Effect.try({
        try: () =>
          new NodeWS.WebSocket(url, protocols === undefined ? [] : [protocols].flat(), {
            headers: { ...headers },
            createConnection: () => stream,
            maxPayload: payloadBytesMax ?? payloadBytesMaxDefault,
            perMessageDeflate: false
          }),
        catch: openError
      })
    const own = <S extends NetSocket>(transport: S) => {
      wire.transport = transport
      return transport
    }
    return make(
      wire,
      Effect.flatMap(dial(own), (stream) => {
        carry(wire, stream)
        return upgrade(stream)
      })
    )
  })

/** A link over a connection that was upgraded. It can be destroyed before anybody reads from it, and is if nobody does. */
export const accepted = (socket: NodeWS.WebSocket, stream: NetSocket): Effect.Effect<NodeLink, never, Scope.Scope> =>
  Effect.suspend(() => {
    const wire: Wire = {
      transport: transportOf(stream),
      stream: undefined,
      socket: undefined,
      peer: undefined,
      error: undefined
    }
    carry(wire, stream)
    const link = make(wire, Effect.succeed(socket))
    return Effect.acquireRelease(link, ({ destroy }) => (wire.socket === undefined ? destroy : Effect.void))
  })

/** What a link is made of: `transport` is the socket that the kernel knows, `stream` what the WebSocket reads and writes. */
interface Wire {
  transport: NetSocket | undefined
  stream: NetSocket | undefined
  socket: NodeWS.WebSocket | undefined
  peer: string | undefined
  /** What ended the connection below; a WebSocket itself says no more than 1006. */
  error: Error | undefined
}

const carry = (wire: Wire, stream: NetSocket): void => {
  wire.error = undefined
  wire.stream = stream
  wire.peer = plainAddress(stream.remoteAddress)
  stream.on("error", (error) => {
    wire.error ??= error
  })
}

const make = (wire: Wire, open: Effect.Effect<NodeWS.WebSocket, Socket.SocketError>): Effect.Effect<NodeLink> => {
  const destroy = Effect.sync(() => {
    if (wire.transport !== undefined) reset(wire.transport)
    wire.stream?.destroy()
    wire.socket?.terminate()
  })
  /** A link that is dialled once more knows nothing of its last connection. */
  const forget = Effect.sync(() => {
    wire.socket = undefined
  })
  const acquire = forget.pipe(
    Effect.andThen(Effect.addFinalizer(() => (wire.socket === undefined ? destroy : finish(wire.socket, destroy)))),
    Effect.andThen(open),
    Effect.tap((socket) =>
      Effect.sync(() => {
        // Stays: an error that comes when nobody listens any more must not end the process.
        socket.on("error", constVoid)
        wire.socket = socket
      })
    )
  )
  const withEvidence = Effect.mapError((error: Socket.SocketError) => explain(error, wire))
  const room = Effect.suspend(() => waitForRoom(wire))
  return Effect.map(Socket.fromWebSocket(acquire, { openTimeout: "Infinity" }), ({ reader, writer }) => ({
    ...Socket.make({
      reader: withEvidence(Effect.map(reader, ({ pull, upgrade }) => ({ pull: withEvidence(pull), upgrade }))),
      writer: Effect.map(writer, ({ write, writeAll }) => ({
        write: (chunk) => (Socket.isCloseEvent(chunk) ? write(chunk) : Effect.andThen(write(chunk), room)),
        writeAll: (chunks) => Effect.andThen(inOnePiece(wire, writeAll(chunks)), room)
      }))
    }),
    destroy,
    progress: () => (wire.stream === undefined ? nothingYet : Kernel.report(wire.stream)),
    get peer() {
      return wire.peer
    }
  }))
}

/** One system call for all messages of a batch, and not one for each. */
const inOnePiece = <A, E>({ stream }: Wire, write: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.suspend(() => {
    stream?.cork()
    return Effect.ensuring(
      write,
      Effect.sync(() => stream?.uncork())
    )
  })

/** As with any stream of Node: what was handed over is kept, and the next write waits until it has drained. */
const waitForRoom = ({ socket, stream }: Wire): Effect.Effect<void, Socket.SocketError> => {
  if (socket === undefined || stream === undefined || socket.readyState !== NodeWS.WebSocket.OPEN) return closed
  if (!stream.writableNeedDrain) return Effect.void
  return Effect.callback((resume) => {
    const onDrain = () => settle(Effect.void)
    const onClose = () => settle(closed)
    const settle = (effect: Effect.Effect<void, Socket.SocketError>) => {
      detach()
      resume(effect)
    }
    const detach = () => {
      stream.off("drain", onDrain)
      stream.off("close", onClose)
    }
    stream.on("drain", onDrain)
    stream.on("close", onClose)
    return Effect.sync(detach)
  })
}

const closed = Effect.suspend(() =>
  Effect.fail(
    new Socket.SocketError({
      reason: new Socket.SocketWriteError({
        cause: new Error("the WebSocket was closed before it took what was written")
      })
    })
  )
)

const openError = (cause: unknown): Socket.SocketError =>
  new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause }) })

/** Errors instead of events, and what happened below instead of 1006. */
const explain = (error: Socket.SocketError, wire: Wire): Socket.SocketError => {
  const { reason } = error
  switch (reason._tag) {
    case "SocketOpenError":
      return openError(wire.error ?? errorOf(reason.cause))
    case "SocketReadError":
      return new Socket.SocketError({
        reason: new Socket.SocketReadError({ cause: wire.error ?? errorOf(reason.cause) })
      })
    case "SocketCloseError":
      return reason.code !== 1006 || wire.error === undefined
        ? error
        : new Socket.SocketError({ reason: new Socket.SocketReadError({ cause: wire.error }) })
    default:
      return error
  }
}

/** The error inside of an event of `ws`. */
const errorOf = (event: unknown): unknown => (Predicate.hasProperty(event, "error") ? event.error : event)

/** Closes in good order, after what was written; a peer that does not answer gets `lingerMax`, then a reset. */
const finish = (socket: NodeWS.WebSocket, destroy: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (socket.readyState === NodeWS.WebSocket.CLOSED) return resume(Effect.void)
    if (socket.readyState === NodeWS.WebSocket.CONNECTING) return resume(destroy)
    const onClose = () => resume(Effect.void)
    socket.once("close", onClose)
    socket.close(1000)
    return Effect.sync(() => socket.off("close", onClose))
  }).pipe(Effect.interruptible, Effect.timeoutOrElse({ duration: lingerMax, orElse: () => destroy }))
