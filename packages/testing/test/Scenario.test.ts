import { assert, describe, it } from "@effect/vitest"
import { Fault, Picture, Scenario, Swarm, Transcript } from "@holdfast/testing"
import { scenario, simulation } from "@holdfast/testing/vitest"
import { Effect, Exit } from "effect"

const busy = {
  toServer: { messages: 60, every: "500 millis" },
  toClient: { messages: 60, every: "500 millis" }
} as const

describe("scenarios", () => {
  scenario(
    { name: "loses nothing when nothing goes wrong, and needs one link", conversation: busy },
    {
      expect: ({ detections, links, messages }) => {
        assert.deepStrictEqual(messages, { sent: 120, taken: 120 })
        assert.deepStrictEqual([links, detections.length], [1, 0])
      }
    }
  )

  scenario(
    {
      name: "notices a pulled cable within 10 s and loses nothing",
      conversation: busy,
      timeline: [Fault.at("5 seconds", Fault.blackhole("client"), { for: "30 seconds" })]
    },
    {
      expect: ({ detections, messages }) => {
        assert.deepStrictEqual(messages, { sent: 120, taken: 120 })
        assert.strictEqual(detections.length, 1)
        assert.isAtMost(detections[0]!.afterMillis, 10_001)
      }
    }
  )

  scenario({
    name: "tells what a crashed server has taken with it, and goes on",
    conversation: { ...busy, clients: 3 },
    timeline: [Fault.at("10 seconds", Fault.crash("server"), { for: "5 seconds" })]
  })

  simulation("a program of one's own, with a seed from the outside", (network) =>
    Effect.gen(function* () {
      yield* network.host("a").note("hello")
      assert.isTrue(network.transcript.some((entry) => entry._tag === "Noted"))
    })
  )

  it.effect("fail with what did not hold, the transcript and the picture", () =>
    Effect.gen(function* () {
      const hopeless: Scenario.Scenario = {
        name: "hopeless",
        conversation: { toServer: { messages: 1000, every: "1 second" } },
        convergence: "10 seconds"
      }
      const error = yield* Effect.flip(Scenario.check(hopeless, 1))
      assert.strictEqual(error._tag, "ScenarioFailed")
      if (error._tag !== "ScenarioFailed") return
      assert.include(error.message, "hopeless (seed 1)")
      assert.include(error.message, "settles: not done")
      assert.include(error.transcript, "client/1: Up incarnation 1")
      assert.include(error.picture, "<svg")
    })
  )

  it.effect("refuse a policy that cannot work", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Scenario.run({ name: "x", conversation: { policy: { silence: 0 } } }, 1))
      assert.isTrue(Exit.isFailure(exit))
    })
  )
})

describe("a picture", () => {
  it.effect("shows states, faults and verdicts in words, and is the same for the same seed", () =>
    Effect.gen(function* () {
      const drawn = () =>
        Effect.map(
          Scenario.run(
            {
              name: "a < b",
              conversation: busy,
              timeline: [Fault.at("5 seconds", Fault.partition("client", "server"), { for: "30 seconds" })]
            },
            1
          ),
          ({ name, transcript }) => Picture.render(transcript, { title: name })
        )
      const picture = yield* drawn()
      for (const words of [
        "a &lt; b",
        "nothing passes between client and server",
        "Up client/1",
        "PeerSilent: the peer was silent"
      ]) {
        assert.include(picture, words)
      }
      assert.strictEqual(picture, yield* drawn())
    })
  )

  it("can be drawn of nothing, and of a part", () => {
    assert.include(Picture.render([]), "</svg>")
    const entries: ReadonlyArray<Transcript.Entry> = [
      { at: 10, _tag: "Noted", host: "a", text: "x" },
      { at: 90, _tag: "Noted", host: "a", text: "y" }
    ]
    assert.include(Picture.render(entries, { fromMillis: 0, untilMillis: 50 }), "50 ms")
  })
})

describe("the swarm", () => {
  it("draws the same scenario from the same seed, and others from others", () => {
    assert.deepStrictEqual(JSON.stringify(Swarm.scenarioOf(1)), JSON.stringify(Swarm.scenarioOf(1)))
    const drawn = new Set(
      Array.from({ length: 50 }, (_, seed) => JSON.stringify({ ...Swarm.scenarioOf(seed), name: "" }))
    )
    assert.strictEqual(drawn.size, 50)
  })
})
