/**
 * Bare sockets, which exchange single bytes as heartbeats, all on one timer, and have no messages.
 */
import type { Socket } from "node:net"
import { type Beating, wheel } from "../beats.ts"
import type { Crowd } from "../crowd.ts"
import { connect, listen, reading } from "../sockets.ts"

const byte = new Uint8Array([1])

class Bare implements Beating {
  isHeard = true
  private readonly socket: Socket

  constructor(socket: Socket) {
    this.socket = socket
  }

  beat(): void {
    this.socket.write(byte)
  }

  destroy(): void {
    this.socket.destroy()
  }
}

export const crowd: Crowd = {
  serve: ({ beatMillis }) => {
    const add = beatMillis === 0 ? undefined : wheel(beatMillis)
    return listen((socket) => {
      const bare = new Bare(socket)
      reading(socket, () => {
        bare.isHeard = true
      })
      const remove = add?.(bare)
      if (remove !== undefined) socket.on("close", remove)
    })
  },

  connect: async ({ beatMillis, port }) => {
    const socket = await connect(port, () => {
      bare.isHeard = true
    })
    const bare = new Bare(socket)
    if (beatMillis > 0) beating(beatMillis)(bare)
    return {
      send: () => {
        throw new Error("bare sockets have no messages")
      },
      close: () =>
        new Promise((resolve) => {
          socket.end(resolve)
        })
    }
  }
}

let shared: ReturnType<typeof wheel> | undefined
const beating = (beatMillis: number) => (shared ??= wheel(beatMillis))
