// How much faster than real time an idle session with heartbeats is simulated. Measured in processor time, which a busy
// machine does not stretch, and best of several, since the first ones are compiled while they run.
import { assert, describe, it } from "@effect/vitest"
import { SimHost, SimNetwork } from "@holdfast/testing"
import { Effect, Layer } from "effect"
import { Session } from "holdfast"

class Plain extends Session.Service<Plain>()("sim/Speed") {}

const hours = 10
const rounds = 3

/** Two machines, one session under the default policy, and not a message. */
const idle = SimNetwork.run({ seed: 1, awaitsPromises: false }, (network) =>
  Effect.gen(function* () {
    const server = Plain.serve((session) => session.join)
    yield* network
      .host("server")
      .boot(Effect.orDie(Layer.build(server.pipe(Layer.provide(SimHost.layerListener({ port: 7000 }))))))
    const session = yield* network
      .host("client")
      .run(Plain.make({ link: SimHost.dial({ host: "server", port: 7000 }) }))
    yield* Effect.sleep(`${hours} hours`)
    return { packets: network.transcript.length, state: yield* session.state }
  })
)

const processorSeconds = () => {
  const { system, user } = process.cpuUsage()
  return (system + user) / 1e6
}

describe("an idle session with heartbeats", () => {
  it.live("is simulated at least 10,000 times faster than real time", () =>
    Effect.gen(function* () {
      let best = 0
      for (let round = 0; round < rounds; round++) {
        const from = processorSeconds()
        const { packets, state } = yield* idle
        best = Math.max(best, (hours * 3600) / (processorSeconds() - from))
        // It was up all the time, and each end said something every 2.5 s.
        assert(state._tag === "Up" && state.incarnation === 1)
        assert.isAbove(packets, (hours * 3600 * 2) / 2.5)
      }
      console.log(`an idle session: ${Math.round(best)} times faster than real time`)
      assert.isAtLeast(best, 10_000)
    })
  )
})
