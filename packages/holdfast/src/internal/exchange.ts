/**
 * What a connection has beyond its incarnations: both directions, the policy in force, and what is published. Plain calls
 * over explicit state.
 */
import { Deferred, Effect, Exit, Latch, Option } from "effect"
import type { Clock, Duration } from "effect"
import {
  Closed,
  type ConnectionError,
  make as connectionError,
  MessageInvalid,
  MessageTooLarge,
  ProtocolViolated
} from "../ConnectionError.ts"
import type { FateUnknown, Happening, State, WhenFull } from "../Connection.ts"
import type { Dialect, Violation } from "../Dialect.ts"
import { monotonicMillis } from "../Patience.ts"
import type { Policy } from "../Policy.ts"
import { Backlog, type Item, type Request } from "./backlog.ts"
import type { Bulletin } from "./bulletin.ts"
import { Inbox } from "./inbox.ts"

/** What an incarnation offers while it is up. */
export interface Attachment {
  /** There is something to write. */
  readonly work: () => void
  /** Asks the peer for a sign of life. */
  readonly ask: () => void
  /** It would help to know soon what has arrived. */
  readonly inquire: () => void
  /** The incarnation ends. */
  readonly end: (error: ConnectionError) => void
  /** Why it ended, once it has. */
  endedBy: ConnectionError | undefined
  readonly policyReplaced: () => void
  /** When the last bytes of the peer were read, in monotonic milliseconds. */
  readonly receivedAt: () => number
}

/** Who matches answers to what was sent. */
export interface Expectations<Send, Receive> {
  /** A message is being handed to the link. */
  readonly handed: (item: Item<Send>) => void
  /** Whether a message is an answer that somebody waits for; then it is no message for the application. */
  readonly received: (message: Receive) => boolean
  /** The link is gone: nothing is expected of it any more. */
  readonly cut: () => void
}

export interface Options<Send, Receive> {
  readonly clock: Clock.Clock
  readonly dialect: Dialect<Receive, Send>
  readonly policy: Policy
  readonly whenFull: WhenFull
  readonly fateUnknown: FateUnknown
  readonly readAheadBytesMax: number
  readonly bulletin: Bulletin<State, Happening>
}

export class Exchange<Send, Receive> {
  policy: Policy
  whenFull: WhenFull
  readonly clock: Clock.Clock
  readonly dialect: Dialect<Receive, Send>
  readonly fateUnknown: FateUnknown
  readonly readAheadBytesMax: number
  readonly bulletin: Bulletin<State, Happening>
  readonly backlog: Backlog<Send>
  readonly inbox: Inbox<Receive>
  readonly returned: Inbox<Item<Send>>
  /** Open while everything that was accepted is accounted for. */
  readonly settled = Latch.makeUnsafe(true)
  readonly ended: Deferred.Deferred<void, ConnectionError> = Deferred.makeUnsafe()
  roundTripTime: Option.Option<Duration.Duration> = Option.none()
  attachment: Attachment | undefined
  expectations: Expectations<Send, Receive> | undefined
  isClosing = false
  exit: Exit.Exit<void, ConnectionError> | undefined

  constructor(options: Options<Send, Receive>) {
    this.policy = options.policy
    this.whenFull = options.whenFull
    this.clock = options.clock
    this.dialect = options.dialect
    this.fateUnknown = options.fateUnknown
    this.readAheadBytesMax = options.readAheadBytesMax
    this.bulletin = options.bulletin
    this.inbox = new Inbox(options.readAheadBytesMax)
    this.returned = new Inbox(Infinity, (items) => this.backlog.release(items))
    this.backlog = new Backlog({
      limits: () => ({ ...this.policy.backlog, whenFull: this.whenFull }),
      fateUnknown: options.fateUnknown,
      accepted: () => {
        this.settled.closeUnsafe()
        this.attachment?.work()
      },
      full: () => this.attachment?.inquire(),
      discarded: (count, bytes) => this.bulletin.event({ _tag: "Discarded", count, bytes }),
      givenBack: (items) => this.returned.push(items, 0),
      settled: () => this.settled.openUnsafe()
    })
  }

  /** Monotonic milliseconds. */
  now(): number {
    return monotonicMillis(this.clock)
  }

  /** A message as it goes out. */
  encode(message: Send, request?: Request): Effect.Effect<Item<Send>, ConnectionError> {
    return Effect.suspend(() => {
      const bytes = this.dialect.encode(message)
      if (!(bytes instanceof Uint8Array)) return Effect.fail(invalid(bytes))
      return Effect.succeed({ message, bytes, request, end: 0, isFateUnknown: false })
    })
  }

  attach(attachment: Attachment): void {
    this.attachment = attachment
  }

  /** A link is gone: what was handed to it meets the caller's choice. */
  detach(attachment: Attachment): void {
    if (this.attachment !== attachment) return
    this.attachment = undefined
    this.expectations?.cut()
    const count = this.backlog.cut(attachment.endedBy ?? this.failure())
    if (count > 0) this.bulletin.event({ _tag: "FateUnknown", count, choice: this.fateUnknown })
  }

  /** Publishes a state, unless the connection is on its way out. */
  publish(state: State): void {
    if (this.exit !== undefined) return
    this.bulletin.state(this.isClosing ? { _tag: "Closing", unsettled: this.backlog.unsettled } : state)
  }

  /** The connection is over. Everything that is pending settles; the first call decides. */
  finish(exit: Exit.Exit<void, ConnectionError>): void {
    if (this.exit !== undefined) return
    this.exit = exit
    this.bulletin.state({ _tag: "Closed", exit })
    this.bulletin.event({ _tag: "Closed", exit })
    this.backlog.fail(this.failure())
    this.inbox.end(exit)
    this.returned.end(exit)
    this.settled.openUnsafe()
    Deferred.doneUnsafe(this.ended, exit)
  }

  /** What operations fail with after the end. */
  failure(): ConnectionError {
    const error = this.exit === undefined ? Option.none() : Exit.findErrorOption(this.exit)
    return Option.getOrElse(error, () => connectionError(new Closed()))
  }
}

const invalid = (violation: Violation): ConnectionError =>
  connectionError(
    violation._tag === "TooLarge"
      ? new MessageTooLarge({ bytes: violation.bytes, bytesMax: violation.bytesMax })
      : new MessageInvalid({ direction: "send", cause: violation.cause ?? violation.detail })
  )

/** The error for what a peer sent. */
export const violated = (violation: Violation): ConnectionError => {
  if (violation._tag === "Malformed" && violation.cause !== undefined) {
    return connectionError(new MessageInvalid({ direction: "receive", cause: violation.cause }))
  }
  const rule =
    violation._tag === "TooLarge"
      ? `a message has at most ${violation.bytesMax} bytes, this one ${violation.bytes} or more`
      : violation.detail
  return connectionError(new ProtocolViolated({ rule, by: "peer" }))
}
