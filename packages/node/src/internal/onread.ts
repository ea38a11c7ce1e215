/**
 * Lets Node read into memory that is used again. `node:net` offers it as `onread` to sockets that connect, and not to
 * those that were accepted; here it is set on either, by the names under which Node keeps it.
 */
import * as Net from "node:net"
import { TLSSocket } from "node:tls"

/**
 * Told of the bytes that were read, and whether they lie in memory that is used again: then they are valid during the
 * call, and until whoever said false resumes the socket.
 */
export type OnBytes = (bytes: Uint8Array, isLent: boolean) => boolean

export interface Onread {
  /** The memory that was lent stays as it is; the next bytes come into other memory. */
  readonly renew: () => void
}

/** `undefined` where it cannot be set (TLS, Windows, a Node that names things differently): the socket is as before. */
export const attach = (socket: Net.Socket, onBytes: OnBytes): Onread | undefined => {
  const handle: unknown = Reflect.get(socket, "_handle")
  if (names === undefined || socket instanceof TLSSocket || !hasUserBuffer(handle)) return undefined
  let own: Uint8Array<ArrayBuffer> | undefined
  let smallReads = 0

  /** A connection that is busy has memory of its own; all others share some, and get copies of the little they read. */
  const onread = (length: number, from: Uint8Array<ArrayBuffer>): boolean => {
    if (length >= busyBytes) smallReads = 0
    else if (++smallReads === smallReadsMax) own = undefined
    if (length === from.length && length < busiestBytes) own = new Uint8Array(length * 2)
    if (from !== shared) return onBytes(new Uint8Array(from.buffer, 0, length), true)
    if (length >= busyBytes) own ??= new Uint8Array(bufferBytes)
    return onBytes(from.slice(0, length), false)
  }
  const { buffer, callback, next } = names
  const use = (memory: Uint8Array) => {
    Reflect.set(socket, buffer, memory)
    handle.useUserBuffer(memory)
  }
  Reflect.set(socket, next, () => own ?? shared)
  Reflect.set(socket, callback, onread)
  use(shared)
  return {
    renew: () => {
      if (own === undefined) return
      own = new Uint8Array(own.length)
      use(own)
    }
  }
}

const bufferBytes = 65_536
/** Who fills its memory gets twice as much, up to this. */
const busiestBytes = 262_144
/** Who reads less at once is not busy. */
const busyBytes = 8192
/** After so many small reads in a row a connection gives its memory back. */
const smallReadsMax = 32

const shared = new Uint8Array(bufferBytes)

interface UserBuffer {
  readonly useUserBuffer: (buffer: Uint8Array) => void
}

const hasUserBuffer = (handle: unknown): handle is UserBuffer =>
  typeof handle === "object" && handle !== null && typeof Reflect.get(handle, "useUserBuffer") === "function"

/** As Node itself sets them on a socket that was given `onread`. */
const names = (() => {
  if (process.platform === "win32") return undefined // reads are under way there before they are asked for
  const socket = new Net.Socket({ onread: { buffer: () => shared, callback: () => true } })
  const symbol = (name: string) => Object.getOwnPropertySymbols(socket).find(({ description }) => description === name)
  const [buffer, next, callback] = [symbol("kBuffer"), symbol("kBufferGen"), symbol("kBufferCb")]
  return buffer === undefined || next === undefined || callback === undefined ? undefined : { buffer, next, callback }
})()
