// Lesson 2, TCP is not reliable: connect, write, finish and close succeed, no error is told, and the bytes are gone. Each way
// in which that was measured befalls plain sockets and then, once it has handed over as much, a session.
import { assert, describe, it } from "@effect/vitest"
import { Fault } from "@holdfast/testing"
import { type Duration, Effect, Exit, Option, Scope } from "effect"
import * as Socket from "effect/socket/Socket"
import type { Link } from "holdfast"
import { end, plainClient, plainServer } from "./Plain.ts"
import { connecting, message, sending, serving, simulate, upTo } from "./Sessions.ts"

const messages = 1000
const messageBytes = 100

interface Way {
  readonly name: string
  /** What befalls the server before the client dials (plain), or for 3 s once a session is open. */
  readonly during: Fault.Fault
  /** What the server's program does with its end of the connection. */
  readonly server?: ((link: Link.Link) => Effect.Effect<void, unknown>) | undefined
  /** What a plain client does after its write; nobody tells it to do better. */
  readonly client: "waits" | "ends" | "closes" | "resets"
  /** SIGKILL of the server afterwards. */
  readonly killed?: true
  /** How much of it the plain server's program sees. */
  readonly seen?: number
}

const unread = Fault.slowReader("server", 0)
const close = (link: Link.Link) =>
  Effect.scoped(Effect.flatMap(link.writer, ({ write }) => write(new Socket.CloseEvent(1000))))

const endThenClose = (after: Duration.Input) => (link: Link.Link) =>
  Effect.andThen(end(link), Effect.andThen(Effect.sleep(after), close(link)))

const ways: ReadonlyArray<Way> = [
  { name: "A1: the server ends at once and never reads", during: unread, server: end, client: "waits" },
  { name: "A2: the same, and the client ends, too", during: unread, server: end, client: "ends" },
  {
    name: "A3: the server ends, and closes with unread input 300 ms later",
    during: unread,
    server: endThenClose("300 millis"),
    client: "ends"
  },
  {
    name: "A4: the server reads 10,000 bytes and ends",
    during: Fault.slowReader("server", 100_000),
    server: endThenClose("10 millis"),
    client: "waits",
    seen: 10_000
  },
  {
    name: "B1: frozen before it accepts, killed later",
    during: Fault.freeze("server"),
    client: "closes",
    killed: true
  },
  {
    name: "B2: its loop is blocked, killed later",
    during: Fault.blockedLoop("server"),
    client: "closes",
    killed: true
  },
  { name: "B3: accepted, never read, killed later", during: unread, client: "closes", killed: true },
  { name: "C2: the server closes with unread input", during: unread, server: close, client: "closes" },
  { name: "D1: the client resets after its write", during: unread, client: "resets" }
]

