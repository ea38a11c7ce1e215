// The examples of real servers as the tests use them: with a small patience, and with what becomes of their links.
import { Effect, Schedule, Stream } from "effect"
import type { Connection } from "holdfast"
import * as ChildProcess from "node:child_process"
import * as Path from "node:path"
import { root } from "../../Tool.ts"
import { spawn } from "./Child.ts"
import * as Namespace from "./Namespace.ts"
import type * as Watcher from "./roles/watcher.ts"
import * as Server from "./Server.ts"

const twice = (delay: "1 second") => Schedule.spaced(delay).pipe(Schedule.upTo({ times: 2 }))

/** A dead server is noticed after 2 s, and a busy machine may take twice as long. */
export const policy: Connection.PolicyOptions = {
  open: "3 seconds",
  silence: twice("1 second"),
  stall: twice("1 second"),
  reconnect: Schedule.spaced("100 millis")
}

/** Why each link ended so far, and how many were opened. */
export const lives = Effect.fnUntraced(function* (events: Stream.Stream<Connection.ConnectionEvent>) {
  const ends: Array<string> = []
  const told = { ends, opened: 0 }
  yield* events.pipe(
    Stream.runForEach((event) =>
      Effect.sync(() => {
        if (event._tag === "Ended") ends.push(event.error.reason._tag)
        if (event._tag === "Opened") told.opened++
      })
    ),
    Effect.forkScoped({ startImmediately: true })
  )
  return told
})

/** Everything that arrives. */
export const collected = Effect.fnUntraced(function* <A, E>(stream: Stream.Stream<A, E>) {
  const all: Array<A> = []
  yield* Effect.forkScoped(Stream.runForEach(stream, (one) => Effect.sync(() => void all.push(one))))
  return all
})

/** Waits until it is so. */
export const eventually = (isSo: () => boolean) =>
  Effect.asVoid(Effect.repeat(Effect.sleep("10 millis"), { until: isSo }))

/** An example over a cable that is cut and healed: it notices, and works again when the cable does. */
export const survivesCut = Effect.fnUntraced(function* (protocol: "nats" | "mqtt", kind: Server.Kind) {
  const cable = yield* Namespace.cable
  const { host, port } = yield* Server.start(kind, { inside: cable.right })
  const watches = [{ row: "cut", protocol, host, port, isHurried: true }]
  const watcher = yield* spawn<Watcher.Fact>("watcher", { watches } satisfies Watcher.Argument, cable.left)
  yield* watcher.fact("Working")
  yield* cable.cut("both")
  const { at, how } = yield* watcher.fact("Noticed")
  yield* Effect.sleep("1 second")
  yield* cable.heal
  yield* watcher.fact("Working", (fact) => fact.at > at)
  return how
})

/** Runs the program of an example until the scope closes, and gives what it has printed so far. */
export const running = (example: string, ...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const main = Path.join(root, "examples", example, "main.ts")
      const child = ChildProcess.spawn(process.execPath, ["--conditions=source", main, ...args], {
        stdio: ["ignore", "pipe", "pipe"]
      })
      let printed = ""
      for (const stream of [child.stdout, child.stderr]) {
        stream.on("data", (chunk: Buffer) => (printed += chunk.toString()))
      }
      return { child, printed: () => printed }
    }),
    ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
  )
