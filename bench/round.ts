/**
 * One round of one case: two processes of its own, so that no case warms or litters another one's.
 */
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Latencies, Order, Report } from "./orders.ts"

export interface Exchange {
  readonly contestant: string
  /** Of each message, in bytes. */
  readonly size: number
  readonly heapMegabytes: number
  /** How many questions are open at once; 0 for one-way streaming. */
  readonly outstanding: number
}

export interface Timing {
  readonly warmMillis: number
  readonly measureMillis: number
  /** How many connections the cases with many of them have. */
  readonly crowd: number
  /** How long a steady load lasts. */
  readonly seconds: number
}

export interface Sample {
  /** In the unit of the case. */
  readonly value: number
  readonly latencies?: Latencies | undefined
  /** Processor time for each message in nanoseconds, of whoever sends or asks, and of whoever receives. */
  readonly sendNanos?: number | undefined
  readonly receiveNanos?: number | undefined
  /** What else was measured, by name and unit. */
  readonly figures?: Readonly<Record<string, number>>
}

/** Fails when a message was wrong, missing or late. */
export const exchange = async (what: Exchange, timing: Timing): Promise<Sample> => {
  const server = start()
  const client = start()
  try {
    const { contestant, heapMegabytes, outstanding, size } = what
    const common = { contestant, heapMegabytes, size, ...timing }
    const isStream = outstanding === 0
    server.order({ task: isStream ? "receive" : "answer", ...common })
    const { port } = await server.report("Listening")
    if (!isStream) {
      client.order({ task: "ask", port, outstanding, ...common })
      const { latencies, processorNanos, value } = await client.report("Measured")
      return { value, latencies, sendNanos: processorNanos }
    }
    client.order({ task: "send", port, ...common })
    const measured = await Promise.race([server.report("Measured"), client.report("Sent")])
    if (measured._tag === "Sent") throw new Error("the sender stopped before it was told to")
    client.order({ task: "finish", sent: 0 })
    const { count, processorNanos } = await client.report("Sent")
    server.order({ task: "finish", sent: count })
    await server.report("Verified")
    const { value } = measured
    return { value, latencies: undefined, sendNanos: processorNanos, receiveNanos: measured.processorNanos }
  } finally {
    server.kill()
    client.kill()
  }
}

type ReportOf<Tag extends Report["_tag"]> = Extract<Report, { readonly _tag: Tag }>

const side = fileURLToPath(new URL("side.ts", import.meta.url))

/** A process, which waits for its order. `BENCH_ARGS` goes to Node, for profiles. */
const start = () => {
  const child: ChildProcess = fork(side, {
    execArgv: ["--conditions=source", "--expose-gc", ...(process.env["BENCH_ARGS"]?.split(" ") ?? [])],
    stdio: ["ignore", "inherit", "inherit", "ipc"]
  })
  const reports: Array<Report> = []
  let look = (): void => undefined
  child.on("message", (report: Report) => {
    reports.push(report)
    look()
  })
  const report = <Tag extends Report["_tag"]>(tag: Tag) =>
    new Promise<ReportOf<Tag>>((resolve, reject) => {
      const before = look
      const timer = setTimeout(() => reject(new Error(`no "${tag}" within 60 s`)), 60_000).unref()
      look = () => {
        before()
        const failed = reports.find(({ _tag }) => _tag === "Failed")
        const found = reports.find(({ _tag }) => _tag === tag)
        if (failed?._tag === "Failed") reject(new Error(failed.message))
        else if (found !== undefined) resolve(found as ReportOf<Tag>)
        else return
        clearTimeout(timer)
      }
      child.once("exit", (code) => reject(new Error(`the process ended with code ${code}`)))
      look()
    })
  return {
    order: (order: Order) => void child.send(order),
    report,
    kill: () => void child.kill(process.env["BENCH_ARGS"] === undefined ? "SIGKILL" : "SIGTERM")
  }
}
