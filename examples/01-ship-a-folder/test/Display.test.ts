import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { makeView, render, show } from "../display.ts"

const snapshot = (received: number) => ({
  _tag: "Snapshot" as const,
  state: "Up",
  roundTripMs: 1.25,
  out: { messages: 1, bytes: 2 },
  in: { received: 1234, bytes: received, duplicated: 0, reordered: 0 }
})

const detection = {
  fault: "reset" as const,
  reason: "LinkFailed",
  noticedBy: "sender" as const,
  noticedAfterMs: 3,
  boundMs: 900,
  heldBytes: 1000
}

const screenOf = (isTTY: boolean) => {
  const written: Array<string> = []
  return { isTTY, columns: 60, written, write: (text: string) => written.push(text) }
}

it.effect("draws five times a second on a terminal, in place, and gives the cursor back", () =>
  Effect.gen(function* () {
    const screen = screenOf(true)
    const view = makeView("/a\u001B[31m\nb", 3, 100)
    yield* Effect.scoped(
      Effect.gen(function* () {
        yield* show(view, screen)
        yield* TestClock.adjust("1 second")
      })
    )
    assert.strictEqual(screen.written.length, 1 + 6 + 2)
    assert.strictEqual(screen.written[0], "\u001B[?25l")
    assert.strictEqual(screen.written.at(-1), "\u001B[?25h")
    const rows = render(view, 0).length
    assert.isFalse(screen.written[1]!.includes(`\u001B[${rows}A`))
    assert.isTrue(screen.written[2]!.startsWith(`\u001B[${rows}A\r`))
    for (const line of screen.written[2]!.split("\n").slice(1)) {
      const text = line.replace("\u001B[2K", "")
      assert.isBelow(text.length, 60)
      assert.notInclude(text, "\u001B", "a folder's name cannot move the cursor")
    }
  })
)

it.effect("prints plain lines without a terminal: each detection once, and a status now and then", () =>
  Effect.gen(function* () {
    const screen = screenOf(false)
    const view = makeView("/a", 3, 100)
    yield* Effect.scoped(
      Effect.gen(function* () {
        yield* show(view, screen)
        yield* TestClock.adjust("1 second")
        view.detections.push(detection)
        yield* TestClock.adjust("12 seconds")
      })
    )
    const text = screen.written.join("")
    assert.notInclude(text, "\u001B")
    assert.strictEqual(text.split("LinkFailed, by the sender after 3 ms (bound 900 ms)").length, 2)
    assert.strictEqual(text.split("starting, incarnation 0").length - 1, 4)
  })
)

it("shows state, incarnation, round trip, throughput and the last faults, the latest first", () => {
  const view = makeView("/a", 3, 100)
  view.sender = snapshot(0)
  view.receiver = snapshot(5_000_000)
  view.incarnation = 7
  view.detections.push(detection, { ...detection, fault: "slowReader", reason: "stalled, not killed" })
  const picture = render(view, 1_500_000).join("\n")
  for (const shown of ["Up", "7", "1.3 ms", "1.50 MB/s", "1,234 messages, 5.00 MB"]) assert.include(picture, shown)
  assert.isBelow(picture.indexOf("slowReader"), picture.indexOf("reset "))
})
