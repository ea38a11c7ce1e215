// How long it takes until a program hears that its server is gone: through an example of ours, and through the client that
// people use otherwise, both with their defaults, of the same server in the same fault at the same time. All are watched at
// once, for a minute. The table is printed, and kept in docs/real-servers.md: UPDATE=1 writes it.
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { root } from "../Tool.ts"
import { type Child, spawn } from "./harness/Child.ts"
import * as Namespace from "./harness/Namespace.ts"
import type * as Watcher from "./harness/roles/watcher.ts"
import * as Server from "./harness/Server.ts"

const missing = Namespace.missing ?? Server.missingOf("nats-server", "redis-server", "mosquitto", "socat")
if (missing !== undefined && process.env["CI"] !== undefined) throw new Error(missing)

const watchedFor = 60_000

/** Policy and slack of a busy machine: a detector that wakes late asks once more. */
const atOnce = 5000
const bySilence = 10_000 + 10_000
const byAnswer = 5000 + 10_000
const byKernel = 30_000 + 15_000

interface Row {
  readonly protocol: Watcher.Protocol
  readonly fault: string
  /** Within how many milliseconds the example must have noticed. */
  readonly within: number
  readonly harm: "cut" | ((server: Server.Server) => Effect.Effect<unknown>)
}

const frozen = ({ freeze }: Server.Server) => freeze
const killed = ({ kill }: Server.Server) => kill
const restarted = ({ start, stop }: Server.Server) => Effect.andThen(stop, start)
const redisCli =
  (...words: ReadonlyArray<string>) =>
  ({ host, port }: Server.Server) =>
    Server.ask("redis-cli", "-h", host, "-p", String(port), ...words)

const rows: ReadonlyArray<Row> = [
  { protocol: "nats", fault: "frozen (SIGSTOP)", within: bySilence, harm: frozen },
  { protocol: "nats", fault: "network blackholed", within: bySilence, harm: "cut" },
  { protocol: "nats", fault: "killed (SIGKILL)", within: atOnce, harm: killed },
  { protocol: "nats", fault: "restarted", within: atOnce, harm: restarted },
  { protocol: "redis", fault: "frozen (SIGSTOP)", within: byAnswer, harm: frozen },
  { protocol: "redis", fault: "paused (CLIENT PAUSE)", within: byAnswer, harm: redisCli("CLIENT", "PAUSE", "120000") },
  {
    protocol: "redis",
    fault: "client killed (CLIENT KILL)",
    within: atOnce,
    harm: redisCli("CLIENT", "KILL", "TYPE", "normal")
  },
  { protocol: "redis", fault: "restarted", within: atOnce, harm: restarted },
  { protocol: "mqtt", fault: "frozen (SIGSTOP)", within: bySilence, harm: frozen },
  { protocol: "mqtt", fault: "network blackholed", within: bySilence, harm: "cut" },
  { protocol: "mqtt", fault: "killed (SIGKILL)", within: atOnce, harm: killed },
  { protocol: "mqtt", fault: "restarted", within: atOnce, harm: restarted },
  { protocol: "lines", fault: "cable pulled", within: byKernel, harm: "cut" }
]

const nameOf = ({ fault, protocol }: Row) => `${protocol}: ${fault}`

const servers = { nats: "nats-server", redis: "redis-server", mqtt: "mosquitto", lines: "socat" } as const
const clients = { nats: "@nats-io/transport-node", redis: "redis", mqtt: "mqtt", lines: "net" } as const

type Watching = Child<Watcher.Fact>

/** Servers and whoever watches them: those that are cut off on the other side of a cable. */
const start = Effect.gen(function* () {
  const cable = yield* Namespace.cable
  const started = yield* Effect.forEach(
    rows,
    Effect.fnUntraced(function* (row) {
      const server = yield* Server.start(servers[row.protocol], row.harm === "cut" ? { inside: cable.right } : {})
      return { row, server }
    }),
    { concurrency: "unbounded" }
  )
  const watch = (isCut: boolean) => {
    const watches = started
      .filter(({ row }) => (row.harm === "cut") === isCut)
      .map(({ row, server: { host, port } }) => ({ row: nameOf(row), protocol: row.protocol, host, port }))
    return spawn<Watcher.Fact>("watcher", { watches } satisfies Watcher.Argument, isCut ? cable.left : undefined)
  }
  const [near, far] = yield* Effect.all([watch(false), watch(true)])
  return { cable, started: started.map((one) => ({ ...one, watcher: one.row.harm === "cut" ? far : near })) }
})

