/**
 * Our direction of a channel, as the application sees it: who waits for room, and who waits until something was taken.
 * Messages are counted over the life of the channel (ordinals), whatever peer carries it.
 */
import { type Channel, SendWindow } from "@holdfast/protocol"
import { type Duration, Effect } from "effect"
import {
  type ConnectionError,
  make as connectionError,
  MessageRejected,
  MessageSkipped,
  MessageTooLarge
} from "../ConnectionError.ts"
import * as Patience from "../Patience.ts"
import { type Budget, exceeded, type Limits, sizeOf } from "./backlogLimits.ts"
import { closed } from "./closed.ts"
import { Turn } from "./turn.ts"
import { Deliveries } from "./deliveries.ts"

type Resume = (effect: Effect.Effect<void, ConnectionError>) => void

/** A `send` that waits for room. What is left of it is accepted in order, as room appears. */
interface Sending {
  readonly messages: ReadonlyArray<Uint8Array>
  next: number
  /** It goes on to wait until its message was taken. */
  readonly isDelivery: boolean
  /** Called when all of it was accepted. */
  readonly accepted: (() => void) | undefined
  readonly resume: Resume
}

/** Whose direction it is. */
export interface Owner {
  readonly limits: () => Limits
  readonly messageBytesMax: number
  readonly budget: Budget | undefined
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** A message was accepted: more bytes are held. */
  readonly held: () => void
  /** The same, and the link is told later. */
  readonly appended: () => void
  /** There is more to send. */
  readonly accepted: () => void
  /** So many messages are not sent at all. */
  readonly skipped: (count: number) => void
}

export class Outbox {
  /** No more is accepted; what operations fail with. */
  refusing: ConnectionError | undefined
  /** The session is over; what is not taken by now never will be known to be. */
  private failed: ConnectionError | undefined
  private channel: Channel.Channel
  private readonly owner: Owner
  /** Records of earlier peers. */
  private takenBefore = 0
  private acceptedCount = 0
  private sending: Array<Sending> = []
  private readonly deliveries = new Deliveries()
  private retry: (() => void) | undefined
  private readonly turn = new Turn()

  constructor(owner: Owner, channel: Channel.Channel) {
    this.owner = owner
    this.channel = channel
  }

  /** Records of ours, the end included, that the other application is done with. */
  get takenCount(): number {
    return this.takenBefore + this.channel.send.takenCount
  }

  /** Messages of ours that are not yet taken. */
  get unacknowledged(): number {
    const records = this.acceptedCount - this.takenCount
    return records > 0 && this.channel.send.ended ? records - 1 : records
  }

  /** Everything that was accepted was taken, the end included. */
  get isAcknowledged(): boolean {
    return this.takenCount === this.acceptedCount
  }

  /** Accepts messages in order, and waits where there is no room. */
  send(messages: ReadonlyArray<Uint8Array>): Effect.Effect<void, ConnectionError> {
    return this.sendAs(messages, false)
  }

  /** Accepts a message if there is nothing to wait for, to skip or to tell. */
  trySend(message: unknown): Effect.Effect<void> | undefined {
    if (!(message instanceof Uint8Array) || this.refusing !== undefined || this.sending.length > 0) return undefined
    const bytes = SendWindow.SendWindow.recordBytes(message.length)
    if (this.isSkipping || this.tooLarge(message) !== undefined || !this.hasRoom(1, bytes)) return undefined
    this.channel.send.accept(message)
    return this.acceptedAll(1, bytes)
  }

  /**
   * The same for a message that lies in two pieces, of which the link is not told: {@link appended} has to follow, once for
   * any number of them.
   */
  tryAppend(head: Uint8Array, rest: Uint8Array): boolean {
    const limits = this.owner.limits()
    if (this.refusing !== undefined || this.sending.length > 0 || limits.isSkipping) return false
    const length = head.length + rest.length
    if (length > this.owner.messageBytesMax) return false
    if (!this.hasRoom(1, SendWindow.SendWindow.recordBytes(length), limits)) return false
    this.channel.send.acceptPieces(head, rest)
    this.acceptedCount++
    this.owner.appended()
    return true
  }

