// Real servers, each a process of its own on a port of its own, perhaps inside a namespace. They can be frozen, thawed,
// killed, stopped and started again, and end with their scope, or with this process.
import { Effect, type Scope } from "effect"
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import * as Net from "node:net"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { promisify } from "node:util"
import type { Namespace } from "./Namespace.ts"

export type Kind = "nats-server" | "redis-server" | "mosquitto" | "socat"

export interface Server {
  readonly host: string
  readonly port: number
  /** What it has written to its log since it was started first. */
  readonly log: () => string
  /** A folder of its own, for what it keeps. */
  readonly folder: string
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
  /** SIGKILL, and waits until it is gone. */
  readonly kill: Effect.Effect<void>
  /** SIGTERM, and waits until it is gone. */
  readonly stop: Effect.Effect<void>
  /** Starts it again, after it was killed or stopped, on the same port with what it has kept. */
  readonly start: Effect.Effect<void>
}

export interface Options {
  readonly inside?: Namespace | undefined
  readonly args?: ReadonlyArray<string> | undefined
}

/** Why these servers cannot be started here, or `undefined` if they can. */
export const missingOf = (...kinds: ReadonlyArray<Kind>): string | undefined => {
  const missing = kinds.filter((kind) => {
    try {
      execFileSync("which", [kind], { stdio: "ignore", env })
      return false
    } catch {
      return true
    }
  })
  return missing.length === 0 ? undefined : `not installed: ${missing.join(", ")} (Debian has them under these names)`
}

/** Starts a server and waits until it listens. */
export const start = (kind: Kind, { args = [], inside }: Options = {}): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.gen(function* () {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(Path.join(tmpdir(), `${kind}-`))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
    )
    const host = inside?.address ?? "127.0.0.1"
    const port = inside === undefined ? yield* freePort : nextPort++
    let child: ChildProcess | undefined
    let log = ""

    const signal = (name: NodeJS.Signals) =>
      Effect.sync(() => {
        if (child !== undefined && isRunning(child)) process.kill(-child.pid!, name)
      })
    const end = (name: NodeJS.Signals) =>
      Effect.promise(async () => {
        if (child === undefined || !isRunning(child)) return
        const gone = once(child, "exit")
        process.kill(-child.pid!, name)
        await gone
      })
    const begin = Effect.gen(function* () {
      let said = ""
      const { command, ready } = recipes[kind]({ host, port, folder })
      const inner = [...command, ...args]
      const [program, ...rest] = ["setpriv", "--pdeathsig", "KILL", "--", ...(inside?.command(inner) ?? inner)]
      const started = spawn(program, rest, { cwd: folder, detached: true, env, stdio: ["ignore", "pipe", "pipe"] })
      child = started
      for (const stream of [started.stdout, started.stderr]) {
        stream.on("data", (chunk: Buffer) => {
          if (said.length < logCharactersMax) said += chunk.toString()
          log = (log + chunk.toString()).slice(-logCharactersMax)
        })
      }
      yield* Effect.repeat(Effect.sleep("10 millis"), {
        until: () => said.includes(ready) || !isRunning(started)
      })
      if (!isRunning(started)) throw new Error(`${kind} did not start: ${said}`)
    })

    yield* Effect.addFinalizer(() => end("SIGKILL"))
    yield* begin
    return {
      host,
      port,
      folder,
      log: () => log,
      freeze: signal("SIGSTOP"),
      thaw: signal("SIGCONT"),
      kill: end("SIGKILL"),
      stop: end("SIGTERM"),
      start: begin
    }
  })

/** Runs a program to its end and gives what it printed. */
export const ask = (program: string, ...args: ReadonlyArray<string>): Effect.Effect<string> =>
  Effect.promise(async () => (await run(program, args, { encoding: "utf8", env, timeout: 10_000 })).stdout)

const run = promisify(execFile)

interface At {
  readonly host: string
  readonly port: number
  readonly folder: string
}

interface Recipe {
  readonly command: ReadonlyArray<string>
  /** What its log says once it listens. */
  readonly ready: string
}

const recipes: { readonly [K in Kind]: (at: At) => Recipe } = {
  "nats-server": ({ host, port }) => ({
    command: ["nats-server", "--addr", host, "--port", String(port)],
    ready: "Server is ready"
  }),
  "redis-server": ({ folder, host, port }) => ({
    command: [
      ...["redis-server", "--bind", host, "--port", String(port), "--protected-mode", "no", "--dir", folder],
      ...["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
    ],
    ready: "Ready to accept connections"
  }),
  mosquitto: ({ folder, host, port }) => {
    const file = Path.join(folder, "mosquitto.conf")
    writeFileSync(file, `listener ${port} ${host}\nallow_anonymous true\n${isRoot ? "user root\n" : ""}`)
    return { command: ["mosquitto", "-v", "-c", file], ready: " running" }
  },
  // Takes lines from whoever connects, and says nothing.
  socat: ({ folder, host, port }) => ({
    command: [
      ...["socat", "-d", "-d", "-u", `TCP-LISTEN:${port},bind=${host},fork,reuseaddr`],
      `OPEN:${Path.join(folder, "received")},creat,append`
    ],
    ready: "listening on"
  })
}

/**
 * Below the ports that the kernel gives to clients: who dials a server that is down must not meet itself. Test files that
 * run at the same time have ports of their own.
 */
const firstPort = 20_000 + (Number(process.env["VITEST_POOL_ID"] ?? 0) % 4) * 2500 + (process.pid % 1000) * 2
let nextPort = firstPort

const freePort: Effect.Effect<number> = Effect.promise(async () => {
  while (true) {
    const port = nextPort++
    const server = Net.createServer()
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false))
      server.listen(port, "127.0.0.1", () => resolve(true))
    })
    if (!isFree) continue
    await new Promise((resolve) => server.close(resolve))
    return port
  }
})

const isRunning = (child: ChildProcess) => child.exitCode === null && child.signalCode === null

const isRoot = process.getuid?.() === 0

/** Debian keeps servers where only root looks. */
const env = { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` }

const logCharactersMax = 1024 * 1024
