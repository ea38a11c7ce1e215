import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Metric, Option, Stream, Tracer } from "effect"
import { TestClock } from "effect/testing"
import type { Session } from "holdfast"
import * as MemoryLink from "./MemoryLink.ts"
import { begin, type Ends, inScope, now, numbered, pair, steady } from "./SessionPair.ts"
import { bytes, collect, connect, flowing, serve, settle } from "./SessionTesting.ts"

/** Follows a stream from now on; `work` is done for each element. */
const follow = <A>(stream: Stream.Stream<A>, work: Effect.Effect<void> = Effect.void) =>
  Effect.gen(function* () {
    const seen: Array<A> = []
    const fiber = yield* stream.pipe(
      Stream.runForEach((element) =>
        Effect.andThen(
          Effect.sync(() => seen.push(element)),
          work
        )
      ),
      Effect.forkChild({ startImmediately: true })
    )
    return { seen, fiber }
  })

const cutAndResume = Effect.fnUntraced(function* (network: MemoryLink.Network) {
  network.wire().cut()
  yield* settle
  yield* TestClock.adjust("1 second")
  yield* settle
})

/** A life with two incarnations and a good end. */
const life = Effect.fnUntraced(function* (client: Ends, network: MemoryLink.Network) {
  const server = yield* serve(network)
  yield* collect(yield* flowing(server.next))
  yield* cutAndResume(network)
  yield* flowing(client.close)
  yield* settle
})

describe("Session.changes", () => {
  it.effect("gives the present state first and all later ones, and ends when the session is closed", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const client = yield* connect(network, { policy: steady })
        const { fiber, seen } = yield* follow(client.changes)
        yield* life(client, network)
        yield* Fiber.join(fiber)
        const tags = seen.map(({ _tag }) => _tag).filter((tag, i, all) => tag !== all[i - 1])
        const dial = ["Connecting", "Handshaking", "Up"]
        assert.deepStrictEqual(tags, [...dial, "Waiting", ...dial, "Closing", "Closed"])
        assert.deepStrictEqual(seen.at(-1), yield* client.state)
      })
    )
  )

  it.effect("let a slow reader skip, and lose it nothing that is still true", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network } = yield* pair()
        const { seen } = yield* follow(client.changes, Effect.sleep("1 minute"))
        for (let i = 0; i < 20; i++) yield* cutAndResume(network)
        yield* TestClock.adjust("5 minutes")
        assert.isBelow(seen.length, 6)
        assert.deepStrictEqual(seen.at(-1), yield* client.state)
      })
    )
  )

  it.effect("of a closed session are its end, once", () =>
    inScope(
      Effect.gen(function* () {
        const { client } = yield* pair()
        yield* flowing(client.close)
        const tags = yield* client.changes.pipe(
          Stream.map(({ _tag }) => _tag),
          Stream.runCollect
        )
        assert.deepStrictEqual(tags, ["Closed"])
      })
    )
  )

  it.effect("count down what is not acknowledged while the session closes", () =>
    inScope(
      Effect.gen(function* () {
        const { client, theirs } = yield* pair()
        yield* client.sendAll(numbered(3))
        const { seen } = yield* follow(client.changes)
        yield* Effect.forkChild(theirs.handle(() => Effect.sleep("1 second")))
        yield* flowing(client.close)
        const counts = seen.flatMap((state) => (state._tag === "Closing" ? [state.unacknowledged] : []))
        assert.deepStrictEqual([...new Set(counts)], [3, 2, 1, 0])
      })
    )
  )
})