  /** Messages were appended: the link is told that there is something to send. */
  appended(): void {
    this.owner.accepted()
  }

  /** Accepts a message, and waits until it was taken. */
  deliver(message: Uint8Array): Effect.Effect<void, ConnectionError> {
    return this.sendAs([message], true)
  }

  /** A message that may not be sent, whatever room there is. */
  tooLarge({ length }: Uint8Array): ConnectionError | undefined {
    const { messageBytesMax } = this.owner
    return length > messageBytesMax
      ? connectionError(new MessageTooLarge({ bytes: length, bytesMax: messageBytesMax }))
      : undefined
  }

  /** Accepts what waits for room, in order, as far as there is some. */
  admit(): void {
    let isAccepted = false
    while (this.sending.length > 0) {
      const first = this.sending[0]!
      const { accepted, isDelivery, messages, resume } = first
      while (
        first.next < messages.length &&
        this.makeRoom(1, SendWindow.SendWindow.recordBytes(messages[first.next]!.length))
      ) {
        this.accept(messages[first.next++]!)
        isAccepted = true
      }
      if (first.next < messages.length) {
        this.owner.budget?.onFreed((this.retry ??= () => this.admit()))
        break
      }
      this.sending.shift()
      accepted?.()
      if (isDelivery) this.deliveries.add({ until: this.acceptedCount, isDelivery, resume })
      else resume(Effect.void)
    }
    if (isAccepted) this.owner.accepted()
  }

  /** The policy has changed: there may be room, and what can never fit or may not wait any more is told. */
  policyReplaced(): void {
    const { bytesMax, whenFull } = this.owner.limits()
    this.admit()
    const rest = ({ messages, next }: Sending) => messages.slice(next)
    const refused = this.sending.filter(
      (sending) =>
        whenFull === "fail" || rest(sending).some(({ length }) => SendWindow.SendWindow.recordBytes(length) > bytesMax)
    )
    this.sending = this.sending.filter((sending) => !refused.includes(sending))
    for (const sending of refused) sending.resume(Effect.fail(this.full(rest(sending))))
    this.admit()
  }

  /** Accepts the end of our direction; later sends fail. */
  end(error = closed): void {
    if (this.channel.send.ended) return
    this.channel.send.acceptEnd()
    this.acceptedCount++
    this.refuse(error)
    this.owner.accepted()
  }

  /** Accepts no more, and whoever waits for room is told. */
  refuse(error: ConnectionError): void {
    this.refusing ??= error
    const sending = this.sending
    this.sending = []
    for (const { resume } of sending) resume(Effect.fail(this.refusing))
  }

  /** Waits until everything that was accepted so far was taken. */
  get flush(): Effect.Effect<void, ConnectionError> {
    return Effect.callback<void, ConnectionError>((resume) => {
      const until = this.acceptedCount
      if (this.takenCount >= until) return resume(Effect.void)
      if (this.failed !== undefined) return resume(Effect.fail(this.failed))
      this.deliveries.add({ until, isDelivery: false, resume })
      return Effect.sync(() => this.deliveries.forget(resume))
    })
  }

  /** The other application has declined the message that has this number among those of the present peer. */
  declined(number: number): void {
    this.failDelivery(number, connectionError(new MessageRejected({ detail: `message ${number + this.takenBefore}` })))
  }

  /** Skips what has come too late to be sent. */
  expire(): void {
    const { send } = this.channel
    if (send.expiresAt === Infinity) return
    this.skipped(send.expire(this.owner.now()))
    this.admit()
  }

  /** More was taken: whoever waited for that goes on, and there is room. */
  taken(): void {
    this.deliveries.taken(this.takenCount)
    this.admit()
  }

  /** The session is over: everything that waits is told why. */
  fail(error: ConnectionError): void {
    this.failed = error
    this.refuse(error)
    this.deliveries.taken(this.takenCount)
    this.deliveries.failAll(error)
  }

