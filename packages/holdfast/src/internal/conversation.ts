/**
 * What both sides of a session have in common: it outlives incarnations. It joins the pure `Peer` to the application
 * and to the incarnation of the moment. Plain calls over explicit state; whatever waits is an `Effect.callback` whose
 * `resume` is kept and called once.
 */
import { Peer } from "@holdfast/protocol"
import type { Frame } from "@holdfast/protocol"
import { Deferred, Duration, Effect, Exit, Option } from "effect"
import type { Clock } from "effect"
import { Closed, type ConnectionError, make as connectionError, type SessionLost } from "../ConnectionError.ts"
import { monotonicMillis } from "../Patience.ts"
import type { Policy } from "../Policy.ts"
import type { State } from "../Session.ts"
import type { Bulletin } from "./bulletin.ts"
import { type Budget, type LossPoint, Outbox } from "./outbox.ts"

/** A `Close` frame. */
export type LastWord = Omit<Frame.Close, "_tag">

/** What an incarnation offers to the conversation while it lasts. */
export interface Attachment {
  /** There is something to write. */
  readonly work: () => void
  /** The other side should hear where we stand, soon. */
  readonly news: () => void
  /** The session ends, or moves: the incarnation says so if it can, and ends. */
  readonly end: (error: ConnectionError, lastWord: LastWord | undefined) => void
  /** Probe now. */
  readonly wake: () => void
  readonly policyReplaced: () => void
}

export interface Options {
  readonly clock: Clock.Clock
  readonly policy: Policy
  readonly limits: Peer.Limits
  readonly bulletin: Bulletin
  /** A budget that several conversations share. */
  readonly budget?: Budget | undefined
  /** Called once, when the session is over. */
  readonly onFinish?: ((exit: Exit.Exit<void, ConnectionError>) => void) | undefined
}

export class Conversation {
  peer: Peer.Peer
  policy: Policy
  readonly outbox: Outbox
  readonly clock: Clock.Clock
  readonly bulletin: Bulletin
  /** Completed once, when the session is over. */
  readonly ended: Deferred.Deferred<void, ConnectionError> = Deferred.makeUnsafe()
  exit: Exit.Exit<void, ConnectionError> | undefined
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
  private heldBytes = 0
  private arrival: (() => void) | undefined
  private lookouts: Array<() => void> = []

  constructor(options: Options) {
    this.options = options
    this.clock = options.clock
    this.policy = options.policy
    this.bulletin = options.bulletin
    this.peer = new Peer.Peer(options.limits)
    this.outbox = new Outbox({
      policy: () => this.policy,
      messageBytesMax: options.limits.messageBytesMax,
      budget: options.budget,
      peer: this.peer,
      held: () => this.account(),
      accepted: () => this.attachment?.work()
    })
  }

  /** Monotonic milliseconds. */
  now(): number {
    return monotonicMillis(this.clock)
  }

  /** Everything was taken, ours and what arrived. */
  get isSettled(): boolean {
    return this.isAcknowledged && this.peer.receive.untakenCount === 0
  }

  /** Everything of ours was taken, and the other side, if there is one, knows that it was all. */
  get isAcknowledged(): boolean {
    return this.outbox.isAcknowledged || (!this.isEstablished && this.outbox.unacknowledged === 0)
  }

  /** Closing, and nothing is left that another link could help with. */
  get isSaid(): boolean {
    const { receive } = this.peer
    return (
      this.lastWord !== undefined || (this.isClosing && this.outbox.unacknowledged === 0 && receive.untakenCount === 0)
    )
  }

  // ---- receiving

  /** The next messages, `undefined` when the other direction has ended. Those handed out before count as taken. */
  get pull(): Effect.Effect<ReadonlyArray<Uint8Array> | undefined, ConnectionError> {
    return Effect.suspend(() => {
      const { receive } = this.peer
      const batch = receive.hand()
      this.taken()
      if (batch !== undefined) return Effect.succeed(batch)
      if (receive.ended) return Effect.undefined
      if (this.exit !== undefined) return Effect.fail(this.failure())
      return Effect.callback<void>((resume) => {
        this.arrival = () => resume(Effect.void)
        return Effect.sync(() => {
          this.arrival = undefined
        })
      }).pipe(Effect.andThen(this.pull))
    })
  }

  /** The consumer is done with one message. */
  take(): void {
    this.peer.receive.take(1)
    this.taken()
  }

  /** The consumer declines one message, and the other side is told. */
  reject(): void {
    this.peer.receive.reject()
    this.taken()
  }

  /** The consumer stops; what it has not taken goes to the next one. */
  giveBack(): void {
    this.peer.receive.giveBack()
  }

