// What it costs to ask the kernel about 5,000 connections: the figures of docs/kernel.md, printed.
import { assert, describe, it } from "@effect/vitest"
import { Kernel } from "@holdfast/node"
import { Effect } from "effect"
import { once } from "node:events"
import * as Net from "node:net"

const count = 5000
const rounds = 10

/** Far above what it takes: a look that costs more than this has become another kind of thing. */
const microsPerLookMax = 100

/** Both ends of so many connections over loopback, in this process. */
const connected = Effect.acquireRelease(
  Effect.promise(async () => {
    const server = Net.createServer().listen({ port: 0, host: "127.0.0.1", backlog: count })
    await once(server, "listening")
    const accepted: Array<Net.Socket> = []
    server.on("connection", (socket) => accepted.push(socket))
    const { port } = server.address() as Net.AddressInfo
    const sockets: Array<Net.Socket> = []
    while (sockets.length < count) {
      const batch = Array.from({ length: 100 }, () => Net.connect(port, "127.0.0.1"))
      await Promise.all(batch.map((socket) => once(socket, "connect")))
      sockets.push(...batch)
    }
    return { accepted, server, sockets }
  }),
  ({ accepted, server, sockets }) =>
    Effect.sync(() => {
      for (const socket of [...sockets, ...accepted]) socket.destroy()
      server.close()
    })
)

const processorMillis = () => {
  const { system, user } = process.cpuUsage()
  return (system + user) / 1000
}

describe("asking the kernel", () => {
  it.live("about 5,000 connections takes milliseconds of processor time", () =>
    Effect.gen(function* () {
      const source = yield* Kernel.source
      if (source === "node") return assert.isUndefined(process.env["CI"], "koffi is not installed")
      const { sockets } = yield* connected
      const took: Array<number> = []
      for (let round = 0; round < rounds; round++) {
        yield* Effect.sleep("100 millis") // as between two looks: caches are cold, and the event loop has done other things
        const before = processorMillis()
        let acknowledged = 0
        for (const socket of sockets) {
          const report = Kernel.report(socket)
          if (report.source === "kernel") acknowledged += report.acknowledgedBytes
        }
        took.push(processorMillis() - before)
        assert.isAtLeast(acknowledged, count) // one for each dial: every one was asked
      }
      const sorted = took.toSorted((a, b) => a - b)
      const [least, median, most] = [sorted[0]!, sorted[rounds / 2]!, sorted.at(-1)!]
      yield* Effect.sync(() =>
        process.stdout.write(
          `a round over ${count} connections: ${least.toFixed(1)} to ${most.toFixed(1)} ms of processor time, ` +
            `${((median / count) * 1000).toFixed(1)} microseconds a look\n`
        )
      )
      assert.isBelow((median / count) * 1000, microsPerLookMax)
    })
  )
})
