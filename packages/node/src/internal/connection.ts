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
import { Reading } from "./reading.ts"
import * as Writing from "./writing.ts"

/**
 * How to connect: hands the socket that the kernel knows to `own` as soon as it exists, so that it can be destroyed while
 * it dials, and returns the stream to read and write: the same socket, or the TLS stream above it.
 */
export type Dial = (own: <S extends NetSocket>(transport: S) => S) => Effect.Effect<NetSocket, Socket.SocketError>

/** A link that dials. */
export const dialled = (open: Dial): Effect.Effect<NodeLink> =>
  Effect.sync(() => {
    const connection: Connection = new Connection(
      Effect.suspend(() =>
        open((transport) => {
          connection.transport = transport
          return transport
        })
      )
    )
    return connection.link
  })

/** Sets the options on a socket that has just been connected. */
export const configured = <S extends NetSocket>(
  socket: S,
  options: KernelOptions.KernelOptions | undefined
): Effect.Effect<S, Socket.SocketError> =>
  options === undefined
    ? Effect.succeed(socket)
    : KernelOptions.set(socket, options).pipe(Effect.catch(failed), Effect.as(socket))

/** A link over a connection that is up. It can be destroyed before anybody reads from it; if nobody does, `abandon` it. */
export const accepted = (stream: NetSocket): Connection => {
  stream.on("error", constVoid)
  const connection = new Connection(
    Effect.suspend(() => (stream.destroyed ? failed(new Error("the peer is gone")) : Effect.succeed(stream)))
  )
  connection.transport = transportOf(stream)
  connection.link.peer = plainAddress(stream.remoteAddress)
  return connection
}

/** What is behind a link. There may be thousands that wait for something, so what they do is made when it is done. */
export class Connection implements Writing.Owner {
  readonly link: NodeLink & { peer: string | undefined }
  /** The socket that the kernel knows. */
  transport: NetSocket | undefined
  private readonly open: Effect.Effect<NetSocket, Socket.SocketError>
  /** What is read and written. */
  private stream: NetSocket | undefined
  private reading: Reading | undefined
  /** Whoever writes before the socket is there. */
  private waiting: Array<() => void> | undefined

  constructor(open: Effect.Effect<NetSocket, Socket.SocketError>) {
    this.open = open
    this.link = {
      ...Socket.make({ reader: Effect.suspend(() => this.reader), writer: Effect.suspend(() => this.writer) }),
      destroy: Effect.sync(() => this.destroy()),
      isCopying: true,
      progress: () => (this.stream === undefined ? nothingYet : Kernel.report(this.stream)),
      peer: undefined
    }
  }

  /** What is written to while it is read. */
  get socket(): NetSocket | undefined {
    return this.reading === undefined ? undefined : this.stream
  }

  /** Nobody will read from it any more: it is destroyed if nobody has. */
  abandon(): void {
    if (this.stream === undefined) this.destroy()
  }

  private destroy(): void {
    if (this.transport !== undefined) reset(this.transport)
    this.stream?.destroy()
  }

  private get reader(): Effect.Effect<Link.Reader, Socket.SocketError, Scope.Scope> {
    return Effect.uninterruptibleMask((restore) => {
      this.stream = undefined // a link that is dialled once more knows nothing of its last connection
      return Effect.addFinalizer(() => this.close).pipe(
        Effect.andThen(restore(this.open)),
        Effect.map((stream): Link.Reader => {
          this.stream = stream
          this.link.peer ??= plainAddress(stream.remoteAddress)
          this.reading = new Reading(stream)
          const { waiting = [] } = this
          this.waiting = undefined
          for (const wake of waiting) wake()
          return this.reading.reader
        })
      )
    })
  }

  private get close(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { reading, stream } = this
      this.reading = undefined
      reading?.stop()
      if (stream !== undefined) return finish(stream, this.link.destroy)
      this.destroy()
      return Effect.void
    })
  }

  private get writer(): Effect.Effect<Link.Writer, never, Scope.Scope> {
    return Effect.as(
      Effect.addFinalizer(() => this.end),
      Writing.make(this)
    )
  }

  private get end(): Effect.Effect<void> {
    return Effect.sync(() => {
      if (this.stream?.writableEnded === false) this.stream.end()
    })
  }

  get up(): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      if (this.reading !== undefined) return resume(Effect.void)
      const wake = () => resume(Effect.void)
      this.waiting ??= []
      this.waiting.push(wake)
      return Effect.sync(() => {
        this.waiting = this.waiting?.filter((other) => other !== wake)
      })
    })
  }
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
