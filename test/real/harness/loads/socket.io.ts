// Socket.IO over its WebSocket transport. Its heartbeat belongs to the server and cannot be timed from outside; its acknowledgements can.
import { createServer } from "node:http"
import { Server } from "socket.io"
import { io } from "socket.io-client"
import { bulkBytes, type Contestant, queueBytesMax } from "../Load.ts"

export const contestant: Contestant = {
  serve: (host, port) =>
    new Promise((resolve) => {
      let receivedBytes = 0
      const http = createServer()
      const server = new Server(http, { transports: ["websocket"], perMessageDeflate: false })
      server.on("connection", (socket) => {
        socket.on("bulk", (data: Buffer, taken: () => void) => {
          receivedBytes += data.length
          taken()
        })
        socket.on("small", (answer: () => void) => answer())
      })
      http.listen(port, host, () => resolve({ receivedBytes: () => receivedBytes }))
    }),
  dial: (host, port, killed) =>
    new Promise((resolve) => {
      const socket = io(`http://${host}:${port}`, { transports: ["websocket"], reconnection: false })
      socket.on("disconnect", killed)
      socket.on("connect_error", (error) => killed(error.message))
      const large = Buffer.alloc(bulkBytes, 7)
      let untakenBytes = 0
      // It has no back-pressure of its own: the program counts what was not acknowledged.
      const bulk = () => {
        while (untakenBytes + bulkBytes <= queueBytesMax) {
          untakenBytes += bulkBytes
          socket.emit("bulk", large, () => {
            untakenBytes -= bulkBytes
            bulk()
          })
        }
      }
      const small = () =>
        new Promise<number>((resolve) => {
          const at = performance.now()
          socket.emit("small", () => resolve(performance.now() - at))
        })
      socket.on("connect", () => resolve({ bulk, probe: undefined, probesOverlap: false, small }))
    })
}
