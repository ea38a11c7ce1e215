/**
 * The load under which a bare socket hung in 2003: 30,000 questions and answers a second.
 */
import { start } from "../calls.ts"
import type { Case } from "../cases.ts"
import { handWritten } from "../contestants.ts"
import type { Client } from "../crowdClient.ts"
import type { Server } from "../crowdServer.ts"
import type { Sample, Timing } from "../round.ts"

const messageBytes = 64
const rate = 30_000
/** How many questions a short session lives for. */
const questionsEach = 100
/** For how long the yardstick is measured: that it lasts is not in question. */
const yardstickSeconds = 10

const run = async (contestant: string, sessions: number, { crowd, seconds }: Timing): Promise<Sample> => {
  const server = start<Server>("crowdServer.ts")
  const client = start<Client>("crowdClient.ts")
  try {
    const serving = { contestant, beatMillis: 0, size: messageBytes, isEchoing: true }
    const port = await server.call("serve", serving)
    const before = await server.call("processorNanos", undefined)
    const loaded = await client.call("load", {
      contestant,
      port,
      size: messageBytes,
      sessions: Math.min(sessions, crowd),
      questionsEach: sessions === 1 ? Infinity : questionsEach,
      rate,
      seconds
    })
    const { answered, opened, p50, p99, slowest } = loaded
    const each = (nanos: number) => Math.round(nanos / answered)
    return {
      value: loaded.rate,
      latencies: { p50, p99, max: slowest, count: answered },
      sendNanos: each(await client.call("processorNanos", undefined)),
      receiveNanos: each((await server.call("processorNanos", undefined)) - before),
      figures: { slowestMillis: slowest, opened }
    }
  } finally {
    server.kill()
    client.kill()
  }
}

const cases = (sessions: number, contestants: ReadonlyArray<string>) =>
  contestants.map((contestant): Case => ({
    name: `load/${contestant}/${sessions}`,
    kind: "load",
    contestant,
    size: messageBytes,
    count: sessions,
    heapMegabytes: 0,
    isBrief: contestant === (sessions === 1 ? "holdfast-requests" : "holdfast"),
    unit: "answers/s",
    roundsMax: 1,
    run: (timing) =>
      run(
        contestant,
        sessions,
        contestant === handWritten ? { ...timing, seconds: Math.min(yardstickSeconds, timing.seconds) } : timing
      )
  }))

export const loadCases: ReadonlyArray<Case> = [
  ...cases(1, ["session", "holdfast", "holdfast-requests"]),
  ...cases(1000, ["session", "holdfast"])
]
