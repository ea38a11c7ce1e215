import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Option, Result, Schema, Scope, Stream } from "effect"
import { Connection, ConnectionError, Dialect, Presets } from "holdfast"
import {
  begin,
  collected,
  connected,
  dialling,
  eventsOf,
  peerOf,
  Spoken,
  steady,
  tagOf,
  upOf
} from "./ConnectionTesting.ts"
import * as MemoryLink from "./MemoryLink.ts"
import { inScope } from "./SessionPair.ts"
import { settle, until } from "./TestTime.ts"

const refused = ConnectionError.make(
  new ConnectionError.Refused({ code: "Unauthorized", detail: "wrong password", retryAfter: Option.none() })
)

describe("a connection", () => {
  it.effect("carries messages both ways, across incarnations", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, network, nextPeer, peer } = yield* connected()
        const { all } = yield* collected(connection.messages)
        yield* connection.sendAll(["a", "b"])
        yield* peer.say("x")
        yield* settle
        network.wire().cut()
        yield* connection.send("c")
        yield* until(1000)
        const second = yield* nextPeer
        yield* second.say("y", "z")
        yield* settle
        assert.deepStrictEqual(all, ["x", "y", "z"])
        assert.deepStrictEqual(peer.messages(), ["a", "b"])
        assert.strictEqual(second.messages().at(-1), "c")
      })
    )
  )

  it.effect("is a service whose layer does not wait for the first connect", () =>
    inScope(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        network.hang(true)
        const layer = Spoken.layer({
          link: Effect.succeed(network.link),
          fateUnknown: "drop",
          policy: { close: "1 second" }
        })
        const state = yield* Effect.scoped(
          Effect.gen(function* () {
            const connection = yield* Effect.provide(Effect.service(Spoken), yield* Layer.build(layer))
            yield* settle
            return yield* connection.state
          })
        )
        assert.deepStrictEqual(state, { _tag: "Connecting", attempt: 1, endpoint: 0 })
      })
    )
  )

  it.effect("types its messages by the dialect, and a value that does not encode costs only that send", () =>
    inScope(
      Effect.gen(function* () {
        const Reading = Schema.Struct({ celsius: Schema.Finite })
        class Readings extends Connection.Service<Readings>()("test/Readings", {
          dialect: Dialect.ndjson({ receive: Reading, send: Reading, messageBytesMax: 64 })
        }) {}
        const network = yield* MemoryLink.make()
        const connection = yield* Readings.make({ link: Effect.succeed(network.link), fateUnknown: "drop" })
        const peer = yield* peerOf(yield* network.accept)
        yield* connection.send({ celsius: 21 })
        assert.strictEqual(yield* tagOf(connection.send({ celsius: Number.NaN })), "MessageInvalid")
        assert.strictEqual(yield* tagOf(connection.send({ celsius: "x".repeat(100) as never })), "MessageInvalid")
        yield* connection.send({ celsius: 22 })
        yield* settle
        assert.deepStrictEqual(peer.heard, [`{"celsius":21}`, `{"celsius":22}`])
        yield* peer.say(`{"celsius":1}`)
        assert.deepStrictEqual(yield* Stream.runHead(connection.messages), Option.some({ celsius: 1 }))
      })
    )
  )

  it.effect("ends for good when the peer breaks the dialect, after what it said before", () =>
    inScope(
      Effect.gen(function* () {
        class Short extends Connection.Service<Short>()("test/Short", {
          dialect: Dialect.lines({ messageBytesMax: 5 })
        }) {}
        const network = yield* MemoryLink.make()
        const connection = yield* Short.make({ link: Effect.succeed(network.link), fateUnknown: "drop" })
        assert.strictEqual(yield* tagOf(connection.send("123456")), "MessageTooLarge")
        const peer = yield* peerOf(yield* network.accept)
        const { all, fiber } = yield* collected(connection.messages)
        yield* peer.say("ok", "too long")
        const error = yield* Effect.flip(connection.join)
        assert.isTrue(error.reason._tag === "ProtocolViolated" && error.reason.by === "peer")
        assert.deepStrictEqual(all, ["ok"])
        assert.strictEqual(yield* tagOf(Fiber.join(fiber)), "ProtocolViolated")
        assert.strictEqual(yield* tagOf(connection.send("late")), "ProtocolViolated")
      })
    )
  )

  it.effect("gives a batch that a consumer did not finish to the next one, and lets one consume at a time", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, peer } = yield* connected()
        yield* peer.say("a", "b")
        yield* settle
        assert.deepStrictEqual(yield* Stream.runHead(connection.messages), Option.some("a"))
        const first = yield* collected(connection.messages)
        const second = yield* collected(connection.messages)
        yield* peer.say("c")
        yield* settle
        assert.deepStrictEqual([first.all, second.all], [["a", "b", "c"], []])
        yield* Fiber.interrupt(first.fiber)
        yield* peer.say("d")
        yield* settle
        assert.deepStrictEqual(second.all, ["d"])
      })
    )
  )

  it.effect("tells what happens, and what it is", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, network } = yield* dialling({ fateUnknown: "drop" })
        const events = yield* eventsOf(connection)
        yield* peerOf(yield* network.accept)
        yield* settle
        const up = yield* upOf(connection)
        assert.deepStrictEqual([up.incarnation, up.endpoint, up.since], [1, 0, 0])
        yield* until(250)
        network.wire().cut()
        yield* settle
        const waiting = yield* connection.state
        assert.isTrue(
          waiting._tag === "Waiting" && waiting.retryAt === 1250 && waiting.error.reason._tag === "LinkFailed"
        )
        yield* until(1250)
        assert.deepStrictEqual(
          events.map(({ _tag }) => _tag),
          ["Dialed", "Opened", "Ended", "Retrying", "Dialed", "Opened"]
        )
        const ended = events.find((event) => event._tag === "Ended")
        assert.strictEqual(ended && Duration.toMillis(ended.error.upFor), 250)
        assert.strictEqual((yield* upOf(connection)).incarnation, 2)
      })
    )
  )
})

