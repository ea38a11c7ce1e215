// Plain Node sockets, as most programs use them: what they believe, beside what the other application really got.
import { Effect, type Scope } from "effect"
import * as Net from "node:net"

/** What a plain client believes. */
export interface Belief {
  readonly socket: Net.Socket
  connected: boolean
  /** Bytes whose write callback came without an error. */
  writtenBytes: number
  /** The first error, from wherever. */
  error: string | undefined
  closed: boolean
}

/** Dials, writes `bytes` and goes on as `then` says, without waiting for anything. */
export const send = (
  port: number,
  bytes: Uint8Array,
  then: (belief: Belief) => void
): Effect.Effect<Belief, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const belief = believe(Net.connect(port, "127.0.0.1"))
      write(belief, bytes)
      then(belief)
      return belief
    }),
    ({ socket }) => Effect.sync(() => socket.destroy())
  )

export const believe = (socket: Net.Socket): Belief => {
  const belief: Belief = { socket, connected: !socket.connecting, writtenBytes: 0, error: undefined, closed: false }
  socket.on("connect", () => {
    belief.connected = true
  })
  socket.on("error", (error: NodeJS.ErrnoException) => {
    belief.error ??= error.code ?? error.message
  })
  socket.on("close", () => {
    belief.closed = true
  })
  socket.resume()
  return belief
}

export const write = (belief: Belief, bytes: Uint8Array): void => {
  belief.socket.write(bytes, (error) => {
    if (error == null) belief.writtenBytes += bytes.length
    else belief.error ??= error.message
  })
}

export interface Listener {
  readonly port: number
  /** Bytes that the application behind it has read, over all connections. */
  readonly receivedBytes: () => number
}

/** Listens and treats each connection as told; it starts paused. */
export const listen = (
  treat: (socket: Net.Socket, n: number) => void,
  options: Net.ServerOpts & { readonly port?: number | undefined } = {}
): Effect.Effect<Listener, never, Scope.Scope> => {
  let receivedBytes = 0
  let accepted = 0
  const open = new Set<Net.Socket>()
  return Effect.map(
    Effect.acquireRelease(
      Effect.callback<Net.Server>((resume) => {
        const server = Net.createServer({ allowHalfOpen: true, pauseOnConnect: true, ...options }, (socket) => {
          open.add(socket)
          socket.on("error", () => undefined)
          socket.on("close", () => open.delete(socket))
          socket.on("data", (bytes) => {
            receivedBytes += bytes.length
          })
          treat(socket, accepted++)
        })
        server.listen(options.port ?? 0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          for (const socket of open) socket.destroy()
        })
    ),
    (server) => ({ port: (server.address() as Net.AddressInfo).port, receivedBytes: () => receivedBytes })
  )
}

/** Waits until `condition` holds; the test's own timeout bounds it. */
export const until = (condition: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() => (condition() ? Effect.void : Effect.andThen(Effect.sleep("5 millis"), until(condition))))

/** Tries again until it gives true; the test's own timeout bounds it. */
export const untilSucceeds = <R>(attempt: Effect.Effect<boolean, never, R>): Effect.Effect<void, never, R> =>
  Effect.asVoid(Effect.repeat(attempt, { until: (succeeded) => succeeded }))
