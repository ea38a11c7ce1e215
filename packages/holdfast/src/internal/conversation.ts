/**
 * What both sides of a session have in common: it outlives incarnations. It joins the pure `Peer` to the application:
 * who waits for room, for an acknowledgement, for messages, or for the end. Plain calls over explicit state; whatever
 * waits is an `Effect.callback` whose `resume` is kept here and called once.
 */
import { Peer } from "@holdfast/protocol"
import type { Frame } from "@holdfast/protocol"
import { Deferred, Duration, Effect, Exit, Option } from "effect"
import type { Clock } from "effect"
import {
  BacklogExceeded,
  Closed,
  type ConnectionError,
  make as connectionError,
  MessageRejected,
  MessageTooLarge,
  type SessionLost
} from "../ConnectionError.ts"
import { monotonicMillis } from "../Patience.ts"
import type { Policy } from "../Policy.ts"
import type { State } from "../Session.ts"
import type { Bulletin } from "./bulletin.ts"

type Resume<A> = (effect: Effect.Effect<A, ConnectionError>) => void

/** A `send` that waits for room. What is left of it is accepted in order, as room appears. */
interface Sending {
  readonly messages: ReadonlyArray<Uint8Array>
  next: number
  readonly resume: Resume<number>
}

/** A `deliver` or `flush` that waits until so many records have been taken. */
interface Waiting {
  readonly until: number
  /** It stands for the one message that ends there, and fails if that is declined. */
  readonly isDelivery: boolean
  readonly resume: Resume<void>
}

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

/** Bytes that conversations hold together. */
export interface Budget {
  readonly hasRoom: (bytes: number) => boolean
  readonly held: (moreBytes: number) => void
}

export class Conversation {
  peer: Peer.Peer
  policy: Policy
  readonly clock: Clock.Clock
  readonly bulletin: Bulletin
  readonly limits: Peer.Limits
  /** Completed once, when the session is over. */
  readonly ended: Deferred.Deferred<void, ConnectionError> = Deferred.makeUnsafe()
  exit: Exit.Exit<void, ConnectionError> | undefined
  attachment: Attachment | undefined
  roundTripTime: Option.Option<Duration.Duration> = Option.none()
  /** No more is accepted from our application; the reason that operations get. */
  refusing: ConnectionError | undefined
  /** The other side goes away; set until everything that was sent is taken. */
  goingAway: Frame.GoAway | undefined
  /** What the other side is to be told, on this link or the next, when the session ends in good order. */
  lastWord: LastWord | undefined
  /** The other side has confirmed it. */
  lastWordConfirmed = false
  isClosing = false

  private readonly budget: Budget | undefined
  private readonly onFinish: Options["onFinish"]
  private heldBytes = 0
  /** Records of earlier peers, so that ordinals go on over the life of the session. */
  private takenBefore = 0
  private acceptedCount = 0
  private sending: Array<Sending> = []
  private waiting: Array<Waiting> = []
  private arrival: (() => void) | undefined
  private idle: Array<() => void> = []

  constructor(options: Options) {
    this.clock = options.clock
    this.policy = options.policy
    this.limits = options.limits
    this.bulletin = options.bulletin
    this.budget = options.budget
    this.onFinish = options.onFinish
    this.peer = new Peer.Peer(options.limits)
  }

  /** Monotonic milliseconds. */
  now(): number {
    return monotonicMillis(this.clock)
  }

  /** Records of ours, the end included, that the other application is done with. */
  get takenCount(): number {
    return this.takenBefore + this.peer.send.takenCount
  }

  /** Messages of ours that are not yet taken. */
  get unacknowledged(): number {
    const records = this.acceptedCount - this.takenCount
    return records > 0 && this.peer.send.ended ? records - 1 : records
  }

  /** Everything that we accepted was taken, the end included. */
  get isAcknowledged(): boolean {
    return this.takenCount === this.acceptedCount
  }

  /** Everything was taken, ours and what arrived. */
  get isSettled(): boolean {
    return this.isAcknowledged && this.peer.receive.untakenCount === 0
  }

  // ---- sending

  /** Accepts messages in order, and waits where there is no room. Succeeds with the ordinal behind the last one. */
  send(messages: ReadonlyArray<Uint8Array>): Effect.Effect<number, ConnectionError> {
    return Effect.suspend(() => {
      const refused = this.exit !== undefined ? this.failure() : this.refusing ?? this.unfit(messages)
      if (refused !== undefined) return Effect.fail(refused)
      let next = 0
      if (this.sending.length === 0) {
        while (next < messages.length && this.fits(messages[next]!.length)) this.accept(messages[next++]!)
        if (next > 0) this.attachment?.work()
        if (next === messages.length) return Effect.succeed(this.acceptedCount)
      }
      return Effect.callback<number, ConnectionError>((resume) => {
        const sending: Sending = { messages, next, resume }
        this.sending.push(sending)
        return Effect.sync(() => {
          this.sending = this.sending.filter((other) => other !== sending)
          this.admit() // those behind it may be smaller
        })
      })
    })
  }

