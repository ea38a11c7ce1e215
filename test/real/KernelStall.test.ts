// The table of docs/kernel.md on a real kernel, row by row: what a guard can tell of a peer without any ping by the kernel's
// figures, what it must not take for a fault, and what nobody can tell. The scale is 1:33: a patience of three steps of
// 300 ms stands for the default of 30 s, and `tcp_rto_max_ms` of 1 s for 30 s.
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type Child, spawn } from "./harness/Child.ts"
import * as Namespace from "./harness/Namespace.ts"
import type * as Guarded from "./harness/roles/guarded.ts"
import type * as Speaker from "./harness/roles/speaker.ts"

if (Namespace.missing !== undefined && process.env["CI"] !== undefined) throw new Error(Namespace.missing)

const onCable = it.live.skipIf(Namespace.missing !== undefined)

const port = 7000

/** Three steps: the patience. */
const stepMillis = 300
const patienceMillis = 3 * stepMillis

/** As long as nobody may be given up: more than three times the patience. */
const healthyFor = "3 seconds"

/** What a busy machine of two cores may need on top of the patience. */
const slackMillis = 2500

const trickle = { bytes: 100, everyMillis: 50 }
const flood = { bytes: 64 * 1024, everyMillis: 0 }

interface Setup extends Omit<Guarded.Argument, "host" | "port" | "stepMillis"> {
  readonly stepMillis?: number
  readonly reads?: Speaker.Argument["reads"]
  readonly speaksEveryMillis?: number
}

/** A guarded client on the left and a server on the right, connected. */
const start = Effect.fnUntraced(function* ({ reads = "all", speaksEveryMillis, ...setup }: Setup) {
  const cable = yield* Namespace.cable
  const { left, right } = cable
  left.run("sysctl", "-qw", "net.ipv4.tcp_rto_max_ms=1000")
  const at = { host: right.address, port }
  const peer = yield* spawn<Speaker.Fact>(
    "speaker",
    { ...at, reads, speaksEveryMillis } satisfies Speaker.Argument,
    right
  )
  yield* peer.fact("Listening")
  const client = yield* spawn<Guarded.Fact>("guarded", { stepMillis, ...setup, ...at } satisfies Guarded.Argument, left)
  const { source } = yield* client.fact("Connected")
  assert.strictEqual(source, "kernel")
  return { cable, client, peer }
})

type Client = Child<Guarded.Fact>

const figures = ({ facts }: Client) => facts.filter((fact) => fact._tag === "Figures")

/** Waits for figures that satisfy the condition. */
const shows = (client: Client, where: (figures: Guarded.Fact & { readonly _tag: "Figures" }) => boolean, since = 0) =>
  client.fact("Figures", (fact) => fact.at >= since && where(fact))

/** Waits for the verdict, and checks that it is by the kernel's figures, after a whole patience, and in time. */
const givenUp = Effect.fnUntraced(function* (client: Client, since: number, patience = patienceMillis) {
  const { at, missingForMillis, reason, receivedBytes, unanswered } = yield* client.fact("Ended")
  assert.strictEqual(reason, "WriteStuck")
  assert.isAtLeast(unanswered ?? 0, 2)
  assert.isAtLeast(missingForMillis, patienceMillis - tickMillis)
  assert.isAtMost(at - since, patience + slackMillis)
  return { receivedBytes }
})

/** The kernel tells ages in ticks of at most 10 ms, and Node cuts timers to whole milliseconds. */
const tickMillis = 11

const notGivenUp = (client: Client) =>
  assert.deepStrictEqual(
    client.facts.filter((fact) => fact._tag === "Ended"),
    []
  )

const now = Effect.sync(() => Date.now())

const suffix = Namespace.missing === undefined ? "" : `: ${Namespace.missing}`

