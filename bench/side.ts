/**
 * One of the two processes of a round: told by its parent what to be, it tells what it saw.
 */
import { enableCompileCache, flushCompileCache } from "node:module"
import { setTimeout as sleep } from "node:timers/promises"
import { contestants } from "./contestants.ts"
import type { Order, Report } from "./orders.ts"
import { Asker, Check, holdLive, Source } from "./workload.ts"

const tell = (report: Report) => process.send!(report)

/** What the measured object must know when the parent says that enough was measured. */
let finish = (_sent: number): void => undefined

const perform = async (order: Order) => {
  if (order.task === "finish") return finish(order.sent)
  holdLive(order.heapMegabytes)
  enableCompileCache() // nearly half of the time that a process takes to start
  const contestant = await contestants[order.contestant]!()
  flushCompileCache()
  switch (order.task) {
    case "receive": {
      const check = new Check(order.size)
      tell({ _tag: "Listening", port: await contestant.receive(check) })
      while (check.count === 0) await sleep(2)
      await work(order.warmMillis)
      const [count, at, before] = [check.count, performance.now(), process.cpuUsage()]
      await work(order.measureMillis)
      const value = ((check.count - count) / (performance.now() - at)) * 1000
      tell({ _tag: "Measured", value, latencies: undefined, processorNanos: nanosSince(before, check.count - count) })
      finish = (sent) => void verify(check, sent)
      return
    }
    case "send": {
      const source = new Source(order.size)
      finish = () => {
        source.isOver = true
      }
      const seen: Array<{ readonly cpu: NodeJS.CpuUsage; readonly count: number }> = []
      setInterval(() => seen.push({ cpu: process.cpuUsage(), count: source.count }), 20).unref()
      await contestant.send(order.port, source)
      const half = seen[seen.length >> 1] // before that it warmed up
      const processorNanos = half === undefined ? Number.NaN : nanosSince(half.cpu, source.count - half.count)
      tell({ _tag: "Sent", count: source.count, processorNanos })
      return
    }
    case "answer":
      tell({ _tag: "Listening", port: await contestant.answer(order.size) })
      return
    case "ask": {
      const asker = new Asker(order.size, order.outstanding)
      const asking = contestant.ask(order.port, asker)
      await work(order.warmMillis)
      asker.isMeasuring = true
      const [at, before] = [performance.now(), process.cpuUsage()]
      await work(order.measureMillis)
      asker.isMeasuring = false
      const value = (asker.times.length / (performance.now() - at)) * 1000
      const processorNanos = nanosSince(before, asker.times.length)
      asker.isOver = true
      await asking
      if (asker.check.mistake !== undefined) throw asker.check.mistake
      tell({ _tag: "Measured", value, latencies: latenciesOf(asker.times), processorNanos })
    }
  }
}

/** Until this process has worked for so long: on a busy machine that takes longer, but at most four times as long. */
const work = async (millis: number) => {
  const [from, before] = [performance.now(), process.cpuUsage()]
  for (;;) {
    const passed = performance.now() - from
    const { system, user } = process.cpuUsage(before)
    if (passed >= millis * 4 || (passed >= millis && user + system >= millis * 700)) return
    await sleep(10)
  }
}

/** Everything that was sent must arrive, and nothing else. */
const verify = async (check: Check, sent: number) => {
  const deadline = performance.now() + 30_000
  while (check.count < sent && performance.now() < deadline) await sleep(2)
  await sleep(10)
  if (check.mistake !== undefined) throw check.mistake
  if (check.count !== sent) throw new Error(`${sent} messages were sent, ${check.count} arrived`)
  tell({ _tag: "Verified", count: sent })
}

const nanosSince = (before: NodeJS.CpuUsage, messages: number): number => {
  const { system, user } = process.cpuUsage(before)
  return ((system + user) * 1000) / messages
}

const latenciesOf = (times: Array<number>) => {
  times.sort((a, b) => a - b)
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? Number.NaN
  return { p50: at(0.5), p99: at(0.99), max: at(1), count: times.length }
}

process.on("message", (order: Order) => {
  perform(order).catch((error: unknown) => {
    tell({ _tag: "Failed", message: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  })
})
process.on("uncaughtException", (error) => {
  tell({ _tag: "Failed", message: error.stack ?? error.message })
})
tell({ _tag: "Ready" })
process.on("SIGTERM", () => process.exit(0))
