import { assert, describe, it } from "@effect/vitest"
import { Frame } from "@holdfast/protocol"
import { Clock, Effect, type Scope } from "effect"
import type { Link, Policy } from "holdfast"
import * as MemoryLink from "./MemoryLink.ts"
import * as RawClient from "./RawClient.ts"
import * as Rubbish from "./Rubbish.ts"
import * as ServerTesting from "./ServerTesting.ts"
import { scenario } from "./ServerTesting.ts"
import { bytes, collect, connect, flowing, settle } from "./SessionTesting.ts"
import { until } from "./TestTime.ts"

/** One session that goes on undisturbed while `harm` is done to its server, and exactly the events that it caused. */
const beside = <E>(
  harm: (network: MemoryLink.Network, server: ServerTesting.Server) => Effect.Effect<void, E, Scope.Scope>,
  ...expected: ReadonlyArray<string>
) => besideWith({}, harm, ...expected)

const besideWith = <E>(
  policy: Policy.Options,
  harm: (network: MemoryLink.Network, server: ServerTesting.Server) => Effect.Effect<void, E, Scope.Scope>,
  ...expected: ReadonlyArray<string>
) =>
  scenario(
    Effect.gen(function* () {
      const network = yield* MemoryLink.make()
      const server = yield* ServerTesting.start(network, { policy, limits: { windowBytes: 1000 } })
      const other = yield* connect(network)
      const { received } = yield* collect(yield* server.next)
      yield* flowing(other.deliver(bytes("before")))
      server.events.length = 0
      yield* harm(network, server)
      yield* settle
      assert.deepStrictEqual(server.told(), expected)
      yield* flowing(other.deliver(bytes("after")))
      assert.deepStrictEqual(received, ["before", "after"])
      assert.isTrue(network.wires[0]?.isOpen())
    })
  )

describe("Session: what comes instead of a handshake costs one connection and one event:", () => {
  for (const [what, rubbish, rule] of Rubbish.first) {
    it.effect(what, () =>
      beside(
        Effect.fnUntraced(function* (network) {
          const link = yield* RawClient.dial(network)
          yield* link.send(rubbish)
          assert.deepInclude(yield* link.next, { _tag: "Refused", code: "Malformed" })
          yield* link.send(bytes("and more of the same"))
          yield* link.destroy
        }),
        `LinkRefused ProtocolViolated ${rule}`
      )
    )
  }

  it.effect("an end at once", () =>
    beside(
      Effect.fnUntraced(function* (network) {
        yield* RawClient.dial(network)
        network.wire().close("client")
      }),
      "LinkRefused LinkClosed 1000"
    )
  )

  it.effect("a peer that does not read its refusal", () =>
    beside(
      Effect.fnUntraced(function* (network) {
        const link = yield* RawClient.dial(network)
        const start = yield* Clock.currentTimeMillis
        yield* link.send(new Uint8Array(10))
        yield* until(start + 999)
        assert.isTrue(network.wire().isOpen())
        yield* until(start + 1000)
        assert.isFalse(network.wire().isOpen())
      }),
      "LinkRefused ProtocolViolated frame-type"
    )
  )

  it.effect("text, where frames are binary", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const speaksText = (link: Link.Link): Link.Link => ({
          ...link,
          reader: Effect.map(link.reader, (reader) => ({ ...reader, pull: Effect.as(reader.pull, ["hello"] as const) }))
        })
        const server = yield* ServerTesting.start(ServerTesting.behind(network, speaksText))
        const link = yield* RawClient.dial(network)
        yield* link.send(RawClient.hello())
        assert.deepInclude(yield* link.next, { _tag: "Refused", code: "Malformed" })
        yield* settle
        assert.deepStrictEqual(server.told(), ["LinkRefused ProtocolViolated frames are binary, never text"])
      })
    )
  )

  const half = Frame.encode(RawClient.hello()).subarray(0, 40)
  const slow = [
    ["nothing at all", []],
    ["half a handshake", [half]],
    ["one byte every two seconds", Array.from(half.subarray(0, 5), (byte) => Uint8Array.of(byte))]
  ] as const

  for (const [what, pieces] of slow) {
    it.effect(`${what}, when the patience of open is over`, () =>
      beside(
        Effect.fnUntraced(function* (network) {
          const link = yield* RawClient.dial(network)
          yield* settle
          const start = yield* Clock.currentTimeMillis
          for (const [i, piece] of pieces.entries()) {
            yield* until(start + i * 2000)
            yield* link.send(piece)
          }
          yield* until(start + 9999)
          assert.isTrue(network.wire().isOpen())
          yield* until(start + 10_000)
          assert.isFalse(network.wire().isOpen())
        }),
        "LinkRefused OpenTimedOut"
      )
    )
  }
})

