import { assert, describe, it } from "@effect/vitest"
import { Decoder, type Handshake } from "@holdfast/protocol"
import { Effect } from "effect"
import * as MemoryLink from "./MemoryLink.ts"
import * as RawClient from "./RawClient.ts"
import * as ServerTesting from "./ServerTesting.ts"
import { scenario } from "./ServerTesting.ts"
import { bytes, collect, connect, flowing, settle } from "./SessionTesting.ts"

/** A copy of what the client of this wire knows. */
const ticketOf = (wire: MemoryLink.Wire): RawClient.Ticket => {
  const seen: Array<Handshake.Welcome> = []
  const control = (frame: { readonly _tag: string }) => {
    if (frame._tag === "Welcome") seen.push(frame as Handshake.Welcome)
    return undefined
  }
  new Decoder.Decoder(65_536, { data: () => undefined, control }).push(wire.toClient.recorded())
  return seen[0]!
}

const codeOf = (answer: { readonly _tag: string; readonly code?: string }) => answer.code ?? answer._tag

describe("Session: epochs", () => {
  it.effect("a dial with a lower or an equal epoch is refused and does not touch the live link", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const server = yield* ServerTesting.start(network)
        const ticket = yield* RawClient.begin(yield* RawClient.dial(network), { epoch: 5 })
        const theirs = yield* server.next
        for (const epoch of [1, 4, 5]) {
          const answer = yield* RawClient.resume(yield* RawClient.dial(network), ticket, { epoch })
          assert.deepInclude(answer, { _tag: "Refused", code: "Fenced", epoch: 5 })
        }
        assert.deepInclude(yield* theirs.state, { _tag: "Up", incarnation: 1 })
        assert.isTrue(network.wires[0]?.isOpen())
        const answer = yield* RawClient.resume(yield* RawClient.dial(network), ticket, { epoch: 6 })
        assert.strictEqual(answer._tag, "Resumed")
      })
    )
  )

  it.effect("an old dial that arrives late is refused", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        yield* ServerTesting.start(network)
        const ticket = yield* RawClient.begin(yield* RawClient.dial(network))
        const late = yield* RawClient.dial(network)
        network.wire().toServer.blackhole(true)
        yield* late.send(RawClient.hello({ session: ticket.session, epoch: 2 }))
        const early = network.wire()
        const now = yield* RawClient.dial(network)
        assert.strictEqual((yield* RawClient.resume(now, ticket, { epoch: 3 }))._tag, "Resumed")
        early.toServer.blackhole(false)
        assert.deepInclude(yield* late.next, { _tag: "Refused", code: "Fenced", epoch: 3 })
        assert.isTrue(network.wire().isOpen())
      })
    )
  )

  it.effect("two dials at once: the later epoch wins, whichever proves first", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        yield* ServerTesting.start(network)
        const ticket = yield* RawClient.begin(yield* RawClient.dial(network))
        const challenged = Effect.fnUntraced(function* (epoch: number) {
          const link = yield* RawClient.dial(network)
          const hello = RawClient.hello({ session: ticket.session, epoch })
          yield* link.send(hello)
          const challenge = yield* link.next
          assert(challenge._tag === "Challenge")
          return Effect.andThen(link.send(RawClient.proof(ticket.secret, hello, challenge)), link.next)
        })
        const [second, third, fourth] = [yield* challenged(2), yield* challenged(3), yield* challenged(4)]
        assert.strictEqual(codeOf(yield* third), "Resumed")
        assert.strictEqual(codeOf(yield* second), "Fenced")
        assert.strictEqual(codeOf(yield* fourth), "Resumed")
      })
    )
  )

  it.effect("a newer incarnation evicts a half-open older one at once, however long that may be silent", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const server = yield* ServerTesting.start(network, { policy: { silence: "1 hour", stall: "1 hour" } })
        const client = yield* connect(network)
        const { received } = yield* collect(yield* server.next)
        yield* flowing(client.deliver(bytes("before")))
        network.wire().blackhole(true)
        yield* flowing(client.deliver(bytes("after")), "100 millis")
        assert.deepStrictEqual(received, ["before", "after"])
        assert.deepStrictEqual(server.told(), ["SessionOpened", "LinkEnded Fenced", "SessionResumed"])
        const ended = server.events[1]
        assert(ended?._tag === "LinkEnded" && ended.error.reason._tag === "Fenced")
        assert.deepInclude(ended, { incarnation: 1 })
        assert.deepInclude(ended.error.reason, { epoch: 1, byEpoch: 2 })
      })
    )
  )

  it.effect("a dial whose answer is stuck until a newer one has the session does not take it back", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make({ capacityBytes: 16 })
        const server = yield* ServerTesting.start(network)
        const ticket = yield* RawClient.begin(yield* RawClient.dial(network))
        const theirs = yield* server.next
        const stuck = yield* RawClient.dial(network)
        const hello = RawClient.hello({ session: ticket.session, epoch: 2 })
        yield* stuck.send(hello)
        const challenge = yield* stuck.next
        assert(challenge._tag === "Challenge")
        yield* stuck.send(RawClient.proof(ticket.secret, hello, challenge))
        yield* settle
        const now = yield* RawClient.dial(network)
        assert.strictEqual((yield* RawClient.resume(now, ticket, { epoch: 3 }))._tag, "Resumed")
        assert.deepInclude(yield* now.next, { _tag: "Positions" })
        assert.deepInclude(yield* now.next, { _tag: "Channels" })
        const { reason, tags } = yield* flowing(stuck.rest, "100 millis")
        assert.deepStrictEqual(tags, ["Resumed", "Close"])
        assert.strictEqual(reason._tag, "LinkClosed")
        yield* now.send(RawClient.nowhere)
        yield* theirs.send(bytes("to the newer one"))
        assert.deepInclude(yield* flowing(now.next), { _tag: "Data", offset: 0 })
        assert.deepStrictEqual(server.told(), [
          "SessionOpened",
          "LinkEnded Fenced",
          "SessionResumed",
          "LinkRefused Fenced"
        ])
        assert.deepInclude(server.events[2], { incarnation: 2 })
      })
    )
  )

  it.effect("nothing that still arrives on an evicted link moves the session", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const server = yield* ServerTesting.start(network)
        const old = yield* RawClient.dial(network)
        const ticket = yield* RawClient.begin(old)
        const theirs = yield* server.next
        const { received } = yield* collect(theirs)
        yield* old.send(RawClient.data(0, bytes("first")))
        const now = yield* RawClient.dial(network)
        assert.strictEqual((yield* RawClient.resume(now, ticket, { epoch: 2 }))._tag, "Resumed")
        yield* old.send(RawClient.data(6, bytes("late")))
        yield* flowing(Effect.sleep("500 millis"))
        assert.deepStrictEqual(received, ["first"])
        yield* now.send(RawClient.data(6, bytes("second")))
        yield* flowing(Effect.sleep("500 millis"))
        assert.deepStrictEqual(received, ["first", "second"])
        const { reason, tags } = yield* flowing(old.rest, "100 millis")
        assert.strictEqual(tags.at(-1), "Close")
        assert.strictEqual(reason._tag, "LinkClosed")
      })
    )
  )
})

