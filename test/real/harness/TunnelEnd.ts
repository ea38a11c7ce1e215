// One end of the tunnel as a user starts it, and what it tells.
import { Effect, type Scope } from "effect"
import { randomBytes } from "node:crypto"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import type { Closed, Event } from "../../../examples/08-tunnel/journal.ts"
import { root } from "../../Tool.ts"
import * as Program from "./Program.ts"

export interface End {
  readonly program: Program.Program
  /** Everything that it has told so far. */
  readonly events: () => ReadonlyArray<Event>
  /** Where it listens, by name. */
  readonly ports: ReadonlyMap<string, number>
}

export const main = Path.join(root, "examples/08-tunnel/main.ts")

/** A folder that is gone when the scope closes. */
export const folder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(tmpdir(), "holdfast-tunnel-"))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true }))
)

/** A file with a fresh secret. */
export const secretFile = Effect.map(folder, (folder) => {
  const path = Path.join(folder, "secret")
  Fs.writeFileSync(path, `${randomBytes(32).toString("base64")}\n`)
  return path
})

export const serve = (
  secretFile: string,
  targets: Readonly<Record<string, number>>,
  ...flags: ReadonlyArray<string>
): Effect.Effect<End, never, Scope.Scope> =>
  ready("serve", secretFile, [
    ...["--listen", "127.0.0.1:0", ...flags],
    ...Object.entries(targets).flatMap(([name, port]) => ["--target", `${name}=127.0.0.1:${port}`])
  ])

export const dial = (
  secretFile: string,
  port: number,
  names: ReadonlyArray<string>,
  ...flags: ReadonlyArray<string>
): Effect.Effect<End, never, Scope.Scope> =>
  ready("dial", secretFile, [
    ...["--connect", `127.0.0.1:${port}`, ...flags],
    ...names.flatMap((name) => ["--listen", `${name}=127.0.0.1:0`])
  ])

/** Starts an end, which tells in JSON and gives up a silent link after a second. */
export const start = (role: "serve" | "dial", secretFile: string, args: ReadonlyArray<string>) =>
  Program.start(
    process.execPath,
    ...["--conditions=source", main, role, "--secret-file", secretFile, "--json", "--patience", "1 second", ...args]
  )

export const portOf = ({ ports }: End, name = "default"): number => ports.get(name)!

/** How the first connection of that name has ended, if it has. */
export const closed = ({ events }: End, name: string): Closed | undefined =>
  events().flatMap((event) => (event.event === "closed" && event.name === name ? [event] : []))[0]

const ready = Effect.fnUntraced(function* (
  role: "serve" | "dial",
  secretFile: string,
  args: ReadonlyArray<string>
): Effect.fn.Return<End, never, Scope.Scope> {
  const program = yield* start(role, secretFile, args)
  yield* program.prints(/"ready".*\n/)
  // The last line may not be whole yet.
  const events = () => Array.from(program.printed().matchAll(/^.*$(?=\n)/gm), ([line]): Event => JSON.parse(line))
  const listen = events().flatMap((event) => (event.event === "ready" ? event.listen : []))
  const ports = new Map(
    listen.map((address) => {
      const [, name = "default", port] = /^(?:(.*)=)?.*:(\d+)$/.exec(address)!
      return [name, Number(port)]
    })
  )
  return { program, events, ports }
})