describe("Session: what comes after the handshake costs one connection and one event, not the session:", () => {
  const open = Effect.fnUntraced(function* (network: MemoryLink.Network, server: ServerTesting.Server) {
    const link = yield* RawClient.dial(network)
    const ticket = yield* RawClient.begin(link)
    const { received } = yield* collect(yield* server.next)
    const resumed = Effect.gen(function* () {
      const again = yield* RawClient.dial(network)
      assert.strictEqual((yield* RawClient.resume(again, ticket, { epoch: 2 }))._tag, "Resumed")
      yield* again.send(RawClient.data(0, bytes("resumed")))
      yield* settle
      assert.deepStrictEqual(received, ["resumed"])
    })
    return { link, resumed, wire: network.wire() }
  })

  for (const [what, rubbish, rule] of Rubbish.later) {
    it.effect(what, () =>
      beside(
        Effect.fnUntraced(function* (network, server) {
          const { link, resumed } = yield* open(network, server)
          yield* link.send(rubbish)
          const said = yield* link.next.pipe(Effect.repeat({ until: ({ _tag }) => _tag === "Close" }))
          assert.deepInclude(said, { code: "Violated" })
          yield* link.destroy
          yield* resumed
        }),
        "SessionOpened",
        `LinkEnded ProtocolViolated ${rule}`,
        "SessionResumed"
      )
    )
  }

  it.effect("a message that is too long", () =>
    beside(
      Effect.fnUntraced(function* (network, server) {
        const { link } = yield* open(network, server)
        yield* link.send(Rubbish.tooLong)
        yield* settle
        yield* link.destroy
      }),
      "SessionOpened",
      "LinkEnded ProtocolViolated message-length"
    )
  )

  it.effect("a frame that does not end, when the patience for a frame is over, though the peer is not silent", () =>
    besideWith(
      { silence: "5 minutes" },
      Effect.fnUntraced(function* (network, server) {
        const { link, resumed, wire } = yield* open(network, server)
        const start = yield* Clock.currentTimeMillis
        const frame = Frame.encode({ _tag: "Ping", id: 1 })
        yield* link.send(frame)
        yield* until(start + 1000)
        yield* link.send(frame.subarray(0, 1))
        yield* until(start + 30_999)
        assert.isTrue(wire.isOpen())
        yield* until(start + 31_000)
        yield* link.destroy
        yield* resumed
      }),
      "SessionOpened",
      "LinkEnded LinkFailed",
      "SessionResumed"
    )
  )

  it.effect("a message whose bytes stop coming, and not while they come, however slowly", () =>
    besideWith(
      { silence: "5 minutes" },
      Effect.fnUntraced(function* (network, server) {
        const { link, resumed, wire } = yield* open(network, server)
        const start = yield* Clock.currentTimeMillis
        const frame = RawClient.data(0, bytes("resumed"), new Uint8Array(100))
        for (let n = 0; n < 10; n++) {
          yield* until(start + n * 20_000)
          assert.isTrue(wire.isOpen())
          yield* link.send(frame.subarray(n * 8, n * 8 + 8))
        }
        yield* until(start + 209_999)
        assert.isTrue(wire.isOpen())
        yield* until(start + 210_000)
        yield* link.destroy
        yield* resumed
      }),
      "SessionOpened",
      "LinkEnded LinkFailed",
      "SessionResumed"
    )
  )

  it.effect("nothing at all, when the patience of silence is over", () =>
    beside(
      Effect.fnUntraced(function* (network, server) {
        const { resumed, wire } = yield* open(network, server)
        const start = yield* Clock.currentTimeMillis
        yield* until(start + 9999)
        assert.isTrue(wire.isOpen())
        yield* until(start + 10_000)
        assert.isFalse(wire.isOpen())
        yield* resumed
      }),
      "SessionOpened",
      "LinkEnded PeerSilent",
      "SessionResumed"
    )
  )
})
