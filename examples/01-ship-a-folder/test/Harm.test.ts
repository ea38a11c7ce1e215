import { assert, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Queue } from "effect"
import { TestClock } from "effect/testing"
import { type FaultKind, faultKinds, isLethal } from "../faults.ts"
import { carryOut, type Detection, type Seen } from "../harm.ts"
import type { Strike } from "../relay.ts"

const seen = (side: Seen["side"], what: Seen["what"], at: number, reason = ""): Seen => ({
  _tag: "Sighting",
  side,
  what,
  at,
  incarnation: 1,
  reason
})

/** Runs the plan in virtual time against a relay that strikes at once, and sessions that answer as `respond` says. */
const rehearse = Effect.fnUntraced(function* (respond: (strike: Strike) => ReadonlyArray<Seen>, seconds = 1) {
  const sightings = yield* Queue.unbounded<Seen>()
  const detections: Array<Detection> = []
  const frozen: Array<readonly [string, number]> = []
  let resets = 0
  const note = (what: string) => Effect.map(Clock.currentTimeMillis, (now) => void frozen.push([what, now]))
  const fiber = yield* carryOut({
    relay: {
      strike: (fault) =>
        Effect.map(Clock.currentTimeMillis, (at) => ({ fault, at, heldBytes: 1000 })).pipe(Effect.delay("1 second")),
      resetAll: Effect.sync(() => void resets++)
    },
    seed: 1,
    seconds,
    spacingBytes: 1000,
    boundMs: () => 900,
    sightings,
    freeze: Effect.acquireRelease(note("freeze"), () => note("thaw")),
    onStrike: (strike) => respond(strike).forEach((one) => Queue.offerUnsafe(sightings, one)),
    onDetection: (detection) => detections.push(detection)
  }).pipe(Effect.forkChild)
  yield* TestClock.adjust("10 minutes")
  const { unprovoked } = yield* Fiber.join(fiber)
  return { detections, unprovoked, resets, frozen }
})

const recovers = (by: Seen["side"], at: number) => [
  seen(by, "Ended", at + 800, "PeerSilent"),
  seen("sender", "Ended", at + 801, "LinkFailed"),
  seen("sender", "Opened", at + 900, "Resumed")
]

const noticedBy = (kind: FaultKind): Seen["side"] =>
  kind === "halfOpenAtReceiver" || kind === "blackholeToServer" ? "receiver" : "sender"

it.effect("measures from the strike to the first end at the side that can notice", () =>
  Effect.gen(function* () {
    const { detections, resets, unprovoked } = yield* rehearse(({ at, fault }) =>
      isLethal(fault.kind) ? recovers(noticedBy(fault.kind), at) : [seen("sender", "Stalled", at + 500)]
    )
    assert.strictEqual(detections.length, faultKinds.length + 3)
    for (const detection of detections) {
      const expected = isLethal(detection.fault) ? ["PeerSilent", 800] : ["stalled, not killed", 500]
      assert.deepStrictEqual([detection.reason, detection.noticedAfterMs], expected)
      if (isLethal(detection.fault)) assert.strictEqual(detection.noticedBy, noticedBy(detection.fault))
    }
    assert.deepStrictEqual([resets, unprovoked], [0, 0])
  })
)

it.effect("takes neither what ended before the strike, nor the side that was reset, for a detection", () =>
  Effect.gen(function* () {
    const { detections } = yield* rehearse(({ at, fault }) =>
      fault.kind === "halfOpenAtReceiver"
        ? [
            seen("receiver", "Ended", at - 1, "LinkFailed"),
            seen("sender", "Ended", at + 2, "LinkFailed"),
            seen("sender", "Opened", at + 60),
            seen("receiver", "Ended", at + 61, "Fenced")
          ]
        : recovers(noticedBy(fault.kind), at)
    )
    const found = detections.find((one) => one.fault === "halfOpenAtReceiver")
    assert.deepStrictEqual([found?.reason, found?.noticedAfterMs, found?.noticedBy], ["Fenced", 61, "receiver"])
  })
)

it.effect("resets all links when nobody notices, says so, and goes on", () =>
  Effect.gen(function* () {
    const { detections, resets } = yield* rehearse(({ at, fault }) =>
      fault.kind === "blackholeToClient" ? [] : isLethal(fault.kind) ? recovers(noticedBy(fault.kind), at) : []
    )
    assert.strictEqual(resets, 1)
    const found = detections.find((one) => one.fault === "blackholeToClient")
    assert.deepStrictEqual([found?.reason, found?.noticedAfterMs], ["not noticed", null])
    assert.strictEqual(detections.length, faultKinds.length + 3)
  })
)

it.effect("says of a slow reader that it was not killed, whether or not the sender saw a stall", () =>
  Effect.gen(function* () {
    const { detections } = yield* rehearse(({ at, fault }) =>
      isLethal(fault.kind) ? recovers(noticedBy(fault.kind), at) : [seen("receiver", "Stalled", at + 100)]
    )
    const found = detections.find((one) => one.fault === "slowReader")
    assert.deepStrictEqual([found?.reason, found?.noticedAfterMs, found?.noticedBy], ["not killed", null, null])
  })
)

it.effect("counts a slow reader that was killed, with the reason", () =>
  Effect.gen(function* () {
    const { detections, unprovoked } = yield* rehearse(({ at, fault }) =>
      isLethal(fault.kind)
        ? recovers(noticedBy(fault.kind), at)
        : [seen("sender", "Stalled", at + 500), seen("sender", "Ended", at + 1000, "WriteStuck")]
    )
    const found = detections.find((one) => one.fault === "slowReader")
    assert.deepStrictEqual([found?.reason, found?.noticedAfterMs, unprovoked], ["WriteStuck", 1000, 1])
  })
)

it.effect("lets the receiver go on after the planned time, and not when it was noticed", () =>
  Effect.gen(function* () {
    const { frozen } = yield* rehearse(({ at, fault }) =>
      fault.kind === "frozenReceiver"
        ? [seen("sender", "Ended", at + 800, "PeerSilent")]
        : isLethal(fault.kind)
          ? recovers(noticedBy(fault.kind), at)
          : []
    )
    assert.deepStrictEqual(
      frozen.map(([what]) => what),
      ["freeze", "thaw"]
    )
    const lasted = frozen[1]![1] - frozen[0]![1]
    assert.isTrue(lasted >= 1_500 && lasted <= 2_500, `${lasted}`)
  })
)

it.effect("goes on for as many seconds as it was told, and at least for one pass", () =>
  Effect.gen(function* () {
    const respond = ({ at, fault }: Strike) => (isLethal(fault.kind) ? recovers(noticedBy(fault.kind), at) : [])
    const pass = faultKinds.length + 3
    assert.strictEqual((yield* rehearse(respond, 0.1)).detections.length, pass)
    const { detections } = yield* rehearse(respond, 60)
    assert.isTrue(detections.length > 2 * pass && detections.length < 60)
  })
)
