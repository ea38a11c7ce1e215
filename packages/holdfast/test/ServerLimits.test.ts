import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Option, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { Session } from "holdfast"
import * as MemoryLink from "./MemoryLink.ts"
import * as RawClient from "./RawClient.ts"
import * as ServerTesting from "./ServerTesting.ts"
import { scenario } from "./ServerTesting.ts"
import { bytes, collect, connect, flowing, settle } from "./SessionTesting.ts"

const another = (network: MemoryLink.Network) => connect({ ...network, link: network.newLink() })

/** Asks for a session, and says how it was answered. */
const ask = Effect.fnUntraced(function* (network: MemoryLink.Network, name = "") {
  const link = yield* RawClient.dial(network)
  yield* link.send(RawClient.hello({ credentials: bytes(name) }))
  const answer = yield* link.next
  return { link, answer: "detail" in answer ? `${"code" in answer ? answer.code : ""}: ${answer.detail}` : answer._tag }
})

describe("Session: the limits of a server", () => {
  it.effect(
    "a full server refuses newcomers with a hint that they follow, evicts nobody, and takes them when there is room",
    () =>
      scenario(
        Effect.gen(function* () {
          const network = yield* MemoryLink.make()
          const limits = { sessionsMax: 1, retryAfter: "25 seconds" } as const
          const server = yield* ServerTesting.start(network, { limits })
          const first = yield* connect(network)
          yield* collect(yield* server.next)
          const second = yield* another(network)
          yield* settle
          const state = yield* second.state
          assert(state._tag === "Waiting" && Option.isSome(state.error))
          const detail = "1 sessions (sessionsMax)"
          assert.deepInclude(state.error.value.reason, { _tag: "Refused", code: "Full", detail, retryable: true })
          yield* TestClock.adjust("24999 millis")
          assert.strictEqual(network.wires.length, 2)
          yield* flowing(first.deliver(bytes("still here")))
          yield* flowing(first.close)
          yield* collect(yield* flowing(server.next, "1 second"))
          yield* flowing(second.deliver(bytes("at last")))
          assert.deepInclude(yield* second.state, { _tag: "Up", opened: "Fresh" })
        })
      )
  )

  it.effect("newcomers that come all at once get no more places than there are", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        yield* ServerTesting.start(network, { limits: { sessionsMax: 5 } })
        const answers = yield* Effect.all(
          Array.from({ length: 20 }, () => ask(network)),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(answers.filter(({ answer }) => answer === "Welcome").length, 5)
        assert.strictEqual(answers.filter(({ answer }) => answer === "Full: 5 sessions (sessionsMax)").length, 15)
      })
    )
  )

  it.effect("a principal has so many places and leaves the rest to the others", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const authorize = ({ credentials }: Session.Applicant) =>
          Effect.succeed(Session.authorized(Redacted.value(credentials)))
        yield* ServerTesting.start(network, {
          authorize,
          limits: { sessionsPerPrincipalMax: 2, resumeWindow: "1 minute" }
        })
        const first = yield* ask(network, "ada")
        assert.strictEqual((yield* ask(network, "ada")).answer, "Welcome")
        const full = "Full: 2 sessions of this principal (sessionsPerPrincipalMax)"
        assert.strictEqual((yield* ask(network, "ada")).answer, full)
        assert.strictEqual((yield* ask(network, "bob")).answer, "Welcome")
        yield* first.link.send({ _tag: "Close", code: "Normal", epoch: 0, detail: "" })
        yield* settle
        assert.strictEqual((yield* ask(network, "ada")).answer, "Welcome")
        assert.strictEqual((yield* ask(network, "ada")).answer, full)
      })
    )
  )

  it.effect("an address has so many places, too", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        let address = "10.0.0.1"
        const limits = { sessionsPerAddressMax: 1 }
        yield* ServerTesting.start(
          ServerTesting.from(network, () => address),
          { limits }
        )
        const first = yield* ask(network)
        assert.strictEqual((yield* ask(network)).answer, "Full: 1 sessions from this address (sessionsPerAddressMax)")
        address = "10.0.0.2"
        assert.strictEqual((yield* ask(network)).answer, "Welcome")
        address = "10.0.0.1"
        yield* first.link.send({ _tag: "Close", code: "Normal", epoch: 0, detail: "" })
        yield* settle
        assert.strictEqual((yield* ask(network)).answer, "Welcome")
      })
    )
  )

  it.effect(
    "beyond the handshakes that it bears a server says Full with a hint, and beyond twice as many nothing",
    () =>
      scenario(
        Effect.gen(function* () {
          const network = yield* MemoryLink.make()
          const server = yield* ServerTesting.start(network, { limits: { handshakesMax: 2, retryAfter: "3 seconds" } })
          for (let i = 0; i < 2; i++) yield* RawClient.dial(network) // and say nothing
          yield* settle
          const refused = [yield* RawClient.dial(network), yield* RawClient.dial(network)] as const
          for (const link of refused) {
            yield* link.send(RawClient.hello())
            assert.deepInclude(yield* link.next, { _tag: "Refused", code: "Full", retryAfterMillis: 3000 })
          }
          const dropped = yield* RawClient.dial(network)
          assert.deepStrictEqual((yield* dropped.rest).tags, [])
          yield* settle
          assert.deepStrictEqual(
            server.told(),
            Array.from({ length: 3 }, () => "LinkRefused Refused Full")
          )
          // Those who were refused stay no longer than a second, the silent ones as long as the patience of open.
          yield* TestClock.adjust("1 second")
          assert.isFalse(network.wires[2]?.isOpen())
          assert.strictEqual((yield* ask(network)).answer, "Full: 2 handshakes (handshakesMax)")
          const client = yield* another(network)
          yield* flowing(server.next, "1 second")
          assert.strictEqual((yield* client.state)._tag, "Up")
        })
      )
  )

  it.effect("one address cannot take all handshakes from the others", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        let address = "10.0.0.1"
        const limits = { handshakesPerAddressMax: 2 }
        yield* ServerTesting.start(
          ServerTesting.from(network, () => address),
          { limits }
        )
        for (let i = 0; i < 2; i++) yield* RawClient.dial(network) // and say nothing
        yield* settle
        const full = "Full: 2 handshakes from this address (handshakesPerAddressMax)"
        assert.strictEqual((yield* ask(network)).answer, full)
        address = "10.0.0.2"
        assert.strictEqual((yield* ask(network)).answer, "Welcome")
        address = "10.0.0.1"
        yield* TestClock.adjust("10 seconds")
        yield* settle
        assert.strictEqual((yield* ask(network)).answer, "Welcome")
      })
    )
  )

  it.effect("a client that sends to a handler that reads nothing is held at its window, and lives", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const server = yield* ServerTesting.start(network, { limits: { windowBytes: 10_000 } })
        const client = yield* connect(network)
        const theirs = yield* server.next
        yield* client.sendAll(Array.from({ length: 100 }, () => new Uint8Array(1000)))
        yield* flowing(Effect.sleep("1 minute"), "1 second")
        assert.isBelow(network.wire().toServer.read(), 11_000)
        assert.strictEqual((yield* client.state)._tag, "Up")
        yield* collect(theirs)
        yield* flowing(client.flush)
        assert.strictEqual(network.wires.length, 1)
      })
    )
  )
})

