// Many peers are Effect's own `LayerMap` and `RcMap`, as docs/dialects.md shows: one connection for each key.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, LayerMap, RcMap } from "effect"
import { type Line, peerOf, Spoken, steady } from "./ConnectionTesting.ts"
import * as MemoryLink from "./MemoryLink.ts"
import { inScope } from "./SessionPair.ts"
import { settle, until } from "./TestTime.ts"

/** Two peers, each on a network of its own, and what they hear. */
const peers = Effect.gen(function* () {
  const [berlin, tokyo] = [yield* MemoryLink.make(), yield* MemoryLink.make()]
  const networks = { berlin, tokyo }
  const options = (host: keyof typeof networks) => ({
    link: Effect.sync(networks[host].newLink),
    fateUnknown: "giveBack" as const,
    policy: steady
  })
  const dials = () => [berlin.wires.length, tokyo.wires.length]
  return { networks, options, dials }
})

const say = (site: Line, line: string) => site.send(line)

describe("many peers", () => {
  it.effect(
    "are a LayerMap: each is dialled when it is first used, shared while it is in use, and closed when idle",
    () =>
      inScope(
        Effect.gen(function* () {
          const { dials, networks, options } = yield* peers
          class Sites extends LayerMap.Service<Sites>()("test/Sites", {
            lookup: (host: keyof typeof networks) => Spoken.layer(options(host)),
            idleTimeToLive: "1 minute"
          }) {}
          const sites = yield* Layer.build(Sites.layer)
          yield* Effect.gen(function* () {
            assert.deepStrictEqual(dials(), [0, 0])
            const report = (host: keyof typeof networks, line: string) =>
              Effect.flatMap(Spoken, (site) => say(site, line)).pipe(Effect.provide(Sites.get(host)))
            yield* Effect.all([report("berlin", "a"), report("berlin", "b")], { concurrency: 2 })
            const peer = yield* peerOf(yield* networks.berlin.accept)
            yield* settle
            assert.deepStrictEqual(
              [dials(), peer.messages()],
              [
                [1, 0],
                ["a", "b"]
              ]
            )

            yield* until(59_000)
            yield* report("berlin", "c")
            yield* report("tokyo", "d")
            yield* peerOf(yield* networks.tokyo.accept)
            yield* settle
            assert.deepStrictEqual(
              [dials(), peer.messages()],
              [
                [1, 1],
                ["a", "b", "c"]
              ]
            )

            yield* until(59_000 + 59_999)
            assert.isTrue(networks.berlin.wire().isOpen())
            yield* until(59_000 + 60_000)
            assert.isFalse(networks.berlin.wire().isOpen())
            yield* report("berlin", "e")
            yield* settle
            assert.deepStrictEqual(dials(), [2, 1])
          }).pipe(Effect.provideContext(sites))
        })
      )
  )

  it.effect("are an RcMap where a layer is too much: one that fails does not concern the others", () =>
    inScope(
      Effect.gen(function* () {
        const { dials, networks, options } = yield* peers
        const sites = yield* RcMap.make({
          lookup: (host: keyof typeof networks) => Spoken.make(options(host)),
          idleTimeToLive: "1 minute"
        })
        const berlin = yield* RcMap.get(sites, "berlin")
        const tokyo = yield* RcMap.get(sites, "tokyo")
        assert.strictEqual(yield* RcMap.get(sites, "berlin"), berlin)
        yield* peerOf(yield* networks.berlin.accept)
        const peer = yield* peerOf(yield* networks.tokyo.accept)
        yield* settle
        networks.berlin.wire().cut()
        yield* say(tokyo, "undisturbed")
        yield* settle
        assert.deepStrictEqual([(yield* berlin.state)._tag, (yield* tokyo.state)._tag], ["Waiting", "Up"])
        assert.deepStrictEqual([dials(), peer.messages()], [[1, 1], ["undisturbed"]])
      })
    )
  )
})
