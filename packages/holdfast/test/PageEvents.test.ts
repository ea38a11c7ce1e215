import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Schedule, Scope } from "effect"
import { TestClock } from "effect/testing"
import { PageEvents } from "holdfast"
import { peerOf, Spoken } from "./ConnectionTesting.ts"
import * as MemoryLink from "./MemoryLink.ts"
import { inScope, pair } from "./SessionPair.ts"
import { connect, settle } from "./SessionTesting.ts"

/** An event target that counts its listeners. */
class Target extends EventTarget {
  listeners = 0
  override addEventListener(...listener: Parameters<EventTarget["addEventListener"]>): void {
    this.listeners++
    super.addEventListener(...listener)
  }
  override removeEventListener(...listener: Parameters<EventTarget["removeEventListener"]>): void {
    this.listeners--
    super.removeEventListener(...listener)
  }
  fire(event: string): Effect.Effect<void> {
    return Effect.andThen(
      Effect.sync(() => this.dispatchEvent(new Event(event))),
      settle
    )
  }
}

class FakeDocument extends Target {
  visibilityState = "hidden"
}

const page = () => ({ window: new Target(), document: new FakeDocument() })

type Fake = ReturnType<typeof page>

const on = (fake: Partial<Fake> | undefined) => Effect.provideService(PageEvents.CurrentPage, fake as PageEvents.Page)

/** What must wake, and what must not. */
const events: ReadonlyArray<readonly [name: string, fire: (fake: Fake) => Effect.Effect<void>, isBack: boolean]> = [
  ["the network is back", ({ window }) => window.fire("online"), true],
  ["the page is back out of the cache", ({ window }) => window.fire("pageshow"), true],
  ["the page goes on after it was frozen", ({ document }) => document.fire("resume"), true],
  [
    "the page is visible again",
    ({ document }) => {
      document.visibilityState = "visible"
      return document.fire("visibilitychange")
    },
    true
  ],
  ["the page is hidden", ({ document }) => document.fire("visibilitychange"), false],
  ["the network is gone", ({ window }) => window.fire("offline"), false]
]

/** Tries again every hour, so that whatever is sooner was woken. */
const hourly = { reconnect: Schedule.spaced("1 hour"), close: "1 second" } as const

describe("a session on a page", () => {
  for (const [name, fire, isBack] of events) {
    it.effect(`${isBack ? "dials at once" : "waits on"} when ${name}`, () =>
      inScope(
        Effect.gen(function* () {
          const fake = page()
          const network = yield* MemoryLink.make()
          network.refuse(1)
          const client = yield* connect(network, { policy: hourly }).pipe(on(fake))
          yield* TestClock.adjust("1 second")
          assert.strictEqual((yield* client.state)._tag, "Waiting")
          yield* fire(fake)
          assert.strictEqual(network.wires.length, isBack ? 1 : 0)
        })
      )
    )

    it.effect(`${isBack ? "asks at once" : "asks nothing"} when ${name} while it is up`, () =>
      inScope(
        Effect.gen(function* () {
          const fake = page()
          const { network } = yield* pair().pipe(on(fake))
          yield* TestClock.adjust("1 second")
          yield* settle
          const before = network.wire().toServer.written()
          yield* fire(fake)
          assert.strictEqual(network.wire().toServer.written() > before, isBack)
          assert.strictEqual(network.wires.length, 1)
        })
      )
    )
  }

  it.effect("leaves a dial alone that is under way", () =>
    inScope(
      Effect.gen(function* () {
        const fake = page()
        const network = yield* MemoryLink.make()
        network.hang(true)
        const client = yield* connect(network, { policy: hourly }).pipe(on(fake))
        yield* settle
        for (const event of ["online", "pageshow"]) yield* fake.window.fire(event)
        network.hang(false)
        yield* settle
        assert.deepStrictEqual([network.wires.length, (yield* client.state)._tag], [1, "Handshaking"])
      })
    )
  )

  it.effect("listens as long as it lives, on whatever there is to listen to", () =>
    Effect.gen(function* () {
      for (const fake of [page(), { window: new Target() }]) {
        const scope = yield* Scope.make()
        const network = yield* MemoryLink.make()
        network.refuse(1)
        yield* connect(network, { policy: hourly }).pipe(on(fake), Scope.provide(scope))
        assert.strictEqual(fake.window.listeners, 2)
        const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
        yield* TestClock.adjust("1 minute")
        assert.isDefined(closing.pollUnsafe())
        assert.strictEqual(fake.window.listeners, 0)
        assert.isTrue(!("document" in fake) || fake.document.listeners === 0)
      }
    })
  )

  it.effect("listens to nothing where there is no page", () =>
    Effect.gen(function* () {
      assert.isUndefined(yield* PageEvents.CurrentPage)
    })
  )
})

describe("a connection on a page", () => {
  it.effect("dials at once, and asks at once while it is up", () =>
    inScope(
      Effect.gen(function* () {
        const fake = page()
        const network = yield* MemoryLink.make()
        network.refuse(1)
        yield* Spoken.make({
          link: Effect.succeed(network.link),
          fateUnknown: "drop",
          policy: { ...hourly, silence: "2 hours" }
        }).pipe(on(fake))
        yield* TestClock.adjust("1 second")
        assert.strictEqual(network.wires.length, 0)
        yield* fake.window.fire("online")
        assert.strictEqual(network.wires.length, 1)
        const peer = yield* peerOf(yield* network.accept)
        yield* settle
        assert.deepStrictEqual(peer.heard, [])
        yield* fake.document.fire("resume")
        assert.deepStrictEqual(peer.heard, ["PING"])
      })
    )
  )
})
