/**
 * One Node connection as a link. When the scope of its reader has closed, its descriptor is closed too.
 */
import { Effect, type Scope } from "effect"
import { constVoid } from "effect/Function"
import * as Socket from "effect/socket/Socket"
import type { Link } from "holdfast"
import { Socket as NetSocket } from "node:net"
import { TLSSocket } from "node:tls"
import * as Kernel from "../Kernel.ts"
import * as KernelOptions from "../KernelOptions.ts"
import type { NodeLink } from "../NodeLink.ts"
import * as Reading from "./reading.ts"
import * as Writing from "./writing.ts"

/**
 * How to connect: hands the socket that the kernel knows to `own` as soon as it exists, so that it can be destroyed while
 * it dials, and returns the stream to read and write: the same socket, or the TLS stream above it.
 */
export type Dial = (own: <S extends NetSocket>(transport: S) => S) => Effect.Effect<NetSocket, Socket.SocketError>

/** A link that dials. */
export const dialled = (open: Dial): Effect.Effect<NodeLink> =>
  Effect.suspend(() => {
    const wire: Wire = { transport: undefined, stream: undefined, peer: undefined }
    return make(
      wire,
      open((transport) => {
        wire.transport = transport
        return transport
      })
    )
  })

/** Sets the options on a socket that has just been connected. */
export const configured = <S extends NetSocket>(
  socket: S,
  options: KernelOptions.KernelOptions | undefined
): Effect.Effect<S, Socket.SocketError> =>
  options === undefined
    ? Effect.succeed(socket)
    : KernelOptions.set(socket, options).pipe(Effect.catch(failed), Effect.as(socket))

/** A link over a connection that is up. It can be destroyed before anybody reads from it, and is if nobody does. */
export const accepted = (stream: NetSocket): Effect.Effect<NodeLink, never, Scope.Scope> =>
  Effect.suspend(() => {
    stream.on("error", constVoid)
    const wire: Wire = { transport: transportOf(stream), stream: undefined, peer: plainAddress(stream.remoteAddress) }
    const open = Effect.suspend(() =>
      stream.destroyed ? failed(new Error("the peer is gone")) : Effect.succeed(stream)
    )
    return Effect.acquireRelease(make(wire, open), (link) => (wire.stream === undefined ? link.destroy : Effect.void))
  })

/** What a link is made of: `transport` is the socket that the kernel knows, `stream` is what is read and written. */
interface Wire {
  transport: NetSocket | undefined
  stream: NetSocket | undefined
  peer: string | undefined
}

const make = (wire: Wire, open: Effect.Effect<NetSocket, Socket.SocketError>): Effect.Effect<NodeLink> => {
  const destroy = Effect.sync(() => {
    if (wire.transport !== undefined) reset(wire.transport)
    wire.stream?.destroy()
  })
  /** Whoever writes before the socket is there. */
  let waiting: Array<() => void> = []
  let isUp = false
  const up = Effect.callback<void>((resume) => {
    if (isUp) return resume(Effect.void)
    const wake = () => resume(Effect.void)
    waiting.push(wake)
    return Effect.sync(() => {
      waiting = waiting.filter((other) => other !== wake)
    })
  })
  const stop = ({ stop }: Reading.Reading) =>
    Effect.sync(() => {
      stop()
      isUp = false
    })
  /** A link that is dialled once more knows nothing of its last connection. */
  const forget = Effect.sync(() => {
    wire.stream = undefined
  })
  const reader = forget.pipe(
    Effect.andThen(Effect.addFinalizer(() => (wire.stream === undefined ? destroy : finish(wire.stream, destroy)))),
    Effect.andThen(open),
    Effect.flatMap((stream) => {
      const take = Effect.sync(() => {
        wire.stream = stream
        wire.peer ??= plainAddress(stream.remoteAddress)
        isUp = true
        for (const wake of waiting.splice(0)) wake()
        return Reading.make(stream)
      })
      return Effect.acquireRelease(take, stop)
    }),
    Effect.map(({ borrow, keep, pull, subscribe }): Link.Reader => ({
      pull,
      borrow,
      keep,
      subscribe,
      upgrade: Socket.SocketUpgradeError.unsupported
    }))
  )
  const writer = Effect.acquireRelease(Effect.succeed(Writing.make(() => (isUp ? wire.stream : undefined), up)), () =>
    Effect.sync(() => {
      if (wire.stream?.writableEnded === false) wire.stream.end()
    })
  )
  return Effect.succeed({
    ...Socket.make({ reader, writer }),
    destroy,
    isCopying: true,
    progress: () => (wire.stream === undefined ? nothingYet : Kernel.report(wire.stream)),
    get peer() {
      return wire.peer
    }
  })
}

