/**
 * Cases with thousands of connections: what they cost while they are idle, and how fast all are up again when all were
 * cut at once.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { type Process, start } from "../calls.ts"
import type { Case } from "../cases.ts"
import type { Client } from "../crowdClient.ts"
import type { Server } from "../crowdServer.ts"
import type { Sample } from "../round.ts"

interface Sides {
  readonly server: Process<Server>
  readonly client: Process<Client>
}

interface Holding {
  readonly contestant: string
  readonly beatMillis: number
  /** Of each message, in bytes. */
  readonly size: number
}

/** Both processes, and a call that lets so many more connections join. */
export const holding = async <A>(
  { beatMillis, contestant, size }: Holding,
  use: (sides: Sides, join: (count: number) => Promise<void>) => Promise<A>
): Promise<A> => {
  const server = start<Server>("crowdServer.ts")
  const client = start<Client>("crowdClient.ts")
  try {
    const port = await server.call("serve", { contestant, beatMillis, size, isEchoing: false })
    return await use({ server, client }, (count) => client.call("join", { contestant, port, count, beatMillis }))
  } finally {
    server.kill()
    client.kill()
  }
}

const messageBytes = 64

/** What one connection adds to the server's process, when some have been there before. */
const idle = (contestant: string, count: number): Promise<Sample> =>
  holding({ contestant, beatMillis: 0, size: messageBytes }, async ({ server }, join) => {
    const settleMillis = Math.min(1000, count)
    // Until what was only needed to connect is gone.
    await join(Math.ceil(count / 10))
    await sleep(settleMillis)
    const before = await server.call("memory", undefined)
    await join(count)
    await sleep(settleMillis)
    const after = await server.call("memory", undefined)
    const each = (bytes: (memory: typeof before) => number) => (bytes(after) - bytes(before)) / count / 1024
    return {
      value: each(({ residentBytes }) => residentBytes),
      figures: { heapKilobytes: each(({ heapBytes }) => heapBytes) }
    }
  })

const heartbeats = (contestant: string, count: number, seconds: number): Promise<Sample> =>
  holding({ contestant, beatMillis: 1000, size: messageBytes }, async ({ server }, join) => {
    await join(count)
    await sleep(Math.min(3, seconds) * 1000)
    const [before, at] = [await server.call("processorNanos", undefined), performance.now()]
    await sleep(seconds * 1000)
    const nanos = (await server.call("processorNanos", undefined)) - before
    if ((await server.call("connections", undefined)).present !== count) throw new Error("connections were lost")
    return { value: (nanos / 1e6 / (performance.now() - at)) * 100 }
  })

const storm = (contestant: string, count: number): Promise<Sample> =>
  holding({ contestant, beatMillis: 0, size: messageBytes }, async ({ client, server }, join) => {
    await join(count)
    await server.call("arrival", { count: await client.call("sendEach", { size: messageBytes }) })
    const before = await processor({ client, server })
    await server.call("cut", undefined)
    await sleep(20)
    const { sinceCut } = await server.call("arrival", {
      count: await client.call("sendEach", { size: messageBytes })
    })
    const after = await processor({ client, server })
    const { accepted } = await server.call("connections", undefined)
    return {
      value: sinceCut,
      figures: {
        dialsEach: accepted / count - 1,
        clientMicros: (after.client - before.client) / count / 1000,
        serverMicros: (after.server - before.server) / count / 1000
      }
    }
  })

const processor = async ({ client, server }: Sides) => ({
  client: await client.call("processorNanos", undefined),
  server: await server.call("processorNanos", undefined)
})

const each = (
  kind: string,
  unit: string,
  contestants: ReadonlyArray<string>,
  run: (contestant: string, count: number, seconds: number) => Promise<Sample>
) =>
  contestants.map((contestant): Case => ({
    name: `${kind}/${contestant}`,
    kind,
    contestant,
    size: 0,
    heapMegabytes: 0,
    isBrief: kind === "heartbeats" || contestant === "holdfast",
    unit,
    roundsMax: 1,
    run: ({ crowd, seconds }) => run(contestant, crowd, Math.min(10, seconds))
  }))

export const crowdCases: ReadonlyArray<Case> = [
  ...each("idle", "KB resident each", ["net", "session", "ws", "holdfast"], idle),
  ...each("heartbeats", "% of a core", ["net", "session", "ws", "holdfast"], heartbeats),
  ...each("storm", "ms until all are back", ["session", "holdfast"], storm)
]
