import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { Connections } from "../connections.ts"
import { Journal } from "../journal.ts"
import * as Status from "../status.ts"

const services = Layer.mergeAll(
  Connections.layer(10).pipe(Layer.provide(Layer.succeed(Journal, { tell: () => Effect.void }))),
  Status.Status.layer
)

describe("the status", () => {
  it.effect("stands below the facts on a terminal, and leaves the screen in order", () =>
    Effect.gen(function* () {
      const written: Array<string> = []
      const { screen, show } = Status.on({ isTTY: true, columns: 24, write: (text) => written.push(text) }, false)
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* show
          yield* TestClock.adjust("250 millis")
          assert.include(written.at(-1), "links        not yet\nconnections  0 open, 0 \n")
          screen.write("a fact\n")
          assert.isTrue(written.at(-1)!.startsWith("\u001B[4A\u001B[0Ja fact\nlinks"))
        })
      )
      assert.strictEqual(written.at(-1), "\u001B[4A\u001B[0J\u001B[?25h")
    }).pipe(Effect.provide(services))
  )

  it.effect("is not drawn where nobody looks", () =>
    Effect.gen(function* () {
      const written: Array<string> = []
      const { screen, show } = Status.on({ isTTY: false, write: (text) => written.push(text) }, false)
      yield* show
      yield* TestClock.adjust("1 second")
      screen.write("a fact\n")
      assert.deepStrictEqual(written, ["a fact\n"])
    }).pipe(Effect.provide(services), Effect.scoped)
  )

  it("tells connections, bytes and rates", () => {
    const totals = { opened: 7, bytesIn: 2_500_000, bytesOut: 10 }
    const lines = Status.render(
      "up",
      { open: new Set(), totals },
      { bytesInPerSecond: 1_250_000, bytesOutPerSecond: 0 }
    )
    assert.deepStrictEqual(lines, [
      "links        up",
      "connections  0 open, 7 so far",
      "in           2.50 MB, 1.25 MB/s",
      "out          0.00 MB, 0.00 MB/s"
    ])
  })
})
