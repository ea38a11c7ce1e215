// The example without any ping, to a machine that says nothing, over a cable that is pulled: noticed by the kernel's figures,
// and what the other machine had not acknowledged goes out again.
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { spawn } from "./harness/Child.ts"
import { eventually, running } from "./harness/Example.ts"
import * as Namespace from "./harness/Namespace.ts"
import type * as Reader from "./harness/roles/reader.ts"
import * as Server from "./harness/Server.ts"

const missing = Namespace.missing ?? Server.missingOf("socat")
if (missing !== undefined && process.env["CI"] !== undefined) throw new Error(missing)

const onCable = it.live.skipIf(missing !== undefined)

/** The other machine, the example on this one, and what has been received there. */
const start = Effect.fnUntraced(function* (stepMillis = 300) {
  const cable = yield* Namespace.cable
  const server = yield* Server.start("socat", { inside: cable.right })
  const { host, port } = server
  const reader = yield* spawn<Reader.Fact>(
    "reader",
    { host, port, everyMillis: 20, stepMillis } satisfies Reader.Argument,
    cable.left
  )
  const file = Path.join(server.folder, "received")
  const received = () =>
    (Fs.existsSync(file) ? Fs.readFileSync(file, "utf8") : "")
      .split("\n")
      .slice(0, -1)
      .map((line): number => JSON.parse(line).celsius)
  const sent = () => reader.facts.flatMap((fact) => (fact._tag === "Sent" ? [fact.n] : [])).at(-1) ?? -1
  const flows = Effect.suspend(() => {
    const from = sent()
    return eventually(() => received().includes(from + 10))
  })
  yield* reader.fact("Opened")
  yield* flows
  return { cable, flows, reader, received, sent, server }
})

const onServer = it.live.skipIf(Server.missingOf("socat") !== undefined)

describe.concurrent(`lines without ping${missing === undefined ? "" : `: ${missing}`}`, () => {
  onCable("are given up when the cable is pulled, and what was not acknowledged arrives when it is back", () =>
    Effect.gen(function* () {
      const { cable, flows, reader, received } = yield* start()
      yield* cable.cut("both")
      const { at, reason } = yield* reader.fact("Ended")
      assert.strictEqual(reason, "WriteStuck")
      yield* cable.heal
      yield* reader.fact("Opened", (fact) => fact.at > at)
      yield* flows
      const numbers = received()
      const last = Math.max(...numbers)
      const missed = Array.from({ length: last + 1 }, (_, n) => n).filter((n) => !numbers.includes(n))
      assert.deepStrictEqual(missed, [])
    })
  )

  onCable(
    "are not given up while the cable is healthy, nor for an interruption that is shorter than the patience",
    () =>
      Effect.gen(function* () {
        const { cable, flows, reader, received } = yield* start(1000)
        yield* cable.cut("both")
        yield* Effect.sleep("200 millis")
        yield* cable.heal
        yield* flows
        yield* Effect.sleep("4 seconds")
        assert.isFalse(reader.facts.some((fact) => fact._tag === "Ended"))
        const numbers = received()
        assert.deepStrictEqual(
          numbers,
          numbers.toSorted((a, b) => a - b)
        )
        assert.strictEqual(new Set(numbers).size, numbers.length)
      })
  )

  onCable(
    "that the other machine took before its program died are lost, as the example says: only an answer would tell",
    () =>
      Effect.gen(function* () {
        const { flows, received, sent, server } = yield* start()
        yield* server.freeze
        const from = sent()
        yield* eventually(() => sent() > from + 150) // it is looked once a second what the machine has acknowledged
        yield* server.kill
        yield* server.start
        yield* flows
        const numbers = received()
        assert.isFalse(numbers.includes(from + 10))
      })
  )

  onServer("are said as its program says", () =>
    Effect.gen(function* () {
      const { folder, host, port } = yield* Server.start("socat")
      yield* running("07-lines-without-ping", host, String(port))
      const file = Path.join(folder, "received")
      yield* eventually(
        () => Fs.existsSync(file) && /(\{"sensor":"roof","celsius":\d+\}\n){2}/.test(Fs.readFileSync(file, "utf8"))
      )
    })
  )
})
