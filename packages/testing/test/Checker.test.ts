import { assert, describe, it } from "@effect/vitest"
import { Checker, Fault, type Transcript } from "@holdfast/testing"
import { Effect } from "effect"
import { Policy, Presets } from "holdfast"

type Entry = Transcript.Entry

/** A byte that reaches the client. */
const arrival = (at: number): Entry => ({
  at: at - 1,
  _tag: "Packet",
  from: "server",
  to: "client",
  connection: "c",
  kind: "data",
  seq: 0,
  bytes: 1,
  ack: 0,
  arrivesAt: at
})

const session = (at: number, what: string, reason?: string): Entry => ({
  at,
  _tag: "Session",
  host: "client",
  session: "client/1",
  what,
  text: "",
  reason
})

const fault = (at: number, tag: "Inflicted" | "Healed", fault: Fault.Fault): Entry => ({
  at,
  _tag: tag,
  fault,
  text: Fault.describe(fault)
})

/** Silence is over after 10 s. */
const policy = Policy.make({ silence: Presets.openVSwitch("5 seconds") })

const detect = (...entries: ReadonlyArray<Entry>) =>
  Effect.flatMap(policy, (policy) => Checker.detections(entries, policy, "client", "server"))

const judge = (...entries: ReadonlyArray<Entry>) =>
  Effect.flatMap(policy, (policy) => Checker.verdicts(entries, policy))

describe("the checker of detections", () => {
  it.effect("is content with a silence that is noticed when the policy says", () =>
    Effect.gen(function* () {
      const { detections, violations } = yield* detect(
        session(0, "Opened"),
        arrival(3000),
        session(13_000, "Ended", "PeerSilent")
      )
      assert.deepStrictEqual(violations, [])
      assert.deepStrictEqual(
        detections.map(({ afterMillis, boundMillis }) => [afterMillis, boundMillis]),
        [[10_000, 10_000]]
      )
    })
  )

  it.effect("complains of one that is noticed later, or not at all", () =>
    Effect.gen(function* () {
      const late = yield* detect(session(0, "Opened"), arrival(3000), session(13_300, "Ended", "PeerSilent"))
      assert.strictEqual(late.violations.length, 1)
      const never = yield* detect(session(0, "Opened"), arrival(3000), arrival(14_000))
      assert.strictEqual(never.violations.length, 1)
      const ended = yield* detect(session(0, "Opened"), arrival(3000), session(4000, "Closed"), arrival(14_000))
      assert.strictEqual(ended.violations.length, 0)
    })
  )

  it.effect("gives a machine that stood still so much longer, and one delay more", () =>
    Effect.gen(function* () {
      const frozen = [
        session(0, "Opened"),
        arrival(3000),
        fault(5000, "Inflicted", Fault.freeze("client")),
        fault(25_000, "Healed", Fault.freeze("client"))
      ]
      assert.strictEqual((yield* detect(...frozen, session(38_000, "Ended", "PeerSilent"))).violations.length, 0)
      assert.strictEqual((yield* detect(...frozen, session(38_300, "Ended", "PeerSilent"))).violations.length, 1)
    })
  )
})

describe("the checker of verdicts", () => {
  it.effect("complains of a link that was given up although nothing was wrong", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* judge(session(9000, "Ended", "PeerSilent"))).length, 1)
      assert.strictEqual((yield* judge(session(9000, "Ended", "EndedByPeer"))).length, 0)
    })
  )

  it.effect("accepts one during a fault that explains it, and soon after", () =>
    Effect.gen(function* () {
      const partition = Fault.partition("client", "server")
      const cut = [fault(1000, "Inflicted", partition), fault(5000, "Healed", partition)]
      assert.strictEqual((yield* judge(...cut, session(4000, "Ended", "PeerSilent"))).length, 0)
      assert.strictEqual((yield* judge(...cut, session(20_000, "Ended", "PeerSilent"))).length, 0)
      assert.strictEqual((yield* judge(...cut, session(60_000, "Ended", "PeerSilent"))).length, 1)
    })
  )

  it.effect("does not take a slow link or a set clock for an explanation", () =>
    Effect.gen(function* () {
      const slow = fault(1000, "Inflicted", Fault.rateLimit("client", "server", 1000))
      const jump = fault(1000, "Inflicted", Fault.clockJump("client", "1 hour"))
      assert.strictEqual((yield* judge(slow, jump, session(4000, "Ended", "WriteStuck"))).length, 1)
    })
  )
})
