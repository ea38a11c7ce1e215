/**
 * What is told of a session while a link carries it: its state, whenever that changes.
 */
import type { Channel } from "@holdfast/protocol"
import { Duration, Option } from "effect"
import type { Opened, Up } from "../Session.ts"
import type { Conversation } from "./conversation.ts"
import type { Flow } from "./flow.ts"

/** The picture of one incarnation, published whenever it changes. */
export class Picture {
  private readonly conversation: Conversation
  private readonly incarnation: number
  private readonly opened: Opened
  private readonly since: number
  private stalledSince: number | undefined
  /** Channels that wait for something, the one that has waited longest first. Almost always there are none. */
  private awaiting: Set<Flow> | undefined
  private slow: Set<Flow> | undefined

  constructor({ conversation, incarnation, opened }: Of) {
    this.conversation = conversation
    this.incarnation = incarnation
    this.opened = opened
    this.since = this.wall()
  }

  publish(): void {
    const { conversation, incarnation, opened, since, stalledSince } = this
    const awaiting = first(this.awaiting)
    const slow = first(this.slow)
    const state: Up = {
      _tag: "Up",
      incarnation,
      opened,
      since,
      roundTripTime: conversation.roundTripTime,
      stalledSince: Option.fromUndefinedOr(stalledSince),
      creditAwaitedSince: Option.fromUndefinedOr(awaiting?.creditAwaitedSince),
      creditAwaitedOn: Option.fromUndefinedOr(awaiting?.channel.name),
      consumerSlowSince: Option.fromUndefinedOr(slow?.consumerSlowSince),
      consumerSlowOn: Option.fromUndefinedOr(slow?.channel.name)
    }
    conversation.publish(state)
  }

  stalled(at: number | undefined): void {
    const { bulletin } = this.conversation
    if (at !== undefined) bulletin.event({ _tag: "Stalled", since: at })
    else if (this.stalledSince !== undefined) {
      bulletin.event({ _tag: "Moved", stalledFor: Duration.millis(this.wall() - this.stalledSince) })
    }
    this.stalledSince = at
    this.publish()
  }

  /** Which channels wait may have changed. */
  flow(): void {
    const { awaitingCredit, full } = this.conversation.peer
    let isOther = false
    if (awaitingCredit.size > 0 || this.awaiting !== undefined) {
      const before = first(this.awaiting)
      this.awaiting = this.look(awaitingCredit, this.awaiting, "creditAwaitedSince")
      isOther = first(this.awaiting) !== before
    }
    if (full.size > 0 || this.slow !== undefined) {
      const before = first(this.slow)
      this.slow = this.look(full, this.slow, "consumerSlowSince")
      isOther ||= first(this.slow) !== before
    }
    if (isOther) this.publish()
  }

  /** Who waits now, given who did before. */
  private look(
    channels: ReadonlySet<Channel.Channel>,
    waiting: Set<Flow> = new Set(),
    since: "creditAwaitedSince" | "consumerSlowSince"
  ): Set<Flow> | undefined {
    for (const flow of waiting) {
      if (channels.has(flow.channel)) continue
      flow[since] = undefined
      waiting.delete(flow)
    }
    for (const channel of channels) {
      const flow = this.conversation.flows.get(channel)
      if (flow === undefined || waiting.has(flow)) continue
      flow[since] = this.wall()
      waiting.add(flow)
    }
    return waiting.size === 0 ? undefined : waiting
  }

  private wall(): number {
    return this.conversation.clock.currentTimeMillisUnsafe()
  }
}

interface Of {
  readonly conversation: Conversation
  readonly incarnation: number
  readonly opened: Opened
}

const first = (waiting: Set<Flow> | undefined): Flow | undefined => waiting?.values().next().value