  // ---- what incarnations tell

  /** Looks at what the last input has brought. Returns what only the incarnation can act on. */
  received(): Peer.Facts {
    const facts = this.peer.facts()
    for (const number of facts.rejected) {
      this.outbox.declined(number)
      this.bulletin.event({ _tag: "Declined", count: 1 })
    }
    if (facts.closed) this.lastWordConfirmed = true
    this.account()
    if (facts.taken) {
      if (this.isClosing) this.publish(this.closing)
      this.outbox.taken()
    }
    if (facts.arrived) this.wakeConsumer()
    this.look()
    return facts
  }

  /** The other side goes away, and everything that concerns it is done. */
  get isDrained(): boolean {
    const { receive, send } = this.peer
    return this.goingAway !== undefined && send.isDrained && receive.taken >= this.goingAway.end
  }

  attach(attachment: Attachment): void {
    this.attachment = attachment
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
    return { _tag: "Closing", unacknowledged: this.outbox.unacknowledged }
  }

  // ---- changing over to another session of the other side

  /** The earlier session was drained: what was not sent goes first in the next one. */
  renew(): void {
    this.outbox.renew(this.replacePeer())
    this.look()
  }

  /** The earlier session is lost, and the next one begins with `first`. */
  restart(lost: SessionLost, point: LossPoint, first: ReadonlyArray<Uint8Array>): void {
    this.outbox.restart(this.replacePeer(), point, connectionError(lost), first)
    this.look()
  }

  // ---- ending

  /** This side goes away: the other one is to finish what was begun and to come back elsewhere. */
  depart(error: ConnectionError, retryAfterMillis: number): void {
    if (this.exit !== undefined || this.isClosing) return
    this.outbox.refuse(error)
    this.peer.goAway(retryAfterMillis)
    this.attachment?.work()
  }

  /** Waits for what `check` sees; it looks whenever something was taken or arrived, and when the session is over. */
  awaitFact(check: () => boolean): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      const isDue = () => this.exit !== undefined || check()
      if (isDue()) return resume(Effect.void)
      const lookout = () => {
        if (!isDue()) return
        this.lookouts = this.lookouts.filter((other) => other !== lookout)
        resume(Effect.void)
      }
      this.lookouts.push(lookout)
      return Effect.sync(() => {
        this.lookouts = this.lookouts.filter((other) => other !== lookout)
      })
    })
  }

  /** The other side goes away. A session that is closing anyway goes on closing. */
  leave(goAway: Frame.GoAway): void {
    if (this.isClosing) return
    this.goingAway = goAway
    this.peer.send.stop()
    this.bulletin.event({ _tag: "GoingAway", retryAfter: Duration.millis(goAway.retryAfterMillis) })
    this.look()
  }

  /** The session is over. Everything that is pending settles; the first call decides. */
  finish(exit: Exit.Exit<void, ConnectionError>, lastWord?: LastWord): void {
    if (this.exit !== undefined) return
    this.exit = exit
    this.account()
    const failure = this.failure()
    this.attachment?.end(failure, lastWord)
    this.bulletin.state({ _tag: "Closed", exit })
    this.bulletin.event({ _tag: "Closed", exit })
    this.outbox.fail(failure)
    this.wakeConsumer()
    this.look()
    this.options.onFinish?.(exit)
    Deferred.doneUnsafe(this.ended, exit)
  }

  /** What operations fail with after the end. */
  failure(): ConnectionError {
    const error = this.exit === undefined ? Option.none() : Exit.findErrorOption(this.exit)
    return Option.getOrElse(error, () => this.outbox.refusing ?? connectionError(new Closed()))
  }

  /** Tells the shared budget what is held now. */
  private account(): void {
    const { budget } = this.options
    if (budget === undefined) return
    const { receive, send } = this.peer
    const held = this.exit === undefined ? send.keptBytes + receive.received - receive.taken : 0
    const moreBytes = held - this.heldBytes
    this.heldBytes = held // first: whoever waits for what is freed may come back here
    budget.held(moreBytes)
  }

  private taken(): void {
    this.account()
    if (this.peer.hasWork) this.attachment?.work()
    else if (this.peer.hasNews) this.attachment?.news()
    this.look()
  }

  private wakeConsumer(): void {
    const arrival = this.arrival
    this.arrival = undefined
    arrival?.()
  }

  private look(): void {
    for (const lookout of this.lookouts) lookout()
  }

  private replacePeer(): Peer.Peer {
    const { receive } = this.peer
    this.peer = new Peer.Peer(this.options.limits)
    this.peer.receive.adopt(receive)
    this.goingAway = undefined
    this.isEstablished = false
    return this.peer
  }
}
