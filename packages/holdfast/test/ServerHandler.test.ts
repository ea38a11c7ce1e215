import { assert, describe, it } from "@effect/vitest"
import { Frame } from "@holdfast/protocol"
import { Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import type { ConnectionError } from "holdfast"
import * as MemoryLink from "./MemoryLink.ts"
import * as RawClient from "./RawClient.ts"
import * as ServerTesting from "./ServerTesting.ts"
import { scenario } from "./ServerTesting.ts"
import { bytes, collect, connect, flowing, settle, text } from "./SessionTesting.ts"

type ServerSession = ServerTesting.ServerSession

describe("Session: the handler of a server", () => {
  it.effect("runs once for each session and lives across its incarnations", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const received: Array<string> = []
        let runs = 0
        const handler = (session: ServerSession) => {
          const run = ++runs
          return session.handle((message) => Effect.sync(() => received.push(`${text(message)} by ${run}`)))
        }
        yield* ServerTesting.start(network, { handler })
        const client = yield* connect(network)
        for (const message of ["a", "b", "c"]) {
          yield* flowing(client.deliver(bytes(message)), "100 millis")
          network.wire().cut()
        }
        yield* flowing(client.deliver(bytes("d")), "100 millis")
        assert.strictEqual(network.wires.length, 4)
        assert.deepStrictEqual(received, ["a by 1", "b by 1", "c by 1", "d by 1"])
        const other = yield* connect({ ...network, link: network.newLink() })
        yield* flowing(other.deliver(bytes("e")))
        assert.strictEqual(received.at(-1), "e by 2")
      })
    )
  )

  it.effect("starts with the first input after the welcome, not before", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const server = yield* ServerTesting.start(network)
        const link = yield* RawClient.dial(network)
        yield* link.send(RawClient.hello())
        assert.strictEqual((yield* link.next)._tag, "Welcome")
        yield* flowing(Effect.sleep("1 second"))
        assert.strictEqual(yield* server.waiting, 0)
        yield* link.send(RawClient.nowhere)
        yield* settle
        assert.strictEqual(yield* server.waiting, 1)
      })
    )
  )

  it.effect("a welcome that was lost leaves no handler, and in the end no session", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make({ onConnect: (wire) => wire.toClient.blackhole(true) })
        const limits = { sessionsMax: 1, resumeWindow: "1 minute" } as const
        const server = yield* ServerTesting.start(network, { limits })
        const link = yield* RawClient.dial(network)
        yield* link.send(RawClient.hello())
        yield* settle
        network.wire().cut()
        yield* settle
        assert.deepStrictEqual(server.told(), ["SessionOpened", "LinkEnded LinkFailed ECONNRESET"])
        yield* TestClock.adjust("59999 millis")
        assert.strictEqual(server.events.length, 2)
        yield* TestClock.adjust("1 millis")
        assert.strictEqual(server.told()[2], "SessionEnded Failure")
        assert.strictEqual(yield* server.waiting, 0)
        const next = yield* RawClient.dial(network)
        network.wire().toClient.blackhole(false)
        yield* RawClient.begin(next)
        yield* server.next
      })
    )
  )

  it.effect("a welcome that could not be said leaves none either", () =>
    scenario(
      Effect.gen(function* () {
        const hello = Frame.encode(RawClient.hello())
        const network = yield* MemoryLink.make({ onConnect: (wire) => wire.toServer.cutAfter(hello.length) })
        const server = yield* ServerTesting.start(network, { limits: { resumeWindow: "1 minute" } })
        const link = yield* RawClient.dial(network)
        yield* link.send(hello)
        yield* settle
        assert.deepStrictEqual(server.told(), ["SessionOpened", "LinkRefused LinkFailed EPIPE"])
        yield* TestClock.adjust("1 minute")
        yield* settle
        assert.strictEqual(server.told()[2], "SessionEnded Failure")
        assert.strictEqual(yield* server.waiting, 0)
      })
    )
  )

  it.effect("its success closes the session in good order", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const handler = (session: ServerSession) => Effect.andThen(session.send(bytes("farewell")), session.end)
        const server = yield* ServerTesting.start(network, { handler })
        const client = yield* connect(network)
        const { received } = yield* collect(client)
        yield* flowing(client.join)
        assert.deepStrictEqual(received, ["farewell"])
        yield* settle
        assert.deepStrictEqual(server.told().slice(1), ["SessionEnded Success", "LinkEnded Closed"])
      })
    )
  )

  for (const [what, handler, detail] of [
    ["a failure", () => Effect.fail("no disk"), "no disk"],
    ["a defect", () => Effect.die("a bug"), "a bug"],
    [
      "a throw",
      () => {
        throw new Error("early")
      },
      "early"
    ]
  ] as ReadonlyArray<[string, () => Effect.Effect<never, string>, string]>) {
    it.effect(`${what} of it ends the session for both sides, and no other session`, () =>
      scenario(
        Effect.gen(function* () {
          const network = yield* MemoryLink.make()
          let runs = 0
          const lasting = (session: ServerSession) => session.handle(() => Effect.void)
          const server = yield* ServerTesting.start(network, {
            handler: (session) => (++runs === 1 ? lasting(session) : handler())
          })
          const other = yield* connect(network)
          yield* flowing(other.deliver(bytes("1")))
          const client = yield* connect({ ...network, link: network.newLink() })
          const { reason } = yield* Effect.flip(flowing(client.join))
          assert.deepInclude(reason, { _tag: "EndedByPeer", code: "Failed", detail, retryable: false })
          yield* flowing(other.deliver(bytes("2")))
          assert.include(server.told(), "SessionEnded Failure")
        })
      )
    )
  }

  it.effect("gets the typed end of its session, and then the patience of close to finish", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const seen: Array<string> = []
        const handler = (session: ServerSession) =>
          session
            .handle(() => Effect.void)
            .pipe(
              Effect.catch((error: ConnectionError.ConnectionError) => Effect.sync(() => seen.push(error.reason._tag))),
              Effect.andThen(Effect.never),
              Effect.onInterrupt(() => Effect.sync(() => seen.push("interrupted")))
            )
        const limits = { resumeWindow: "1 minute" } as const
        const server = yield* ServerTesting.start(network, { handler, limits, policy: { close: "7 seconds" } })
        yield* RawClient.begin(yield* RawClient.dial(network))
        yield* settle
        network.wire().cut()
        yield* settle
        yield* TestClock.adjust("1 minute")
        yield* settle
        assert.deepStrictEqual(seen, ["Expired"])
        assert.strictEqual(server.told().at(-1), "SessionEnded Failure")
        yield* TestClock.adjust("6999 millis")
        assert.deepStrictEqual(seen, ["Expired"])
        yield* TestClock.adjust("1 millis")
        yield* settle
        assert.deepStrictEqual(seen, ["Expired", "interrupted"])
      })
    )
  )
})

