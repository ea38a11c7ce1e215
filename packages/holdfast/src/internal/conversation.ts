/**
 * What both sides of a session have in common: it outlives incarnations. It joins the pure `Peer` to the application
 * and to the incarnation of the moment. Plain calls over explicit state; whatever waits is an `Effect.callback` whose
 * `resume` is kept and called once.
 */
import { type Channel, type Openings, Peer } from "@holdfast/protocol"
import type { Frame } from "@holdfast/protocol"
import { Duration, Effect, Exit, Option } from "effect"
import type { Clock, Deferred } from "effect"
import {
  ChannelRefused,
  type ChannelReset,
  type ConnectionError,
  GoneAway,
  make as connectionError,
  type SessionLost
} from "../ConnectionError.ts"
import { monotonicMillis } from "../Patience.ts"
import type { Policy } from "../Policy.ts"
import type { State } from "../Session.ts"
import type { Bulletin } from "./bulletin.ts"
import { type Carrier, Flow } from "./flow.ts"
import { Flows } from "./flows.ts"
import { type Budget, type Limits, usualLimits } from "./backlogLimits.ts"
import type { LossPoint } from "./outbox.ts"

/** A `Close` frame. */
export type LastWord = Omit<Frame.Close, "_tag">

/** What an incarnation offers to the conversation while it lasts. */
export interface Attachment {
  /** There is something to write. */
  readonly work: () => void
  /** It is written at once, even while input is handed out. */
  readonly flush: () => void
  /** The other side should hear where we stand, soon. */
  readonly news: () => void
  /** The session ends, or moves: the incarnation says so if it can, and ends. */
  readonly end: (error: ConnectionError, lastWord: LastWord | undefined) => void
  /** Probe now. */
  readonly wake: () => void
  readonly policyReplaced: () => void
}

/** What all conversations of a server have in common. */
export interface Options {
  readonly clock: Clock.Clock
  readonly policy: Policy
  readonly limits: Peer.Limits
  readonly side: Openings.Side
  /** A budget that several conversations share. */
  readonly budget?: Budget | undefined
}

type OnFinish = (exit: Exit.Exit<void, ConnectionError>) => void

export class Conversation implements Carrier {
  peer: Peer.Peer
  policy: Policy
  /** One for each channel, the main one included. */
  readonly flows: Flows
  readonly clock: Clock.Clock
  readonly bulletin: Bulletin
  attachment: Attachment | undefined
  roundTripTime: Option.Option<Duration.Duration> = Option.none()
  /** The other side goes away; set until everything that was sent is taken. */
  goingAway: Frame.GoAway | undefined
  /** What the other side is to be told, on this link or the next, when the session ends in good order. */
  lastWord: LastWord | undefined
  /** The other side has confirmed it. */
  lastWordConfirmed = false
  isClosing = false
  /** There is a session on the other side that has to be told when this one ends. */
  isEstablished = false

  private readonly options: Options
  private readonly onFinish: OnFinish | undefined
  /** The session moves elsewhere: nothing more is sent on its channels. */
  private moving: ConnectionError | undefined
  /** Of the session's own messages, and of channels that nobody has accepted yet. */
  private readonly usualLimits = () => usualLimits(this.policy.backlog)
  private keptBytes = 0
  private heldBytes = 0

  /** `onFinish`: called once, when the session is over. */
  constructor(options: Options, bulletin: Bulletin, onFinish: OnFinish | undefined) {
    this.options = options
    this.clock = options.clock
    this.policy = options.policy
    this.bulletin = bulletin
    this.onFinish = onFinish
    this.peer = new Peer.Peer(options.limits, options.side)
    this.flows = new Flows(new Flow(this, this.peer.main, this.usualLimits))
  }

  /** The session's own messages. */
  get main(): Flow {
    return this.flows.main
  }

  /** Monotonic milliseconds. */
  now(): number {
    return monotonicMillis(this.clock)
  }

  get messageBytesMax(): number {
    return this.options.limits.messageBytesMax
  }

  /** What several conversations share, if they do. */
  get budget(): Budget | undefined {
    return this.options.budget
  }

  get exit(): Exit.Exit<void, ConnectionError> | undefined {
    return this.main.exit
  }

  /** Completed once, when the session is over. */
  get ended(): Deferred.Deferred<void, ConnectionError> {
    return this.main.ended
  }

  /** Messages of ours, on all channels, that are not yet taken. */
  get unacknowledged(): number {
    let messages = 0
    for (const { outbox } of this.flows) messages += outbox.unacknowledged
    return messages
  }

  /** Messages of theirs, on all channels, that have arrived and are not taken. */
  get untaken(): number {
    let messages = 0
    for (const { channel } of this.flows) messages += channel.receive.untakenCount
    return messages
  }

  /** Everything was taken, ours and what arrived. */
  get isSettled(): boolean {
    return this.isAcknowledged && this.untaken === 0
  }

