import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Option, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { ConnectionError, Session } from "holdfast"
import * as MemoryLink from "./MemoryLink.ts"
import * as RawClient from "./RawClient.ts"
import * as ServerTesting from "./ServerTesting.ts"
import { scenario } from "./ServerTesting.ts"
import { bytes, collect, connect, flowing, settle } from "./SessionTesting.ts"

class User extends Context.Service<User, { readonly name: string }>()("test/User") {}

/** Lets in whoever says a name. */
const byName = ({ credentials }: Session.Applicant) => {
  const name = Redacted.value(credentials)
  return name === ""
    ? Effect.fail("say who you are")
    : Effect.succeed(Session.authorized(name, Context.make(User, { name })))
}

const anybody = Effect.succeed(Session.authorized("anybody"))

const credentials = (text: string) => ({ credentials: bytes(text) })

describe("Session: who may come in", () => {
  it.effect("a refusal is typed, tells why, and is not tried again", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const server = yield* ServerTesting.start<User>(network, { authorize: byName })
        const client = yield* connect(network)
        const { reason } = yield* Effect.flip(flowing(client.join))
        assert.deepInclude(reason, { _tag: "Refused", code: "Unauthorized", detail: "say who you are" })
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(network.wires.length, 1)
        assert.deepStrictEqual(server.told(), ["LinkRefused Refused Unauthorized"])
      })
    )
  )

  it.effect("a yes gives its services to the handler, and the principal to the event", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const handler = (session: ServerTesting.ServerSession) =>
          Effect.flatMap(User, ({ name }) => session.deliver(bytes(`hello, ${name}`)))
        const server = yield* ServerTesting.start<User>(network, { authorize: byName, handler })
        const client = yield* connect(network, { credentials: Effect.succeed(Redacted.make("ada")) })
        const { received } = yield* collect(client)
        yield* flowing(client.join)
        assert.deepStrictEqual(received, ["hello, ada"])
        const [opened] = server.events
        assert.deepInclude(opened, { _tag: "SessionOpened", principal: "ada" })
      })
    )
  )

  it.effect("the address is known where the link tells it", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const seen: Array<Option.Option<string>> = []
        const authorize = ({ address }: Session.Applicant) =>
          Effect.andThen(
            Effect.sync(() => seen.push(address)),
            anybody
          )
        yield* ServerTesting.start(
          ServerTesting.from(network, () => "10.0.0.7"),
          { authorize }
        )
        yield* RawClient.begin(yield* RawClient.dial(network))
        assert.deepStrictEqual(seen, [Option.some("10.0.0.7")])
      })
    )
  )

  it.effect("a resume is authorized again, and must be the same principal's", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const server = yield* ServerTesting.start<User>(network, { authorize: byName })
        const ticket = yield* RawClient.begin(yield* RawClient.dial(network), credentials("ada"))
        const resume = Effect.fnUntraced(function* (epoch: number, name: string) {
          const link = yield* RawClient.dial(network)
          const answer = yield* RawClient.resume(link, ticket, { epoch, ...credentials(name) })
          yield* link.destroy
          return "code" in answer ? `${answer.code}: ${answer.detail}` : answer._tag
        })
        assert.strictEqual(yield* resume(2, ""), "Unauthorized: say who you are")
        assert.strictEqual(yield* resume(3, "eve"), "Unauthorized: the session belongs to another principal")
        assert.strictEqual(yield* resume(2, "ada"), "Resumed")
        yield* settle
        assert.deepStrictEqual(server.told().slice(0, 5), [
          "SessionOpened",
          "LinkRefused Refused Unauthorized",
          "LinkRefused Refused Unauthorized",
          "LinkEnded Fenced",
          "SessionResumed"
        ])
      })
    )
  )

  it.effect("credentials are made anew for each attempt", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const seen: Array<string> = []
        const authorize = ({ credentials }: Session.Applicant) =>
          Effect.andThen(
            Effect.sync(() => seen.push(Redacted.value(credentials))),
            anybody
          )
        const server = yield* ServerTesting.start(network, { authorize })
        let made = 0
        yield* connect(network, { credentials: Effect.sync(() => Redacted.make(`token ${++made}`)) })
        yield* server.next
        network.wire().cut()
        yield* flowing(Effect.sleep("30 seconds"), "1 second")
        assert.deepStrictEqual(seen, ["token 1", "token 2"])
      })
    )
  )

  it.effect("whoever is refused takes no place", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const server = yield* ServerTesting.start<User>(network, { authorize: byName, limits: { sessionsMax: 1 } })
        for (let i = 0; i < 5; i++) {
          const link = yield* RawClient.dial(network)
          yield* link.send(RawClient.hello())
          assert.deepInclude(yield* link.next, { code: "Unauthorized" })
        }
        yield* RawClient.begin(yield* RawClient.dial(network), credentials("ada"))
        yield* server.next
        // Nor does a stranger learn that the place is taken.
        const stranger = yield* RawClient.dial(network)
        yield* stranger.send(RawClient.hello())
        assert.deepInclude(yield* stranger.next, { code: "Unauthorized" })
      })
    )
  )

  it.effect("an authorization that cannot tell for the moment sends the client away for a while", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        let isDown = true
        const down = new ConnectionError.Refused({ code: "Full", detail: "no directory", retryAfter: Option.none() })
        const authorize = () => (isDown ? Effect.fail(ConnectionError.make(down)) : anybody)
        const server = yield* ServerTesting.start(network, { authorize, limits: { retryAfter: "40 seconds" } })
        const client = yield* connect(network)
        yield* flowing(Effect.sleep("39 seconds"), "1 second")
        assert.deepStrictEqual(server.told(), ["LinkRefused Refused Full"])
        isDown = false
        yield* collect(yield* flowing(server.next, "1 second"))
        yield* flowing(client.deliver(bytes("x")))
        assert.strictEqual(network.wires.length, 2)
      })
    )
  )

  it.effect("an authorization that hangs ends with the patience of open", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const server = yield* ServerTesting.start(network, {
          authorize: () => Effect.never,
          policy: { open: "7 seconds" }
        })
        const link = yield* RawClient.dial(network)
        yield* link.send(RawClient.hello())
        yield* settle
        yield* TestClock.adjust("6999 millis")
        assert.deepStrictEqual(server.told(), [])
        assert.isTrue(network.wire().isOpen())
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual(server.told(), ["LinkRefused OpenTimedOut"])
        assert.isFalse(network.wire().isOpen())
      })
    )
  )

  it.effect("an authorization that dies costs one connection, and the client comes back", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        let isBroken = true
        const authorize = () =>
          Effect.suspend(() => {
            if (!isBroken) return anybody
            isBroken = false
            throw new Error("no such table")
          })
        const server = yield* ServerTesting.start(network, { authorize })
        const client = yield* connect(network)
        yield* collect(yield* flowing(server.next, "100 millis"))
        yield* flowing(client.deliver(bytes("x")))
        assert.strictEqual(network.wires.length, 2)
        const [refused] = server.events
        assert(refused?._tag === "LinkRefused")
        assert.include(refused.error.message, "no such table")
        assert.deepStrictEqual(server.told(), ["LinkRefused LinkFailed", "SessionOpened"])
      })
    )
  )
})