// Each row mostly waits, on a cable of its own.
describe.concurrent(`by the kernel's figures${suffix}`, () => {
  for (const direction of ["both", "to right", "to left"] as const) {
    onCable(`a cable that is cut (${direction}) is noticed within the patience, whatever arrives`, () =>
      Effect.gen(function* () {
        const { cable, client, peer } = yield* start({ writes: trickle, speaksEveryMillis: 20 })
        yield* peer.fact("Received")
        yield* shows(client, ({ receivedBytes }) => receivedBytes > 0)
        yield* cable.cut(direction)
        const cutAt = yield* now
        const { receivedBytes } = yield* givenUp(client, cutAt)
        // Until the last word has been read; what arrived before the cut may be read a while after it.
        const hearing = (figures(client).findLast((one) => one.receivedBytes < receivedBytes)?.at ?? cutAt) - cutAt
        if (direction === "to right") assert.isAbove(hearing, 100)
        else assert.isBelow(hearing, patienceMillis / 2)
      })
    )
  }

  for (const [whose, side] of [
    ["our", "left"],
    ["the peer's", "right"]
  ] as const) {
    onCable(`${whose} own end of the cable, when it is pulled, is noticed within the patience`, () =>
      Effect.gen(function* () {
        const { cable, client, peer } = yield* start({ writes: trickle })
        yield* peer.fact("Received")
        cable[side].run("ip", "link", "set", "cable", "down")
        yield* givenUp(client, yield* now)
      })
    )
  }

  onCable("a cable that is cut behind a closed window is noticed after two probes without an answer", () =>
    Effect.gen(function* () {
      const { cable, client } = yield* start({ writes: flood, reads: "nothing" })
      yield* shows(client, ({ backoff, unsentBytes }) => unsentBytes > 0 && backoff >= 3)
      yield* cable.cut("both")
      // The next probe, and the one after it, may each be a second away; then the step in which they are seen.
      yield* givenUp(client, yield* now, 2000 + stepMillis)
    })
  )

  onCable("the same, while the peer goes on speaking, is noticed some seconds after its last new word", () =>
    Effect.gen(function* () {
      const { cable, client } = yield* start({ writes: flood, reads: "nothing", speaksEveryMillis: 20 })
      yield* shows(client, ({ unsentBytes }) => unsentBytes > 0)
      yield* Effect.sleep("1 second")
      yield* cable.cut("to right")
      // What the peer says counts as an answer, until it has sent all that may be on the way without an acknowledgement.
      yield* givenUp(client, yield* now, 8000)
    })
  )

  onCable("a peer whose process was killed is noticed at once: its kernel says so", () =>
    Effect.gen(function* () {
      const { client, peer } = yield* start({ writes: trickle })
      yield* peer.fact("Received")
      yield* peer.kill
      const killedAt = yield* now
      const { at, reason } = yield* client.fact("Ended")
      assert.include(["end", "ECONNRESET", "EPIPE"], reason)
      assert.isBelow(at - killedAt, slackMillis)
    })
  )

  onCable("a link that is idle, or busy, is not given up", () =>
    Effect.gen(function* () {
      const idle = yield* start({})
      const busy = yield* start({ writes: trickle })
      yield* Effect.sleep(healthyFor)
      notGivenUp(idle.client)
      notGivenUp(busy.client)
    })
  )

  onCable("a reader that is slow is not given up while its window opens now and then", () =>
    Effect.gen(function* () {
      const { client } = yield* start({ writes: flood, reads: "slowly" })
      yield* shows(client, ({ unsentBytes }) => unsentBytes > 0)
      const [first] = figures(client)
      yield* Effect.sleep(healthyFor)
      notGivenUp(client)
      assert.isAbove(figures(client).at(-1)!.acknowledgedBytes, first!.acknowledgedBytes)
    })
  )

  onCable("a reader that does not read at all is not given up: its kernel answers the probes", () =>
    Effect.gen(function* () {
      const { client } = yield* start({ writes: flood, reads: "nothing" })
      const { at } = yield* shows(client, ({ backoff, unsentBytes }) => unsentBytes > 0 && backoff >= 1)
      yield* Effect.sleep(healthyFor)
      notGivenUp(client)
      const stalled = figures(client).filter((fact) => fact.at >= at + 500)
      assert.strictEqual(new Set(stalled.map(({ acknowledgedBytes }) => acknowledgedBytes)).size, 1)
      assert.isAtMost(Math.max(...stalled.map(({ unanswered }) => unanswered)), 1)
    })
  )

  onCable("a way that loses a tenth of all packets in each direction is not given up", () =>
    Effect.gen(function* () {
      const { cable, client } = yield* start({ writes: trickle, speaksEveryMillis: 50 })
      for (const side of [cable.left, cable.right]) {
        side.run("nft", "add table inet lossy")
        side.run("nft", "add chain inet lossy in { type filter hook input priority 0; }")
        side.run("nft", "add rule inet lossy in iifname cable numgen random mod 100 < 10 drop")
      }
      yield* Effect.sleep(healthyFor)
      notGivenUp(client)
    })
  )

  onCable("an interruption that is shorter than the patience is not noticed", () =>
    Effect.gen(function* () {
      const { cable, client, peer } = yield* start({ writes: trickle, stepMillis: 1000 })
      yield* peer.fact("Received")
      yield* cable.cut("both")
      yield* Effect.sleep("1 second")
      yield* cable.heal
      const { acknowledgedBytes } = figures(client).at(-1)!
      yield* shows(client, (later) => later.acknowledgedBytes > acknowledgedBytes && later.unanswered === 0)
      yield* Effect.sleep(healthyFor)
      notGivenUp(client)
    })
  )
})