describe("Session: the resume window", () => {
  const cutOff = Effect.fnUntraced(function* () {
    const network = yield* MemoryLink.make()
    const server = yield* ServerTesting.start(network, {
      limits: { resumeWindow: "1 minute" },
      policy: { silence: "1 hour", stall: "1 hour" }
    })
    const ticket = yield* RawClient.begin(yield* RawClient.dial(network))
    const theirs = yield* server.next
    network.wire().cut()
    yield* settle
    return {
      network,
      server,
      theirs,
      resume: (epoch: number) =>
        Effect.flatMap(RawClient.dial(network), (link) => RawClient.resume(link, ticket, { epoch }))
    }
  })

  it.effect("one millisecond before its end the session resumes, and the window begins anew", () =>
    scenario(
      Effect.gen(function* () {
        const { network, resume, theirs } = yield* cutOff()
        assert.deepInclude(yield* theirs.state, { _tag: "Waiting", retryAt: 60_000 })
        yield* TestClock.adjust("59999 millis")
        assert.strictEqual((yield* resume(2))._tag, "Resumed")
        yield* settle
        assert.deepInclude(yield* theirs.state, { _tag: "Up", incarnation: 2, opened: "Resumed" })
        yield* TestClock.adjust("10 minutes")
        assert.deepInclude(yield* theirs.state, { _tag: "Up", incarnation: 2, opened: "Resumed" })
        network.wire().cut()
        yield* settle
        yield* TestClock.adjust("59999 millis")
        assert.strictEqual((yield* resume(3))._tag, "Resumed")
      })
    )
  )

  it.effect("at its end the session ends with Expired, and whoever comes for it then is told so", () =>
    scenario(
      Effect.gen(function* () {
        const { resume, server, theirs } = yield* cutOff()
        const sending = yield* Effect.forkChild(Effect.exit(theirs.deliver(bytes("x"))))
        yield* settle
        yield* TestClock.adjust("1 minute")
        const { reason } = yield* Effect.flip(theirs.join)
        assert.strictEqual(reason._tag, "Expired")
        assert.isTrue(Exit.isFailure(yield* Fiber.join(sending)))
        assert.deepInclude(yield* resume(2), { _tag: "Refused", code: "Expired" })
        assert.deepStrictEqual(server.told().slice(-2), ["SessionEnded Failure", "LinkRefused SessionLost"])
      })
    )
  )

  it.effect("an evicted link ends no session that lives on by a newer one", () =>
    scenario(
      Effect.gen(function* () {
        const { network, resume, theirs } = yield* cutOff()
        assert.strictEqual((yield* resume(2))._tag, "Resumed")
        network.wire().blackhole(true)
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* resume(3))._tag, "Resumed")
        yield* TestClock.adjust("10 minutes") // the evicted link is gone, and its window would be over
        assert.deepInclude(yield* theirs.state, { _tag: "Up", incarnation: 3 })
        network.wire().cut()
        yield* settle
        yield* TestClock.adjust("59 seconds")
        assert.strictEqual((yield* resume(4))._tag, "Resumed")
      })
    )
  )
})
