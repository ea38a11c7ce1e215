/** Bounds of clients and servers: their defaults, and that they are bounds. */
import { Duration, Effect, Option } from "effect"
import { PolicyError } from "../Policy.ts"
import type { ServerLimits } from "../Session.ts"

/** How much may arrive beyond what the application has taken, unless told otherwise. */
export const windowBytesDefault = 1024 * 1024

/** Messages are cut into frames of this size, so that a heartbeat never waits behind more. */
export const frameBytesCut = 16_384

/** Bounds of a server, unless told otherwise. */
export const serverDefaults = {
  resumeWindow: "2 minutes",
  sessionsMax: 10_000,
  handshakesMax: 1_000,
  bytesMax: 1024 * 1024 * 1024,
  retryAfter: "1 second",
  goAwaySpread: "1 second",
  frame: "30 seconds"
} as const

/** Refuses limits that are no bounds. The patience for a frame is checked like any other when it is used. */
export const check = ({ frame: _patience, ...limits }: ServerLimits): Effect.Effect<void, PolicyError> => {
  const faults = Object.entries(limits).flatMap(([name, value]: [string, Duration.Input | undefined]) => {
    if (value === undefined) return []
    if (durations.has(name)) {
      return Option.exists(Duration.fromInput(value), (duration) => Duration.toMillis(duration) >= 0)
        ? []
        : [`limits.${name} is not a Duration that is not negative`]
    }
    const min = name === "windowBytes" ? windowBytesMin : 1
    return typeof value === "number" && value >= min ? [] : [`limits.${name} is not a number of at least ${min}`]
  })
  if (faults.length === 0) return Effect.void
  return Effect.fail(new PolicyError({ fields: ["limits"], message: faults.join("; ") }))
}

const durations: ReadonlySet<string> = new Set(["resumeWindow", "retryAfter", "goAwaySpread"])

/** The longest header of a record must fit. */
const windowBytesMin = 8