  /** Accepts the end of our direction; later sends fail. */
  end(): void {
    if (this.peer.send.ended) return
    this.peer.send.acceptEnd()
    this.acceptedCount++
    this.refusing ??= connectionError(new Closed())
    this.settleSending(this.refusing)
    this.attachment?.work()
  }

  /** Accepts no more: this side goes away, and the other side is told to finish what was begun and to come back elsewhere. */
  depart(error: ConnectionError, retryAfterMillis: number): void {
    if (this.exit !== undefined || this.isClosing) return
    this.refusing ??= error
    this.settleSending(this.refusing)
    this.peer.goAway(retryAfterMillis)
    this.attachment?.work()
  }

  /** Waits until the records below this ordinal have been taken. */
  awaitTaken(until: number, isDelivery: boolean): Effect.Effect<void, ConnectionError> {
    return Effect.suspend(() => {
      if (this.takenCount >= until) return Effect.void
      if (this.exit !== undefined) return Effect.fail(this.failure())
      return Effect.callback<void, ConnectionError>((resume) => {
        const waiting: Waiting = { until, isDelivery, resume }
        this.waiting.push(waiting)
        return Effect.sync(() => {
          this.waiting = this.waiting.filter((other) => other !== waiting)
        })
      })
    })
  }

  /** Everything that was accepted so far was taken. */
  get flush(): Effect.Effect<void, ConnectionError> {
    return Effect.suspend(() => this.awaitTaken(this.acceptedCount, false))
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
    for (const ordinal of facts.rejected) this.declined(this.takenBefore + ordinal)
    if (facts.taken) {
      this.settleWaiting()
      this.admit()
    }
    if (facts.arrived) this.wakeConsumer()
    if (facts.closed) this.lastWordConfirmed = true
    this.account()
    if (this.idle.length > 0) this.checkIdle()
    return facts
  }

