/** The other end of the tests of WebSockets: the plain `ws` package, on connections that are watched from below. */
import { NodeWS } from "@effect/platform-node"
import { Effect, type Scope } from "effect"
import type { AddressInfo } from "node:net"
import * as Plain from "./Plain.ts"

export interface Accepted extends Plain.Seen {
  readonly webSocket: NodeWS.WebSocket
  /** The bytes of its messages. */
  messageBytes: number
}

/** Accepts everybody. With `isPaused`, nothing is read until `socket.resume` is called. */
export const listen = ({
  isPaused = false,
  ...options
}: NodeWS.ServerOptions & { readonly isPaused?: boolean } = {}): Effect.Effect<
  { readonly port: number; readonly connections: ReadonlyArray<Accepted> },
  never,
  Scope.Scope
> =>
  Effect.acquireRelease(
    Effect.callback<{ server: NodeWS.WebSocketServer; port: number; connections: Array<Accepted> }>((resume) => {
      const connections: Array<Accepted> = []
      const server = new NodeWS.WebSocketServer({ host: "127.0.0.1", port: 0, ...options })
      server.on("connection", (webSocket, { socket }) => {
        const accepted: Accepted = Object.assign(Plain.watch(socket), { webSocket, messageBytes: 0 })
        webSocket.on("error", () => {})
        webSocket.on("message", (data: Buffer) => {
          accepted.messageBytes += data.length
        })
        connections.push(accepted)
        if (!isPaused) socket.resume()
      })
      server.on("listening", () =>
        resume(Effect.succeed({ server, connections, port: (server.address() as AddressInfo).port }))
      )
    }),
    ({ server }) =>
      Effect.callback<void>((resume) => {
        for (const client of server.clients) client.terminate()
        server.close(() => resume(Effect.void))
      })
  )

export interface Dialled {
  readonly webSocket: NodeWS.WebSocket
  /** The close code, once it is closed. */
  code: number | undefined
  /** Why it was not opened, or what broke it. */
  error: string | undefined
  readonly messages: Array<Buffer>
}

/** Dials and waits until it is open or closed. */
export const dial = (
  port: number,
  { path = "/", ...options }: NodeWS.ClientOptions & { readonly path?: string } = {}
): Effect.Effect<Dialled, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Dialled>((resume) => {
      const webSocket = new NodeWS.WebSocket(`ws://127.0.0.1:${port}${path}`, options)
      const dialled: Dialled = { webSocket, code: undefined, error: undefined, messages: [] }
      webSocket.on("open", () => resume(Effect.succeed(dialled)))
      webSocket.on("message", (data: Buffer) => dialled.messages.push(data))
      webSocket.on("error", ({ message }) => {
        dialled.error = message
      })
      webSocket.on("close", (code) => {
        dialled.code = code
        resume(Effect.succeed(dialled))
      })
    }),
    ({ webSocket }) => Effect.sync(() => webSocket.terminate())
  )