const isOf = (row: Row, client: "holdfast" | "other") => (fact: { readonly row: string; readonly client: string }) =>
  fact.row === nameOf(row) && fact.client === client

/** What a client first said of its server after the fault, and after how many milliseconds; nothing for a minute. */
const noticed = (watcher: Watching, row: Row, client: "holdfast" | "other", since: number) => {
  const first = watcher.facts.find((fact) => fact._tag === "Noticed" && isOf(row, client)(fact) && fact.at >= since)
  return first?._tag === "Noticed" && first.at - since <= watchedFor
    ? { how: first.how, after: first.at - since }
    : undefined
}

type Notice = ReturnType<typeof noticed>

const textOf = (notice: Notice) => {
  if (notice === undefined) return `> ${watchedFor / 1000} s`
  const { after, how } = notice
  return `${after < 1000 ? "at once" : `${Math.round(after / 1000)} s`} (\`${how}\`)`
}

const tableOf = (lines: ReadonlyArray<readonly [row: Row, ours: Notice, other: Notice]>) =>
  [
    "| server | what happens | the example | the usual client |",
    "| --- | --- | --- | --- |",
    ...lines.map(
      ([{ fault, protocol }, ours, other]) =>
        `| ${servers[protocol]} | ${fault} | ${textOf(ours)} | \`${clients[protocol]}\`: ${textOf(other)} |`
    )
  ].join("\n")

const document = Path.join(root, "docs", "real-servers.md")
const [begin, end] = ["<!-- measured: begin -->", "<!-- measured: end -->"]

/** What the document shows, up to the figures, which differ a little each time. */
const shapeOf = (table: string) => table.replaceAll(/(at once|(?<!> )\b\d+ s) \(`[^`]*`\)/g, "noticed").trim()

describe(`the time to notice${missing === undefined ? "" : `: ${missing}`}`, () => {
  it.live.skipIf(missing !== undefined)(
    "is within the policy for each fault of a real server, and what it is with other clients is told beside it",
    () =>
      Effect.gen(function* () {
        const { cable, started } = yield* start
        for (const { row, watcher } of started) {
          yield* watcher.fact("Working", isOf(row, "holdfast"))
          yield* watcher.fact("Working", isOf(row, "other"))
        }
        yield* Effect.sleep("3 seconds")
        const early = started.flatMap(({ watcher }) => watcher.facts.filter(({ _tag }) => _tag === "Noticed"))
        assert.deepStrictEqual(early, [], "a healthy server was given up")

        const since = yield* Effect.forEach(
          started,
          ({ row, server }) => {
            const at = Date.now()
            return Effect.as(row.harm === "cut" ? cable.cut("both") : row.harm(server), at)
          },
          { concurrency: "unbounded" }
        )
        yield* Effect.sleep(watchedFor)

        const lines = started.map(({ row, watcher }, n) => {
          const of = (client: "holdfast" | "other") => noticed(watcher, row, client, since[n]!)
          return [row, of("holdfast"), of("other")] as const
        })
        const table = tableOf(lines)
        yield* Effect.sync(() => process.stdout.write(`\n${table}\n`))
        for (const [row, ours] of lines) {
          assert.isAtMost(ours?.after ?? Infinity, row.within, nameOf(row))
        }
        const isUsedAgain = started.map(
          ({ row, watcher }, n) =>
            row.harm !== restarted ||
            watcher.facts.some((fact) => fact._tag === "Working" && isOf(row, "holdfast")(fact) && fact.at > since[n]!)
        )
        assert.notInclude(isUsedAgain, false, "a server that was started again is used again")

        const text = Fs.readFileSync(document, "utf8")
        const before = text.slice(0, text.indexOf(begin) + begin.length)
        const after = text.slice(text.indexOf(end))
        if (process.env["UPDATE"] === "1") Fs.writeFileSync(document, `${before}\n\n${table}\n\n${after}`)
        const kept = Fs.readFileSync(document, "utf8").slice(before.length, -after.length)
        assert.strictEqual(shapeOf(kept), shapeOf(table), "docs/real-servers.md differs: UPDATE=1 writes it")
      }),
    180_000
  )
})
