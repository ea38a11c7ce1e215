// What a session promises, over every kind of link and in both roles: each end sends, is cut off, goes silent and says the
// last word. What only virtual time can show stands in packages/holdfast/test.
import { assert, describe, it, vi } from "@effect/vitest"
import {
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  Queue,
  Redacted,
  References,
  Schedule,
  Scope,
  Stream
} from "effect"
import * as SocketServer from "effect/socket/SocketServer"
import { ConnectionError, Link, type Policy, Session } from "holdfast"
import * as RawClient from "../../holdfast/test/RawClient.ts"
import { type Kind, kinds, type Stage } from "./Links.ts"
import * as Plain from "./Plain.ts"

// Most of the time is waiting.
vi.setConfig({ maxConcurrency: 12 })

class Bytes extends Session.Service<Bytes>()("test/Plain") {}

type End = Session.Session<Uint8Array, Uint8Array>

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)
const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

const policy: Policy.Options = { reconnect: Schedule.spaced("20 millis") }

/** Gives up a silent peer after two of these delays, having asked once. */
const watchful = (delay: Duration.Duration): Policy.Options => ({
  ...policy,
  heartbeat: Duration.times(delay, 0.5),
  silence: Schedule.spaced(delay).pipe(Schedule.upTo({ times: 2 })),
  stall: Schedule.spaced(delay).pipe(Schedule.upTo({ times: 2 }))
})

/** For a verdict that must come. */
const quick: Policy.Options = { ...watchful(Duration.millis(200)), open: "2 seconds" }

/** For one that must not. */
const patient = watchful(Duration.millis(500))

interface ServeOptions extends Session.ServerOptions<never, never> {
  readonly handler?: (session: End) => Effect.Effect<unknown, unknown>
}

/** A server whose sessions come out of a queue, until it is stopped. */
const serve = Effect.fnUntraced(function* ({ server }: Stage, { handler, ...options }: ServeOptions = {}) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const sessions = yield* Queue.unbounded<End>()
  const events: Array<Session.ServerEvent> = []
  const lasting = (session: End) => Effect.andThen(Queue.offer(sessions, session), Effect.exit(session.join))
  yield* Bytes.serve(handler ?? lasting, {
    policy,
    onEvent: (event) => Effect.sync(() => events.push(event)),
    ...options
  }).pipe(Layer.provide(Layer.succeed(SocketServer.SocketServer, server)), Layer.build, Scope.provide(scope))
  return { events, next: Queue.take(sessions), stop: Scope.close(scope, Exit.void) }
})

type ClientOptions = Partial<Session.ClientOptions<Uint8Array, never, never, never>>

/** A client that can destroy its present link; where links cannot, the relay cuts it. */
const dial = Effect.fnUntraced(function* ({ link, relay }: Stage, options: ClientOptions = {}) {
  let latest: Link.Link | undefined
  const client = yield* Bytes.make({
    policy,
    ...options,
    link: Effect.tap(link, (made) => Effect.sync(() => void (latest = made)))
  })
  return { client, destroy: Effect.suspend(() => latest?.destroy ?? Effect.sync(relay.cut)) }
})

/** Both ends of one session. */
const pair = Effect.fnUntraced(function* (
  stage: Stage,
  options: { client?: ClientOptions; server?: ServeOptions } = {}
) {
  const server = yield* serve(stage, options.server)
  const { client, destroy } = yield* dial(stage, options.client)
  return { client, destroy, theirs: yield* server.next, server }
})

/** Keeps what it takes. */
const taking = Effect.fnUntraced(function* (end: End) {
  const taken: Array<string> = []
  yield* Effect.forkChild(
    Effect.exit(end.handle((message) => Effect.sync(() => taken.push(decode(message).trimEnd()))))
  )
  return taken
})

const incarnationOf = (end: End) =>
  Effect.map(end.state, (state) => (state._tag === "Up" ? state.incarnation : undefined))

/** The reason with which the next incarnation ends. */
const nextEnd = Effect.fnUntraced(function* (end: End) {
  const ends = end.events.pipe(
    Stream.filter((event) => event._tag === "Ended"),
    Stream.runHead
  )
  const fiber = yield* Effect.forkChild(ends, { startImmediately: true })
  return Effect.map(Fiber.join(fiber), (event) => (Option.isSome(event) ? event.value.error.reason : undefined))
})

