/**
 * What the contestants made by hand have in common: `node:net` used as fast as it can be.
 */
import * as Net from "node:net"
import type { Asker, Source } from "./workload.ts"

/** What was read lies at the beginning of the buffer, during the call. */
export type OnBytes = (buffer: Uint8Array<ArrayBuffer>, length: number) => void

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

/** Connects on loopback; what arrives lies in memory that is used again. */
export const connect = (port: number, onBytes: OnBytes) =>
  new Promise<Net.Socket>((resolve, reject) => {
    const socket: Net.Socket = Net.connect({ port, host: "127.0.0.1", noDelay: true, onread: onread(onBytes) }, () =>
      resolve(socket)
    )
    socket.on("error", reject)
  })

/** The same for a socket that was accepted: Node offers `onread` only to those that connect. */
export const reading = (socket: Net.Socket, onBytes: OnBytes): void => {
  for (const [symbol, value] of [...given, [names.callback, callbackOf(onBytes)] as const]) {
    Reflect.set(socket, symbol, value)
  }
  const handle: { useUserBuffer: (buffer: Uint8Array) => void } = Reflect.get(socket, "_handle")
  handle.useUserBuffer(memory)
}

/** What was read is handed on at once, so all sockets can read into the same memory. */
const memory = new Uint8Array(65_536)

const callbackOf = (onBytes: OnBytes) => (length: number) => {
  onBytes(memory, length)
  return true
}

const onread = (onBytes: OnBytes): Net.OnReadOpts => ({ buffer: memory, callback: callbackOf(onBytes) })

/** What Node sets on a socket that is given `onread`, by the names under which it keeps it. */
const donor = new Net.Socket({ onread: onread(() => undefined) })
const symbols = Object.getOwnPropertySymbols(donor).filter(({ description }) => description?.startsWith("kBuffer"))
const names = { callback: symbols.find(({ description }) => description === "kBufferCb")! }
const given = symbols
  .filter((symbol) => symbol !== names.callback)
  .map((symbol) => [symbol, Reflect.get(donor, symbol) as unknown] as const)

/** Calls `send` until the source is over, without a pause while it is true; `drained` says when to go on. */
export const pump = async (source: Source, send: () => boolean, drained: () => Promise<void>): Promise<void> => {
  while (!source.isOver) if (!send()) await drained()
}

export const drain = (socket: Net.Socket): Promise<void> =>
  new Promise((resolve) => {
    socket.once("drain", resolve)
  })

/** Sends the first questions, and gives what to do with each answer. `next` sends the next one. */
export const interview = (asker: Asker, next: () => void) => {
  let resolveDone: () => void
  const done = new Promise<void>((resolve) => {
    resolveDone = resolve
  })
  return {
    begin: () => {
      for (let i = 0; i < asker.outstanding; i++) next()
    },
    answered: (answer: Uint8Array) => {
      asker.answered(answer)
      if (asker.isOver) resolveDone()
      else next()
    },
    done
  }
}