describe("onUp", () => {
  it.effect("comes before every message of the application, on every incarnation", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, network, nextPeer, peer } = yield* connected({
          onUp: ({ receive, send }) => send("LOGIN me").pipe(Effect.andThen(receive), Effect.andThen(send("SUB a")))
        })
        yield* connection.send("hello")
        yield* settle
        assert.deepStrictEqual(peer.messages(), ["LOGIN me"])
        assert.strictEqual((yield* connection.state)._tag, "Handshaking")
        yield* peer.say("OK")
        yield* settle
        assert.deepStrictEqual(peer.messages(), ["LOGIN me", "SUB a", "hello"])
        network.wire().cut()
        yield* until(1000)
        const second = yield* nextPeer
        yield* settle
        assert.deepStrictEqual(second.messages(), ["LOGIN me"])
        yield* second.say("OK")
        yield* settle
        assert.deepStrictEqual(second.messages().slice(0, 2), ["LOGIN me", "SUB a"])
      })
    )
  )

  it.effect("is never preceded by a write that was under way when another link ended", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, network, nextPeer } = yield* connected({
          fateUnknown: "drop",
          network: { capacityBytes: 10 },
          onUp: ({ send }) => send("LOGIN"),
          peer: { reads: false }
        })
        yield* connection.send("much too long for what the link holds")
        yield* settle
        network.wire().cut()
        yield* until(1000)
        const second = yield* nextPeer
        yield* second.read
        yield* settle
        assert.deepStrictEqual(second.heard, ["LOGIN"])
      })
    )
  )

  it.effect("takes what it receives, and what comes behind it flows on", () =>
    inScope(
      Effect.gen(function* () {
        const greetings: Array<string> = []
        const { connection, peer } = yield* connected({
          onUp: ({ receive }) => Effect.map(receive, (line) => greetings.push(line))
        })
        yield* peer.say("INFO", "first", "second")
        const { all } = yield* collected(connection.messages)
        assert.deepStrictEqual([greetings, all], [["INFO"], ["first", "second"]])
      })
    )
  )

  it.effect("can ask behind what it sent: the answer says that the peer has handled it", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, peer } = yield* connected({
          onUp: ({ ping, send }) =>
            send("CONNECT").pipe(Effect.andThen(ping), Effect.andThen(send("SUB a")), Effect.andThen(ping)),
          peer: { answers: false }
        })
        assert.deepStrictEqual(peer.heard, ["CONNECT", "PING"])
        yield* peer.say("INFO", "PONG")
        yield* settle
        assert.deepStrictEqual(peer.heard, ["CONNECT", "PING", "SUB a", "PING"])
        assert.strictEqual((yield* connection.state)._tag, "Handshaking")
        yield* peer.say("PONG")
        yield* settle
        assert.strictEqual((yield* connection.state)._tag, "Up")
        const { all } = yield* collected(connection.messages)
        assert.deepStrictEqual(all, ["INFO"])
      })
    )
  )

  it.effect("cannot ask in a dialect without ping: that is a defect, and not a silent success", () =>
    inScope(
      Effect.gen(function* () {
        const { connection } = yield* dialling({ mute: true, onUp: ({ ping }) => ping })
        assert.isTrue(Exit.hasDies(yield* Effect.exit(connection.join)))
      })
    )
  )

  it.effect("must be done within `open`, dial included", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, network } = yield* dialling({
          network: { latency: "1 second" },
          onUp: ({ receive }) => receive,
          policy: { open: "5 seconds" }
        })
        const events = yield* eventsOf(connection)
        yield* until(4999)
        assert.strictEqual((yield* connection.state)._tag, "Handshaking")
        yield* until(5000)
        const state = yield* connection.state
        assert.isTrue(state._tag === "Waiting" && state.error.reason._tag === "OpenTimedOut")
        assert.isTrue(
          state._tag === "Waiting" &&
            state.error.reason._tag === "OpenTimedOut" &&
            state.error.reason.stage === "handshake"
        )
        assert.isFalse(network.wire().isOpen(), "the link was destroyed")
        assert.isFalse(events.some(({ _tag }) => _tag === "Opened"))
      })
    )
  )

  it.effect("that fails is tried again on another link, or ends the connection where that cannot help", () =>
    inScope(
      Effect.gen(function* () {
        let attempts = 0
        const { connection, network } = yield* dialling({
          onUp: () => Effect.suspend(() => Effect.fail(++attempts === 1 ? "try again" : refused))
        })
        const joined = yield* begin(connection.join)
        yield* settle
        assert.deepStrictEqual([attempts, joined.outcome()], [1, "pending"])
        yield* until(1000)
        assert.deepStrictEqual([attempts, joined.outcome()], [2, "Refused"])
        assert.strictEqual(yield* tagOf(connection.send("late")), "Refused")
        assert.strictEqual(network.wires.length, 2)

        const { connection: bare } = yield* dialling({ onUp: () => refused.reason })
        assert.strictEqual(yield* tagOf(bare.join), "Refused")
      })
    )
  )

  it.effect("is over when its link ends, and the peer's questions are answered meanwhile", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, network, peer } = yield* connected({ onUp: ({ receive }) => receive })
        yield* peer.say("PING")
        yield* settle
        assert.deepStrictEqual(peer.heard, ["PONG"])
        network.wire().cut()
        yield* settle
        assert.strictEqual((yield* connection.state)._tag, "Waiting")
      })
    )
  )
})