  /** Everything of ours was taken, and the other side, if there is one, knows that it was all. */
  get isAcknowledged(): boolean {
    for (const { outbox } of this.flows) {
      if (!outbox.isAcknowledged && (this.isEstablished || outbox.unacknowledged > 0)) return false
    }
    return true
  }

  /** Closing, and nothing is left that another link could help with. */
  get isSaid(): boolean {
    return this.lastWord !== undefined || (this.isClosing && this.unacknowledged === 0 && this.untaken === 0)
  }

  // ---- channels

  /** Opens a channel. Waits for the first link of a session that does not go away; then the other side is not asked. */
  open(name: string, limits: () => Limits): Effect.Effect<Flow, ConnectionError> {
    return Effect.suspend(() => {
      const refused = this.exit === undefined ? this.main.outbox.refusing : this.failure()
      if (refused !== undefined) return Effect.fail(refused)
      const mayOpen = () => this.isEstablished && this.goingAway === undefined
      if (!mayOpen()) return Effect.andThen(this.awaitFact(mayOpen), this.open(name, limits))
      const channel = this.peer.openChannel(name)
      if (channel !== undefined) {
        this.attachment?.work()
        return Effect.succeed(this.flow(channel, limits))
      }
      const detail = `${this.peer.openCount} channels are open, and the other side takes no more before it knows that one is over (its limits.channelsMax)`
      return Effect.fail(connectionError(new ChannelRefused({ channel: name, detail })))
    })
  }

  /** Ends both directions of a channel at once. */
  reset(flow: Flow, code: ChannelReset["code"], detail: string): void {
    if (flow === this.main || flow.exit !== undefined) return
    this.peer.reset(flow.channel, code, detail)
    this.endFlow(flow, flow.wasReset({ code, detail, by: "us" }))
    this.attachment?.work()
  }

  /** Nobody uses a channel any more: what was accepted still goes, and what arrives is not waited for. */
  abandon(flow: Flow): void {
    if (flow.exit !== undefined) return
    flow.isAbandoned = true
    flow.outbox.end()
    this.endAbandoned(flow)
  }

  // ---- what incarnations tell

  /** Looks at what the last input has brought. Returns what only the incarnation can act on. */
  received(): Peer.Facts {
    const facts = this.peer.facts()
    for (const channel of facts.opened) {
      const flow = this.flow(channel, this.usualLimits)
      if (this.moving !== undefined) flow.outbox.end(this.moving)
      this.flows.offer(flow)
    }
    for (const { channel, ordinal } of facts.rejected) {
      this.flows.get(channel)?.outbox.declined(ordinal)
      this.bulletin.event({ _tag: "Declined", count: 1 })
    }
    if (facts.closed) this.lastWordConfirmed = true
    this.account(this.main)
    if (facts.taken.length > 0 && this.isClosing) this.publish(this.closing)
    for (const channel of facts.arrived) this.changed(channel, (flow) => flow.arrived())
    for (const channel of facts.taken) this.changed(channel, (flow) => flow.outbox.taken())
    for (const { channel, code, detail } of facts.reset) {
      this.changed(channel, (flow) => this.endFlow(flow, flow.wasReset({ code, detail, by: "peer" })))
    }
    for (const channel of facts.finished) this.changed(channel, (flow) => this.endFlow(flow, Exit.void))
    this.flows.look()
    return facts
  }

  /** Skips what has come too late to be handed to the link. */
  expire(): void {
    this.flows.expire()
  }

  /** The other side goes away, and everything that concerns it is done. */
  get isDrained(): boolean {
    const { openCount, receive, send } = this.peer
    return this.goingAway !== undefined && openCount === 0 && send.isDrained && receive.taken >= this.goingAway.end
  }

  // ---- what flows tell

  accepted({ channel }: Flow): void {
    this.peer.ready(channel)
    this.attachment?.work()
  }

  flush({ channel }: Flow): void {
    this.peer.ready(channel)
    this.attachment?.flush()
  }

  skipped({ channel }: Flow, count: number): void {
    this.bulletin.event({ _tag: "Skipped", channel: channel.name, count })
  }

  looking(flow: Flow, isLooking: boolean): void {
    this.flows.awaited(flow, isLooking)
  }

  /** Tells the shared budget what is held now. */
  account(flow: Flow): void {
    const { budget } = this.options
    if (budget === undefined) return
    const keptBytes = flow.exit === undefined ? flow.channel.send.keptBytes : 0
    this.keptBytes += keptBytes - flow.keptBytes
    flow.keptBytes = keptBytes
    const heldBytes = this.exit === undefined ? this.keptBytes + this.peer.untakenBytes : 0
    const moreBytes = heldBytes - this.heldBytes
    this.heldBytes = heldBytes // first: whoever waits for what is freed may come back here
    if (moreBytes !== 0) budget.held(moreBytes)
  }

