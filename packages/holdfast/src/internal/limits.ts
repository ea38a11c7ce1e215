/** Bounds of clients and servers: their defaults, and that they are bounds. */
import { Frame, type Peer } from "@holdfast/protocol"
import { Duration, Effect, Option } from "effect"
import { PolicyError } from "../Policy.ts"
import type { ClientLimits, ServerLimits } from "../Session.ts"

/** Bounds of what may arrive, unless told otherwise. */
const defaults = {
  windowBytes: 1024 * 1024,
  channelWindowBytes: 65_536,
  windowBytesMax: 8 * 1024 * 1024,
  growthBytesMax: 16 * 1024 * 1024,
  channelsMax: 1024
} as const

/** The bounds of a side. A window that is larger than the bound of its growth does not grow. */
export const ofPeer = (limits: ClientLimits, messageBytesMax: number): Peer.Limits => ({
  windowBytes: limits.windowBytes ?? defaults.windowBytes,
  channelWindowBytes: limits.channelWindowBytes ?? defaults.channelWindowBytes,
  windowBytesMax: limits.windowBytesMax ?? defaults.windowBytesMax,
  growthBytes: limits.growthBytesMax ?? defaults.growthBytesMax,
  channelsMax: limits.channelsMax ?? defaults.channelsMax,
  messageBytesMax,
  frameBytesMax: frameBytesCut
})

/** Messages are cut into frames of this size, if so much is written at once: the largest that there is. */
const frameBytesCut = Frame.dataBytesMax

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
    const min = minima[name] ?? 1
    return typeof value === "number" && value >= min ? [] : [`limits.${name} is not a number of at least ${min}`]
  })
  if (faults.length === 0) return Effect.void
  return Effect.fail(new PolicyError({ fields: ["limits"], message: faults.join("; ") }))
}

const durations: ReadonlySet<string> = new Set(["resumeWindow", "retryAfter", "goAwaySpread"])

/** The longest header of a record must fit. No channels, and no growth, are bounds as well. */
const minima: { readonly [name: string]: number } = {
  windowBytes: 8,
  channelWindowBytes: 8,
  growthBytesMax: 0,
  channelsMax: 0
}