describe("Session: two holders of one session", () => {
  const held = Effect.fnUntraced(function* () {
    const network = yield* MemoryLink.make({ record: true })
    const server = yield* ServerTesting.start(network)
    const client = yield* connect(network)
    yield* collect(yield* server.next)
    yield* flowing(client.deliver(bytes("mine")))
    const wire = network.wire()
    const thief = yield* RawClient.dial(network)
    const positions = { ...RawClient.nowhere, released: 0 }
    return { network, client, wire, steal: RawClient.resume(thief, ticketOf(wire), { epoch: 2 }, positions) }
  })

  it.effect("the one that loses it ends for good, and does not take it back", () =>
    scenario(
      Effect.gen(function* () {
        const { client, network, steal } = yield* held()
        assert.strictEqual((yield* steal)._tag, "Resumed")
        const { reason } = yield* Effect.flip(flowing(client.join))
        assert.deepInclude(reason, { _tag: "Fenced", epoch: 1, byEpoch: 2, retryable: false })
        assert.deepInclude(yield* Effect.flip(client.send(bytes("x"))), { reason })
        yield* flowing(Effect.sleep("5 seconds"), "1 second")
        assert.strictEqual(network.wires.length, 2)
        assert.isTrue(network.wire().isOpen())
      })
    )
  )

  it.effect("also when it does not hear that it has lost it, and dials again", () =>
    scenario(
      Effect.gen(function* () {
        const { client, network, steal, wire } = yield* held()
        wire.blackhole(true)
        assert.strictEqual((yield* steal)._tag, "Resumed")
        yield* settle
        wire.cut()
        const { reason } = yield* Effect.flip(flowing(client.join, "100 millis"))
        assert.deepInclude(reason, { _tag: "Fenced", epoch: 2, byEpoch: 2 })
        assert.strictEqual(network.wires.length, 3)
        assert.isTrue(network.wires[1]?.isOpen())
      })
    )
  )
})
