/**
 * Writes to a Node socket; waits only while the kernel does not take what was written.
 */
import { Effect } from "effect"
import * as Socket from "effect/socket/Socket"
import type { Socket as NetSocket } from "node:net"

/** Writes before the socket is there wait for it. */
export const make = (socketNow: () => NetSocket | undefined, up: Effect.Effect<void>): Socket.Writer => {
  const using = (use: (socket: NetSocket) => void): Effect.Effect<void, Socket.SocketError> =>
    Effect.suspend(() => {
      const socket = socketNow()
      if (socket === undefined) return Effect.andThen(up, using(use))
      if (socket.destroyed || socket.writableEnded) return failed(new Error("socket closed"))
      try {
        use(socket)
      } catch (cause) {
        return failed(cause)
      }
      // `write` says false by what it was given, also when the kernel has taken all of it already.
      return socket.writableLength > 0 && socket.writableNeedDrain ? drained(socket) : Effect.void
    })
  return {
    write: (chunk) =>
      using((socket) => {
        if (!Socket.isCloseEvent(chunk)) socket.write(chunk)
        else socket.destroy(chunk.code > 1000 ? new Error(`closed with code ${chunk.code}`) : undefined)
      }),
    writeAll: (chunks) =>
      using((socket) => {
        if (chunks.length === 1) return socket.write(chunks[0])
        socket.cork()
        for (const chunk of chunks) socket.write(chunk)
        socket.uncork()
      })
  }
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
