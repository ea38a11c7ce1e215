/**
 * The process that accepts many connections: counts and checks what arrives, and tells what all that takes.
 */
import { subscribe } from "node:diagnostics_channel"
import type { Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { offer } from "./calls.ts"
import { crowds } from "./crowds.ts"
import { Check } from "./workload.ts"

/** All connections that are accepted and not closed, whoever holds them. */
const sockets = new Set<Socket>()
let acceptedAt = 0
let accepted = 0
subscribe("net.server.socket", (message) => {
  const { socket } = message as { readonly socket: Socket }
  acceptedAt = performance.now()
  accepted++
  sockets.add(socket)
  socket.on("close", () => sockets.delete(socket))
})

let arrived = 0
let arrivedAt = 0
let cutAt = 0

const onMember = (size: number) => () => {
  let check: Check | undefined
  return (message: Uint8Array) => {
    check ??= new Check(size)
    check.message(message)
    arrived++
    arrivedAt = performance.now()
  }
}

const functions = {
  serve: async (order: {
    readonly contestant: string
    readonly size: number
    readonly beatMillis: number
    readonly isEchoing: boolean
  }) => (await crowds[order.contestant]!()).serve({ ...order, onMember: onMember(order.size) }),

  /** What the process holds when it has nothing to do. */
  memory: async () => {
    for (let i = 0; i < 4; i++) {
      globalThis.gc!()
      await sleep(50)
    }
    const { external, heapUsed, rss } = process.memoryUsage()
    return { residentBytes: rss, heapBytes: heapUsed, externalBytes: external }
  },

  /** Processor time of this process so far, in nanoseconds. */
  processorNanos: () => {
    const { system, user } = process.cpuUsage()
    return (system + user) * 1000
  },

  /** How many connections are there, and how many were accepted so far. */
  connections: () => ({ present: sockets.size, accepted }),

  /** Messages a second. */
  rate: async ({ measureMillis, warmMillis }: { readonly warmMillis: number; readonly measureMillis: number }) => {
    while (arrived === 0) await sleep(2)
    await sleep(warmMillis)
    const [from, at] = [arrived, performance.now()]
    await sleep(measureMillis)
    return ((arrived - from) / (performance.now() - at)) * 1000
  },

  /** Reads no more, of no connection: what is sent stays on the way. */
  freeze: () => {
    for (const socket of sockets) {
      const handle: { readonly readStop: () => void } = Reflect.get(socket, "_handle")
      handle.readStop()
    }
  },

  /** Resets all connections at once. */
  cut: () => {
    cutAt = performance.now()
    for (const socket of sockets) socket.resetAndDestroy()
  },

  /** Waits until so many messages have arrived in all, and no more; how long that took, in milliseconds. */
  arrival: async ({ count }: { readonly count: number }) => {
    const deadline = performance.now() + 60_000
    while (arrived < count && performance.now() < deadline) await sleep(2)
    await sleep(20)
    if (arrived !== count) throw new Error(`${count} messages were sent, ${arrived} arrived`)
    return { sinceCut: arrivedAt - cutAt, sinceAccept: arrivedAt - acceptedAt }
  }
}

export type Server = typeof functions

offer(functions)
