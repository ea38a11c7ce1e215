/**
 * Our direction of a conversation, as the application sees it: who waits for room, and who waits until something was
 * taken. Messages are counted over the life of the session (ordinals), whatever peer carries them.
 */
import type { Peer } from "@holdfast/protocol"
import { Effect } from "effect"
import {
  BacklogExceeded,
  Closed,
  type ConnectionError,
  make as connectionError,
  MessageRejected,
  MessageTooLarge
} from "../ConnectionError.ts"
import type { Policy } from "../Policy.ts"

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

/** Bytes that several conversations hold together. */
export interface Budget {
  readonly hasRoom: (bytes: number) => boolean
  readonly held: (moreBytes: number) => void
}

export interface Options {
  readonly policy: () => Policy
  readonly messageBytesMax: number
  readonly hasRoom: (bytes: number) => boolean
  readonly peer: Peer.Peer
  /** Something was accepted. */
  readonly accepted: () => void
}

export class Outbox {
  /** No more is accepted; what operations fail with. */
  refusing: ConnectionError | undefined
  private peer: Peer.Peer
  private readonly options: Options
  /** Records of earlier peers. */
  private takenBefore = 0
  private acceptedCount = 0
  private sending: Array<Sending> = []
  private waiting: Array<Waiting> = []

  constructor(options: Options) {
    this.options = options
    this.peer = options.peer
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

  /** Everything that was accepted was taken, the end included. */
  get isAcknowledged(): boolean {
    return this.takenCount === this.acceptedCount
  }

  /** Accepts messages in order, and waits where there is no room. Succeeds with the ordinal behind the last one. */
  send(messages: ReadonlyArray<Uint8Array>): Effect.Effect<number, ConnectionError> {
    return Effect.suspend(() => {
      const refused = this.refusing ?? this.unfit(messages)
      if (refused !== undefined) return Effect.fail(refused)
      let next = 0
      if (this.sending.length === 0) {
        while (next < messages.length && this.fits(messages[next]!.length)) this.accept(messages[next++]!)
        if (next > 0) this.options.accepted()
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
    this.refuse(connectionError(new Closed()))
    this.options.accepted()
  }

  /** Accepts no more, and whoever waits for room is told. */
  refuse(error: ConnectionError): void {
    this.refusing ??= error
    const sending = this.sending
    this.sending = []
    for (const { resume } of sending) resume(Effect.fail(this.refusing))
  }

  /** Waits until the records below this ordinal have been taken. */
  awaitTaken(until: number, isDelivery: boolean): Effect.Effect<void, ConnectionError> {
    return Effect.callback<void, ConnectionError>((resume) => {
      if (this.takenCount >= until) return resume(Effect.void)
      const waiting: Waiting = { until, isDelivery, resume }
      this.waiting.push(waiting)
      return Effect.sync(() => {
        this.waiting = this.waiting.filter((other) => other !== waiting)
      })
    })
  }

  /** Everything that was accepted so far was taken. */
  get flush(): Effect.Effect<void, ConnectionError> {
    return Effect.suspend(() => this.awaitTaken(this.acceptedCount, false))
  }

  /** The other application has declined the message that has this number among those of the present peer. */
  declined(number: number): void {
    const until = this.takenBefore + number + 1
    const found = this.waiting.find((waiting) => waiting.isDelivery && waiting.until === until)
    if (found === undefined) return
    this.waiting = this.waiting.filter((other) => other !== found)
    found.resume(Effect.fail(connectionError(new MessageRejected({ detail: `message ${until - 1}` }))))
  }

  /** More was taken: whoever waited for that goes on, and there is room. */
  taken(): void {
    const taken = this.takenCount
    let done = 0
    while (done < this.waiting.length && this.waiting[done]!.until <= taken) done++
    for (const { resume } of this.waiting.splice(0, done)) resume(Effect.void)
    this.admit()
  }

  /** The session is over: everything that waits is told why. */
  fail(error: ConnectionError): void {
    this.refuse(error)
    const taken = this.takenCount
    const waiting = this.waiting
    this.waiting = []
    for (const { resume, until } of waiting) resume(taken >= until ? Effect.void : Effect.fail(error))
  }

  /** All that was sent is taken: what was not sent goes first with another peer, and whoever waits goes on waiting. */
  renew(peer: Peer.Peer): void {
    const { ended } = this.peer.send
    const { notSent } = this.peer.send.outstanding()
    this.takenBefore = this.takenCount
    this.peer = peer
    for (const message of notSent) peer.send.accept(message)
    if (ended) peer.send.acceptEnd()
  }

  /** What was not taken is lost: whoever waits is told, and another peer begins with `first`. */
  restart(peer: Peer.Peer, error: ConnectionError, first: ReadonlyArray<Uint8Array>): void {
    const { ended } = this.peer.send
    const waiting = this.waiting
    this.waiting = []
    this.takenBefore = this.acceptedCount
    this.peer = peer
    for (const message of first) this.accept(message)
    if (ended) {
      peer.send.acceptEnd()
      this.acceptedCount++
    }
    for (const { resume } of waiting) resume(Effect.fail(error))
    this.admit()
  }

  private unfit(messages: ReadonlyArray<Uint8Array>): ConnectionError | undefined {
    const { bytesMax, messagesMax, whenFull } = this.options.policy().backlog
    const { hasRoom, messageBytesMax } = this.options
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
    return keptCount + messages.length > messagesMax || keptBytes + bytes > bytesMax || !hasRoom(bytes)
      ? this.full(messages.length, bytes)
      : undefined
  }

  private full(messages: number, bytes: number): ConnectionError {
    const { bytesMax, messagesMax } = this.options.policy().backlog
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
    const { bytesMax, messagesMax } = this.options.policy().backlog
    const { keptBytes, keptCount } = this.peer.send
    return keptCount < messagesMax && keptBytes + bytes <= bytesMax && this.options.hasRoom(bytes)
  }

  private accept(message: Uint8Array): void {
    this.peer.send.accept(message)
    this.acceptedCount++
  }

  /** Accepts what waits for room, in order, as far as there is some. */
  private admit(): void {
    let isAccepted = false
    while (this.sending.length > 0) {
      const first = this.sending[0]!
      while (first.next < first.messages.length && this.fits(first.messages[first.next]!.length)) {
        this.accept(first.messages[first.next++]!)
        isAccepted = true
      }
      if (first.next < first.messages.length) break
      this.sending.shift()
      first.resume(Effect.succeed(this.acceptedCount))
    }
    if (isAccepted) this.options.accepted()
  }
}
