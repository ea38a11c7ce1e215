// Programs that somebody else wrote: found, run, watched, and gone with the scope.
import { Effect, type Scope } from "effect"
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from "node:child_process"
import { compileCache } from "./Child.ts"

export interface Program {
  readonly process: ChildProcessWithoutNullStreams
  /** What it has printed so far, on both streams. */
  readonly output: () => string
  readonly printed: () => string
  readonly write: (text: string) => void
  /** Its exit code, -1 after a signal. */
  readonly code: Effect.Effect<number>
  /** Waits until what it has printed matches; dies with the output if it ends before. */
  readonly prints: (pattern: RegExp) => Effect.Effect<RegExpExecArray>
}

/** Starts a program. It is killed when the scope closes, and waited for. */
export const start = (command: string, ...args: ReadonlyArray<string>): Effect.Effect<Program, never, Scope.Scope> =>
  Effect.gen(function* () {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(command, args, { stdio: "pipe", env: { ...process.env, NODE_COMPILE_CACHE: compileCache } })
      ),
      (child) =>
        Effect.callback<void>((resume) => {
          if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined)
            return resume(Effect.void)
          child.once("close", () => resume(Effect.void))
          child.kill("SIGKILL")
        })
    )
    let printed = ""
    let complained = ""
    let closed: number | undefined
    const lookouts = new Set<() => void>()
    const look = () => lookouts.forEach((lookout) => lookout())
    child.on("error", (error) => {
      complained += String(error)
      closed = -1
      look()
    })
    child.stdin.on("error", () => undefined)
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      printed += text
      look()
    })
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      complained += text
      look()
    })
    child.on("close", (code) => {
      closed = code ?? -1
      look()
    })
    const output = () => printed + complained
    const wait = <A>(found: () => A | undefined): Effect.Effect<A> =>
      Effect.callback((resume) => {
        const lookout = () => {
          const result = found()
          if (result === undefined) return
          lookouts.delete(lookout)
          resume(Effect.succeed(result))
        }
        lookouts.add(lookout)
        lookout()
        return Effect.sync(() => lookouts.delete(lookout))
      })
    return {
      process: child,
      output,
      printed: () => printed,
      write: (text) => void child.stdin.write(text),
      code: wait(() => closed),
      prints: (pattern) =>
        wait(() => pattern.exec(printed) ?? (closed === undefined ? undefined : "ended")).pipe(
          Effect.flatMap((found) =>
            found === "ended"
              ? Effect.die(new Error(`${command} ended before ${pattern}:\n${output()}`))
              : Effect.succeed(found)
          )
        )
    }
  })

/** Runs a program to its end, which must be a success, and gives what it printed. */
export const run = (command: string, ...args: ReadonlyArray<string>): Effect.Effect<string> =>
  Effect.gen(function* () {
    const program = yield* start(command, ...args)
    const code = yield* program.code
    if (code !== 0) return yield* Effect.die(new Error(`${command} ended with ${code}:\n${program.output()}`))
    return program.printed()
  }).pipe(Effect.scoped)

/** Which of these programs this machine does not have, as a sentence; `undefined` if it has all. */
export const missing = (...commands: ReadonlyArray<string>): string | undefined => {
  const absent = commands.filter((command) => {
    try {
      execFileSync("sh", ["-c", `command -v ${command}`], { stdio: "ignore" })
      return false
    } catch {
      return true
    }
  })
  return absent.length === 0 ? undefined : `${absent.join(", ")} not found`
}
