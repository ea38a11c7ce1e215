// The core runs in a browser: everything that `holdfast` offers can be bundled for one, and asks for no module of Node.
import { assert, describe, it } from "@effect/vitest"
import { bundle } from "./Bundler.ts"

/** The program of a page: one session over a WebSocket. */
const session = `
  import { Effect, Layer } from "effect"
  import * as Socket from "effect/socket/Socket"
  import * as Session from "holdfast/Session"
  import * as WebSocketLink from "holdfast/WebSocketLink"
  class Bytes extends Session.Service()("app/Bytes") {}
  const Client = Bytes.layer({ link: WebSocketLink.make({ url: "wss://a.example" }) }).pipe(
    Layer.provide(Socket.layerWebSocketConstructorGlobal)
  )
  Effect.runFork(Effect.flatMap(Bytes, (bytes) => bytes.deliver(new Uint8Array(1))).pipe(Effect.provide(Client)))
`

const effect = [/^effect(\/|$)/]

describe("in a browser", () => {
  it("all of holdfast asks for no module of Node, and is made of holdfast, its protocol and effect", async () => {
    const { packages, platformModules } = await bundle("everything.js", `export * from "holdfast"`)
    assert.deepStrictEqual(platformModules, [])
    assert.deepStrictEqual([...packages].toSorted(), ["effect", "holdfast", "protocol"])
  })

  it("a page with one session costs less than 45 KB for holdfast, minified and gzipped, beside effect", async () => {
    const ours = await bundle("page.js", session, effect)
    const whole = await bundle("page.js", session)
    console.log(`bundle: ${ours.gzipBytes} bytes of ours, ${whole.gzipBytes} with effect (min + gzip)`)
    assert.isBelow(ours.gzipBytes, 45_000)
    assert.isAbove(whole.gzipBytes, ours.gzipBytes)
    assert.notInclude(ours.code, "Dialect") // what a page does not use is not in it
  })

  it("a module of Node is noticed, and so is one that does not exist", async () => {
    const { platformModules } = await bundle("node.js", `export * from "@holdfast/node"`)
    assert.isTrue(platformModules.includes("node:net of packages/node/src/NodeLink.ts"), platformModules.join("\n"))
    let refused: unknown
    await bundle("missing.js", `export * from "no-such-package"`).catch((error: unknown) => {
      refused = error
    })
    assert.include(String(refused), "no-such-package")
  })
})
