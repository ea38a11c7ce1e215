/**
 * Length-prefixed messages, written by hand: one write per turn of the event loop or 64 KiB, reads into one buffer.
 */
import type { Socket } from "node:net"
import type { Contestant } from "../contestant.ts"
import { connect, drain, interview, listen, pump, reading } from "../sockets.ts"

export const contestant: Contestant = {
  receive: (check) =>
    listen((socket) =>
      reading(
        socket,
        deframer((message) => check.message(message))
      )
    ),

  send: async (port, source) => {
    const socket = await connect(port, () => undefined)
    const framer = new Framer(socket)
    const send = () => {
      const messages = source.nextBatch()
      for (let i = 0; i < messages.length; i++) framer.send(messages[i]!)
      return !socket.writableNeedDrain
    }
    await pump(source, send, () => drain(socket))
    framer.flush()
  },

  answer: () =>
    listen((socket) => {
      const framer = new Framer(socket)
      reading(
        socket,
        deframer((message) => framer.send(message))
      )
    }),

  ask: async (port, asker) => {
    const socket = await connect(port, (buffer, length) => deframe(buffer, length))
    const framer = new Framer(socket)
    const { answered, begin, done } = interview(asker, () => framer.send(asker.question()))
    const deframe = deframer(answered)
    begin()
    await done
  }
}

class Framer {
  private readonly socket: Socket
  private batch: Uint8Array<ArrayBuffer> = new Uint8Array(batchBytes)
  private length = 0
  /** Buffers that serve again: fresh ones are dear where a program keeps much alive. */
  private readonly spare: Array<Uint8Array<ArrayBuffer>> = []
  private isFlushing = false

  constructor(socket: Socket) {
    this.socket = socket
  }

  send(message: Uint8Array): void {
    const needed = 4 + message.length
    if (this.length + needed > this.batch.length) {
      this.flush()
      if (needed > this.batch.length) this.batch = new Uint8Array(needed)
    }
    const { batch } = this
    let at = this.length
    const { length } = message
    batch[at++] = length
    batch[at++] = length >> 8
    batch[at++] = length >> 16
    batch[at++] = length >> 24
    batch.set(message, at)
    this.length = at + length
    if (this.isFlushing) return
    this.isFlushing = true
    process.nextTick(() => this.flush())
  }

  flush(): void {
    this.isFlushing = false
    if (this.length === 0) return
    const { batch } = this
    this.socket.write(batch.subarray(0, this.length), () => this.spare.push(batch))
    this.batch = this.spare.pop() ?? new Uint8Array(batchBytes)
    this.length = 0
  }
}

const batchBytes = 131_072

/** Hands on whole messages as views; only one that is split over reads is copied. */
const deframer = (onMessage: (message: Uint8Array) => void) => {
  let partial = new Uint8Array(65_536 + 4)
  let have = 0
  const lengthAt = (bytes: Uint8Array, at: number) =>
    bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
  return (buffer: Uint8Array<ArrayBuffer>, length: number) => {
    let at = 0
    while (have > 0) {
      const needed = have < 4 ? 4 : 4 + lengthAt(partial, 0)
      if (needed > partial.length) {
        const grown = new Uint8Array(needed)
        grown.set(partial.subarray(0, have))
        partial = grown
      }
      const end = Math.min(length, at + needed - have)
      partial.set(buffer.subarray(at, end), have)
      have += end - at
      at = end
      if (have < needed) return
      if (have === 4 + lengthAt(partial, 0)) {
        onMessage(partial.subarray(4, have))
        have = 0
      }
    }
    while (at + 4 <= length) {
      const end = at + 4 + lengthAt(buffer, at)
      if (end > length) break
      onMessage(new Uint8Array(buffer.buffer, at + 4, end - at - 4))
      at = end
    }
    partial.set(buffer.subarray(at, length))
    have = length - at
  }
}
