/**
 * What is told of a session while a link carries it: its state, whenever that changes.
 */
import type { Channel } from "@holdfast/protocol"
import { Duration, Option } from "effect"
import type { Opened, Up } from "../Session.ts"
import type { Conversation } from "./conversation.ts"
import type { Flow } from "./flow.ts"

/** The picture of this incarnation, published whenever it changes. */
export const picture = ({
  conversation,
  incarnation,
  opened
}: {
  readonly conversation: Conversation
  readonly incarnation: number
  readonly opened: Opened
}) => {
  const { peer } = conversation
  const wall = () => conversation.clock.currentTimeMillisUnsafe()
  const since = wall()
  let stalledSince: number | undefined
  const credit = waitingOn(conversation, peer.awaitingCredit, "creditAwaitedSince")
  const consumer = waitingOn(conversation, peer.full, "consumerSlowSince")

  const publish = () => {
    const state: Up = {
      _tag: "Up",
      incarnation,
      opened,
      since,
      roundTripTime: conversation.roundTripTime,
      stalledSince: Option.fromUndefinedOr(stalledSince),
      creditAwaitedSince: Option.fromUndefinedOr(credit.first()?.creditAwaitedSince),
      creditAwaitedOn: Option.fromUndefinedOr(credit.first()?.channel.name),
      consumerSlowSince: Option.fromUndefinedOr(consumer.first()?.consumerSlowSince),
      consumerSlowOn: Option.fromUndefinedOr(consumer.first()?.channel.name)
    }
    conversation.publish(state)
  }
  return {
    publish,
    stalled: (at: number | undefined) => {
      if (at !== undefined) conversation.bulletin.event({ _tag: "Stalled", since: at })
      else if (stalledSince !== undefined) {
        conversation.bulletin.event({ _tag: "Moved", stalledFor: Duration.millis(wall() - stalledSince) })
      }
      stalledSince = at
      publish()
    },
    flow: () => {
      const isOther = credit.look(wall)
      if (consumer.look(wall) || isOther) publish()
    }
  }
}

/** Channels that wait for something, and since when. Almost always there are none. */
const waitingOn = (
  { flows }: Conversation,
  channels: ReadonlySet<Channel.Channel>,
  since: "creditAwaitedSince" | "consumerSlowSince"
) => {
  const waiting = new Set<Flow>()
  const first = (): Flow | undefined => waiting.values().next().value
  return {
    first,
    /** Whether another one is the first now. */
    look: (wall: () => number): boolean => {
      if (channels.size === 0 && waiting.size === 0) return false
      const before = first()
      for (const flow of waiting) {
        if (channels.has(flow.channel)) continue
        flow[since] = undefined
        waiting.delete(flow)
      }
      for (const channel of channels) {
        const flow = flows.get(channel)
        if (flow === undefined || waiting.has(flow)) continue
        flow[since] = wall()
        waiting.add(flow)
      }
      return first() !== before
    }
  }
}
