// A server without ping and without acknowledgements: it reads all, nothing or slowly, and speaks by itself if told to.
import * as Net from "node:net"
import * as Role from "../Role.ts"

export interface Argument {
  readonly host: string
  readonly port: number
  readonly reads: "all" | "slowly" | "nothing"
  readonly speaksEveryMillis?: number | undefined
}

export type Fact =
  | { readonly _tag: "Listening" }
  | { readonly _tag: "Accepted" }
  | { readonly _tag: "Received"; readonly bytes: number }

const { host, port, reads, speaksEveryMillis } = Role.argument as Argument

let receivedBytes = 0
const count = (chunk: Buffer | null) => {
  if (chunk === null) return
  receivedBytes += chunk.length
  Role.report({ _tag: "Received", bytes: receivedBytes })
}

const server = Net.createServer({ pauseOnConnect: true }, (socket) => {
  Role.report({ _tag: "Accepted" })
  socket.on("error", () => undefined)
  if (speaksEveryMillis !== undefined) {
    const speaking = setInterval(() => socket.write("word\n"), speaksEveryMillis)
    socket.on("close", () => clearInterval(speaking))
  }
  if (reads === "all") socket.on("data", count).resume()
  if (reads === "slowly") {
    socket.on("readable", () => undefined)
    const reading = setInterval(() => count(socket.read()), 50)
    socket.on("close", () => clearInterval(reading))
  }
})
server.listen(port, host, () => Role.report({ _tag: "Listening" }))
