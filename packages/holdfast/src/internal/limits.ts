/** Numbers that both sides use. */

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
