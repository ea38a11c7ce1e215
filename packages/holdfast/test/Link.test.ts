import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import * as Socket from "effect/socket/Socket"
import { ConnectionError, Link } from "holdfast"
import * as MemoryLink from "./MemoryLink.ts"
import { settle } from "./TestTime.ts"

/** A socket whose every call ends as told. */
const socket = (parts: {
  readonly dial?: Effect.Effect<void, Socket.SocketError>
  readonly pull?: Effect.Effect<readonly [Uint8Array | string], Socket.SocketError>
  readonly write?: Effect.Effect<void, Socket.SocketError>
}) =>
  Socket.make({
    reader: Effect.as(parts.dial ?? Effect.void, {
      pull: parts.pull ?? Effect.never,
      upgrade: Socket.SocketUpgradeError.unsupported
    }),
    writer: Effect.succeed({
      write: () => parts.write ?? Effect.void,
      writeAll: () => parts.write ?? Effect.void
    })
  })

const fails = (reason: Socket.SocketErrorReason) => Effect.fail(new Socket.SocketError({ reason }))
const cause = Object.assign(new Error("broken"), { code: "EPIPE" })
const chunks = [Uint8Array.of(1)] as const

const summary = ({ reason }: ConnectionError.ConnectionError) =>
  reason._tag === "LinkFailed" ? [reason._tag, reason.during, reason.code] : [reason._tag]

describe("Link", () => {
  it.effect("a dial that fails is a LinkFailed of the dial, with the system's code", () =>
    Effect.gen(function* () {
      for (const kind of ["Unknown", "Timeout"] as const) {
        const error = yield* Effect.flip(
          Link.open(socket({ dial: fails(new Socket.SocketOpenError({ kind, cause })) }))
        )
        assert.deepStrictEqual(summary(error), ["LinkFailed", "dial", "EPIPE"])
      }
    })
  )

  it.effect("reading and writing fail with what was going on, and without a code if the system gave none", () =>
    Effect.gen(function* () {
      const link = yield* Link.open(
        socket({
          pull: fails(new Socket.SocketReadError({ cause: "gone" })),
          write: fails(new Socket.SocketWriteError({ cause }))
        })
      )
      assert.deepStrictEqual(summary(yield* Effect.flip(link.pull)), ["LinkFailed", "read", undefined])
      assert.deepStrictEqual(summary(yield* Effect.flip(link.write(chunks))), ["LinkFailed", "write", "EPIPE"])
    })
  )

  it.effect("an orderly end is a LinkClosed with its code and what the link knows to be unacknowledged", () =>
    Effect.gen(function* () {
      const closing = socket({ pull: fails(new Socket.SocketCloseError({ code: 1001 })) })
      for (const [progress, bytes] of [
        [undefined, 0],
        [() => ({ queuedBytes: 7 }), 7],
        [() => ({ queuedBytes: 7, unacknowledgedBytes: 9 }), 16]
      ] as const) {
        const opened = yield* Link.open({ ...closing, progress })
        const { reason } = yield* Effect.flip(opened.pull)
        assert(reason._tag === "LinkClosed")
        assert.deepStrictEqual([reason.code, reason.unacknowledgedBytes], [1001, bytes])
      }
    })
  )

  it.effect("text is the peer's violation", () =>
    Effect.gen(function* () {
      const link = yield* Link.open(socket({ pull: Effect.succeed(["hello"]) }))
      const { reason } = yield* Effect.flip(link.pull)
      assert.deepStrictEqual([reason._tag, reason.endedBy, reason.retryable], ["ProtocolViolated", "us", false])
    })
  )

  it.effect("destroy is the link's own, where it has one", () =>
    Effect.gen(function* () {
      let destroyed = 0
      const link = yield* Link.open({ ...socket({}), destroy: Effect.sync(() => void destroyed++) })
      yield* link.destroy
      assert.strictEqual(destroyed, 1)
    })
  )

  it.effect("destroy waits for nothing, even where the close event cannot be written", () =>
    Effect.gen(function* () {
      for (const write of [Effect.never, Effect.die("bug"), fails(new Socket.SocketWriteError({ cause }))]) {
        const link = yield* Link.open(socket({ write }))
        yield* link.destroy
      }
    })
  )

  it.effect("closing the scope fails a pull that waits, and tells the peer", () =>
    Effect.gen(function* () {
      const { client, server } = yield* MemoryLink.makePair()
      const scope = yield* Scope.make()
      const mine = yield* Link.open(client).pipe(Scope.provide(scope))
      const theirs = yield* Link.open(server)
      const reading = yield* Effect.forkChild(Effect.flip(mine.pull))
      yield* settle
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(reading)).reason._tag, "LinkClosed")
      assert.strictEqual((yield* Effect.flip(theirs.pull)).reason._tag, "LinkClosed")
    })
  )

  it.effect("a write that waits in one incarnation never arrives in the next", () =>
    Effect.gen(function* () {
      const network = yield* MemoryLink.make({ capacityBytes: 4, record: true })
      const writing = Effect.gen(function* () {
        const link = yield* Link.open(network.link)
        yield* Effect.forkScoped(Effect.ignore(link.write([new Uint8Array(100)])))
        yield* settle
      })
      yield* Effect.scoped(writing)
      const next = yield* Link.open(network.link)
      yield* network.accept
      const server = yield* Link.open(yield* network.accept)
      yield* next.write([Uint8Array.of(1, 2)])
      assert.deepStrictEqual(yield* server.pull, [Uint8Array.of(1, 2)])
      yield* settle
      assert.strictEqual(network.wire().toServer.written(), 2)
    })
  )

  it.effect(
    "dial runs the effect that makes a link; its failure is a LinkFailed, a ConnectionError stays what it is",
    () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Link.dial(Effect.fail(cause)))
        assert.deepStrictEqual(summary(error), ["LinkFailed", "dial", "EPIPE"])
        const fenced = ConnectionError.make(new ConnectionError.Fenced({ epoch: 1, byEpoch: 2 }))
        assert.strictEqual(yield* Effect.flip(Link.dial(Effect.fail(fenced))), fenced)
        yield* Link.dial(Effect.succeed(socket({})))
      })
  )

  it("isLink says no to a plain Socket and to what is none", () => {
    const plain = socket({})
    assert.isTrue(Link.isLink({ ...plain, destroy: Effect.void }))
    assert.isTrue(Link.isLink({ ...plain, progress: () => ({ queuedBytes: 0 }) }))
    for (const other of [plain, { destroy: Effect.void }, undefined, null, "link"]) assert.isFalse(Link.isLink(other))
  })
})
