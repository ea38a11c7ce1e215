// A headless Chromium of this machine, which talks to nobody but this machine.
import { Effect, type Scope } from "effect"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type BrowserContext, chromium } from "playwright-core"

const executablePath = "/usr/bin/chromium"

/** Why there is no browser here, or `undefined` if there is one. */
export const missing: string | undefined = existsSync(executablePath) ? undefined : `no ${executablePath} here`

const flags = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
]

/** A browser with a profile of its own, both gone with the scope. */
export const launch: Effect.Effect<BrowserContext, never, Scope.Scope> = Effect.gen(function* () {
  const profile = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "holdfast-browser-"))),
    (profile) => Effect.sync(() => rmSync(profile, { recursive: true, force: true }))
  )
  return yield* Effect.acquireRelease(
    Effect.promise(() => chromium.launchPersistentContext(profile, { executablePath, headless: true, args: flags })),
    (context) => Effect.promise(() => context.close())
  )
})
