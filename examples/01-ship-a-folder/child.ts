/**
 * A child process of this example: a program beside this file, run by the same Node, that talks in lines of JSON.
 */
import { Data, Deferred, Effect, Stream, type Scope } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { fileURLToPath } from "node:url"
import { decodeReport, type Report, type Side } from "./reports.ts"

export interface Child {
  /** What it tells, from the first. Ends when it has ended well; fails when it ended badly. To be read once. */
  readonly reports: Stream.Stream<Report, ChildError>
  /** Tells it that it need not go on: a line on its standard input. */
  readonly enough: Effect.Effect<unknown>
  /** Stops it as SIGSTOP does, until the scope closes. */
  readonly freeze: Effect.Effect<void, never, Scope.Scope>
}

export class ChildError extends Data.TaggedError("ChildError")<{ readonly message: string }> {}

/** Starts it. When the scope closes it is killed, which also works while it is stopped. */
export const start = Effect.fnUntraced(function* (
  side: Side,
  args: ReadonlyArray<string>
): Effect.fn.Return<Child, ChildError, ChildProcessSpawner.ChildProcessSpawner | Scope.Scope> {
  const enough = yield* Deferred.make<Uint8Array>()
  const command = ChildProcess.make(
    process.execPath,
    [...process.execArgv, fileURLToPath(new URL(`${side}.ts`, import.meta.url)), ...args],
    {
      // its input stays open for as long as this process lives, so that it can tell when it is left alone
      stdin: Stream.concat(Stream.fromEffect(Deferred.await(enough)), Stream.never),
      stderr: "inherit",
      killSignal: "SIGKILL"
    }
  )
  const broken = (error: { readonly message: string }) => new ChildError({ message: `the ${side}: ${error.message}` })
  const killed = () => new ChildError({ message: `the ${side} was killed` })
  const handle = yield* Effect.mapError(command, broken)
  const endedWell = Effect.flatMap(Effect.mapError(handle.exitCode, killed), (code) =>
    code === 0 ? Effect.void : Effect.fail(new ChildError({ message: `the ${side} ended with code ${code}` }))
  )
  return {
    reports: handle.stdout.pipe(
      Stream.decodeText,
      Stream.splitLines,
      Stream.mapEffect((line) => decodeReport(line)),
      Stream.mapError(broken),
      Stream.tap((report) => (report._tag === "Failed" ? Effect.fail(broken(report)) : Effect.void)),
      Stream.concat(Stream.drain(Stream.fromEffect(endedWell)))
    ),
    enough: Deferred.succeed(enough, new TextEncoder().encode("enough\n")),
    freeze: Effect.acquireRelease(
      Effect.sync(() => signal(handle.pid, "SIGSTOP")),
      () => Effect.sync(() => signal(handle.pid, "SIGCONT"))
    )
  }
})

/** It may have ended by itself meanwhile; `reports` tells. */
const signal = (pid: number, name: NodeJS.Signals): void => {
  try {
    process.kill(pid, name)
  } catch {}
}
