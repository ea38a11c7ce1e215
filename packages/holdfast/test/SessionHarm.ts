/** Harm done to the link of a session, chosen by `Random`. */
import { Effect } from "effect"
import type * as MemoryLink from "./MemoryLink.ts"
import { below } from "./SessionPair.ts"

const harms = ["reset", "bytes", "fin", "half-open", "deaf", "blackhole"] as const

/** Harms the latest link. */
export const harm = Effect.fnUntraced(function* (network: MemoryLink.Network) {
  const wire = network.wire()
  const kind = harms[yield* below(harms.length)]!
  const direction = (yield* below(2)) === 0 ? wire.toServer : wire.toClient
  switch (kind) {
    case "reset":
      return wire.cut()
    case "bytes":
      return direction.cutAfter(1 + (yield* below(3000)))
    case "fin":
      direction.stall(true) // without reading what is under way
      return wire.close((yield* below(2)) === 0 ? "server" : "client")
    case "half-open":
      wire.toClient.blackhole(true)
      return wire.cut() // the client never hears of it
    case "deaf":
      return direction.blackhole(true)
    case "blackhole":
      return wire.blackhole(true)
  }
})