describe("TCP is not reliable", () => {
  for (const does of ["ends", "closes"] as const) {
    it.effect(`but a plain socket loses nothing where the server reads and the client ${does}`, () =>
      simulate(
        Effect.fnUntraced(function* (network) {
          const server = yield* plainServer(network)
          const host = network.host("client")
          yield* host.run(
            Effect.gen(function* () {
              const scope = yield* Scope.make()
              const plain = yield* Scope.provide(plainClient(network), scope)
              yield* plain.opened.write([new Uint8Array(messages * messageBytes)])
              if (does === "ends") yield* end(plain.link)
              yield* Scope.close(scope, Exit.void)
            })
          )
          yield* Effect.sleep("5 seconds")
          assert.strictEqual(server.receivedBytes, messages * messageBytes)
        })
      )
    )
  }

  for (const { client: does, during, killed, name, seen = 0, server: serve } of ways) {
    it.effect(`${name}: a plain socket loses in silence`, () =>
      simulate(
        Effect.fnUntraced(function* (network) {
          const server = yield* plainServer(network)
          const host = network.host("client")
          yield* network.play([Fault.at(0, during)])
          yield* Effect.sleep(0)
          const written = yield* host.run(
            Effect.gen(function* () {
              const scope = yield* Scope.make()
              const plain = yield* Scope.provide(plainClient(network), scope)
              yield* plain.opened.write([new Uint8Array(messages * messageBytes)])
              yield* Effect.sleep("50 millis")
              const [accepted] = server.links
              if (serve !== undefined) yield* network.host("server").run(serve(accepted!))
              if (does === "resets") yield* plain.opened.destroy
              else if (does === "ends") yield* end(plain.link)
              if (does !== "waits") yield* Scope.close(scope, Exit.void)
              if (killed) yield* network.play([Fault.at("1 second", Fault.kill("server"), { for: "1 second" })])
              yield* Effect.sleep("5 seconds")
              return plain
            })
          )
          assert.isTrue(written.ended === undefined || written.ended.how === "LinkClosed", written.ended?.how)
          assert.isAtMost(server.receivedBytes, seen)
        })
      )
    )

    it.effect(`${name}: a session delivers all of it once, or says what it did not`, () =>
      simulate(
        Effect.fnUntraced(function* (network) {
          const served = yield* serving(network)
          const client = yield* connecting(network)
          const { host, session } = client
          yield* host.run(session.deliver(message(0)))
          yield* network.play([Fault.at(0, during, { for: "3 seconds" })])
          yield* Effect.sleep(0)
          yield* sending(client, messages - 1, 0, messageBytes, 1)
          yield* Effect.sleep("100 millis")
          if (serve !== undefined)
            yield* network.host("server").run(Effect.timeoutOption(serve(served.links[0]!), "1 second"))
          if (does === "resets") yield* network.play([Fault.at(0, Fault.cut("client", "server"))])
          if (killed) yield* network.play([Fault.at("1 second", Fault.kill("server"), { for: "1 second" })])
          const exit = yield* Effect.exit(host.run(session.close))
          if (Exit.isSuccess(exit)) {
            assert.isUndefined(killed)
            assert.deepStrictEqual(served.taken, upTo(messages))
            return
          }
          assert.isTrue(killed)
          const reason = Option.getOrThrow(Exit.findErrorOption(exit)).reason
          assert.strictEqual(reason._tag, "SessionLost")
          const { fateUnknown, notSent } = yield* host.run(session.leftovers)
          assert.strictEqual(served.taken.length + fateUnknown.length + notSent.length, messages)
        })
      )
    )
  }
})

describe("many short exchanges", () => {
  const exchanges = 500
  const proxy = Array.from({ length: 20 }, (_, n) =>
    Fault.at(503 + n * 500, Fault.closeWithoutReading("client", "server"))
  )
  // A way long enough for something to be under way whenever the proxy strikes.
  const link = { latency: "8 millis" } as const

  it.effect("lose some without an error when each has a connection of its own", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const server = yield* plainServer(network)
        yield* network.play(proxy)
        let told = 0
        for (let n = 0; n < exchanges; n++) {
          const exchange = Effect.scoped(
            Effect.gen(function* () {
              const { opened } = yield* plainClient(network)
              yield* opened.write([message(n)])
            })
          )
          yield* network.host("client").run(Effect.catch(exchange, () => Effect.sync(() => told++)))
          yield* Effect.sleep("5 millis")
        }
        yield* Effect.sleep("5 minutes")
        assert.isBelow(server.receivedBytes / messageBytes, exchanges - told)
      }),
      { link }
    )
  )

  it.effect("are all acknowledged over one session, each once", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network)
        const client = yield* connecting(network)
        yield* network.play(proxy)
        for (const n of upTo(exchanges)) yield* client.host.run(client.session.deliver(message(n)))
        assert.deepStrictEqual(served.taken, upTo(exchanges))
        assert.isAtLeast(served.links.length, 5)
        assert.isBelow(served.links.length, 30)
      }),
      { link }
    )
  )

  it.effect("take one connection in health", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network)
        const client = yield* connecting(network)
        for (const n of upTo(exchanges)) yield* client.host.run(client.session.deliver(message(n)))
        assert.strictEqual(served.links.length, 1)
        assert.deepStrictEqual(served.taken, upTo(exchanges))
      }),
      { link }
    )
  )
})
