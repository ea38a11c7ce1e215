/**
 * WebSockets, each with an interval of its own for pongs that nobody has asked for, which is how they show that they live.
 */
import type { AddressInfo } from "node:net"
import { WebSocket, WebSocketServer } from "ws"
import type { Crowd } from "../crowd.ts"

export const crowd: Crowd = {
  serve: ({ beatMillis, isEchoing, onMember }) =>
    new Promise((resolve) => {
      const server: WebSocketServer = new WebSocketServer(
        { host: "127.0.0.1", port: 0, perMessageDeflate: false },
        () => resolve((server.address() as AddressInfo).port)
      )
      server.on("connection", (socket) => {
        const arrived = onMember()
        socket.on("message", (message: Buffer) => {
          arrived(message)
          if (isEchoing) socket.send(message)
        })
        socket.on("error", () => socket.terminate())
        beat(socket, beatMillis)
      })
    }),

  connect: ({ beatMillis, onMessage, port }) =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false })
      socket.on("error", reject)
      socket.on("message", onMessage)
      socket.on("open", () => {
        beat(socket, beatMillis)
        resolve({
          send: (messages) => {
            for (const message of messages) socket.send(message)
            return undefined
          },
          close: () =>
            new Promise((closed) => {
              socket.once("close", () => closed())
              socket.close()
            })
        })
      })
    })
}

const beat = (socket: WebSocket, beatMillis: number): void => {
  if (beatMillis === 0) return
  let heardAt = Date.now()
  socket.on("pong", () => {
    heardAt = Date.now()
  })
  const timer = setInterval(() => {
    if (Date.now() - heardAt > beatMillis * 5) socket.terminate()
    else socket.pong()
  }, beatMillis)
  socket.on("close", () => clearInterval(timer))
}
