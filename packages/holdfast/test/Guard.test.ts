import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Fiber, Layer, Option, Schedule, Schema, Scope } from "effect"
import { Rpc, RpcClient, RpcGroup, RpcSerialization, RpcServer } from "effect/rpc"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import { ConnectionError, Guard, type Link } from "holdfast"
import * as MemoryLink from "./MemoryLink.ts"
import { settle, unsteady, until } from "./TestTime.ts"

const bytes = (length: number) => new Uint8Array(length)

/** The typed reason inside a SocketError, the tag of that error's own reason, and when it came. */
const verdictOf = (error: Socket.SocketError) => {
  const { reason } = error
  const cause = "cause" in reason ? reason.cause : undefined
  return [reason._tag, ConnectionError.isConnectionError(cause) ? cause.reason._tag : cause] as const
}

/** Runs an effect in the background and tells how it failed, and when. */
const failing = Effect.fnUntraced(function* <A>(effect: Effect.Effect<A, Socket.SocketError, Scope.Scope>) {
  let failure: { readonly verdict: readonly [string, unknown]; readonly at: number } | undefined
  const fiber = yield* effect.pipe(
    Effect.flip,
    Effect.flatMap((error) =>
      Effect.map(Clock.currentTimeMillis, (at) => {
        failure = { verdict: verdictOf(error), at }
      })
    ),
    Effect.forkScoped({ startImmediately: true })
  )
  yield* settle
  return { fiber, failure: () => failure }
})

interface Setup extends Guard.Options {
  readonly network?: MemoryLink.Options
  readonly decorate?: (link: Link.Link) => Link.Link
}

/** A guarded client that is connected, and the other side. */
const guarded = Effect.fnUntraced(function* (setup: Setup = {}) {
  const network = yield* MemoryLink.make(setup.network)
  const link = yield* Guard.make(setup.decorate?.(network.link) ?? network.link, setup)
  const scope = yield* Scope.fork(yield* Effect.scope)
  const { pull } = yield* Scope.provide(link.reader, scope)
  const writer = yield* link.writer
  const server = yield* network.accept
  const serverPull = (yield* server.reader).pull
  const serverWriter = yield* server.writer
  return { network, link, scope, pull, writer, serverPull, serverWriter }
})

const forever = <A, E>(pull: Effect.Effect<A, E>): Effect.Effect<never, E> => Effect.forever(pull)

describe("a guarded dial", () => {
  it.effect("fails at the instant of `open` with the typed reason, and not before", () =>
    Effect.gen(function* () {
      const network = yield* MemoryLink.make()
      network.hang(true)
      const link = yield* Guard.make(network.link, { policy: { open: "5 seconds" } })
      const dial = yield* failing(link.reader)
      yield* until(4999)
      assert.isUndefined(dial.failure())
      yield* until(5000)
      assert.deepStrictEqual(dial.failure(), { verdict: ["SocketOpenError", "OpenTimedOut"], at: 5000 })
    })
  )

  it.effect("that is slower than nothing but within `open` succeeds", () =>
    Effect.gen(function* () {
      const network = yield* MemoryLink.make()
      network.hang(true)
      const link = yield* Guard.make(network.link, { policy: { open: "5 seconds" } })
      const dial = yield* Effect.forkScoped(link.reader, { startImmediately: true })
      yield* until(4999)
      network.hang(false)
      yield* settle
      assert.strictEqual(dial.pollUnsafe()?._tag, "Success")
    })
  )

  it.effect("that is refused fails with the socket's own error", () =>
    Effect.gen(function* () {
      const network = yield* MemoryLink.make()
      network.refuse(1)
      const link = yield* Guard.make(network.link)
      const { reason } = yield* Effect.flip(link.reader)
      assert.isTrue(reason._tag === "SocketOpenError" && reason.kind === "Unknown")
    })
  )

  it.effect("is not made with a policy that cannot work", () =>
    Effect.gen(function* () {
      const network = yield* MemoryLink.make()
      const error = yield* Effect.flip(Guard.make(network.link, { policy: { stall: Schedule.spaced("5 seconds") } }))
      assert.deepStrictEqual(error.fields, ["stall"])
    })
  )
})