/** Waits until the socket is connected (`connect`) or its TLS handshake is done (`secureConnect`). */
export const opened = <S extends NetSocket>(
  socket: S,
  event: "connect" | "secureConnect"
): Effect.Effect<S, Socket.SocketError> =>
  Effect.callback((resume) => {
    const onOpen = () => settle(Effect.succeed(socket))
    const onError = (cause: unknown) => settle(failed(cause))
    const onClose = () => settle(failed(new Error(`the connection was closed before "${event}"`)))
    const settle = (effect: Effect.Effect<S, Socket.SocketError>) => {
      detach()
      resume(effect)
    }
    const detach = () => {
      socket.off(event, onOpen)
      socket.off("error", onError)
      socket.off("close", onClose)
    }
    // Stays: an error that comes when nobody waits any more must not end the process.
    socket.on("error", constVoid)
    socket.on(event, onOpen)
    socket.on("error", onError)
    socket.on("close", onClose)
    return Effect.sync(detach)
  })

export const failed = (cause: unknown): Effect.Effect<never, Socket.SocketError> =>
  Effect.fail(new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause }) }))

/**
 * The TCP socket below a TLS stream that a server accepted, or the socket itself: only a plain TCP socket can be reset.
 * Node has kept it in `_parent` since 0.11 without documenting it, and offers no other way to it.
 */
export const transportOf = (stream: NetSocket): NetSocket => {
  const transport: unknown = stream instanceof TLSSocket ? Reflect.get(stream, "_parent") : undefined
  return transport instanceof NetSocket ? transport : stream
}

/** An IPv4 peer has one name, whether the listener is bound to `0.0.0.0` or to `::`. */
export const plainAddress = (address: string | undefined): string | undefined =>
  address?.replace(/^::ffff:(?=\d+\.)/i, "")

/** RST for TCP: the kernel forgets what it still had to send. Without a TCP connection there is nothing to reset. */
export const reset = (transport: NetSocket): void => {
  if (transport.destroyed) return
  const connected = !transport.connecting && transport.remoteFamily !== undefined
  if (!connected || transport instanceof TLSSocket) transport.destroy()
  else if (isFinishing(transport)) setImmediate(resetFinished, transport)
  else transport.resetAndDestroy()
}

/** A FIN is on its way through libuv: a reset in this turn fails with EINVAL, and Node keeps the handle for ever. */
const isFinishing = ({ writableEnded, writableFinished, writableLength }: NetSocket): boolean =>
  writableEnded && !writableFinished && writableLength === 0

const resetFinished = (transport: NetSocket): void => {
  if (isFinishing(transport)) transport.destroy()
  else reset(transport)
}

/** Hands over what was written, then closes; a peer that does not read gets `lingerMax`, then a reset. */
const finish = (stream: NetSocket, destroy: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (stream.closed) return resume(Effect.void)
    const onClose = () => resume(Effect.void)
    stream.once("close", onClose)
    stream.destroySoon()
    return Effect.sync(() => stream.off("close", onClose))
  }).pipe(Effect.interruptible, Effect.timeoutOrElse({ duration: lingerMax, orElse: () => destroy }))

/** How long a connection that is closed in good order may take to hand over what was written. */
export const lingerMax = "1 second"

/** The report of a connection that is not there yet. */
export const nothingYet: Kernel.Report = { source: "node", queuedBytes: 0 }
