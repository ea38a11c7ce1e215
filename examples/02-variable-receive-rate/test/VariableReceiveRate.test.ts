// The program of two terminals, with two simulated machines in their place.
import { assert, describe, it } from "@effect/vitest"
import { SimHost, SimNetwork } from "@holdfast/testing"
import { Effect, Layer } from "effect"
import * as SocketServer from "effect/socket/SocketServer"
import { receive, send, Variable } from "../rates.ts"
import { traced } from "../trace.ts"

const policy = { heartbeat: "1 second", silence: "10 seconds", stall: "10 seconds" } as const

/** Everything that the server and the client print in a minute. */
const minute = SimNetwork.run({ seed: 1, link: { segmentBytesMax: 65_536 } }, (network) =>
  Effect.gen(function* () {
    const server: Array<string> = []
    const client: Array<string> = []
    const into = (lines: Array<string>) => (line: string) => Effect.sync(() => void lines.push(line))
    const listener = Effect.map(SimHost.listen({ port: 8888 }), ({ address, run }) =>
      SocketServer.SocketServer.of({
        address,
        run: (handler) => run((socket) => Effect.flatMap(traced(policy, into(server))(socket), handler))
      })
    )
    yield* network
      .host("server")
      .run(
        Layer.build(
          Variable.serve((session) => receive(session, into(server)), { policy }).pipe(
            Layer.provide(Layer.effect(SocketServer.SocketServer, listener))
          )
        )
      )
    const machine = network.host("client")
    const link = Effect.flatMap(SimHost.dial({ host: "server", port: 8888 }), traced(policy, into(client)))
    const session = yield* machine.run(Variable.make({ link, policy }))
    yield* machine.run(Effect.forkScoped(send(session, into(client))))
    yield* Effect.sleep("1 minute")
    return { server, client }
  })
)

// Both tests look at the same run.
const aMinute = Effect.runSync(Effect.cached(minute))

const at = (line: string) => Date.parse(`1970-01-01T${line.slice(0, 12)}Z`)

describe("a receiver that stalls for 10 s at a time", () => {
  it.effect("is shown as slow, keeps its one link for a minute, and goes on within a second of each stall", () =>
    Effect.gen(function* () {
      const { client, server } = yield* aMinute
      const told = client.filter((line) => line.startsWith("accepted")).slice(2)
      assert.isAtLeast(told.length, 55)
      for (const line of told) assert.include(line, "link 1 is up")
      assert.isAtLeast(server.filter((line) => line.startsWith("the disk stalls")).length, 4)
      const waits = told.flatMap((line) => [Number(/disk is slow for (\d+\.\d) s/.exec(line)?.[1] ?? "0")])
      assert.isAbove(Math.max(...waits), 8)
      // No wait outlasts a stall: the window opens as soon as the disk goes on.
      assert.isBelow(Math.max(...waits), 11)
    })
  )

  it.effect("says under --debug every heartbeat, once a second also while its disk stalls, and every deadline", () =>
    Effect.gen(function* () {
      const { client, server } = yield* aMinute
      const sent = server.filter((line) => line.endsWith("sent a heartbeat")).map(at)
      const received = client.filter((line) => line.endsWith("received a heartbeat")).map(at)
      assert.isAtLeast(sent.length, 35)
      assert.isAtMost(Math.abs(sent.length - received.length), 1)
      const renewed = client.filter((line) => line.includes("PeerSilent no earlier")).map(at)
      const gaps = renewed.slice(1).map((instant, n) => instant - renewed[n]!)
      assert.isAtMost(Math.max(...gaps), 1001)
      const moved = client.filter((line) => line.includes("WriteStuck no earlier"))
      assert.isAbove(moved.length, 100)
      assert.strictEqual(Date.parse(`1970-01-01T${moved[0]!.slice(-12)}Z`) - at(moved[0]!), 10_000)
    })
  )
})
