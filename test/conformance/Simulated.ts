/** A simulated network as a stage. */
import { type Fault, SimHost, SimNetwork } from "@holdfast/testing"
import { Effect, Exit, Scope } from "effect"
import * as SocketServer from "effect/socket/SocketServer"
import * as Ends from "./Ends.ts"
import { play, type Stage } from "./Play.ts"
import type { Outcome, Row } from "./Row.ts"

const port = 7000

/** What a namespace's cable carries. */
const cable = { latency: "20 micros", bytesPerSecond: 500_000_000 } as const

export const simulate = (row: Row): Effect.Effect<Outcome> =>
  SimNetwork.run({ seed: 1, link: { ...cable, segmentBytesMax: row.segmentBytesMax }, kernel: row.kernel }, (network) =>
    Effect.flatMap(stageOf(network, row), (stage) => play(row, stage, lookMillis))
  )

const stageOf = Effect.fnUntraced(function* (network: SimNetwork.SimNetwork, row: Row) {
  const [server, client] = [network.host("server"), network.host("client")]
  const facts: Array<Stage["facts"][number]> = []
  const tell = (fact: Ends.Fact) => void facts.push({ ...fact, at: network.now() })
  const inForce = new Map<Fault.Fault, Scope.Closeable>()
  const listening = Effect.gen(function* () {
    const listener = yield* SimHost.listen({ port, backlog: row.backlog })
    yield* Effect.provideService(Ends.server(row.server, tell), SocketServer.SocketServer, listener)
  })
  const stage: Stage = {
    now: network.now,
    facts,
    startServer: server.boot(Effect.orDie(listening)),
    startClient: client.boot(Ends.client(row.client, SimHost.dial({ host: "server", port, ...row.socket }), tell)),
    inflict: Effect.fnUntraced(function* (fault) {
      const scope = yield* Scope.make()
      inForce.set(fault, scope)
      yield* Scope.provide(network.inflict(fault), scope)
    }),
    heal: (fault) =>
      Effect.suspend(() => {
        const scope = inForce.get(fault)
        return scope === undefined ? Effect.void : Scope.close(scope, Exit.void)
      }),
    queues: () => ({
      send: client.connections().reduce((sum, { unacknowledgedBytes }) => sum + unacknowledgedBytes, 0),
      receive: server.connections().reduce((sum, { unreadBytes }) => sum + unreadBytes, 0),
      sockets: client.connections().length
    })
  }
  return stage
})

const lookMillis = 20
