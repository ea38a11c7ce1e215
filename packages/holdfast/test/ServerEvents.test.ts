import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit } from "effect"
import { Session } from "holdfast"
import * as MemoryLink from "./MemoryLink.ts"
import * as RawClient from "./RawClient.ts"
import * as ServerTesting from "./ServerTesting.ts"
import { scenario } from "./ServerTesting.ts"
import { bytes, collect, connect, flowing, settle } from "./SessionTesting.ts"

/** So many links that are refused. */
const refuse = Effect.fnUntraced(function* (network: MemoryLink.Network, count: number) {
  for (let i = 0; i < count; i++) {
    yield* Effect.scoped(Effect.flatMap(RawClient.dial(network), (link) => link.destroy))
    if (i % 50 === 0) yield* settle
  }
  yield* settle
})

/** The server works: a session opens and a message is taken. */
const works = Effect.fnUntraced(function* (network: MemoryLink.Network, server: ServerTesting.Server) {
  const client = yield* connect({ ...network, link: network.newLink() })
  yield* collect(yield* flowing(server.next))
  yield* flowing(client.deliver(bytes("x")))
})

describe("Session: the events of a server", () => {
  it.effect("a defect in onEvent costs that event and nothing else", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const seen: Array<string> = []
        const onEvent = ({ _tag }: Session.ServerEvent) =>
          _tag === "LinkRefused" ? Effect.die("a bug") : Effect.sync(() => seen.push(_tag))
        const server = yield* ServerTesting.start(network, { onEvent })
        yield* refuse(network, 1)
        yield* works(network, server)
        assert.deepStrictEqual(seen, ["SessionOpened"])
      })
    )
  )

  it.effect("a slow onEvent holds nobody up, and gets the newest 256 when it goes on", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const goOn = Deferred.makeUnsafe<void>()
        const seen: Array<string> = []
        const onEvent = ({ _tag }: Session.ServerEvent) =>
          Effect.andThen(
            Effect.sync(() => seen.push(_tag)),
            Deferred.await(goOn)
          )
        const server = yield* ServerTesting.start(network, { onEvent })
        yield* refuse(network, 500)
        yield* works(network, server)
        assert.deepStrictEqual(seen, ["LinkRefused"])
        Deferred.doneUnsafe(goOn, Exit.void)
        yield* Effect.repeat(settle, { times: 10 })
        assert.strictEqual(seen.length, 257)
        assert.strictEqual(seen.at(-1), "SessionOpened")
      })
    )
  )

  it.effect("an onEvent that never ends does not hold up the release of the server for more than a second", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        const server = yield* ServerTesting.start(network, { onEvent: () => Effect.never })
        yield* refuse(network, 2)
        yield* flowing(Effect.timeout(server.stop, "1010 millis"))
      })
    )
  )

  it.effect("a detector that dies ends its session with the defect, and no other", () =>
    scenario(
      Effect.gen(function* () {
        const network = yield* MemoryLink.make()
        let runs = 0
        const detectors = [() => (++runs === 2 ? Effect.delay(Effect.die("a bug"), "3 seconds") : Effect.never)]
        const server = yield* ServerTesting.start(network, { detectors })
        yield* works(network, server)
        const doomed = yield* connect({ ...network, link: network.newLink() })
        const { reason } = yield* Effect.flip(flowing(doomed.join, "1 second"))
        assert.deepInclude(reason, { _tag: "EndedByPeer", code: "Failed", detail: "a defect on the other side" })
        const ended = server.events.find(({ _tag }) => _tag === "SessionEnded")
        assert(ended?._tag === "SessionEnded" && Exit.isFailure(ended.exit))
        assert.isTrue(Exit.hasDies(ended.exit))
        yield* server.next
        yield* works(network, server)
      })
    )
  )
})