  /** All that was sent is taken: what was not sent goes first with another peer, and whoever waits goes on waiting. */
  renew(channel: Channel.Channel): void {
    const { ended } = this.channel.send
    const { notSent } = this.channel.send.outstanding()
    this.takenBefore = this.takenCount
    this.channel = channel
    for (const message of notSent) channel.send.accept(message)
    if (ended) channel.send.acceptEnd()
  }

  /** What was accepted until now and not taken is lost; what is accepted from now on is not. */
  get lossPoint(): LossPoint {
    return { accepted: this.acceptedCount, notSent: this.channel.send.outstanding().notSent.length }
  }

  /**
   * What was not taken at `point` is lost, and whoever waits for it is told. Another peer begins with `first` instead,
   * followed by what was accepted since.
   */
  restart(channel: Channel.Channel, point: LossPoint, error: ConnectionError, first: ReadonlyArray<Uint8Array>): void {
    const { ended } = this.channel.send
    const since = this.channel.send.outstanding().notSent.slice(point.notSent)
    const tellLost = this.deliveries.lose(point.accepted)
    this.takenBefore = point.accepted - first.length
    this.acceptedCount = point.accepted
    this.channel = channel
    for (const message of first) channel.send.accept(message)
    for (const message of since) this.accept(message)
    if (ended) {
      channel.send.acceptEnd()
      this.acceptedCount++
    }
    tellLost(error)
    this.admit()
  }

  private sendAs(messages: ReadonlyArray<Uint8Array>, isDelivery: boolean): Effect.Effect<void, ConnectionError> {
    return Effect.suspend(() => {
      const bytes = sizeOf(messages)
      const refused = this.refusing ?? this.unfit(messages, bytes)
      if (refused !== undefined) return Effect.fail(refused)
      if (isDelivery || this.sending.length > 0) return this.patient(messages, isDelivery)
      return this.makeRoom(messages.length, bytes) ? this.acceptAll(messages, bytes) : this.patient(messages, false)
    })
  }

  /** Waits for room, as long as the policy has patience, and then perhaps until a message was taken. */
  private patient(messages: ReadonlyArray<Uint8Array>, isDelivery: boolean): Effect.Effect<void, ConnectionError> {
    const { expiresAfterMillis, patience } = this.owner.limits()
    const contenders: Array<Effect.Effect<void, ConnectionError>> = []
    let accepted: (() => void) | undefined
    if (patience !== "Infinity") {
      const { rest, run } = Patience.watch({ patience, anchor: this.owner.now() })
      accepted = rest
      contenders.push(Effect.flatMap(run, ({ missingFor }) => Effect.fail(this.full(messages, missingFor))))
    }
    if (expiresAfterMillis < Infinity) contenders.push(this.expiring(expiresAfterMillis))
    const waiting = this.wait({ messages, next: 0, isDelivery, accepted })
    return contenders.length === 0 ? waiting : Effect.raceAllFirst([waiting, ...contenders])
  }

  /** Whoever waits learns in time that a message is not sent at all, or that there is room. */
  private expiring(expiresAfterMillis: number): Effect.Effect<never> {
    return Effect.suspend(() =>
      Effect.sleep(Math.max(1, Math.min(this.channel.send.expiresAt - this.owner.now(), expiresAfterMillis)))
    ).pipe(Effect.andThen(Effect.sync(() => this.expire())), Effect.forever)
  }

  private wait(entry: Omit<Sending, "resume">): Effect.Effect<void, ConnectionError> {
    return Effect.callback<void, ConnectionError>((resume) => {
      if (this.refusing !== undefined) return resume(Effect.fail(this.refusing))
      const sending: Sending = { ...entry, resume }
      this.sending.push(sending)
      this.admit()
      return Effect.sync(() => {
        this.deliveries.forget(resume)
        this.sending = this.sending.filter((other) => other !== sending)
        this.admit() // those behind it may be smaller
      })
    })
  }

