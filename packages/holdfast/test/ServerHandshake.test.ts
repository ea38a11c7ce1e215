import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as MemoryLink from "./MemoryLink.ts"
import * as RawClient from "./RawClient.ts"
import * as ServerTesting from "./ServerTesting.ts"
import { scenario } from "./ServerTesting.ts"
import { bytes, collect, connect, flowing } from "./SessionTesting.ts"

describe("Session: the server's side of the handshake", () => {
  it.effect("a proof with the session's secret resumes it", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const server = yield* ServerTesting.start(network)
        const ticket = yield* RawClient.begin(yield* RawClient.dial(network))
        const again = yield* RawClient.dial(network)
        const answer = yield* RawClient.resume(again, ticket, { epoch: 2 })
        assert.strictEqual(answer._tag, "Resumed")
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(server.told(), ["SessionOpened", "SessionResumed", "LinkEnded Fenced"])
      })
    )
  )

  it.effect("a proof with another secret is refused, and the live link goes on", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const server = yield* ServerTesting.start(network)
        const client = yield* connect(network)
        const theirs = yield* server.next
        const { received } = yield* collect(theirs)
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
})
