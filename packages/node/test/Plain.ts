/** The other end of the tests here: plain Node sockets, which count what the application got and how it ended. */
import type { NodeLink } from "@holdfast/node"
import { Effect, Fiber, type Scope } from "effect"
import * as NetAddress from "effect/net/NetAddress"
import type * as SocketServer from "effect/socket/SocketServer"
import { readFileSync } from "node:fs"
import * as Net from "node:net"
import * as Tls from "node:tls"

/** For localhost, self-signed, worth nothing outside these tests. */
export const identity = {
  key: readFileSync(new URL("fixtures/localhost.key", import.meta.url)),
  cert: readFileSync(new URL("fixtures/localhost.crt", import.meta.url))
}

/** One connection as its application sees it. It does not read until `resume` is called. */
export interface Seen {
  readonly socket: Net.Socket
  receivedBytes: number
  /** The error code, or `end` for an orderly end. */
  ended: string | undefined
}

export interface Plain {
  readonly port: number
  readonly server: Net.Server
  readonly connections: ReadonlyArray<Seen>
}

export const watch = (socket: Net.Socket): Seen => {
  const seen: Seen = { socket, receivedBytes: 0, ended: undefined }
  socket.on("data", (bytes) => {
    seen.receivedBytes += bytes.length
  })
  socket.on("end", () => {
    seen.ended ??= "end"
  })
  socket.on("error", (error: NodeJS.ErrnoException) => {
    seen.ended ??= error.code ?? error.message
  })
  socket.pause()
  return seen
}

export const listenTcp: Effect.Effect<Plain, never, Scope.Scope> = Effect.suspend(() =>
  listen(Net.createServer(), "connection")
)

export const listenTls: Effect.Effect<Plain, never, Scope.Scope> = Effect.suspend(() =>
  listen(Tls.createServer(identity), "secureConnection")
)

const listen = (server: Net.Server, event: string): Effect.Effect<Plain, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Plain>((resume) => {
      const connections: Array<Seen> = []
      server.on(event, (socket: Net.Socket) => connections.push(watch(socket)))
      server.listen(0, "127.0.0.1", () =>
        resume(Effect.succeed({ server, connections, port: (server.address() as Net.AddressInfo).port }))
      )
    }),
    ({ connections }) =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        connections.forEach(({ socket }) => socket.destroy())
      })
  )

/** Dials and waits until the connection is up, or was refused. */
export const connect = (port: number): Effect.Effect<Seen, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Seen>((resume) => {
      const seen = watch(Net.connect(port, "127.0.0.1"))
      seen.socket.once("connect", () => resume(Effect.succeed(seen)))
      seen.socket.once("close", () => resume(Effect.succeed(seen)))
    }),
    ({ socket }) => Effect.sync(() => socket.destroy())
  )

export const portOf = (server: SocketServer.SocketServer["Service"]): number =>
  NetAddress.isInetAddress(server.address) ? server.address.port : 0

/**
 * How a reset looks to a reader that has not read everything before it. The libuv of Node 22 mistakes a hang-up that comes
 * with a short read for an orderly end.
 */
export const reset = Number.parseInt(process.versions.node) < 24 ? ["ECONNRESET", "end"] : ["ECONNRESET"]

export const chunk = new Uint8Array(64 * 1024).fill(7)

/** Fills the kernel's buffers and then Node's, by 10 MB more. Gives the bytes that were handed to the link. */
export const fill = Effect.fnUntraced(function* (link: NodeLink.NodeLink) {
  const { write } = yield* link.writer
  let writtenBytes = 0
  const writing = Effect.suspend(() => {
    writtenBytes += chunk.length
    return write(chunk)
  })
  const filling = yield* Effect.forkScoped(Effect.forever(writing))
  yield* still(() => writtenBytes)
  yield* Fiber.interrupt(filling)
  const more = new Uint8Array(10_000_000)
  yield* Effect.forkScoped(Effect.ignore(write(more)), { startImmediately: true })
  return writtenBytes + more.length
})

/** Waits until a count stands still, by many looks: between two of them a busy machine may not have let it go on. */
export const still = Effect.fnUntraced(function* (count: () => number) {
  let before = count()
  for (let looks = 0; looks < 10; looks++) {
    yield* Effect.sleep("10 millis")
    if (count() !== before) looks = 0
    before = count()
  }
})

/** Waits until `condition` holds; the test's own timeout bounds it. */
export const until = (condition: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() => (condition() ? Effect.void : Effect.andThen(Effect.sleep("5 millis"), until(condition))))