  /** Publishes a state, unless the session is on its way out. */
  publish(state: State): void {
    if (this.exit !== undefined) return
    this.bulletin.state(this.isClosing ? { _tag: "Closing", unacknowledged: this.unacknowledged } : state)
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

  // ---- changing over to another session of the other side

  /** The earlier session was drained: what was not sent goes first in the next one, and whoever waits goes on waiting. */
  renew(): void {
    const { notSent } = this.peer.send.outstanding()
    const ended = this.peer.send.ended
    this.takenBefore = this.takenCount
    this.replacePeer()
    for (const message of notSent) this.peer.send.accept(message)
    if (ended) this.peer.send.acceptEnd()
    this.goingAway = undefined
  }

  /** The earlier session is lost: whoever waits is told, and the next one begins with `first`. */
  restart(lost: SessionLost, first: ReadonlyArray<Uint8Array>): void {
    const ended = this.peer.send.ended
    const waiting = this.waiting
    this.waiting = []
    this.takenBefore = this.acceptedCount
    this.replacePeer()
    for (const message of first) this.accept(message)
    if (ended) {
      this.peer.send.acceptEnd()
      this.acceptedCount++
    }
    this.goingAway = undefined
    for (const { resume } of waiting) resume(Effect.fail(connectionError(lost)))
    this.admit()
  }

  // ---- ending

  /** Waits for something that `check` sees, looked at whenever something was taken, confirmed or has ended. */
  awaitIdle(check: () => boolean): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (check() || this.exit !== undefined) return Effect.void
      return Effect.callback<void>((resume) => {
        const look = () => {
          if (!check() && this.exit === undefined) return
          this.idle = this.idle.filter((other) => other !== look)
          resume(Effect.void)
        }
        this.idle.push(look)
        return Effect.sync(() => {
          this.idle = this.idle.filter((other) => other !== look)
        })
      })
    })
  }

  /** The session is over. Everything that is pending settles; the first call decides. */
  finish(exit: Exit.Exit<void, ConnectionError>, lastWord?: LastWord): void {
    if (this.exit !== undefined) return
    this.exit = exit
    this.account()
    this.bulletin.state({ _tag: "Closed", exit })
    this.bulletin.event({ _tag: "Closed", exit })
    const failure = this.failure()
    const waiting = this.waiting
    this.waiting = []
    this.settleSending(failure)
    for (const { resume, until } of waiting) {
      resume(this.takenCount >= until ? Effect.void : Effect.fail(failure))
    }
    this.wakeConsumer()
    this.checkIdle()
    this.attachment?.end(failure, lastWord)
    this.onFinish?.(exit)
    Deferred.doneUnsafe(this.ended, exit)
  }

  /** What operations fail with after the end. */
  failure(): ConnectionError {
    if (this.exit !== undefined && Exit.isFailure(this.exit)) {
      const error = Exit.findErrorOption(this.exit)
      if (Option.isSome(error)) return error.value
    }
    return this.refusing ?? connectionError(new Closed())
  }

  private unfit(messages: ReadonlyArray<Uint8Array>): ConnectionError | undefined {
    const { bytesMax, messagesMax, whenFull } = this.policy.backlog
    const { messageBytesMax } = this.limits
    let bytes = 0
    for (const message of messages) {
      if (message.length > messageBytesMax) {
        return connectionError(new MessageTooLarge({ bytes: message.length, bytesMax: messageBytesMax }))
      }
      if (message.length > bytesMax) return this.full(1, message.length)
      bytes += message.length
    }
    if (whenFull === "wait") return undefined
    const { keptBytes, keptCount } = this.peer.send
    return keptCount + messages.length > messagesMax || keptBytes + bytes > bytesMax || !this.isInBudget(bytes)
      ? this.full(messages.length, bytes)
      : undefined
  }

  private full(messages: number, bytes: number): ConnectionError {
    const { bytesMax, messagesMax } = this.policy.backlog
    return connectionError(
      new BacklogExceeded({
        messages: this.peer.send.keptCount + messages,
        bytes: this.peer.send.keptBytes + bytes,
        messagesMax,
        bytesMax
      })
    )
  }

  private fits(bytes: number): boolean {
    const { bytesMax, messagesMax } = this.policy.backlog
    const { keptBytes, keptCount } = this.peer.send
    return keptCount < messagesMax && keptBytes + bytes <= bytesMax && this.isInBudget(bytes)
  }

  private isInBudget(bytes: number): boolean {
    return this.budget === undefined || this.budget.hasRoom(bytes)
  }

  /** Tells the shared budget what is held now. */
  private account(): void {
    if (this.budget === undefined) return
    const { receive, send } = this.peer
    const held = this.exit === undefined ? send.keptBytes + receive.received - receive.taken : 0
    this.budget.held(held - this.heldBytes)
    this.heldBytes = held
  }

  private accept(message: Uint8Array): void {
    this.peer.send.accept(message)
    this.acceptedCount++
    this.account()
  }

  /** Accepts what waits for room, in order, as far as there is some. */
  private admit(): void {
    let accepted = false
    while (this.sending.length > 0) {
      const first = this.sending[0]!
      while (first.next < first.messages.length && this.fits(first.messages[first.next]!.length)) {
        this.accept(first.messages[first.next++]!)
        accepted = true
      }
      if (first.next < first.messages.length) break
      this.sending.shift()
      first.resume(Effect.succeed(this.acceptedCount))
    }
    if (accepted) this.attachment?.work()
  }

  private settleSending(failure: ConnectionError): void {
    const sending = this.sending
    this.sending = []
    for (const { resume } of sending) resume(Effect.fail(failure))
  }

  private settleWaiting(): void {
    const taken = this.takenCount
    let done = 0
    while (done < this.waiting.length && this.waiting[done]!.until <= taken) done++
    for (const { resume } of this.waiting.splice(0, done)) resume(Effect.void)
  }

  private declined(ordinal: number): void {
    const found = this.waiting.find(({ isDelivery, until }) => isDelivery && until === ordinal + 1)
    this.bulletin.event({ _tag: "Declined", ordinal })
    if (found === undefined) return
    this.waiting = this.waiting.filter((other) => other !== found)
    found.resume(Effect.fail(connectionError(new MessageRejected({ detail: `message ${ordinal}` }))))
  }

  private taken(): void {
    this.account()
    if (this.attachment === undefined) return
    if (this.peer.hasWork) this.attachment.work()
    else if (this.peer.hasNews) this.attachment.news()
    this.checkIdle()
  }

  private wakeConsumer(): void {
    const arrival = this.arrival
    this.arrival = undefined
    arrival?.()
  }

  private checkIdle(): void {
    for (const look of this.idle) look()
  }

  private replacePeer(): void {
    const { receive } = this.peer
    this.peer = new Peer.Peer(this.limits)
    this.peer.receive.adopt(receive)
  }
}
