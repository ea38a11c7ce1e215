// A session between a page in Chromium and a server on Node: the links are cut, the server is killed and started again, and
// the network is said to be back.
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Page } from "playwright-core"
import { bundle } from "../Bundler.ts"
import * as Browser from "./harness/Browser.ts"
import * as Child from "./harness/Child.ts"
import type * as page from "./harness/page.ts"
import type * as Notary from "./harness/roles/notary.ts"

const { missing } = Browser
if (missing !== undefined && process.env["CI"] !== undefined) throw new Error(missing)

const inBrowser = it.live.skipIf(missing !== undefined)

/** A folder with the program of the page and an empty ledger. */
const office = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "holdfast-notes-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  )
  const script = join(folder, "page.js")
  const program = yield* Effect.promise(() => bundle("test/real/harness/entry.js", `import "./page.ts"`))
  assert.deepStrictEqual(program.platformModules, [])
  writeFileSync(script, program.code)
  const ledger = join(folder, "ledger")
  const entries = () => readFileSync(ledger, "utf8").trimEnd().split("\n").map(Number)
  /** A server on the port, or on one that is free. */
  const open = Effect.fnUntraced(function* (port = 0, cutEvery?: number) {
    const argument: Notary.Argument = { port, ledger, script, cutEvery }
    const server = yield* Child.spawn<Notary.Fact>("notary", argument)
    return { server, port: (yield* server.fact("Listening")).port }
  })
  return { open, entries }
})

/** The page of the server, with its program running. */
const visit = Effect.fnUntraced(function* (port: number, argument: Partial<page.Argument> = {}) {
  const context = yield* Browser.launch
  const tab = yield* Effect.promise(() => context.newPage())
  yield* Effect.promise(() => tab.goto(`http://127.0.0.1:${port}/`))
  yield* Effect.promise(() => tab.waitForFunction("globalThis.start !== undefined"))
  const defaults = { url: `ws://127.0.0.1:${port}/live`, count: 300, everyMillis: 5, reconnectMillis: 50 }
  yield* run(tab, `start(${JSON.stringify({ ...defaults, ...argument })})`)
  const report = Effect.map(run(tab, "report"), (report) => report as page.Report)
  const until = (condition: (report: page.Report) => boolean): Effect.Effect<page.Report> =>
    Effect.flatMap(report, (now) =>
      condition(now) ? Effect.succeed(now) : Effect.andThen(Effect.sleep("20 millis"), until(condition))
    )
  return { context, until }
})

const run = (tab: Page, script: string): Effect.Effect<unknown> => Effect.promise(() => tab.evaluate(script))

const numbers = (count: number) => Array.from({ length: count }, (_, n) => n)

describe(`a page${missing === undefined ? "" : `: ${missing}`}`, () => {
  inBrowser("sends and gets everything once and in order while its links are reset again and again", () =>
    Effect.gen(function* () {
      const { entries, open } = yield* office
      const { port } = yield* open(0, 25)
      const { until } = yield* visit(port)
      const { ended, openings, returned } = yield* until(({ ended }) => ended !== undefined)
      assert.strictEqual(ended, "closed")
      assert.deepStrictEqual([entries(), returned], [numbers(300), numbers(300)])
      assert.isAtLeast(openings.length, 8)
      assert.deepStrictEqual(new Set(openings.slice(1)), new Set(["Resumed"]))
    })
  )

  inBrowser("loses and doubles nothing when its server is killed and started again, twice", () =>
    Effect.gen(function* () {
      const { entries, open } = yield* office
      const first = yield* open()
      const { until } = yield* visit(first.port, { count: 600 })
      let { server } = first
      for (const n of [100, 250]) {
        yield* server.fact("Entered", (fact) => fact.n >= n)
        yield* server.kill
        yield* Effect.sleep("200 millis")
        ;({ server } = yield* open(first.port))
      }
      const { ended, openings } = yield* until(({ ended }) => ended !== undefined)
      assert.strictEqual(ended, "closed")
      assert.deepStrictEqual(entries(), numbers(600))
      assert.strictEqual(openings.filter((opened) => opened === "Gap").length, 2)
    })
  )

  inBrowser("dials at once when the browser says that the network is back, however long it would have waited", () =>
    Effect.gen(function* () {
      const { entries, open } = yield* office
      const first = yield* open()
      const hour = 3_600_000
      const { context, until } = yield* visit(first.port, { count: 400, reconnectMillis: hour })
      yield* first.server.fact("Entered", ({ n }) => n >= 20)
      yield* first.server.kill
      yield* until(({ state }) => state === "Waiting")
      yield* open(first.port)
      yield* Effect.promise(() => context.setOffline(true))
      yield* Effect.promise(() => context.setOffline(false))
      const { ended } = yield* until(({ ended }) => ended !== undefined)
      assert.strictEqual(ended, "closed")
      assert.deepStrictEqual(entries(), numbers(400))
    })
  )
})
