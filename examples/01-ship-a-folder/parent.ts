/**
 * A child's side of the lines between it and its parent.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Cause, Effect } from "effect"
import { tell } from "./reports.ts"

/** Waits for a line from the parent. When there is no parent any more, there is nobody to work for: the process exits. */
export const untilTold: Effect.Effect<void> = Effect.callback((resume) => {
  process.stdin.once("data", () => resume(Effect.void))
  process.stdin.once("end", () => process.exit(1))
})

/** Runs a child's program. What it fails with is told to the parent; standard output carries reports and nothing else. */
export const run = <A, E>(program: Effect.Effect<A, E>): void =>
  program.pipe(
    Effect.tapCause((cause) =>
      Effect.sync(() => {
        const error = Cause.squash(cause)
        tell({ _tag: "Failed", message: error instanceof Error ? error.message : String(error) })
      })
    ),
    (told) => NodeRuntime.runMain(told, { disableErrorReporting: true })
  )