describe("the end of a connection", () => {
  it.effect("in good order waits until everything was handed over and its fate is known", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, network, nextPeer } = yield* connected({ peer: { reads: false } })
        network.wire().cut()
        yield* connection.sendAll(["a", "b"])
        const closing = yield* begin(connection.close)
        assert.deepStrictEqual(yield* connection.state, { _tag: "Closing", unsettled: 2 })
        assert.strictEqual(yield* tagOf(connection.send("late")), "Closed")
        yield* until(1000)
        const second = yield* nextPeer
        yield* settle
        assert.strictEqual(closing.outcome(), "pending", "the peer has not answered yet")
        yield* second.read
        yield* until(1100)
        assert.strictEqual(closing.outcome(), "succeeded")
        assert.deepStrictEqual(second.messages(), ["a", "b"])
        assert.deepStrictEqual(yield* connection.state, { _tag: "Closed", exit: Exit.void })
        assert.strictEqual(yield* tagOf(connection.join), "succeeded")
        assert.isFalse(network.wire().isOpen())
      })
    )
  )

  it.effect("is a typed failure when that takes longer than `close`, and the rest returns to its owner", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, network } = yield* connected({ policy: { close: "5 seconds" } })
        network.hang(true)
        network.wire().cut()
        yield* connection.sendAll(["a", "b"])
        const closing = yield* begin(connection.close)
        yield* until(4999)
        assert.strictEqual(closing.outcome(), "pending")
        yield* until(5000)
        assert.strictEqual(closing.outcome(), "CloseTimedOut")
        assert.deepStrictEqual(yield* connection.leftovers, { fateUnknown: [], notSent: ["a", "b"] })
        assert.strictEqual(yield* tagOf(connection.join), "CloseTimedOut")
      })
    )
  )

  it.effect("waits until the owner has taken what was given back", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, network } = yield* connected({ fateUnknown: "giveBack", peer: { answers: false } })
        yield* connection.send("a")
        yield* settle
        const closing = yield* begin(connection.close)
        network.wire().cut()
        yield* until(1000)
        assert.strictEqual(closing.outcome(), "pending")
        const { all, fiber } = yield* collected(connection.returned)
        assert.deepStrictEqual([all, closing.outcome()], [["a"], "succeeded"])
        assert.strictEqual(yield* tagOf(Fiber.join(fiber)), "succeeded", "and the stream ends")
      })
    )
  )

  it.effect("leaves what arrived to be read, and then ends the stream", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, peer } = yield* connected()
        yield* peer.say("a", "b")
        yield* settle
        yield* connection.close
        assert.deepStrictEqual(yield* Stream.runCollect(connection.messages), ["a", "b"])
      })
    )
  )

  it.effect("comes with its scope", () =>
    inScope(
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const { connection, network } = yield* Scope.provide(dialling(), scope)
        const peer = yield* peerOf(yield* network.accept)
        yield* connection.send("last")
        const closing = yield* Effect.forkScoped(Scope.close(scope, Exit.void))
        yield* until(2000)
        assert.strictEqual(closing.pollUnsafe()?._tag, "Success")
        assert.isFalse(network.wire().isOpen())
        assert.deepStrictEqual(peer.messages(), ["last"])
      })
    )
  )

  it.effect("settles everything that is pending", () =>
    inScope(
      Effect.gen(function* () {
        const { connection } = yield* connected({
          mute: true,
          network: { capacityBytes: 4 },
          peer: { reads: false },
          policy: { backlog: { messagesMax: 1 }, close: "1 second" }
        })
        yield* connection.send("long enough")
        const operations = yield* Effect.forEach(
          [connection.send("waits"), connection.join, Stream.runDrain(connection.messages), connection.close],
          begin
        )
        yield* until(1000)
        assert.deepStrictEqual(
          operations.map(({ outcome }) => outcome()),
          ["Closed", "CloseTimedOut", "CloseTimedOut", "CloseTimedOut"]
        )
      })
    )
  )

  it.effect("comes with a defect of a dialect too, and nobody waits for ever", () =>
    inScope(
      Effect.gen(function* () {
        const bad = Dialect.lines().pipe(
          Dialect.translate({
            receive: () => {
              throw new Error("a bug")
            },
            send: (text: string) => Result.succeed(text)
          })
        )
        class Bad extends Connection.Service<Bad>()("test/Bad", { dialect: bad }) {}
        const network = yield* MemoryLink.make()
        const connection = yield* Bad.make({ link: Effect.succeed(network.link), fateUnknown: "drop", policy: steady })
        const peer = yield* peerOf(yield* network.accept)
        const joined = yield* Effect.forkScoped(Effect.exit(connection.join))
        yield* peer.say("x")
        yield* settle
        assert.isTrue(Exit.hasDies(yield* Fiber.join(joined)))
        assert.strictEqual(yield* tagOf(connection.send("late")), "Closed")
      })
    )
  )

  it.effect("leaves no link behind after a hundred incarnations", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, network } = yield* connected()
        for (let i = 0; i < 100; i++) {
          yield* connection.giveUp(new ConnectionError.DetectorFired({ detector: "test", detail: "next" }))
          yield* settle
          yield* connection.wake
          yield* settle
          yield* peerOf(yield* network.accept)
        }
        assert.strictEqual((yield* upOf(connection)).incarnation, 101)
        assert.strictEqual(network.wires.filter((wire) => wire.isOpen()).length, 1)
      })
    )
  )
})

