/**
 * The channels of a conversation as its application sees them: which there are, and of which there is something to do.
 */
import type { Channel } from "@holdfast/protocol"
import type { Flow } from "./flow.ts"

/** Most conversations have the main one and no other: what others need is made with the first one. */
export class Flows {
  /** The session's own messages. */
  readonly main: Flow
  private channels: Map<Channel.Channel, Flow> | undefined
  /** The other side has opened them, and nobody has asked for them. */
  private offered: Set<Flow> | undefined
  /** Their messages may expire. */
  private expiring: Set<Flow> | undefined
  /** Somebody waits for a fact of theirs. */
  private waitedFor: Set<Flow> | undefined

  constructor(main: Flow) {
    this.main = main
  }

  get(channel: Channel.Channel): Flow | undefined {
    return channel === this.main.channel ? this.main : this.channels?.get(channel)
  }

  /** All of them. */
  *[Symbol.iterator](): Iterator<Flow> {
    yield this.main
    if (this.channels !== undefined) yield* this.channels.values()
  }

  /** All but the main one, as they are now. */
  get others(): ReadonlyArray<Flow> {
    return this.channels === undefined ? [] : [...this.channels.values()]
  }

  add(flow: Flow): void {
    this.channels ??= new Map()
    this.channels.set(flow.channel, flow)
  }

  /** It is over. Whoever waits for a fact of it is told by itself. */
  remove(flow: Flow): void {
    this.channels?.delete(flow.channel)
    this.expiring?.delete(flow)
    this.offered?.delete(flow)
  }

  offer(flow: Flow): void {
    this.offered ??= new Set()
    this.offered.add(flow)
  }

  get hasOffered(): boolean {
    return this.offered !== undefined && this.offered.size > 0
  }

  /** The next one that nobody has asked for until now. */
  nextOffered(): Flow | undefined {
    const flow = this.offered?.values().next().value
    if (flow !== undefined) this.offered?.delete(flow)
    return flow
  }

  /** Messages of the flow may expire. */
  expires(flow: Flow): void {
    this.expiring ??= new Set()
    this.expiring.add(flow)
  }

  /** Skips what has come too late to be handed to the link. */
  expire(): void {
    if (this.expiring !== undefined) for (const { outbox } of this.expiring) outbox.expire()
  }

  /** Whether somebody waits for a fact of the flow. */
  awaited(flow: Flow, isAwaited: boolean): void {
    if (!isAwaited) return void this.waitedFor?.delete(flow)
    this.waitedFor ??= new Set()
    this.waitedFor.add(flow)
  }

  /** Facts may have changed. */
  look(): void {
    if (this.waitedFor !== undefined) for (const flow of this.waitedFor) flow.look()
  }
}