describe.concurrent(`what the kernel cannot know${suffix}`, () => {
  onCable("a peer that is frozen on a trickle of data: its kernel acknowledges everything", () =>
    Effect.gen(function* () {
      const { client, peer } = yield* start({ writes: trickle })
      yield* peer.fact("Received")
      yield* peer.freeze
      const frozenAt = yield* now
      yield* Effect.sleep(healthyFor)
      notGivenUp(client)
      const since = figures(client).filter(({ at }) => at >= frozenAt)
      assert.isAbove(since.at(-1)!.acknowledgedBytes, since[0]!.acknowledgedBytes)
      assert.isFalse(peer.facts.some((fact) => fact._tag === "Received" && fact.at > frozenAt + 100))
    })
  )

  onCable("a peer that is frozen while we flood it: a closed window whose probes are answered", () =>
    Effect.gen(function* () {
      const { client, peer } = yield* start({ writes: flood })
      yield* peer.fact("Received")
      yield* peer.freeze
      yield* shows(client, ({ backoff, unsentBytes }) => unsentBytes > 0 && backoff >= 2)
      yield* Effect.sleep(healthyFor)
      notGivenUp(client)
    })
  )

  onCable("a cable that is cut while nothing is outstanding is noticed only after the next write", () =>
    Effect.gen(function* () {
      const { cable, client } = yield* start({ writes: trickle, writesAfterMillis: 3000 })
      yield* cable.cut("both")
      const { at } = yield* client.fact("Writing")
      notGivenUp(client)
      yield* givenUp(client, at)
    })
  )

  onCable("unless the kernel was told to probe: keepAlive of 1 s and two intervals of 1 s says ETIMEDOUT", () =>
    Effect.gen(function* () {
      const { cable, client } = yield* start({ keepAlive: true })
      yield* cable.cut("both")
      const cutAt = yield* now
      const { at, reason } = yield* client.fact("Ended")
      assert.strictEqual(reason, "ETIMEDOUT")
      assert.isAtMost(at - cutAt, 3000 + slackMillis)
    })
  )

  onCable(
    "without koffi a cable that is cut under a trickle is not noticed: Node hands it over and hears nothing",
    () =>
      Effect.gen(function* () {
        const { cable, client, peer } = yield* start({ writes: trickle, withoutKernel: true })
        yield* peer.fact("Received")
        yield* cable.cut("both")
        yield* Effect.sleep(healthyFor)
        notGivenUp(client)
        const { queuedBytes, unacknowledgedBytes, unanswered } = figures(client).at(-1)!
        assert.strictEqual(queuedBytes, 0)
        assert.isAbove(unacknowledgedBytes, 0)
        assert.isAtLeast(unanswered, 2)
      })
  )
})
