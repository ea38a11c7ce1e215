// A plain client that writes 1,000 bytes every 100 ms and reports what it believes.
import * as Net from "node:net"
import * as Role from "../Role.ts"

export interface Argument {
  readonly host: string
  readonly port: number
}

export type Fact =
  | { readonly _tag: "Connected" }
  | { readonly _tag: "Written"; readonly bytes: number }
  | { readonly _tag: "Failed"; readonly code: string }

const { host, port } = Role.argument as Argument

let writtenBytes = 0
const socket = Net.connect(port, host)
socket.on("error", (error: NodeJS.ErrnoException) => Role.report({ _tag: "Failed", code: error.code ?? error.message }))
socket.on("connect", () => {
  Role.report({ _tag: "Connected" })
  setInterval(() => {
    socket.write(Buffer.alloc(1000, 1), (error) => {
      if (error == null) Role.report({ _tag: "Written", bytes: (writtenBytes += 1000) })
      else Role.report({ _tag: "Failed", code: error.message })
    })
  }, 100)
})
