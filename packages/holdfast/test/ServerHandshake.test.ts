import { assert, describe, it } from "@effect/vitest"
import { Decoder, type Frame, Handshake } from "@holdfast/protocol"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { Link, Session } from "holdfast"
import * as MemoryLink from "./MemoryLink.ts"
import * as RawClient from "./RawClient.ts"
import * as ServerTesting from "./ServerTesting.ts"
import { scenario } from "./ServerTesting.ts"
import { bytes, collect, connect, crypto, flowing, settle } from "./SessionTesting.ts"

/** The control frames in these bytes. */
const framesOf = (recorded: Uint8Array): ReadonlyArray<Frame.Control> => {
  const frames: Array<Frame.Control> = []
  new Decoder.Decoder(65_536, { data: () => undefined, control: (frame) => void frames.push(frame) }).push(recorded)
  return frames
}

describe("Session: what the handshake proves", () => {
  it.effect("a proof with the session's secret resumes it, and evicts the link that had it", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const server = yield* ServerTesting.start(network)
        const ticket = yield* RawClient.begin(yield* RawClient.dial(network))
        const again = yield* RawClient.dial(network)
        const answer = yield* RawClient.resume(again, ticket, { epoch: 2 })
        assert.strictEqual(answer._tag, "Resumed")
        yield* settle
        assert.deepStrictEqual(server.told(), ["SessionOpened", "LinkEnded Fenced", "SessionResumed"])
      })
    )
  )

  it.effect("a proof with another secret is refused, and the live link goes on", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const server = yield* ServerTesting.start(network)
        const client = yield* connect(network)
        const { received } = yield* collect(yield* server.next)
        yield* flowing(client.deliver(bytes("before")))
        const [opened] = server.events
        assert(opened?._tag === "SessionOpened")
        const session = Buffer.from(opened.session, "hex")
        const thief = yield* RawClient.dial(network)
        const answer = yield* RawClient.resume(thief, { session, secret: new Uint8Array(32) }, { epoch: 7 })
        assert.deepInclude(answer, { _tag: "Refused", code: "Unauthorized", detail: "the proof does not hold" })
        yield* flowing(client.deliver(bytes("after")))
        assert.deepStrictEqual(received, ["before", "after"])
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(server.told(), ["SessionOpened", "LinkRefused Refused Unauthorized"])
      })
    )
  )

  it.effect("a recorded resume is refused, in whatever pieces it comes, and does not touch the session", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make({ record: true })
        const server = yield* ServerTesting.start(network)
        const client = yield* connect(network)
        const { received } = yield* collect(yield* server.next)
        network.wire().cut()
        yield* flowing(client.deliver(bytes("resumed")))
        assert.strictEqual(network.wires.length, 2)
        const recorded = network.wire().toServer.recorded()
        const [hello, proof] = framesOf(recorded)
        assert(hello?._tag === "Hello" && proof?._tag === "Proof")

        const replay = Effect.fnUntraced(function* (first: Frame.Control | Uint8Array) {
          const link = yield* RawClient.dial(network)
          yield* link.send(first)
          const answer = yield* link.next
          if (answer._tag !== "Challenge") return answer
          yield* link.send(proof)
          return yield* link.next
        })
        assert.deepInclude(yield* replay(hello), { _tag: "Refused", code: "Fenced", epoch: 2 })
        assert.deepInclude(yield* replay(recorded), { _tag: "Refused", code: "Malformed" })
        const raised = yield* replay({ ...hello, epoch: 99 })
        assert.deepInclude(raised, { _tag: "Refused", code: "Unauthorized", detail: "the proof does not hold" })

        yield* flowing(client.deliver(bytes("untouched")))
        assert.deepStrictEqual(received, ["resumed", "untouched"])
        assert.isTrue(network.wires[1]?.isOpen())
      })
    )
  )

  it.effect("a server that does not know the secret is not believed, and the client ends", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const client = yield* Effect.forkChild(Effect.flatMap(connect(network), (session) => Effect.flip(session.join)))
        const answer = Effect.fnUntraced(function* (...frames: ReadonlyArray<Frame.Control>) {
          const link = RawClient.speak(yield* Link.open(yield* network.accept))
          for (const frame of frames) {
            yield* link.next
            yield* link.send(frame)
          }
          return link
        })
        const heartbeatMillisMax = 2500
        const session = new Uint8Array(16)
        const secret = new Uint8Array(32).fill(1)
        yield* answer({
          _tag: "Welcome",
          version: 1,
          heartbeatMillisMax,
          terms: { limit: 1000, reserve: 1000, channelLimit: 8, growth: 0, channels: 0 },
          session,
          secret
        })
        yield* settle
        network.wire().cut()
        yield* Effect.forkChild(TestClock.adjust("20 seconds"))
        yield* answer(
          {
            _tag: "Challenge",
            version: 1,
            heartbeatMillisMax,
            nonce: new Uint8Array(32),
            positions: [RawClient.nowhere]
          },
          { _tag: "Resumed", mac: new Uint8Array(32) }
        )
        const { reason } = yield* Fiber.join(client)
        assert.deepInclude(reason, {
          _tag: "ProtocolViolated",
          by: "peer",
          rule: "mac: the server does not know the session's secret"
        })
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(network.wires.length, 2)
      })
    )
  )
})

