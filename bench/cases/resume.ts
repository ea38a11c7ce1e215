/**
 * How fast a session goes on when its link was cut and much was not acknowledged.
 */
import { setTimeout as sleep } from "node:timers/promises"
import type { Case } from "../cases.ts"
import type { Sample, Timing } from "../round.ts"
import { holding } from "./crowd.ts"

const messageBytes = 1024

/**
 * Streams for a while, which is what the rest is compared to. Then the receiver stops to read, so many bytes are sent, and
 * the link is cut. Counts from the next accept until all of it has arrived.
 */
const resume = (contestant: string, bytes: number, timing: Timing): Promise<Sample> =>
  holding({ contestant, beatMillis: 0, size: messageBytes }, async ({ client, server }, join) => {
    await join(1)
    await client.call("stream", { size: messageBytes })
    const rate = await server.call("rate", timing)
    await server.call("arrival", { count: await client.call("stop", undefined) })
    await server.call("freeze", undefined)
    const count = await client.call("fill", { count: bytes / messageBytes, size: messageBytes })
    await sleep(200)
    await server.call("cut", undefined)
    const { sinceAccept } = await server.call("arrival", { count })
    const streamed = (rate * messageBytes) / 1e6
    const value = bytes / 1e6 / (sinceAccept / 1000)
    return { value, figures: { millis: sinceAccept, streamed, ratioToStreaming: value / streamed } }
  })

export const resumeCases: ReadonlyArray<Case> = [1, 64].flatMap((megabytes) =>
  ["session", "holdfast"].map((contestant): Case => ({
    name: `resume/${contestant}/${megabytes}MB`,
    kind: "resume",
    contestant,
    size: megabytes * 1024 * 1024,
    heapMegabytes: 0,
    isBrief: megabytes === 1,
    unit: "MB/s",
    run: (timing) => resume(contestant, megabytes * 1024 * 1024, timing)
  }))
)
