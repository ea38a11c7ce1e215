/**
 * `socket.io` over WebSockets: one event for each message. Its server streams, because what a client sends is masked.
 */
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { Server, type Socket as Accepted } from "socket.io"
import { io, type Socket } from "socket.io-client"
import type { WebSocket } from "ws"
import type { Contestant } from "../contestant.ts"
import { acknowledged, fromServer, inTurns } from "../peers.ts"
import { interview } from "../sockets.ts"
import type { Check, Source } from "../workload.ts"

const listening = async (onSocket: (socket: Accepted) => void): Promise<number> => {
  const http = createServer()
  new Server(http, { transports: ["websocket"], serveClient: false }).on("connection", onSocket)
  http.listen(0, "127.0.0.1")
  await once(http, "listening")
  return (http.address() as AddressInfo).port
}

const connecting = (port: number): Socket =>
  io(`http://127.0.0.1:${port}`, { transports: ["websocket"], reconnection: false })

const connected = async (port: number): Promise<Socket> => {
  const socket = connecting(port)
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve).once("connect_error", reject)
  })
  return socket
}

const streaming = (
  send: (socket: Accepted, source: Source) => Promise<void>,
  receive: (socket: Socket, check: Check) => void
) =>
  fromServer(
    async (source) => {
      const { promise: accepted, resolve: accept } = Promise.withResolvers<Accepted>()
      const port = await listening(accept)
      return { port, done: accepted.then((socket) => send(socket, source)) }
    },
    async (port, check) => receive(connecting(port), check)
  )

/** There is no back-pressure: so much may wait in the WebSocket below, which the program has to look for. */
const bufferedBytesMax = 262_144

const room = (socket: Accepted) => {
  const { transport } = socket.conn
  const below = Reflect.get(transport, "socket") as WebSocket
  return below.bufferedAmount < bufferedBytesMax ? undefined : sleep(1)
}

/** Events that nobody confirms. */
export const events: Contestant = {
  ...streaming(
    (socket, source) =>
      inTurns(
        source,
        (message) => socket.emit("message", message),
        () => room(socket)
      ),
    (socket, check) => socket.on("message", (message: Buffer) => check.message(message))
  ),
  answer: () => listening((socket) => socket.on("message", (question: Buffer) => socket.emit("message", question))),
  ask: async (port, asker) => {
    const socket = await connected(port)
    const { answered, begin, done } = interview(asker, () => socket.emit("message", asker.fresh()))
    socket.on("message", answered)
    begin()
    await done
  }
}

/** Each event is acknowledged; for questions, the acknowledgement is the answer. */
export const acknowledgements: Contestant = {
  ...streaming(
    (socket, source) => acknowledged(source, (message, acknowledge) => socket.emit("message", message, acknowledge)),
    (socket, check) =>
      socket.on("message", (message: Buffer, acknowledge: () => void) => {
        check.message(message)
        acknowledge()
      })
  ),
  answer: () =>
    listening((socket) =>
      socket.on("message", (question: Buffer, answer: (answer: Buffer) => void) => answer(question))
    ),
  ask: async (port, asker) => {
    const socket = await connected(port)
    const talk = interview(asker, () =>
      socket.emit("message", asker.fresh(), (answer: Buffer) => talk.answered(answer))
    )
    talk.begin()
    await talk.done
  }
}
