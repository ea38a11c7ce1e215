// A plain server whose application counts what it reads, or never reads.
import * as Net from "node:net"
import * as Role from "../Role.ts"

export interface Argument {
  readonly reads: boolean
  readonly host?: string | undefined
  readonly port?: number | undefined
}

export type Fact =
  | { readonly _tag: "Listening"; readonly port: number }
  | { readonly _tag: "Accepted" }
  | { readonly _tag: "Received"; readonly bytes: number }
  | { readonly _tag: "Ended"; readonly how: string }

const { host = "127.0.0.1", port = 0, reads } = Role.argument as Argument

let receivedBytes = 0
const server = Net.createServer({ pauseOnConnect: true }, (socket) => {
  Role.report({ _tag: "Accepted" })
  socket.on("error", (error: NodeJS.ErrnoException) => Role.report({ _tag: "Ended", how: error.code ?? error.message }))
  socket.on("end", () => Role.report({ _tag: "Ended", how: "end" }))
  if (!reads) return
  socket.on("data", (bytes) => {
    receivedBytes += bytes.length
    Role.report({ _tag: "Received", bytes: receivedBytes })
  })
  socket.resume()
})
server.listen(port, host, () => Role.report({ _tag: "Listening", port: (server.address() as Net.AddressInfo).port }))