describe("the silence of a peer", () => {
  it.effect("is nobody's fault unless the policy sets it: hours pass", () =>
    Effect.gen(function* () {
      const { pull } = yield* guarded()
      const reading = yield* failing(pull)
      yield* until(Duration.toMillis("12 hours"))
      assert.isUndefined(reading.failure())
    })
  )

  it.effect("ends the connection at its instant, counted from the last byte", () =>
    Effect.gen(function* () {
      const { pull, serverWriter } = yield* guarded({ policy: { silence: "10 seconds" } })
      const reading = yield* failing(forever(pull))
      yield* until(4000)
      yield* serverWriter.write("x")
      yield* until(13_999)
      assert.isUndefined(reading.failure())
      yield* until(14_000)
      assert.deepStrictEqual(reading.failure(), { verdict: ["SocketReadError", "PeerSilent"], at: 14_000 })
    })
  )

  it.effect("does not count while nobody pulls, and counts again from the next pull", () =>
    Effect.gen(function* () {
      const { pull, serverWriter } = yield* guarded({ policy: { silence: "10 seconds" } })
      yield* until(3_600_000)
      yield* serverWriter.write("x")
      yield* settle
      yield* pull
      yield* until(7_200_000)
      const reading = yield* failing(pull)
      yield* until(7_209_999)
      assert.isUndefined(reading.failure())
      yield* until(7_210_000)
      assert.deepStrictEqual(reading.failure()?.verdict, ["SocketReadError", "PeerSilent"])
    })
  )

  it.effect("is not put off by a reader that gives up pulling and pulls again", () =>
    Effect.gen(function* () {
      const { pull } = yield* guarded({ policy: { silence: "10 seconds" } })
      const impatient = Effect.forever(Effect.timeoutOption(pull, "1 second"))
      const reading = yield* failing(impatient)
      yield* until(9999)
      assert.isUndefined(reading.failure())
      yield* until(10_000)
      assert.deepStrictEqual(reading.failure(), { verdict: ["SocketReadError", "PeerSilent"], at: 10_000 })
    })
  )

  it.effect("that only our own blocked event loop noticed is waited for once more", () =>
    Effect.gen(function* () {
      const { clock } = yield* unsteady([9000, 30_000])
      const { pull } = yield* Effect.provideService(guarded({ policy: { silence: "10 seconds" } }), Clock.Clock, clock)
      const reading = yield* failing(Effect.provideService(pull, Clock.Clock, clock))
      yield* until(39_999)
      assert.isUndefined(reading.failure())
      yield* until(40_000)
      assert.deepStrictEqual(reading.failure()?.verdict, ["SocketReadError", "PeerSilent"])
    })
  )
})

describe("a write that does not move", () => {
  it.effect("ends the connection after 30 s, for its reader and for itself", () =>
    Effect.gen(function* () {
      const { pull, writer } = yield* guarded({ network: { capacityBytes: 1000 } })
      const reading = yield* failing(forever(pull))
      yield* until(1000)
      const writing = yield* failing(writer.write(bytes(1500)))
      yield* until(30_999)
      assert.isUndefined(reading.failure())
      assert.isUndefined(writing.failure())
      yield* until(31_000)
      assert.deepStrictEqual(reading.failure(), { verdict: ["SocketReadError", "WriteStuck"], at: 31_000 })
      assert.deepStrictEqual(writing.failure(), { verdict: ["SocketWriteError", "WriteStuck"], at: 31_000 })
    })
  )

  it.effect("is waited for while it moves, however slowly", () =>
    Effect.gen(function* () {
      const { pull, serverPull, writer } = yield* guarded({
        network: { capacityBytes: 100_000, bytesPerSecond: 100 }
      })
      const reading = yield* failing(forever(pull))
      yield* Effect.forkScoped(forever(serverPull))
      const writing = yield* Effect.forkScoped(
        Effect.forEach(Array.from({ length: 100 }), () => writer.write(bytes(1000)))
      )
      yield* until(900_000)
      assert.isUndefined(reading.failure())
      assert.strictEqual(writing.pollUnsafe()?._tag, "Success")
    })
  )

  it.effect("is stalled and not dead while the peer gives signs of life, until `stalledLimit`", () =>
    Effect.gen(function* () {
      const { pull, serverWriter, writer } = yield* guarded({
        network: { capacityBytes: 1000 },
        policy: { stall: "10 seconds", stalledLimit: "1 minute" }
      })
      const reading = yield* failing(forever(pull))
      yield* Effect.forkScoped(serverWriter.write("x").pipe(Effect.repeat(Schedule.spaced("1 second"))))
      yield* Effect.forkScoped(Effect.ignore(writer.write(bytes(1500))), { startImmediately: true })
      yield* until(59_999)
      assert.isUndefined(reading.failure())
      yield* until(60_000)
      assert.deepStrictEqual(reading.failure()?.verdict, ["SocketReadError", "Stalled"])
    })
  )

  it.effect("proves nothing while our own reader does not pull", () =>
    Effect.gen(function* () {
      const { network, pull, serverWriter, writer } = yield* guarded({ network: { capacityBytes: 1000 } })
      const writing = yield* failing(writer.write(bytes(1500)))
      yield* Effect.forkScoped(serverWriter.write(bytes(1500)))
      yield* until(3_600_000)
      assert.isUndefined(writing.failure(), "both wait for each other, and that is our doing")
      assert.isTrue(network.wire().isOpen())
      const reading = yield* failing(forever(pull))
      yield* until(3_700_000)
      assert.deepStrictEqual(reading.failure()?.verdict, ["SocketReadError", "WriteStuck"])
    })
  )
})