  /** Something was taken on the flow. */
  taken(flow: Flow): void {
    this.peer.took(flow.channel)
    this.account(flow)
    if (this.peer.hasWork) this.attachment?.work()
    else if (this.peer.hasNews) this.attachment?.news()
    this.flows.look()
  }

  // ---- the incarnation of the moment

  attach(attachment: Attachment): void {
    this.attachment = attachment
    this.isEstablished = true
    this.flows.look()
  }

  detach(attachment: Attachment): void {
    if (this.attachment !== attachment) return
    this.attachment = undefined
    this.peer.cut()
  }

  /** Publishes a state, unless the session is on its way out. */
  publish(state: State): void {
    if (this.exit !== undefined) return
    this.bulletin.state(this.isClosing ? this.closing : state)
  }

  private get closing(): State {
    return { _tag: "Closing", unacknowledged: this.unacknowledged }
  }

  // ---- changing over to another session of the other side

  /** The earlier session was drained: what was not sent goes first in the next one. */
  renew(): void {
    this.replacePeer(connectionError(new GoneAway({ retryAfter: Option.none() })))
    this.main.outbox.renew(this.peer.main)
    this.main.look()
  }

  /** The earlier session is lost, with all its channels, and the next one begins with `first`. */
  restart(lost: SessionLost, point: LossPoint, first: ReadonlyArray<Uint8Array>): void {
    const error = connectionError(lost)
    this.replacePeer(error)
    this.main.outbox.restart(this.peer.main, point, error, first)
    this.main.look()
  }

  // ---- ending

  /** This side goes away: the other one is to finish what was begun and to come back elsewhere. */
  depart(error: ConnectionError, retryAfterMillis: number): void {
    if (this.exit !== undefined || this.isClosing) return
    this.main.outbox.refuse(error)
    this.endChannels(error)
    this.peer.goAway(retryAfterMillis)
    this.attachment?.work()
  }

  /** Waits for what `check` sees; it looks whenever something was taken or arrived, and when the session is over. */
  awaitFact(check: () => boolean): Effect.Effect<void> {
    return this.main.awaitFact(check)
  }

  /** The other side goes away. A session that is closing anyway goes on closing. */
  leave(goAway: Frame.GoAway): void {
    if (this.isClosing) return
    const retryAfter = Duration.millis(goAway.retryAfterMillis)
    this.goingAway = goAway
    this.peer.send.stop()
    this.endChannels(connectionError(new GoneAway({ retryAfter: Option.some(retryAfter) })))
    this.bulletin.event({ _tag: "GoingAway", retryAfter })
    this.main.look()
  }

  /** Accepts no more, on no channel. */
  end(): void {
    for (const { outbox } of this.flows) outbox.end()
  }

  /** The session is over. Everything that is pending settles; the first call decides. */
  finish(exit: Exit.Exit<void, ConnectionError>, lastWord?: LastWord): void {
    if (this.exit !== undefined) return
    const failure = this.main.failure(exit)
    this.attachment?.end(failure, lastWord)
    this.bulletin.state({ _tag: "Closed", exit })
    this.bulletin.event({ _tag: "Closed", exit })
    this.main.finish(exit)
    for (const flow of this.flows.others) this.endFlow(flow, Exit.fail(failure))
    this.onFinish?.(exit)
  }

  /** What operations fail with after the end. */
  failure(): ConnectionError {
    return this.main.failure()
  }

  private flow(channel: Channel.Channel, limits: () => Limits): Flow {
    const flow = new Flow(this, channel, limits)
    this.flows.add(flow)
    return flow
  }

  private changed(channel: Channel.Channel, change: (flow: Flow) => void): void {
    const flow = this.flows.get(channel)
    if (flow === undefined) return
    this.account(flow) // first: what is freed is room for whoever waits
    change(flow)
    this.endAbandoned(flow)
  }

  private endAbandoned(flow: Flow): void {
    if (!flow.isAbandoned || flow.exit !== undefined || !flow.outbox.isAcknowledged) return
    if (!flow.channel.receive.isFinished) this.reset(flow, "Abandoned", "nobody takes what comes on it")
  }

  private endFlow(flow: Flow, exit: Exit.Exit<void, ConnectionError>): void {
    this.flows.remove(flow)
    flow.finish(exit)
  }

  private endChannels(error: ConnectionError): void {
    this.moving = error
    for (const { outbox } of this.flows.others) outbox.end(error)
  }

  private replacePeer(error: ConnectionError): void {
    const { receive } = this.peer
    for (const flow of this.flows.others) this.endFlow(flow, Exit.fail(error))
    this.peer = new Peer.Peer(this.options.limits, this.options.side)
    this.peer.receive.adopt(receive)
    this.main.channel = this.peer.main
    this.goingAway = undefined
    this.moving = undefined
    this.isEstablished = false
  }
}
