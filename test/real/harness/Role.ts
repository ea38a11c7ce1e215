// The inside of a role: its argument, its way to report, and its end when nobody listens any more.
import { flushCompileCache } from "node:module"

export const argument: unknown = JSON.parse(process.argv[2]!)

let isCached = false

export const report = (body: object): void => {
  // Roles are killed, and who is killed keeps no cache of what it has compiled.
  if (!isCached) flushCompileCache()
  isCached = true
  process.send?.({ ...body, at: Date.now() })
}

/** Hears what this process is told by the one that started it. */
export const listen = (hear: (order: unknown) => void): void => {
  process.on("message", hear)
}

process.on("disconnect", () => process.exit())