describe("several endpoints", () => {
  /** Endpoints that refuse until told otherwise, and the instants at which each was dialled. */
  const endpoints = Effect.fnUntraced(function* (count: number, policy: Connection.PolicyOptions) {
    const networks = yield* Effect.forEach(Array.from({ length: count }), () => MemoryLink.make())
    for (const network of networks) network.refuse(Infinity)
    const [first, ...rest] = networks
    const connection = yield* Spoken.make({
      link: [Effect.succeed(first!.link), ...rest.map(({ link }) => Effect.succeed(link))],
      fateUnknown: "drop",
      policy
    })
    const dials: Array<readonly [at: number, endpoint: number]> = []
    yield* connection.events.pipe(
      Stream.runForEach((event) =>
        Effect.sync(() => {
          if (event._tag === "Dialed") dials.push([event.at, event.endpoint])
        })
      ),
      Effect.forkScoped({ startImmediately: true })
    )
    yield* settle
    return { networks, connection, dials }
  })

  it.effect("are each tried once without waiting, then in turn with the backoff, as Open vSwitch does", () =>
    inScope(
      Effect.gen(function* () {
        const { dials } = yield* endpoints(3, { reconnect: Presets.openVSwitchBackoff() })
        yield* until(40_000)
        assert.deepStrictEqual(dials, [
          [0, 0],
          [0, 1],
          [0, 2],
          [1000, 0],
          [3000, 1],
          [7000, 2],
          [15_000, 0],
          [23_000, 1],
          [31_000, 2],
          [39_000, 0]
        ])
      })
    )
  )

  it.effect("have had their prompt try: after a stable hour the backoff begins anew, with the next one", () =>
    inScope(
      Effect.gen(function* () {
        const { connection, dials, networks } = yield* endpoints(2, { reconnect: Presets.openVSwitchBackoff() })
        networks[0]!.refuse(0)
        yield* until(1000)
        yield* peerOf(yield* networks[0]!.accept)
        yield* until(3_600_000)
        assert.strictEqual((yield* upOf(connection)).endpoint, 0)
        networks[0]!.wire().cut()
        yield* until(3_610_000)
        assert.deepStrictEqual(dials, [
          [0, 0],
          [0, 1],
          [1000, 0],
          [3_601_000, 1],
          [3_603_000, 0]
        ])
      })
    )
  )

  it.effect("do not hurry where there is only one", () =>
    inScope(
      Effect.gen(function* () {
        const { dials } = yield* endpoints(1, steady)
        yield* until(2500)
        assert.deepStrictEqual(dials, [
          [0, 0],
          [1000, 0],
          [2000, 0]
        ])
      })
    )
  )
})
