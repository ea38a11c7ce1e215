/**
 * Who takes part, by name.
 */
import type { Contestant } from "./contestant.ts"

type Load = () => Promise<Contestant>

const madeHere = {
  net: async () => (await import("./contestants/net.ts")).contestant,
  frames: async () => (await import("./contestants/frames.ts")).contestant,
  session: async () => (await import("./contestants/session.ts")).contestant,
  "holdfast-arrays": async () => (await import("./contestants/holdfast.ts")).arrays,
  "holdfast-owned": async () => (await import("./contestants/holdfast.ts")).owned,
  "holdfast-messages": async () => (await import("./contestants/holdfast.ts")).messages,
  "holdfast-handle": async () => (await import("./contestants/holdfast.ts")).handle,
  "holdfast-requests": async () => (await import("./contestants/holdfast.ts")).requests,
  "holdfast-requests-together": async () => (await import("./contestants/holdfast.ts")).requestsTogether,
  "holdfast-schema": async () => (await import("./contestants/holdfast.ts")).schema
} satisfies Record<string, Load>

/** Their packages are installed apart, so they are loaded when they are asked for. */
const madeElsewhere = {
  ws: async () => (await import("./contestants/ws.ts")).ws,
  "ws-corked": async () => (await import("./contestants/ws.ts")).corked,
  "socket.io": async () => (await import("./contestants/socketIo.ts")).events,
  "socket.io-acks": async () => (await import("./contestants/socketIo.ts")).acknowledgements,
  grpc: async () => (await import("./contestants/grpc.ts")).contestant,
  "effect-rpc": async () => (await import("./contestants/effectRpc.ts")).messages,
  "effect-rpc-arrays": async () => (await import("./contestants/effectRpc.ts")).arrays,
  "mqtt-qos1": async () => (await import("./contestants/mqtt.ts")).contestant,
  rsocket: async () => (await import("./contestants/rsocket.ts")).contestant
} satisfies Record<string, Load>

/** Who only takes part in cases of its own. */
const withChannels = Object.fromEntries(
  [1, 100, 1000].map((count): [string, Load] => [
    `holdfast-channels-${count}`,
    async () => (await import("./contestants/channels.ts")).channels(count)
  ])
)

export const contestants: Record<string, Load> = { ...madeHere, ...madeElsewhere, ...withChannels }

export const own = Object.keys(madeHere)

export const peers = Object.keys(madeElsewhere)

/** The yardstick: what the others' ratios are ratios to. */
export const handWritten = "session"

/** What the peers' ratios are ratios to. */
export const holdfast = "holdfast-arrays"