describe("a verdict", () => {
  for (const plain of [false, true]) {
    it.effect(`ends the link${plain ? " although it knows no destroy" : ""}`, () =>
      Effect.gen(function* () {
        const { network, pull } = yield* guarded({ network: { plain }, policy: { silence: "1 second" } })
        const reading = yield* failing(pull)
        yield* until(1000)
        assert.deepStrictEqual(reading.failure()?.verdict, ["SocketReadError", "PeerSilent"])
        assert.isFalse(network.wire().isOpen())
      })
    )
  }

  it.effect("destroys the link before anybody hears of it", () =>
    Effect.gen(function* () {
      const order: Array<string> = []
      const { pull } = yield* guarded({
        policy: { silence: "1 second" },
        decorate: (link) => ({
          ...link,
          destroy: Effect.andThen(
            Effect.sync(() => order.push("destroy")),
            link.destroy ?? Effect.void
          )
        })
      })
      yield* pull.pipe(Effect.flip, Effect.andThen(Effect.sync(() => order.push("pull"))), Effect.forkScoped)
      yield* until(1000)
      assert.deepStrictEqual(order, ["destroy", "pull"])
    })
  )

  it.effect("of a detector of the user's ends the connection as well", () =>
    Effect.gen(function* () {
      const fired = new ConnectionError.DetectorFired({ detector: "disk", detail: "full" })
      const { pull } = yield* guarded({
        detectors: [() => Effect.delay(Effect.fail(ConnectionError.make(fired)), "3 seconds")]
      })
      const reading = yield* failing(pull)
      yield* until(3000)
      assert.deepStrictEqual(reading.failure(), { verdict: ["SocketReadError", "DetectorFired"], at: 3000 })
    })
  )

  it.effect("is what every later pull of that connection fails with", () =>
    Effect.gen(function* () {
      const { pull, writer } = yield* guarded({ network: { capacityBytes: 10 }, policy: { stall: "1 second" } })
      const reading = yield* failing(pull)
      yield* Effect.forkScoped(Effect.ignore(writer.write(bytes(20))), { startImmediately: true })
      yield* until(1000)
      assert.deepStrictEqual(reading.failure()?.verdict, ["SocketReadError", "WriteStuck"])
      assert.deepStrictEqual(verdictOf(yield* Effect.flip(pull)), ["SocketReadError", "WriteStuck"])
    })
  )
})