  /** What these messages cannot be sent for, at all or by a policy that does not wait. */
  private unfit(messages: ReadonlyArray<Uint8Array>, bytes: number): ConnectionError | undefined {
    const { bytesMax, whenFull } = this.owner.limits()
    const isAnyFit = bytes <= bytesMax && bytes <= this.owner.messageBytesMax
    for (const message of isAnyFit ? [] : messages) {
      const tooLarge = this.tooLarge(message)
      if (tooLarge !== undefined) return tooLarge
      if (SendWindow.SendWindow.recordBytes(message.length) > bytesMax) return this.full([message])
    }
    if (whenFull !== "fail") return undefined
    return this.sending.length > 0 || !this.hasRoom(messages.length, bytes) ? this.full(messages) : undefined
  }

  private full(messages: ReadonlyArray<Uint8Array>, waitedFor?: Duration.Duration): ConnectionError {
    return exceeded(this.channel, this.owner.limits(), messages, waitedFor)
  }

  private get isSkipping(): boolean {
    return this.owner.limits().isSkipping
  }

  /** Has room, if need be by skipping what is oldest. */
  private makeRoom(messages: number, bytes: number): boolean {
    if (this.hasRoom(messages, bytes)) return true
    if (this.isSkipping) this.skipped(this.channel.send.expire(this.owner.now()))
    if (this.owner.limits().whenFull !== "dropOldest") return this.hasRoom(messages, bytes)
    while (!this.hasRoom(messages, bytes)) {
      const ordinal = this.channel.send.skipOldest()
      if (ordinal < 0) return messages === 1
      this.skipped([ordinal])
    }
    return true
  }

  private hasRoom(messages: number, bytes: number, limits = this.owner.limits()): boolean {
    const { bytesMax, isSkipping, messagesMax } = limits
    const { send } = this.channel
    // What was handed over cannot be skipped any more, and is bounded by credit.
    const keptCount = isSkipping ? send.queuedCount : send.keptCount
    const keptBytes = isSkipping ? send.queuedBytes : send.keptBytes
    if (keptCount + messages > messagesMax || keptBytes + bytes > bytesMax) return false
    // Whoever keeps nothing may send one message, or handlers that answer could wait for each other's bytes for ever.
    const isOnlyOne = keptCount === 0 && messages === 1
    return isOnlyOne || (this.owner.budget?.hasRoom(bytes) ?? true)
  }

  private acceptAll(messages: ReadonlyArray<Uint8Array>, bytes: number): Effect.Effect<void> {
    if (this.isSkipping) for (const message of messages) this.enqueue(message)
    else this.channel.send.acceptAll(messages, bytes)
    return this.acceptedAll(messages.length, bytes)
  }

  private acceptedAll(messages: number, bytes: number): Effect.Effect<void> {
    this.acceptedCount += messages
    this.owner.held()
    const { isWaiting, send } = this.channel
    if (!isWaiting || !send.isReady) this.owner.accepted() // or whoever writes knows already that there is something
    return this.turn.spend(bytes)
  }

  private accept(message: Uint8Array): void {
    if (this.isSkipping) this.enqueue(message)
    else this.channel.send.accept(message)
    this.acceptedCount++
    this.owner.held()
  }

  private enqueue(message: Uint8Array): void {
    this.channel.send.enqueue(message, this.owner.now() + this.owner.limits().expiresAfterMillis)
  }

  private skipped(ordinals: ReadonlyArray<number>): void {
    if (ordinals.length === 0) return
    const error = connectionError(new MessageSkipped({ channel: this.channel.name }))
    for (const ordinal of ordinals) this.failDelivery(ordinal, error)
    this.owner.skipped(ordinals.length)
  }

  private failDelivery(ordinal: number, error: ConnectionError): void {
    this.deliveries.fail(this.takenBefore + ordinal + 1, error)
  }
}

/** Where a session was lost, for `restart`. */
export interface LossPoint {
  readonly accepted: number
  readonly notSent: number
}