describe("Session: what both sides must agree on", () => {
  const refused = Effect.fnUntraced(function* (parts: Partial<Handshake.Hello>) {
    const network = yield* MemoryLink.make()
    const server = yield* ServerTesting.start(network)
    const link = yield* RawClient.dial(network)
    yield* link.send(RawClient.hello(parts))
    const answer = yield* link.next
    yield* link.destroy
    yield* settle
    return { answer, told: server.told() }
  })

  it.effect("a client with no common version, with another definition or with other sizes is told so", () =>
    scenario(
      Effect.gen(function* () {
        const version = yield* refused({ versions: [2, 7] })
        assert.deepInclude(version.answer, { _tag: "Refused", code: "Version", detail: "this server speaks 1" })
        assert.deepStrictEqual(version.told, ["LinkRefused Refused Version"])
        const definition = yield* refused({ definition: "test/Other" })
        assert.deepInclude(definition.answer, { _tag: "Refused", code: "Definition" })
        const size = yield* refused({ messageBytesMax: 1000 })
        assert.deepInclude(size.answer, {
          _tag: "Refused",
          code: "Definition",
          detail: "this server serves test/Plain with messages up to 16777216 bytes"
        })
        const higher = yield* refused({ versions: [7, 1] })
        assert.deepInclude(higher.answer, { _tag: "Welcome", version: 1 })
      })
    )
  )

  it.effect("a client of another definition ends for good", () =>
    scenario(
      Effect.gen(function* () {
        class Smaller extends Session.Service<Smaller>()("test/Plain", { messageBytesMax: 1000 }) {}
        const network = yield* MemoryLink.make()
        yield* ServerTesting.start(network)
        const client = yield* Effect.provide(Smaller.make({ link: Effect.succeed(network.link) }), crypto)
        const { reason } = yield* Effect.flip(flowing(client.join))
        assert.deepInclude(reason, { _tag: "Refused", code: "Definition", retryable: false })
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(network.wires.length, 1)
      })
    )
  )

  const policies = Effect.fnUntraced(function* (
    server: Session.ServerOptions<never, never>["policy"],
    client = server
  ) {
    const network = yield* MemoryLink.make()
    const { told } = yield* ServerTesting.start(network, { policy: server })
    const session = yield* connect(network, { policy: client })
    yield* settle
    yield* TestClock.adjust("5 seconds")
    return { session, network, told }
  })

  it.effect(
    "a server whose silence never asks refuses a client that beats too slowly, for good and with a sentence",
    () =>
      scenario(
        Effect.gen(function* () {
          const { network, session, told } = yield* policies({ silence: "3 seconds" }, { heartbeat: "3 seconds" })
          const { reason } = yield* Effect.flip(session.join)
          assert.deepInclude(reason, { _tag: "Refused", code: "Policy", retryable: false })
          assert.include(reason.message, "silence waits once for 3s and never asks")
          assert.deepStrictEqual(told(), ["LinkRefused Refused Policy"])
          yield* TestClock.adjust("1 hour")
          assert.strictEqual(network.wires.length, 1)
        })
      )
  )

  it.effect("a client whose silence never asks refuses a server that beats too slowly", () =>
    scenario(
      Effect.gen(function* () {
        const { network, session } = yield* policies({ heartbeat: "3 seconds" }, { silence: "3 seconds" })
        const { reason } = yield* Effect.flip(session.join)
        assert.deepInclude(reason, { _tag: "Refused", code: "Policy", retryable: false })
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(network.wires.length, 1)
      })
    )
  )

  it.effect("a silence that is longer than the heartbeat, or that asks, is fine", () =>
    scenario(
      Effect.gen(function* () {
        const longer = yield* policies({ silence: "3 seconds", heartbeat: "2999 millis" })
        assert.strictEqual((yield* longer.session.state)._tag, "Up")
        const asking = yield* policies({ heartbeat: "Infinity" })
        assert.strictEqual((yield* asking.session.state)._tag, "Up")
      })
    )
  )
})