describe("Session: the bytes of all sessions together", () => {
  it.effect("beyond the budget newcomers are refused and sends wait, until something was taken", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const server = yield* ServerTesting.start(network, { limits: { bytesMax: 10_000, windowBytes: 20_000 } })
        const sender = yield* connect(network)
        const first = yield* server.next
        yield* another(network)
        const second = yield* server.next
        yield* second.send(bytes("fits"))
        yield* flowing(Effect.sleep("1 second"))
        yield* sender.send(new Uint8Array(15_000)) // nobody reads it
        yield* flowing(Effect.sleep("1 second"))
        assert.strictEqual((yield* ask(network)).answer, "Full: 10000 bytes held for all sessions (bytesMax)")
        const sending = yield* Effect.forkChild(second.send(bytes("waits")))
        yield* flowing(Effect.sleep("1 minute"), "1 second")
        assert.isUndefined(sending.pollUnsafe())
        yield* collect(first)
        yield* Fiber.join(sending)
        assert.strictEqual((yield* ask(network)).answer, "Welcome")
      })
    )
  )

  it.effect("a handler still answers one by one when others have used up the budget", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        let isGreedy = true
        const handler = (session: ServerTesting.ServerSession) => {
          if (!isGreedy) return session.handle(session.send)
          isGreedy = false
          return Effect.never
        }
        yield* ServerTesting.start(network, { handler, limits: { bytesMax: 10_000, windowBytes: 20_000 } })
        const client = yield* connect(network)
        yield* settle
        const other = yield* another(network)
        yield* settle
        yield* client.send(new Uint8Array(15_000))
        yield* flowing(Effect.sleep("1 second"))
        const { received } = yield* collect(other)
        yield* other.sendAll(["a", "b", "c"].map(bytes))
        yield* flowing(Effect.sleep("1 second"))
        assert.deepStrictEqual(received, ["a", "b", "c"])
        assert.strictEqual((yield* ask(network)).answer, "Full: 10000 bytes held for all sessions (bytesMax)")
      })
    )
  )

  it.effect("what a session held is given back when it ends", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const limits = { bytesMax: 10_000, windowBytes: 20_000, resumeWindow: "1 minute" } as const
        const server = yield* ServerTesting.start(network, { limits })
        const ticket = yield* RawClient.dial(network)
        yield* RawClient.begin(ticket)
        yield* server.next
        yield* ticket.send(RawClient.data(0, ...Array.from({ length: 201 }, () => new Uint8Array(49))))
        yield* settle
        network.wire().cut()
        yield* settle
        assert.strictEqual((yield* ask(network)).answer, "Full: 10000 bytes held for all sessions (bytesMax)")
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* ask(network)).answer, "Welcome")
      })
    )
  )
})
