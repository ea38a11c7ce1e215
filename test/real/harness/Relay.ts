// A relay between a client and a server that does harm to the connections that pass, one after the other.
import { Effect, type Scope } from "effect"
import * as Net from "node:net"
import * as Plain from "./Plain.ts"

/** What is done to the client's side of a connection. From then on nothing is passed in either direction. */
export type Harm = (client: Net.Socket) => void

/** Passes `bytes` of the n-th connection towards the server and then does the n-th harm; later connections are left alone. */
export const listen = (
  target: number,
  bytes: number,
  harms: ReadonlyArray<Harm>
): Effect.Effect<Plain.Listener, never, Scope.Scope> =>
  Plain.listen((client, n) => {
    const server = Net.connect(target, "127.0.0.1")
    const harm = harms[n]
    let passedBytes = 0
    server.on("error", () => client.destroy())
    server.on("close", () => harm === undefined && client.end())
    client.on("close", () => server.destroy())
    client.on("end", () => server.end())
    const pass = (chunk: Uint8Array) => {
      passedBytes += chunk.length
      server.write(chunk)
      if (harm === undefined || passedBytes < bytes) return
      client.off("data", pass)
      client.pause()
      server.resetAndDestroy()
      harm(client)
    }
    client.on("data", pass)
    server.on("data", (chunk) => {
      if (!client.destroyed && client.writable) client.write(chunk)
    })
    client.resume()
  })