describe("a guarded write", () => {
  it.effect("settles with the connection in which it began, and nothing of it reaches the next", () =>
    Effect.gen(function* () {
      const { link, network, scope, writer } = yield* guarded({ network: { capacityBytes: 10, record: true } })
      const writing = yield* failing(writer.write(bytes(20)))
      yield* Scope.close(scope, Exit.void)
      yield* settle
      assert.deepStrictEqual(writing.failure(), { verdict: ["SocketWriteError", "Closed"], at: 0 })
      yield* link.reader
      const next = yield* network.accept
      yield* Effect.forkScoped(forever((yield* next.reader).pull))
      yield* settle
      assert.strictEqual(network.wire().toServer.written(), 0)
    })
  )

  it.effect("that finds no connection waits for the next one", () =>
    Effect.gen(function* () {
      const network = yield* MemoryLink.make({ record: true })
      const link = yield* Guard.make(network.link)
      const writer = yield* link.writer
      const writing = yield* Effect.forkScoped(writer.writeAll(["a", "b"]), { startImmediately: true })
      yield* until(60_000)
      assert.isUndefined(writing.pollUnsafe())
      yield* link.reader
      yield* settle
      assert.strictEqual(writing.pollUnsafe()?._tag, "Success")
      const server = yield* network.accept
      yield* Effect.forkScoped(forever((yield* server.reader).pull))
      yield* settle
      assert.strictEqual(new TextDecoder().decode(network.wire().toServer.recorded()), "ab")
    })
  )

  it.effect("within the backlog waits for room, and one that is interrupted leaves its place", () =>
    Effect.gen(function* () {
      const network = yield* MemoryLink.make({ record: true })
      const link = yield* Guard.make(network.link, { policy: { backlog: { bytesMax: 10 } } })
      const writer = yield* link.writer
      const begin = (text: string) => Effect.forkScoped(writer.write(text), { startImmediately: true })
      yield* begin("123456")
      const second = yield* begin("second")
      yield* begin("third!")
      yield* Fiber.interrupt(second)
      yield* link.reader
      const server = yield* network.accept
      yield* Effect.forkScoped(forever((yield* server.reader).pull))
      yield* settle
      assert.strictEqual(new TextDecoder().decode(network.wire().toServer.recorded()), "123456third!")
    })
  )

  it.effect("beyond the backlog fails with its figures where the policy says so", () =>
    Effect.gen(function* () {
      const network = yield* MemoryLink.make()
      const link = yield* Guard.make(network.link, { policy: { backlog: { messagesMax: 2, whenFull: "fail" } } })
      const writer = yield* link.writer
      yield* Effect.forkScoped(writer.writeAll(["a", "b"]), { startImmediately: true })
      const { reason } = yield* Effect.flip(writer.write("c"))
      assert.isTrue(reason._tag === "SocketWriteError")
      const cause = reason._tag === "SocketWriteError" ? reason.cause : undefined
      assert.isTrue(ConnectionError.isConnectionError(cause) && cause.reason._tag === "BacklogExceeded")
    })
  )

  it.effect("beyond the backlog fails when patience is over, not before", () =>
    Effect.gen(function* () {
      const network = yield* MemoryLink.make()
      const backlog = { messagesMax: 2, patience: "5 seconds" } as const
      const link = yield* Guard.make(network.link, { policy: { backlog } })
      const writer = yield* link.writer
      yield* Effect.forkScoped(writer.writeAll(["a", "b"]), { startImmediately: true })
      const third = yield* Effect.forkScoped(Effect.flip(writer.write("c")), { startImmediately: true })
      yield* TestClock.adjust("4999 millis")
      yield* settle
      assert.isUndefined(third.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      const { reason } = yield* Fiber.join(third)
      const cause = reason._tag === "SocketWriteError" ? reason.cause : undefined
      assert.isTrue(ConnectionError.isConnectionError(cause) && cause.reason._tag === "BacklogExceeded")
    })
  )

  it.effect("gives room back when it has settled", () =>
    Effect.gen(function* () {
      const { serverPull, writer } = yield* guarded({ policy: { backlog: { messagesMax: 1, whenFull: "fail" } } })
      yield* Effect.forkScoped(forever(serverPull))
      for (let i = 0; i < 100; i++) yield* writer.write("x")
    })
  )

  it.effect("that is let go half-closes, as the socket's own writer does", () =>
    Effect.gen(function* () {
      const network = yield* MemoryLink.make()
      const link = yield* Guard.make(network.link)
      yield* link.reader
      const serverPull = (yield* (yield* network.accept).reader).pull
      yield* Effect.scoped(link.writer)
      const { reason } = yield* Effect.flip(serverPull)
      assert.isTrue(reason._tag === "SocketCloseError" && reason.code === 1000)
    })
  )
})

describe("what a guard passes through", () => {
  it.effect("is the socket's own end", () =>
    Effect.gen(function* () {
      const { network, pull } = yield* guarded()
      network.wire().close("server")
      const { reason } = yield* Effect.flip(pull)
      assert.isTrue(reason._tag === "SocketCloseError" && reason.code === 1000)
    })
  )

  it.effect("is text as text, and the close event", () =>
    Effect.gen(function* () {
      const written: Array<unknown> = []
      const socket = Socket.make({
        reader: Effect.succeed({
          pull: Effect.succeed(["text"] as const),
          upgrade: Socket.SocketUpgradeError.unsupported
        }),
        writer: Effect.succeed({
          write: (chunk) => Effect.sync(() => void written.push(chunk)),
          writeAll: (chunks) => Effect.sync(() => void written.push(...chunks))
        })
      })
      const link = yield* Guard.make(socket)
      const { pull } = yield* link.reader
      const writer = yield* link.writer
      assert.deepStrictEqual(yield* pull, ["text"])
      yield* writer.write("frame")
      yield* writer.write(new Socket.CloseEvent(4001, "bye"))
      assert.strictEqual(written[0], "frame")
      assert.isTrue(Socket.isCloseEvent(written[1]) && written[1].code === 4001)
    })
  )
})

class Api extends RpcGroup.make(Rpc.make("Length", { payload: { text: Schema.String }, success: Schema.Int })) {}

describe("Effect's RpcClient over a guarded socket", () => {
  const Handlers = Api.toLayer({ Length: ({ text }) => Effect.succeed(text.length) })

  const program = Effect.fnUntraced(function* (policy: Guard.PolicyOptions) {
    const network = yield* MemoryLink.make()
    const served = RpcServer.layer(Api).pipe(
      Layer.provide([Handlers, RpcServer.layerProtocolSocketServer]),
      Layer.provide(network.serverLayer)
    )
    const protocol = RpcClient.layerProtocolSocket({ pingInterval: "1 hour" }).pipe(
      Layer.provide(Guard.layer({ policy })),
      Layer.provide(Layer.succeed(Socket.Socket, network.link))
    )
    const context = yield* Layer.build(Layer.merge(served, protocol).pipe(Layer.provide(RpcSerialization.layerNdjson)))
    const client = yield* Effect.provideContext(RpcClient.make(Api), context)
    yield* settle
    return { network, client }
  })

  /** How a call ended: its result, the reasons of a typed failure, or "defect". */
  const call = (effect: Effect.Effect<number, unknown>) =>
    Effect.map(Effect.exit(effect), (exit) => {
      if (Exit.isSuccess(exit)) return exit.value
      const error = Option.getOrUndefined(Exit.findErrorOption(exit))
      if (!(error instanceof Object && "reason" in error)) return "defect"
      return verdictOf(error as Socket.SocketError)
    })

  it.effect("fails a large call that a frozen server does not read with the typed reason, and works again later", () =>
    Effect.gen(function* () {
      const { client, network } = yield* program({ stall: "10 seconds" })
      assert.strictEqual(yield* client.Length({ text: "four" }), 4)
      yield* until(5000)
      network.wire().toServer.stall(true)
      const large = yield* Effect.forkScoped(call(client.Length({ text: "x".repeat(1_000_000) })))
      yield* until(14_999)
      assert.isUndefined(large.pollUnsafe())
      yield* until(15_000)
      assert.deepStrictEqual(yield* Fiber.join(large), ["SocketReadError", "WriteStuck"])
      yield* until(16_000)
      assert.strictEqual(yield* client.Length({ text: "again" }), 5)
    })
  )

  it.effect("fails a small call that is never answered at the instant of `silence`, and works again later", () =>
    Effect.gen(function* () {
      const { client, network } = yield* program({ silence: "10 seconds" })
      network.wire().blackhole(true)
      const small = yield* Effect.forkScoped(call(client.Length({ text: "four" })))
      yield* until(9999)
      assert.isUndefined(small.pollUnsafe())
      yield* until(10_000)
      assert.deepStrictEqual(yield* Fiber.join(small), ["SocketReadError", "PeerSilent"])
      yield* until(11_000)
      assert.strictEqual(yield* client.Length({ text: "again" }), 5)
    })
  )

  it.effect("fails a large call with the socket's own reason when the link is cut under it", () =>
    Effect.gen(function* () {
      const { client, network } = yield* program({})
      network.wire().toServer.stall(true)
      const large = yield* Effect.forkScoped(call(client.Length({ text: "x".repeat(1_000_000) })))
      yield* until(1000)
      network.wire().cut()
      yield* settle
      const outcome = yield* Fiber.join(large)
      assert.isTrue(typeof outcome === "object" && outcome[0] === "SocketReadError")
    })
  )
})
