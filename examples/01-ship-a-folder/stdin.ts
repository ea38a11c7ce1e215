/**
 * The line to the parent process. It is also how a child notices that it was left alone: then there is nobody to
 * work for, and it exits.
 */
import { Effect } from "effect"

/** Waits for a line from the parent. */
export const untilTold: Effect.Effect<void> = Effect.callback((resume) => {
  process.stdin.once("data", () => resume(Effect.void))
  process.stdin.once("end", () => process.exit(1))
})
