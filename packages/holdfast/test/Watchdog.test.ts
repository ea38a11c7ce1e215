import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Fiber, Latch, Option, Schedule } from "effect"
import { ConnectionError, Link, Policy, Presets, Watchdog } from "holdfast"
import * as MemoryLink from "./MemoryLink.ts"
import { settle, unsteady, until } from "./TestTime.ts"

interface Facts {
  readonly probes: Array<number>
  readonly beats: Array<number>
  readonly stalled: Array<number | undefined>
}

interface Setup {
  readonly policy?: Policy.Options
  readonly detectors?: ReadonlyArray<Watchdog.Detector>
  readonly clock?: Clock.Clock
}

/** A watchdog that runs from now on, with all it said. Heartbeats are off unless a test asks for them. */
const watched = Effect.fnUntraced(function* ({ clock, detectors, policy: options }: Setup = {}) {
  const time = clock ?? (yield* Clock.Clock)
  const facts: Facts = { probes: [], beats: [], stalled: [] }
  const now = () => Number(time.monotonicTimeNanosUnsafe()) / 1e6
  let policy = yield* Policy.make({ heartbeat: "Infinity", ...options })
  const watchdog = yield* Watchdog.make({
    policy: () => policy,
    probe: () => facts.probes.push(now()),
    beat: () => facts.beats.push(now()),
    onStalled: (since) => facts.stalled.push(since),
    detectors
  }).pipe(Effect.provideService(Clock.Clock, time))
  const running = yield* watchdog.run.pipe(Effect.flip, Effect.provideService(Clock.Clock, time), Effect.forkScoped)
  yield* settle
  return {
    watchdog,
    facts,
    verdict: Effect.map(Fiber.join(running), (error) => ({ error, reason: error.reason, at: now() })),
    isUp: () => running.pollUnsafe() === undefined,
    setPolicy: (changes: Policy.Options) =>
      Effect.map(Policy.make(changes, policy), (next) => {
        policy = next
        watchdog.replacePolicy()
      })
  }
})

/** Does something at each of these instants. */
const atEach = (instants: ReadonlyArray<number>, happens: (at: number) => void) =>
  Effect.forEach(
    instants,
    (at) =>
      Effect.andThen(
        until(at),
        Effect.andThen(
          Effect.sync(() => happens(at)),
          settle
        )
      ),
    {
      discard: true
    }
  )

const seconds = (from: number, to: number, step = 1) =>
  Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, i) => (from + i * step) * 1000)