describe("Session.events", () => {
  it.effect("tell one fact each, in order, with its instant, and end with the session", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const client = yield* connect(network, { policy: steady })
        const { fiber, seen } = yield* follow(client.events)
        yield* life(client, network)
        yield* Fiber.join(fiber)
        assert.deepStrictEqual(
          seen.map(({ _tag }) => _tag),
          ["Dialed", "Opened", "Ended", "Retrying", "Dialed", "Opened", "Ended", "Closed"]
        )
        const [, opened, ended, , , resumed] = seen
        assert.deepInclude(opened, { opened: "Fresh", incarnation: 1 })
        assert.deepInclude(ended, { incarnation: 1 })
        assert.deepInclude(resumed, { opened: "Resumed", incarnation: 2 })
        assert.strictEqual(resumed!.at - ended!.at, 1000)
        assert.deepStrictEqual(yield* Stream.runCollect(client.events), []) // nothing happens after the end
      })
    )
  )

  it.effect("bound what a slow reader costs, and tell it how many it missed", () =>
    inScope(
      Effect.gen(function* () {
        const { client } = yield* pair()
        const replace = Effect.orDie(client.setPolicy({}))
        const { seen } = yield* follow(client.events, Effect.sleep("1 minute"))
        for (let i = 0; i < 400; i++) yield* replace
        yield* TestClock.adjust("5 hours")
        const dropped = seen.flatMap((event) => (event._tag === "Dropped" ? [event.count] : []))
        assert.strictEqual(dropped.length, 1)
        assert.isAtLeast(dropped[0]!, 400 - 257)
        assert.strictEqual(seen.length - 1 + dropped[0]!, 400)
      })
    )
  )

  it.effect("that were dropped before the first one was read are counted, too", () =>
    inScope(
      Effect.gen(function* () {
        const { client } = yield* pair()
        yield* Effect.gen(function* () {
          const pull = yield* Stream.toPull(client.events)
          const first = yield* Effect.forkChild(pull, { startImmediately: true })
          yield* Effect.orDie(Effect.replicateEffect(client.setPolicy({}), 300))
          const tags = Array.from(yield* Fiber.join(first), ({ _tag }) => _tag)
          const rest = tags.length === 1 ? Array.from(yield* pull) : []
          const all = [...tags.map((tag) => ({ _tag: tag, count: 0 })), ...rest]
          const missed = all.reduce((sum, event) => sum + ("count" in event ? event.count : 0), 0)
          assert.strictEqual(all.filter(({ _tag }) => _tag === "PolicyReplaced").length + missed, 300)
        }).pipe(Effect.scoped)
      })
    )
  )

  it.effect("of one subscriber do not depend on another one that is slow", () =>
    inScope(
      Effect.gen(function* () {
        const { client } = yield* pair()
        yield* follow(client.events, Effect.never)
        const { seen } = yield* follow(client.events)
        for (let i = 0; i < 500; i++) {
          yield* Effect.orDie(client.setPolicy({}))
          yield* Effect.yieldNow
        }
        yield* settle
        assert.deepStrictEqual([seen.length, new Set(seen.map(({ _tag }) => _tag))], [500, new Set(["PolicyReplaced"])])
      })
    )
  )
})

describe("Metrics", () => {
  it.effect("count incarnations, ends by reason, questions and sessions, from the events", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const client = yield* connect(network, { policy: steady })
        const { seen } = yield* follow(client.events)
        const server = yield* serve(network)
        yield* collect(yield* flowing(server.next))
        yield* cutAndResume(network)
        network.wire().blackhole(true)
        yield* TestClock.adjust("11 seconds")
        yield* settle
        yield* flowing(client.close)
        yield* settle
        const value = (id: string, wanted: Record<string, string>) =>
          Effect.map(Metric.snapshot, (all) =>
            all
              .filter((one) => one.id === id)
              .filter(({ attributes = {} }) =>
                Object.entries({ ...wanted, role: "client" }).every(([key, text]) => attributes[key] === text)
              )
              .reduce((sum, one) => sum + (one.type === "Counter" ? Number(one.state.count) : 0), 0)
          )
        assert.strictEqual(yield* value("holdfast_incarnations_total", { opened: "Fresh" }), 1)
        assert.strictEqual(yield* value("holdfast_incarnations_total", { opened: "Resumed" }), 2)
        assert.strictEqual(yield* value("holdfast_links_ended_total", { reason: "LinkFailed" }), 1)
        assert.strictEqual(yield* value("holdfast_links_ended_total", { reason: "PeerSilent" }), 1)
        const asked = seen.filter((event: Session.SessionEvent) => event._tag === "Asked").length
        assert.isAtLeast(asked, 1)
        assert.strictEqual(yield* value("holdfast_asked_total", {}), asked)
        assert.strictEqual(yield* value("holdfast_sessions_ended_total", { exit: "Success" }), 1)
      })
    ).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))
  )
})

describe("Spans", () => {
  it.effect("of a session and of each incarnation begin and end with them", () => {
    const spans: Array<Tracer.Span> = []
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      }
    })
    const of = (name: string) => spans.filter((span) => span.name === name)
    const ended = (name: string) => of(name).filter(({ status }) => status._tag === "Ended").length
    return inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        yield* life(yield* connect(network, { policy: steady }), network)
        assert.deepStrictEqual([of("holdfast.session").length, ended("holdfast.session")], [1, 1])
        // Two of each side.
        assert.deepStrictEqual([of("holdfast.incarnation").length, ended("holdfast.incarnation")], [4, 4])
        const parent = Option.getOrThrow(of("holdfast.session")[0]!.parent)
        assert.include(
          of("holdfast.incarnation").map(({ spanId }) => spanId),
          parent.spanId
        )
      })
    ).pipe(Effect.withTracer(tracer))
  })
})

describe("Session.state", () => {
  it.effect("says why it waits and until when, on both sides", () =>
    inScope(
      Effect.gen(function* () {
        const { client, network, theirs } = yield* pair()
        const at = yield* now
        network.wire().cut()
        yield* settle
        const [ours, other] = [yield* client.state, yield* theirs.state]
        assert.deepInclude(ours, { _tag: "Waiting", attempt: 1, retryAt: at + 1000 })
        assert.deepInclude(other, { _tag: "Waiting", attempt: 1, retryAt: at + 120_000 })
        if (ours._tag === "Waiting") {
          assert.strictEqual(Option.getOrThrow(ours.error).reason._tag, "LinkFailed")
        }
        const sent = yield* begin(client.send(bytes("x")))
        assert.strictEqual(sent.outcome(), "succeeded")
      })
    )
  )
})
