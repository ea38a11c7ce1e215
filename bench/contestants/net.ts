/**
 * Bare `node:net`: a stream of bytes without any messages, below everything else. Both ends count to find them.
 */
import type { Contestant } from "../contestant.ts"
import { connect, drain, interview, listen, pump, reading } from "../sockets.ts"

export const contestant: Contestant = {
  receive: (check) =>
    listen((socket) =>
      reading(
        socket,
        cutter(check.size, (message) => check.message(message))
      )
    ),

  send: async (port, source) => {
    const socket = await connect(port, () => undefined)
    const spare: Array<Uint8Array> = []
    const send = () => {
      const messages = source.nextBatch()
      const bytes = spare.pop() ?? new Uint8Array(messages.length * source.size)
      for (let i = 0; i < messages.length; i++) bytes.set(messages[i]!, i * source.size)
      return socket.write(bytes, () => spare.push(bytes))
    }
    await pump(source, send, () => drain(socket))
  },

  answer: (size) =>
    listen((socket) =>
      reading(
        socket,
        cutter(size, (message) => socket.write(message.slice()))
      )
    ),

  ask: async (port, asker) => {
    const socket = await connect(port, (buffer, length) => cut(buffer, length))
    const { answered, begin, done } = interview(asker, () => socket.write(asker.fresh()))
    const cut = cutter(asker.size, answered)
    begin()
    await done
  }
}

/** Cuts a stream into pieces of one size. */
const cutter = (size: number, onPiece: (piece: Uint8Array) => void) => {
  const partial = new Uint8Array(size)
  let have = 0
  return (buffer: Uint8Array<ArrayBuffer>, length: number) => {
    let at = 0
    if (have > 0) {
      at = Math.min(size - have, length)
      partial.set(buffer.subarray(0, at), have)
      have += at
      if (have < size) return
      onPiece(partial)
    }
    for (; at + size <= length; at += size) onPiece(new Uint8Array(buffer.buffer, at, size))
    partial.set(buffer.subarray(at, length))
    have = length - at
  }
}
