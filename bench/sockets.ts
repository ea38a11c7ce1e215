/**
 * What the contestants made by hand have in common: `node:net` used as fast as it can be.
 */
import * as Net from "node:net"
import type { Asker, Source } from "./workload.ts"

/** Listens on loopback, and gives the port. */
export const listen = (onSocket: (socket: Net.Socket) => void): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = Net.createServer({ noDelay: true, pauseOnConnect: true }, (socket) => {
      socket.on("error", () => socket.destroy())
      onSocket(socket)
      socket.resume()
    })
    server.on("error", reject)
    server.listen(0, "127.0.0.1", () => resolve((server.address() as Net.AddressInfo).port))
  })

/** Connects on loopback; what arrives lies in one buffer that is used again, valid during the call. */
export const connect = (port: number, onBytes: (buffer: Uint8Array<ArrayBuffer>, length: number) => void) =>
  new Promise<Net.Socket>((resolve, reject) => {
    const socket: Net.Socket = Net.connect({ port, host: "127.0.0.1", noDelay: true, onread: onread(onBytes) }, () =>
      resolve(socket)
    )
    socket.on("error", reject)
  })

/** The same for a socket that was accepted: Node offers `onread` only to those that connect. */
export const reading = (
  socket: Net.Socket,
  onBytes: (buffer: Uint8Array<ArrayBuffer>, length: number) => void
): void => {
  const donor = new Net.Socket({ onread: onread(onBytes) })
  for (const symbol of Object.getOwnPropertySymbols(donor)) {
    if (symbol.description?.startsWith("kBuffer")) Reflect.set(socket, symbol, Reflect.get(donor, symbol))
  }
  const handle: { useUserBuffer: (buffer: Uint8Array) => void } = Reflect.get(socket, "_handle")
  const buffer = Object.getOwnPropertySymbols(donor).find(({ description }) => description === "kBuffer")!
  handle.useUserBuffer(Reflect.get(donor, buffer))
}

const onread = (onBytes: (buffer: Uint8Array<ArrayBuffer>, length: number) => void): Net.OnReadOpts => {
  const buffer = new Uint8Array(65_536)
  return {
    buffer,
    callback: (length) => {
      onBytes(buffer, length)
      return true
    }
  }
}

/** Calls `send` until the source is over, without a pause while it is true; `drained` says when to go on. */
export const pump = async (source: Source, send: () => boolean, drained: () => Promise<void>): Promise<void> => {
  while (!source.isOver) if (!send()) await drained()
}

export const drain = (socket: Net.Socket): Promise<void> =>
  new Promise((resolve) => {
    socket.once("drain", resolve)
  })

/** Sends the first questions, and gives what to do with each answer. */
export const interview = (asker: Asker, ask: (question: Uint8Array) => void) => {
  let resolveDone: () => void
  const done = new Promise<void>((resolve) => {
    resolveDone = resolve
  })
  return {
    begin: () => {
      for (let i = 0; i < asker.outstanding; i++) ask(asker.question())
    },
    answered: (answer: Uint8Array) => {
      asker.answered(answer)
      if (asker.isOver) resolveDone()
      else ask(asker.question())
    },
    done
  }
}
