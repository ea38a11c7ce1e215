/**
 * The process that dials many connections, and sends numbered messages on each.
 */
import { offer } from "./calls.ts"
import type { Member } from "./crowd.ts"
import { crowds } from "./crowds.ts"
import { load } from "./load.ts"
import { patternOf, stamp } from "./workload.ts"

const members: Array<{ readonly member: Member; sent: number }> = []
let isStreaming = false
let streaming: Promise<void> = Promise.resolve()

const batchOf = (count: number, size: number): ReadonlyArray<Uint8Array> =>
  Array.from({ length: count }, () => patternOf(size))

/** The next messages of a connection, in memory that is used again. */
const sendNext = (one: (typeof members)[number], batch: ReadonlyArray<Uint8Array>): Promise<void> | undefined => {
  for (const message of batch) stamp(message, one.sent++)
  return one.member.send(batch)
}

const sent = (): number => members.reduce((total, { sent }) => total + sent, 0)

const functions = {
  /** Dials so many more connections, some at a time, and waits until they are up. */
  join: async (order: {
    readonly contestant: string
    readonly port: number
    readonly count: number
    readonly beatMillis: number
  }) => {
    const { connect } = await crowds[order.contestant]!()
    let left = order.count
    const dialling = async () => {
      while (left-- > 0) {
        const id = members.length + left
        const member = await connect({ ...order, id, onMessage: () => undefined })
        joined.push({ member, sent: 0 })
      }
    }
    const joined: typeof members = []
    await Promise.all(Array.from({ length: 100 }, dialling))
    members.push(...joined)
  },

  /** Sends one message on each connection; how many were sent in all until now. */
  sendEach: ({ size }: { readonly size: number }) => {
    const batch = batchOf(1, size)
    for (const one of members) void sendNext(one, batch)
    return sent()
  },

  /** Sends on the first connection until it is told to stop. */
  stream: ({ size }: { readonly size: number }) => {
    const batch = batchOf(Math.max(4, Math.floor(32_768 / size)), size)
    isStreaming = true
    streaming = (async () => {
      while (isStreaming) await sendNext(members[0]!, batch)
    })()
  },

  stop: async () => {
    isStreaming = false
    await streaming
    return sent()
  },

  /** Sends so many messages on the first connection, and waits until all are accepted. */
  fill: async ({ count, size }: { readonly count: number; readonly size: number }) => {
    const batch = batchOf(32, size)
    for (let i = 0; i < count; i += 32) await sendNext(members[0]!, batch)
    return sent()
  },

  processorNanos: () => {
    const { system, user } = process.cpuUsage()
    return (system + user) * 1000
  },

  load
}

export type Client = typeof functions

offer(functions)
