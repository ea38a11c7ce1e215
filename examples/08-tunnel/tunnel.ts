/**
 * What both ends of a tunnel have in common: one session whose channels are the connections, and how patient it is.
 */
import { Duration } from "effect"
import { Policy, Presets, Session } from "holdfast"

/** Each channel is one TCP connection; its name is that of a target. */
export class Tunnel extends Session.Service<Tunnel>()("holdfast/Tunnel") {}

/**
 * An end that is silent for `patience` is given up and dialled anew. It is asked at half of that, and heartbeats are twice as
 * frequent. A link that has lived as long as that counts as good, and the next dial comes at once.
 */
export const policyOf = (patience: Duration.Duration): Policy.Options => {
  const half = Duration.times(patience, 1 / 2)
  return {
    open: patience,
    heartbeat: Duration.times(patience, 1 / 4),
    silence: Presets.openVSwitch(half),
    stall: Presets.openVSwitch(half),
    stability: patience,
    reconnect: Presets.fullJitter("100 millis", "2 seconds"),
    close: "10 seconds"
  }
}

/** How much of one connection is kept until the other end has taken it: what a long fat link needs to stay full. */
export const backlog = { messagesMax: 4096, bytesMax: 1024 * 1024 }
