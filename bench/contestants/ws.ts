/**
 * `ws`: one WebSocket message each. It confirms nothing. Its server streams, because what a client sends is masked.
 */
import { once } from "node:events"
import type { AddressInfo, Socket } from "node:net"
import { WebSocket, WebSocketServer } from "ws"
import type { Contestant } from "../contestant.ts"
import { fromServer, inTurns } from "../peers.ts"
import { interview } from "../sockets.ts"

const listening = async (onSocket: (socket: WebSocket) => void): Promise<number> => {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 })
  server.on("connection", onSocket)
  await once(server, "listening")
  return (server.address() as AddressInfo).port
}

const connected = async (port: number, onMessage: (message: Buffer) => void): Promise<WebSocket> => {
  const socket = new WebSocket(`ws://127.0.0.1:${port}`)
  socket.on("message", onMessage)
  await once(socket, "open")
  return socket
}

/** The socket below, which `ws` keeps to itself. */
const below = (socket: WebSocket) => Reflect.get(socket, "_socket") as Socket

/** `ws` leaves back-pressure to the program: so much may wait in its queue. */
const bufferedBytesMax = 262_144

const room = (socket: WebSocket) =>
  socket.bufferedAmount < bufferedBytesMax ? undefined : once(below(socket), "drain")

const made = (sender: (socket: WebSocket) => (message: Buffer) => void): Contestant => ({
  ...fromServer(
    async (source) => {
      const { promise: accepted, resolve: accept } = Promise.withResolvers<WebSocket>()
      const port = await listening(accept)
      const done = accepted.then((socket) => inTurns(source, sender(socket), () => room(socket)))
      return { port, done }
    },
    (port, check) => connected(port, (message) => check.message(message))
  ),
  answer: () => listening((socket) => socket.on("message", sender(socket))),
  ask: async (port, asker) => {
    const socket = await connected(port, (answer) => talk.answered(answer))
    const send = sender(socket)
    const talk = interview(asker, () => send(asker.fresh()))
    talk.begin()
    await talk.done
  }
})

/** Message by message. */
export const ws = made((socket) => (message) => socket.send(message))

/** All of a turn of the event loop in one write. */
export const corked = made((socket) => {
  let isCorked = false
  return (message) => {
    if (!isCorked) {
      isCorked = true
      below(socket).cork()
      process.nextTick(() => {
        isCorked = false
        below(socket).uncork()
      })
    }
    socket.send(message)
  }
})
