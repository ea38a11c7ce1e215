/**
 * Writes to a Node socket; waits only while the kernel does not take what was written.
 */
import { Effect } from "effect"
import * as Socket from "effect/socket/Socket"
import type { Link } from "holdfast"
import type { Socket as NetSocket } from "node:net"

/** Whose socket it is. */
export interface Owner {
  /** Undefined before it is there. */
  readonly socket: NetSocket | undefined
  /** Waits until it is. */
  readonly up: Effect.Effect<void>
}

/** Writes before the socket is there wait for it. */
export const make = (owner: Owner): Link.Writer => ({
  write: (chunk) =>
    Effect.suspend(
      () =>
        using(owner, (socket) => {
          if (!Socket.isCloseEvent(chunk)) socket.write(chunk)
          else socket.destroy(chunk.code > 1000 ? new Error(`closed with code ${chunk.code}`) : undefined)
        }) ?? Effect.void
    ),
  writeAll: (chunks) => Effect.suspend(() => using(owner, (socket) => writeEach(socket, chunks)) ?? Effect.void),
  offer: (chunks) => using(owner, (socket) => writeEach(socket, chunks))
})

/** Returns what is to be waited for, if anything is. */
const using = (owner: Owner, use: (socket: NetSocket) => void): Effect.Effect<void, Socket.SocketError> | undefined => {
  const { socket } = owner
  if (socket === undefined) {
    return Effect.andThen(
      owner.up,
      Effect.suspend(() => using(owner, use) ?? Effect.void)
    )
  }
  if (socket.destroyed || socket.writableEnded) return failed(new Error("socket closed"))
  try {
    use(socket)
  } catch (cause) {
    return failed(cause)
  }
  // `write` says false by what it was given, also when the kernel has taken all of it already.
  return socket.writableLength > 0 && socket.writableNeedDrain ? drained(socket) : undefined
}

const writeEach = (socket: NetSocket, chunks: ReadonlyArray<string | Uint8Array>): void => {
  if (chunks.length === 1) return void socket.write(chunks[0]!)
  let bytes = 0
  for (const chunk of chunks) bytes += typeof chunk === "string" ? Infinity : chunk.length
  if (bytes <= Math.min(joinBytesMax, chunks.length * smallBytes)) return writeJoined(socket, chunks, bytes)
  socket.cork()
  for (const chunk of chunks) socket.write(chunk)
  socket.uncork()
}

/** Pieces that are smaller than this on average cost more one by one than a copy. */
const smallBytes = 16_384
const joinBytesMax = 196_608

/** Serves all connections: the kernel nearly always takes all of it at once, and if not it is left to that write. */
let memory: Uint8Array | undefined

const writeJoined = (socket: NetSocket, chunks: ReadonlyArray<string | Uint8Array>, bytes: number): void => {
  memory ??= new Uint8Array(joinBytesMax)
  let at = 0
  for (const chunk of chunks) {
    if (typeof chunk === "string") throw new TypeError("strings are not joined")
    memory.set(chunk, at)
    at += chunk.length
  }
  socket.write(memory.subarray(0, bytes))
  if (socket.writableLength > 0) memory = undefined
}

const drained = (socket: NetSocket): Effect.Effect<void, Socket.SocketError> =>
  Effect.callback((resume) => {
    const onDrain = () => settle(Effect.void)
    const onError = (cause: Error) => settle(failed(cause))
    const onClose = () => settle(failed(new Error("socket closed")))
    const settle = (effect: Effect.Effect<void, Socket.SocketError>) => {
      detach()
      resume(effect)
    }
    const detach = () => {
      socket.off("drain", onDrain)
      socket.off("error", onError)
      socket.off("close", onClose)
    }
    socket.on("drain", onDrain)
    socket.on("error", onError)
    socket.on("close", onClose)
    return Effect.sync(detach)
  })

const failed = (cause: unknown): Effect.Effect<never, Socket.SocketError> =>
  Effect.fail(new Socket.SocketError({ reason: new Socket.SocketWriteError({ cause }) }))