const reasonOf = <A>(effect: Effect.Effect<A, ConnectionError.ConnectionError>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

const both = [
  ["client", "server"],
  ["server", "client"]
] as const

/** The promises, each with its proof. */
const promises: Record<string, (stage: Stage, kind: Kind) => Effect.Effect<void, unknown, Scope.Scope>> = {
  "delivers in both directions, ends each, and closes in good order": (stage) =>
    Effect.gen(function* () {
      const { client, server, theirs } = yield* pair(stage)
      const ends = { client, server: theirs }
      for (const [from, to] of both) {
        const taken = yield* taking(ends[to])
        yield* ends[from].sendAll(["1", "2", ""].map(encode))
        yield* ends[from].deliver(encode("3"))
        assert.deepStrictEqual(taken, ["1", "2", "", "3"])
        yield* ends[from].end
      }
      yield* client.close
      assert.deepStrictEqual(yield* Effect.exit(theirs.join), Exit.void)
      yield* Plain.until(() => server.events.length >= 3)
      assert.deepStrictEqual(
        server.events.slice(0, 3).map(({ _tag }) => _tag),
        ["SessionOpened", "LinkEnded", "SessionEnded"]
      )
    }),

  "carries messages of a megabyte, each way": (stage) =>
    Effect.gen(function* () {
      const { client, theirs } = yield* pair(stage)
      const large = Uint8Array.from({ length: 1_500_000 }, (_, i) => i % 251)
      for (const [from, to] of [
        [client, theirs],
        [theirs, client]
      ] as const) {
        const received: Array<Uint8Array> = []
        yield* Effect.forkChild(Effect.exit(to.handle((message) => Effect.sync(() => received.push(message)))))
        yield* from.deliver(large)
        assert.isTrue(Buffer.from(large).equals(received[0]!))
      }
      assert.strictEqual(yield* incarnationOf(client), 1)
    }),

  "loses and repeats nothing while its links are cut, closed, swallowed and destroyed at any moment": (stage) =>
    Effect.gen(function* () {
      const { client, destroy, theirs } = yield* pair(stage, { client: { policy: quick }, server: { policy: quick } })
      const [up, down] = [yield* taking(theirs), yield* taking(client)]
      const numbers = Array.from({ length: 600 }, (_, i) => String(i))
      const sending = (end: End) =>
        Effect.forEach(
          numbers,
          (number, i) =>
            Effect.andThen(
              end.send(encode(number + " ".repeat((i * 997) % 3000))),
              i % 20 === 0 ? Effect.sleep("8 millis") : Effect.void
            ),
          { discard: true }
        )
      const { relay } = stage
      const harms = [relay.cut, relay.close, relay.swallow, destroy, relay.cut, destroy, relay.close, relay.cut]
      const harming = Effect.forEach(harms, (harm, n) =>
        Effect.gen(function* () {
          const before = relay.dials()
          yield* Effect.sleep(n * 3) // in the dial, in the handshake, or behind it
          while (relay.dials() === before) {
            yield* Effect.isEffect(harm) ? harm : Effect.sync(harm)
            yield* Effect.raceFirst(
              Effect.sleep("100 millis"),
              Plain.until(() => relay.dials() > before)
            )
          }
        })
      )
      yield* Effect.all([sending(client), sending(theirs), harming], { concurrency: 3 })
      yield* Effect.all([client.flush, theirs.flush], { concurrency: 2 })
      assert.deepStrictEqual([up, down], [numbers, numbers])
      assert.isAbove(relay.dials(), harms.length)
    }),

  "carries channels that either side opens, past one that is stuck, and across a cut": (stage) =>
    Effect.gen(function* () {
      const { client, theirs } = yield* pair(stage)
      const numbers = Array.from({ length: 60 }, (_, i) => String(i))
      const echoing = (end: End) =>
        Stream.runForEach(end.channels, (incoming) =>
          incoming.accept().pipe(
            Effect.flatMap((channel) => (incoming.name === "stuck" ? Effect.never : channel.handle(channel.send))),
            Effect.scoped,
            Effect.forkScoped
          )
        )
      for (const [here, there] of [
        [client, theirs],
        [theirs, client]
      ] as const) {
        yield* Effect.forkScoped(echoing(there))
        const stuck = yield* here.open("stuck")
        yield* Effect.forkScoped(Effect.exit(stuck.sendAll(Array.from({ length: 300 }, () => new Uint8Array(10_000)))))
        const flowing = yield* here.open("flowing")
        const heard: Array<string> = []
        yield* Effect.forkScoped(
          Effect.exit(flowing.handle((message) => Effect.sync(() => heard.push(decode(message)))))
        )
        for (const [n, number] of numbers.entries()) {
          yield* flowing.send(encode(number))
          if (n === 30) stage.relay.cut()
        }
        yield* Plain.until(() => heard.length === numbers.length)
        assert.deepStrictEqual(heard, numbers)
        yield* stuck.reset("enough")
        yield* flowing.end
      }
      assert.isAtLeast(stage.relay.dials(), 3)
    }),

  "notices a silent network, and goes on over the next link": (stage) =>
    Effect.gen(function* () {
      const { client, theirs } = yield* pair(stage, { client: { policy: quick }, server: { policy: quick } })
      const [up, down] = [yield* taking(theirs), yield* taking(client)]
      const ends = [yield* nextEnd(client), yield* nextEnd(theirs)]
      stage.relay.swallow()
      yield* Effect.all([client.deliver(encode("up")), theirs.deliver(encode("down"))], { concurrency: 2 })
      assert.deepStrictEqual([up, down], [["up"], ["down"]])
      assert.include(["PeerSilent", "WriteStuck"], (yield* ends[0]!)?._tag)
      assert.isDefined(yield* ends[1]!)
      assert.isAtLeast((yield* incarnationOf(client)) ?? 0, 2)
    }),

  "leaves an idle link and a busy one alone": (stage) =>
    Effect.gen(function* () {
      const { client, theirs } = yield* pair(stage, { client: { policy: patient }, server: { policy: patient } })
      const taken = yield* taking(theirs)
      yield* Effect.sleep("1500 millis")
      yield* client.sendAll(Array.from({ length: 1000 }, (_, i) => encode(String(i).padEnd(1000))))
      yield* client.flush
      assert.strictEqual(taken.length, 1000)
      assert.deepStrictEqual([yield* incarnationOf(client), yield* incarnationOf(theirs)], [1, 1])
    }),

  "gives up a dial that nobody answers, and tries again": (stage) =>
    Effect.gen(function* () {
      yield* serve(stage, { handler: (session) => session.handle(() => Effect.void) })
      stage.relay.ignore(1)
      const ended: Array<string> = []
      const reconnect = Schedule.spaced("20 millis").pipe(
        Schedule.setInputType<ConnectionError.ConnectionError>(),
        Schedule.tap(({ input }) => Effect.sync(() => ended.push(input.reason._tag)))
      )
      const { client } = yield* dial(stage, { policy: { reconnect, open: "3 seconds" } })
      yield* client.deliver(encode("x"))
      assert.include(ended, "OpenTimedOut")
      assert.isAtLeast(stage.relay.dials(), 2) // the WebSocket of Node 24 dials once more by itself
    }),

  "holds a sender back while the other application is slow, without giving anybody up": (stage) =>
    Effect.gen(function* () {
      const options = { policy: { ...patient, backlog: { bytesMax: 200_000 } }, limits: { windowBytes: 100_000 } }
      const { client, theirs } = yield* pair(stage, { client: options, server: options })
      const messages = Array.from({ length: 500 }, (_, i) => encode(String(i).padEnd(1000)))
      const holding = [client, theirs].map((end) =>
        Effect.gen(function* () {
          const sending = yield* Effect.forkScoped(end.sendAll(messages))
          yield* end.changes.pipe(
            Stream.filter((state) => state._tag === "Up" && Option.isSome(state.creditAwaitedSince)),
            Stream.runHead
          )
          yield* Effect.sleep("1500 millis")
          assert.isUndefined(sending.pollUnsafe())
          return Fiber.join(sending)
        })
      )
      const sending = yield* Effect.all(holding, { concurrency: 2 })
      const [up, down] = [yield* taking(theirs), yield* taking(client)]
      yield* Effect.all(sending, { concurrency: 2 })
      yield* Effect.all([client.flush, theirs.flush], { concurrency: 2 })
      assert.deepStrictEqual([up.length, down.length], [500, 500])
      assert.deepStrictEqual([yield* incarnationOf(client), yield* incarnationOf(theirs)], [1, 1])
    }),

  "says why in its last word: a refusal, a handler that failed, a message that was declined": (stage, { tellsPeer }) =>
    Effect.gen(function* () {
      const addresses: Array<string> = []
      const server = yield* serve(stage, {
        authorize: ({ address, credentials }) => {
          addresses.push(Option.getOrElse(address, () => "unknown"))
          return Redacted.value(credentials) === "ada"
            ? Effect.succeed(Session.authorized("ada"))
            : Effect.fail("who are you?")
        },
        handler: (session) =>
          session.handle((message) => (decode(message) === "bad" ? Effect.fail("too bad") : Effect.fail("broken")), {
            onFailure: "skip"
          })
      })
      const stranger = yield* dial(stage)
      assert.deepInclude(yield* reasonOf(stranger.client.join), {
        _tag: "Refused",
        code: "Unauthorized",
        detail: "who are you?"
      })
      const { client } = yield* dial(stage, { credentials: Effect.succeed(Redacted.make("ada")) })
      assert.strictEqual((yield* reasonOf(client.deliver(encode("bad"))))._tag, "MessageRejected")
      assert.deepStrictEqual(new Set(addresses), new Set([tellsPeer ? "127.0.0.1" : "unknown"]))
      yield* client.close
      yield* server.stop
      yield* serve(stage, { handler: (session) => session.handle(() => Effect.fail("out of paper")) })
      const failed = yield* dial(stage)
      yield* failed.client.send(encode("x"))
      assert.deepInclude(yield* reasonOf(failed.client.join), {
        _tag: "EndedByPeer",
        code: "Failed",
        detail: "out of paper"
      })
    }).pipe(Effect.provideService(References.MinimumLogLevel, "None")),

  "tells a client that its server has lost the session, and one that its server goes away": (stage) =>
    Effect.gen(function* () {
      const handler = (session: End) => session.handle(() => Effect.void)
      const limits = { retryAfter: "50 millis", goAwaySpread: "10 millis" } as const
      const first = yield* serve(stage, { handler, limits })
      const { client } = yield* dial(stage)
      yield* client.deliver(encode("1"))
      const ended = yield* nextEnd(client)
      const stopping = yield* Effect.forkChild(first.stop)
      assert.strictEqual((yield* ended)?._tag, "GoneAway")
      yield* Fiber.join(stopping)
      yield* serve(stage, { handler, limits })
      yield* client.deliver(encode("2"))
      // What a crash leaves: a server that knows nothing of the session.
      const raw = RawClient.speak(yield* Link.open(yield* stage.link))
      yield* raw.send(RawClient.hello({ session: new Uint8Array(16).fill(7), epoch: 9 }))
      assert.deepInclude(yield* raw.next, { _tag: "Refused", code: "Unknown" })
      yield* raw.destroy
    }),

  "fences a link off that a newer one has overtaken": (stage) =>
    Effect.gen(function* () {
      const server = yield* serve(stage, { policy: { ...policy, close: "10 millis" } })
      const old = RawClient.speak(yield* Link.open(yield* stage.link))
      const ticket = yield* RawClient.begin(old)
      const theirs = yield* server.next
      const taken = yield* taking(theirs)
      const newer = RawClient.speak(yield* Link.open(yield* stage.link))
      assert.strictEqual((yield* RawClient.resume(newer, ticket, { epoch: 2 }))._tag, "Resumed")
      const { tags } = yield* old.rest
      assert.include(tags, "Close")
      const late = RawClient.speak(yield* Link.open(yield* stage.link))
      assert.deepInclude(yield* RawClient.resume(late, ticket, { epoch: 1 }), { _tag: "Refused", code: "Fenced" })
      yield* newer.send(RawClient.data(0, encode("x")))
      yield* Plain.until(() => taken.length === 1)
      assert.strictEqual(yield* incarnationOf(theirs), 2)
    }),

  "loses one link and nothing else to rubbish": (stage) =>
    Effect.gen(function* () {
      const { client, server, theirs } = yield* pair(stage)
      const taken = yield* taking(theirs)
      const raw = RawClient.speak(yield* Link.open(yield* stage.link))
      yield* raw.send(new Uint8Array(100))
      assert.deepInclude((yield* raw.rest).tags, "Refused")
      yield* client.deliver(encode("x"))
      assert.deepStrictEqual(taken, ["x"])
      assert.strictEqual(yield* incarnationOf(client), 1)
      assert.isTrue(server.events.some(({ _tag }) => _tag === "LinkRefused"))
    }),

  "is released at once although the network is dead and a write is stuck": (stage) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const hurried = { ...policy, close: "100 millis" } as const
      yield* Effect.gen(function* () {
        const { client, theirs } = yield* pair(stage, { client: { policy: hurried }, server: { policy: hurried } })
        stage.relay.swallow()
        const megabytes = Array.from({ length: 8 }, () => new Uint8Array(1_000_000))
        yield* Effect.all([client.sendAll(megabytes), theirs.sendAll(megabytes)], { concurrency: 2 })
        yield* Effect.sleep("50 millis")
      }).pipe(Scope.provide(scope))
      const [took] = yield* Effect.timed(Scope.close(scope, Exit.void))
      assert.isBelow(Duration.toMillis(took), 8000)
    })
}

for (const kind of kinds) {
  describe.concurrent(`a session over ${kind.name}`, () => {
    for (const [promise, proof] of Object.entries(promises)) {
      it.live(promise, () => Effect.flatMap(kind.stage, (stage) => proof(stage, kind)))
    }
  })
}