describe("Watchdog", () => {
  describe("silence", () => {
    it.effect("by default a dead peer is asked at 5 s and noticed at 10 s", () =>
      Effect.gen(function* () {
        const { facts, isUp, verdict } = yield* watched()
        yield* until(4999)
        assert.deepStrictEqual(facts.probes, [])
        yield* until(9999)
        assert.deepStrictEqual([facts.probes, isUp()], [[5000], true])
        yield* until(10_000)
        const { error, reason } = yield* verdict
        assert(reason._tag === "PeerSilent")
        assert.deepStrictEqual([Duration.toMillis(reason.missingFor), reason.asked], [10_000, 1])
        assert.strictEqual(Duration.toMillis(error.upFor), 10_000)
        assert.isTrue(reason.retryable)
      })
    )

    it.effect("a peer whose event loop stalls for 4 s is not killed, and not even asked", () =>
      Effect.gen(function* () {
        const { facts, isUp, watchdog } = yield* watched()
        yield* atEach([900, 4900, 5800, 9800, 14_000], watchdog.received)
        yield* until(18_000)
        assert.deepStrictEqual([facts.probes, isUp()], [[], true])
      })
    )

    it.effect("our own event loop may stall for 4 s at the worst moment: nobody is killed", () =>
      Effect.gen(function* () {
        // The answer to the probe of 5 s waits in the kernel from 8 s on, while the loop is blocked over the verdict.
        const { clock } = yield* unsteady([7900, 11_900])
        const { facts, isUp, watchdog } = yield* watched({ clock })
        yield* until(11_900)
        watchdog.received()
        yield* until(16_899)
        assert.deepStrictEqual([facts.probes, isUp()], [[5000, 11_900], true])
      })
    )

    it.effect("any byte is a sign of life, nothing that we send is one", () =>
      Effect.gen(function* () {
        const { isUp, verdict, watchdog } = yield* watched()
        yield* atEach(seconds(1, 9), () => watchdog.sent(false))
        yield* until(9999)
        assert.isTrue(isUp())
        yield* until(10_000)
        assert.strictEqual((yield* verdict).reason._tag, "PeerSilent")
      })
    )

    it.effect("wake probes at once", () =>
      Effect.gen(function* () {
        const { facts, watchdog } = yield* watched()
        yield* atEach([1234], watchdog.wake)
        assert.deepStrictEqual(facts.probes, [1234])
      })
    )

    it.effect("a policy that is replaced while up neither prolongs nor shortens a silence", () =>
      Effect.gen(function* () {
        const { facts, isUp, setPolicy, verdict } = yield* watched()
        for (const at of seconds(1, 9)) {
          yield* until(at)
          yield* setPolicy({})
        }
        yield* until(9999)
        assert.isTrue(isUp())
        yield* until(10_000)
        assert.strictEqual((yield* verdict).reason._tag, "PeerSilent")
        assert.deepStrictEqual(facts.probes, [5000])
      })
    )
  })

  it.effect("a replaced policy is taken up by every clock", () =>
    Effect.gen(function* () {
      const { facts, isUp, setPolicy, verdict, watchdog } = yield* watched()
      watchdog.moved(0, 500)
      yield* until(1000)
      yield* setPolicy({ silence: Presets.openVSwitch("4 seconds"), heartbeat: "3 seconds", stall: "6 seconds" })
      yield* until(5999)
      assert.deepStrictEqual([facts.probes, facts.beats, isUp()], [[4000], [3000], true])
      yield* until(6000)
      assert.strictEqual((yield* verdict).reason._tag, "WriteStuck")
    })
  )

  describe("suspension", () => {
    it.effect("a jump of the wall clock by more than a second probes within a second, and nothing else", () =>
      Effect.gen(function* () {
        const { clock, jump } = yield* unsteady()
        const { facts, isUp, watchdog } = yield* watched({ clock })
        yield* atEach([3500], () => {
          watchdog.received()
          jump(3_600_000)
        })
        yield* until(3999)
        assert.deepStrictEqual(facts.probes, [])
        yield* until(8499)
        assert.deepStrictEqual(facts.probes, [4000])
        yield* until(13_499)
        assert.isTrue(isUp())
        yield* until(13_500)
        assert.isFalse(isUp())
      })
    )

    it.effect("a second is not more than a second, and backwards counts too", () =>
      Effect.gen(function* () {
        const { clock, jump } = yield* unsteady()
        const { facts } = yield* watched({ clock })
        yield* atEach([500], () => jump(1000))
        yield* until(2000)
        assert.deepStrictEqual(facts.probes, [])
        jump(-1001)
        yield* until(3000)
        assert.deepStrictEqual(facts.probes, [3000])
      })
    )

    it.effect("one fiber compares the clocks for all watchdogs, and ends with the last of them", () =>
      Effect.gen(function* () {
        const test = yield* Clock.Clock
        let asleep = 0
        const clock: Clock.Clock = {
          ...test,
          sleep: (duration) => {
            const comparing = Duration.toMillis(duration) === 1000
            return comparing
              ? Effect.acquireUseRelease(
                  Effect.sync(() => asleep++),
                  () => test.sleep(duration),
                  () => Effect.sync(() => asleep--)
                )
              : test.sleep(duration)
          }
        }
        const close = yield* Latch.make(false)
        const [first, second] = yield* Effect.all(
          [Latch.make(false), Latch.make(false)].map((end) =>
            Effect.flatMap(end, (latch) =>
              watched({ clock }).pipe(
                Effect.andThen(Effect.raceFirst(latch.await, close.await)),
                Effect.scoped,
                Effect.forkScoped,
                Effect.map((fiber) => ({ latch, fiber }))
              )
            )
          )
        )
        assert(first !== undefined && second !== undefined)
        yield* until(2500)
        assert.strictEqual(asleep, 1)
        yield* first.latch.open
        yield* Fiber.await(first.fiber)
        yield* until(4500)
        assert.strictEqual(asleep, 1)
        yield* second.latch.open
        yield* Fiber.await(second.fiber)
        yield* settle
        assert.strictEqual(asleep, 0)
      })
    )
  })

  describe("heartbeat", () => {
    const policy: Policy.Options = { heartbeat: "2 seconds", silence: "Infinity" }

    it.effect("beats when no frame of ours went out for so long, and goes on", () =>
      Effect.gen(function* () {
        const { facts } = yield* watched({ policy })
        yield* until(1999)
        assert.deepStrictEqual(facts.beats, [])
        yield* until(6000)
        assert.deepStrictEqual(facts.beats, [2000, 4000, 6000])
      })
    )

    it.effect("any frame but a heartbeat puts the next one off", () =>
      Effect.gen(function* () {
        const { facts, watchdog } = yield* watched({ policy })
        yield* atEach([1500, 3499], () => watchdog.sent(false))
        yield* atEach([4000], () => watchdog.sent(true))
        yield* until(5498)
        assert.deepStrictEqual(facts.beats, [])
        yield* until(5499)
        assert.deepStrictEqual(facts.beats, [5499])
      })
    )

    it.effect("beats that are due within a fiftieth of their interval go out together: some sooner, none later", () =>
      Effect.gen(function* () {
        const policy = { heartbeat: "1 second", silence: "Infinity" } as const
        const first = yield* watched({ policy })
        yield* until(15)
        const second = yield* watched({ policy })
        yield* until(45)
        const third = yield* watched({ policy })
        yield* until(999)
        assert.deepStrictEqual([first.facts.beats, second.facts.beats, third.facts.beats], [[], [], []])
        yield* until(2100)
        assert.deepStrictEqual(
          [first.facts.beats, second.facts.beats, third.facts.beats],
          [
            [1000, 2000],
            [1000, 2000],
            [1045, 2045]
          ]
        )
      })
    )

    it.effect("a beat that went out sooner puts those behind it sooner, so that none is missed for longer", () =>
      Effect.gen(function* () {
        const heartbeat = Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 2 }))
        const once = yield* watched({ policy: { heartbeat, silence: "Infinity" } })
        yield* until(15)
        const again = yield* watched({ policy: { heartbeat: "1 second", silence: "Infinity" } })
        yield* until(3100)
        assert.deepStrictEqual([once.facts.beats, again.facts.beats], [[1000], [1000, 2000, 3000]])
      })
    )

    it.effect("whoever is asked, or judged, by another clock at the same time is not asked or judged sooner", () =>
      Effect.gen(function* () {
        const silent = yield* watched({ policy: { silence: "1010 millis" } })
        const alive = yield* watched({ policy: { silence: "1010 millis" } })
        yield* watched({ policy: { heartbeat: "1 second", silence: "Infinity" } })
        yield* atEach([5], alive.watchdog.received)
        yield* until(1009)
        assert.deepStrictEqual([silent.isUp(), alive.isUp()], [true, true])
        yield* until(1014)
        assert.deepStrictEqual([silent.isUp(), alive.isUp()], [false, true])
        yield* until(1015)
        assert.isFalse(alive.isUp())
      })
    )

    it.effect("a schedule that is over beats no more until another frame of ours", () =>
      Effect.gen(function* () {
        const heartbeat = Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 3 }))
        const { facts, isUp, watchdog } = yield* watched({ policy: { heartbeat, silence: "Infinity" } })
        yield* atEach([10_000], () => watchdog.sent(false))
        yield* until(20_000)
        assert.deepStrictEqual([facts.beats, isUp()], [[1000, 2000, 11_000, 12_000], true])
      })
    )
  })

  describe("stall", () => {
    const policy: Policy.Options = { silence: "Infinity", stall: Presets.openVSwitch("5 seconds") }

    it.effect("nothing moves and the peer gives no sign of life: stuck at the end of the patience", () =>
      Effect.gen(function* () {
        const { facts, isUp, verdict, watchdog } = yield* watched({ policy })
        yield* atEach([1000], () => watchdog.moved(0, 500))
        yield* until(5999)
        assert.deepStrictEqual([facts.stalled, facts.probes], [[], []])
        yield* until(6000)
        assert.deepStrictEqual([facts.stalled, facts.probes], [[1000], [6000]])
        yield* until(10_999)
        assert.isTrue(isUp())
        yield* until(11_000)
        const { reason } = yield* verdict
        assert(reason._tag === "WriteStuck")
        assert.deepStrictEqual(
          [Duration.toMillis(reason.missingFor), reason.asked, reason.outstandingBytes],
          [10_000, 1, 500]
        )
      })
    )

    it.effect("a peer that beats but never reads is stalled, not dead: an hour later it is still up", () =>
      Effect.gen(function* () {
        const { facts, isUp, watchdog } = yield* watched({ policy })
        watchdog.moved(0, 500)
        yield* atEach(seconds(4, 3600, 4), watchdog.received)
        assert.isTrue(isUp())
        assert.deepStrictEqual(facts.stalled, [0])
        assert.deepStrictEqual(facts.probes.slice(0, 3), [5000, 10_000, 15_000])
      })
    )

    it.effect(
      "the sign of life must fall into the last delay: one at 4.999 s does not count, the answer at 5 s does",
      () =>
        Effect.gen(function* () {
          for (const [life, up] of [
            [4999, false],
            [5000, true]
          ] as const) {
            const { isUp, watchdog } = yield* watched({ policy })
            const start = yield* Clock.currentTimeMillis
            watchdog.moved(0, 500)
            yield* atEach([start + life], watchdog.received)
            yield* until(start + 10_000)
            assert.strictEqual(isUp(), up)
          }
        })
    )

    it.effect("a stalled peer that falls silent is stuck after one silent delay", () =>
      Effect.gen(function* () {
        const { isUp, verdict, watchdog } = yield* watched({ policy })
        watchdog.moved(0, 500)
        yield* atEach(seconds(4, 16, 4), watchdog.received)
        yield* until(24_999)
        assert.isTrue(isUp())
        yield* until(25_000)
        const { reason } = yield* verdict
        assert.deepStrictEqual([reason._tag, reason._tag === "WriteStuck" && reason.asked], ["WriteStuck", 4])
      })
    )

    it.effect(
      "stalledLimit bounds it: a peer that lives and never moves is given up at 12 s from the last progress",
      () =>
        Effect.gen(function* () {
          const { isUp, verdict, watchdog } = yield* watched({ policy: { ...policy, stalledLimit: "12 seconds" } })
          yield* atEach([500], () => watchdog.moved(100, 500))
          yield* atEach(seconds(2, 12, 2), watchdog.received)
          yield* until(12_499)
          assert.isTrue(isUp())
          yield* until(12_500)
          const { reason } = yield* verdict
          assert(reason._tag === "Stalled")
          assert.deepStrictEqual([Duration.toMillis(reason.missingFor), reason.outstandingBytes], [12_000, 500])
        })
    )

    it.effect("silence in a delay that the limit cut short proves nothing: still stalled, not stuck", () =>
      Effect.gen(function* () {
        const { verdict, watchdog } = yield* watched({ policy: { ...policy, stalledLimit: "12 seconds" } })
        watchdog.moved(0, 500)
        yield* atEach([7000], watchdog.received)
        yield* until(12_000)
        assert.strictEqual((yield* verdict).reason._tag, "Stalled")
      })
    )

    it.effect("a sign of life before something became outstanding does not count", () =>
      Effect.gen(function* () {
        const { isUp, verdict, watchdog } = yield* watched({ policy: Presets.zrepl })
        yield* atEach([3000], watchdog.received)
        yield* atEach([3000], () => watchdog.moved(0, 500))
        yield* atEach([8000], watchdog.received)
        yield* until(13_000)
        assert.isTrue(isUp())
        const { watchdog: second, verdict: end } = yield* watched({ policy: { ...Presets.zrepl, silence: "Infinity" } })
        yield* atEach([14_000], second.received)
        yield* atEach([14_000], () => second.moved(0, 500))
        yield* until(24_000)
        assert.strictEqual((yield* end).reason._tag, "WriteStuck")
        assert.strictEqual((yield* verdict).reason._tag, "PeerSilent")
      })
    )

    it.effect("a patience that is replaced by a shorter one after its end is stuck at once, not stalled", () =>
      Effect.gen(function* () {
        const { setPolicy, verdict, watchdog } = yield* watched({ policy })
        watchdog.moved(0, 500)
        yield* until(6000)
        yield* setPolicy({ stall: "2 seconds" })
        yield* until(6000)
        assert.strictEqual((yield* verdict).reason._tag, "WriteStuck")
      })
    )

    it.effect("a stalledLimit as long as stall: dead is stuck, alive is stalled", () =>
      Effect.gen(function* () {
        for (const alive of [false, true]) {
          const { verdict, watchdog } = yield* watched({ policy: { ...policy, stalledLimit: "10 seconds" } })
          const start = yield* Clock.currentTimeMillis
          watchdog.moved(0, 1)
          if (alive) yield* atEach([start + 7000], watchdog.received)
          yield* until(start + 10_000)
          assert.strictEqual((yield* verdict).reason._tag, alive ? "Stalled" : "WriteStuck")
        }
      })
    )

    it.effect("a stalledLimit that is replaced counts from the last progress all the same", () =>
      Effect.gen(function* () {
        const { isUp, setPolicy, verdict, watchdog } = yield* watched({ policy })
        watchdog.moved(0, 1)
        yield* atEach(seconds(2, 16, 2), watchdog.received)
        yield* setPolicy({ stalledLimit: "17 seconds" })
        yield* until(16_999)
        assert.isTrue(isUp())
        yield* until(17_000)
        assert.strictEqual((yield* verdict).reason._tag, "Stalled")
      })
    )

    it.effect("progress ends the stall and says so", () =>
      Effect.gen(function* () {
        const { facts, isUp, watchdog } = yield* watched({ policy })
        watchdog.moved(0, 500)
        yield* atEach([7000], () => watchdog.moved(1, 499))
        assert.deepStrictEqual(facts.stalled, [0, undefined])
        yield* until(16_999)
        assert.deepStrictEqual([facts.stalled, isUp()], [[0, undefined, 7000], true])
        yield* until(17_000)
        assert.isFalse(isUp())
      })
    )

    it.effect("a queue that grows while it drains is progress", () =>
      Effect.gen(function* () {
        const { facts, isUp, watchdog } = yield* watched({ policy })
        yield* atEach(seconds(1, 60), (at) => watchdog.moved(at / 1000, at * 10))
        assert.deepStrictEqual([facts.stalled, facts.probes, isUp()], [[], [], true])
      })
    )

    it.effect("a queue that only grows is not: more outstanding is no progress", () =>
      Effect.gen(function* () {
        const { isUp, watchdog } = yield* watched({ policy })
        yield* atEach([0, ...seconds(1, 9)], (at) => watchdog.moved(0, at + 1))
        yield* until(9999)
        assert.isTrue(isUp())
        yield* until(10_000)
        assert.isFalse(isUp())
      })
    )

    it.effect("a write after an idle hour has its whole patience", () =>
      Effect.gen(function* () {
        const { facts, isUp, watchdog } = yield* watched({ policy })
        yield* atEach([0], () => watchdog.moved(0, 10))
        yield* atEach([1000], () => watchdog.moved(10, 0))
        yield* atEach([3_601_000], () => watchdog.moved(10, 10))
        yield* until(3_610_999)
        assert.deepStrictEqual([facts.stalled, isUp()], [[3_601_000], true])
        yield* until(3_611_000)
        assert.isFalse(isUp())
      })
    )
  })

  describe("backlog", () => {
    const policy: Policy.Options = { backlog: { messagesMax: 10, bytesMax: 1000 } }

    it.effect("at the limits nothing, above either of them the end", () =>
      Effect.gen(function* () {
        for (const [messages, bytes] of [
          [11, 1],
          [1, 1001]
        ] as const) {
          const { isUp, verdict, watchdog } = yield* watched({ policy })
          watchdog.backlog(10, 1000)
          yield* settle
          assert.isTrue(isUp())
          watchdog.backlog(messages, bytes)
          const { reason } = yield* verdict
          assert(reason._tag === "BacklogExceeded")
          assert.deepStrictEqual(
            [reason.messages, reason.bytes, reason.messagesMax, reason.bytesMax],
            [messages, bytes, 10, 1000]
          )
        }
      })
    )
  })

  it.effect("a detector of the user's sees the signs and ends the incarnation with its own reason", () =>
    Effect.gen(function* () {
      const slow: Watchdog.Detector = (signs) =>
        Effect.gen(function* () {
          yield* Effect.sleep("3 seconds")
          const detail = `${signs.outstandingBytes()} of ${signs.progressBytes()} at ${signs.now() - signs.receivedAt()}`
          return yield* ConnectionError.make(new ConnectionError.DetectorFired({ detector: "slow", detail }))
        })
      const { isUp, verdict, watchdog } = yield* watched({ detectors: [slow] })
      yield* atEach([2000], () => {
        watchdog.moved(7, 5)
        watchdog.received()
      })
      yield* until(2999)
      assert.isTrue(isUp())
      yield* until(3000)
      const { reason } = yield* verdict
      assert.strictEqual(reason._tag === "DetectorFired" && reason.detail, "5 of 7 at 1000")
    })
  )

  describe("over a link", () => {
    /** The least that a program over a Socket does: read, write from one queue, judge, and destroy on a verdict. */
    const guarded = Effect.fnUntraced(function* (link: Link.Link, message: Uint8Array) {
      const opened = yield* Link.open(link)
      const wake = yield* Latch.make(true)
      const control: Array<Uint8Array> = [message]
      let handedOff = 0
      const put = (frame: number) => {
        control.push(Uint8Array.of(frame))
        wake.openUnsafe()
      }
      const watchdog = yield* Watchdog.make({
        policy: () => Policy.defaults,
        probe: () => put(1),
        beat: () => put(2),
        onStalled: () => {},
        roundTripTime: () => Option.none()
      })
      const read = Effect.andThen(opened.pull, Effect.sync(watchdog.received)).pipe(Effect.forever)
      const write = Effect.gen(function* () {
        const frame = control.shift()
        if (frame === undefined) {
          wake.closeUnsafe()
          return yield* wake.await
        }
        watchdog.moved(handedOff, frame.length)
        yield* opened.write([frame])
        handedOff += frame.length
        watchdog.moved(handedOff, 0)
        watchdog.sent(frame.length === 1)
      }).pipe(Effect.forever)
      return yield* Effect.raceAllFirst([read, write, watchdog.run]).pipe(Effect.tapError(() => opened.destroy))
    }, Effect.scoped)

    const judged = Effect.fnUntraced(function* (options: MemoryLink.Options, beats: boolean) {
      const network = yield* MemoryLink.make({ capacityBytes: 65_536, ...options })
      const running = yield* Effect.forkScoped(Effect.flip(guarded(network.link, new Uint8Array(8 << 20))))
      const peer = yield* Link.open(yield* network.accept)
      if (beats) {
        yield* peer
          .write([Uint8Array.of(0)])
          .pipe(Effect.delay("2 seconds"), Effect.forever, Effect.ignore, Effect.forkScoped)
      }
      yield* settle
      return { running, peer, wire: network.wire() }
    })

    it.effect("a write that never completes does not stop the verdict", () =>
      Effect.gen(function* () {
        const { running, wire } = yield* judged({}, false)
        yield* until(9999)
        assert.deepStrictEqual([running.pollUnsafe(), wire.isOpen()], [undefined, true])
        yield* until(10_000)
        assert.oneOf((yield* Fiber.join(running)).reason._tag, ["PeerSilent", "WriteStuck"])
        assert.isFalse(wire.isOpen())
      })
    )

    it.effect("the same over a socket that offers no destroy", () =>
      Effect.gen(function* () {
        const { peer, running } = yield* judged({ plain: true }, false)
        yield* until(10_000)
        yield* Fiber.join(running)
        const { reason } = yield* Effect.flip(peer.pull)
        assert.deepStrictEqual([reason._tag, reason._tag === "LinkClosed" && reason.code], ["LinkClosed", 4000])
      })
    )

    it.effect("after the verdict no late byte reaches the peer's application", () =>
      Effect.gen(function* () {
        const { peer, running, wire } = yield* judged({}, false)
        yield* until(10_000)
        yield* Fiber.join(running)
        assert.strictEqual((yield* Effect.flip(peer.pull)).reason._tag, "LinkFailed")
        assert.strictEqual(wire.toServer.read(), 0)
      })
    )

    it.effect("the healthy opposite: a peer that beats and reads nothing for a minute is not killed", () =>
      Effect.gen(function* () {
        const { running, wire } = yield* judged({}, true)
        yield* until(60_000)
        assert.deepStrictEqual([running.pollUnsafe(), wire.isOpen()], [undefined, true])
      })
    )
  })
})
