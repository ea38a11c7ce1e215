/**
 * Who holds many connections, by name.
 */
import type { Crowd } from "./crowd.ts"

export const crowds: Record<string, () => Promise<Crowd>> = {
  net: async () => (await import("./crowds/net.ts")).crowd,
  session: async () => (await import("./crowds/session.ts")).crowd,
  ws: async () => (await import("./crowds/ws.ts")).crowd,
  holdfast: async () => (await import("./crowds/holdfast.ts")).crowd,
  "holdfast-requests": async () => (await import("./crowds/holdfast.ts")).requests
}
