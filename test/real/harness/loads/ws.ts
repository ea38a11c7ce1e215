// `ws`, whose ping is that of the WebSocket protocol.
import { WebSocket, WebSocketServer } from "ws"
import { bulkBytes, type Contestant, queueBytesMax, stopwatch } from "../Load.ts"

export const contestant: Contestant = {
  serve: (host, port) =>
    new Promise((resolve) => {
      let receivedBytes = 0
      const server = new WebSocketServer({ host, port, perMessageDeflate: false }, () =>
        resolve({ receivedBytes: () => receivedBytes })
      )
      server.on("connection", (socket) => {
        socket.on("message", (data: Buffer) => {
          if (data.length === bulkBytes) receivedBytes += data.length
          else socket.send(data)
        })
      })
    }),
  dial: (host, port, killed) =>
    new Promise((resolve) => {
      const socket = new WebSocket(`ws://${host}:${port}`, { perMessageDeflate: false })
      const pings = stopwatch((id) => socket.ping(String(id)))
      const smalls = stopwatch((id) => socket.send(Buffer.from(String(id))))
      socket.on("pong", (data) => pings.answered(Number(data.toString())))
      socket.on("message", (data: Buffer) => smalls.answered(Number(data.toString())))
      socket.on("error", (error) => killed(error.message))
      socket.on("close", (code) => killed(`closed with ${code}`))
      const large = Buffer.alloc(bulkBytes, 7)
      const bulk = () => {
        while (socket.readyState === WebSocket.OPEN && socket.bufferedAmount + bulkBytes <= queueBytesMax) {
          socket.send(large, bulk)
        }
      }
      socket.on("open", () => resolve({ bulk, probe: pings.time, probesOverlap: true, small: smalls.time }))
    })
}
