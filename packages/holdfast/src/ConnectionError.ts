/**
 * The one error of every connection: a `ConnectionError` whose `reason` says what happened, with the evidence.
 *
 * Guarantees: each reason knows who ended the connection (`endedBy`), whether another attempt can help (`retryable`),
 * and has a message that says what happened, the figures, and what to do. Handle reasons by tag, never by message:
 *
 * ```ts
 * import { Effect } from "effect"
 * import { ConnectionError } from "holdfast"
 *
 * declare const send: Effect.Effect<void, ConnectionError.ConnectionError>
 *
 * send.pipe(Effect.catchReason("ConnectionError", "BacklogExceeded", (reason) => Effect.log(reason.bytes)))
 * ```
 */
import { Duration, Effect, Option, Predicate, Schema } from "effect"

/** Who brought the end about: this side, the other side, or what lies between. */
export type EndedBy = "us" | "peer" | "network"

/** For how long the missing thing had been missing, and how often it was asked for meanwhile. */
const evidence = { missingFor: Schema.Duration, asked: Schema.Number }

/** Dial and handshake together took longer than `policy.open`; `stage` says which of them it was waiting for. */
export class OpenTimedOut extends Schema.TaggedError<OpenTimedOut>()("OpenTimedOut", {
  ...evidence,
  stage: Schema.Literals(["dial", "handshake"])
}) {
  readonly endedBy = "us"
  readonly retryable = true
  override get message(): string {
    const missing = this.stage === "dial" ? "the link was not established" : "the peer did not answer the handshake"
    return `${missing} within ${text(this.missingFor)}; check address and peer, or allow more in policy.open`
  }
}

/** Not everything was taken within `policy.close`. Counts are messages. */
export class CloseTimedOut extends Schema.TaggedError<CloseTimedOut>()("CloseTimedOut", {
  missingFor: Schema.Duration,
  /** Messages of ours that the peer's application has not taken. */
  unacknowledged: Schema.Number,
  /** Messages of the peer that arrived and that our application has not taken. */
  untaken: Schema.Number
}) {
  readonly endedBy = "us"
  readonly retryable = false
  override get message(): string {
    return (
      `closing gave up after ${text(this.missingFor)}: ${this.unacknowledged} messages were not acknowledged, ` +
      `${this.untaken} had arrived and were not taken; allow more in policy.close`
    )
  }
}

/** No sign of life within `policy.silence`, although the peer was asked. */
export class PeerSilent extends Schema.TaggedError<PeerSilent>()("PeerSilent", {
  ...evidence,
  /** The last measured round trip; a large one says that the policy may be too tight for this network. */
  roundTripTime: Schema.Option(Schema.Duration)
}) {
  readonly endedBy = "us"
  readonly retryable = true
  override get message(): string {
    const roundTrip = Option.match(this.roundTripTime, {
      onNone: () => "",
      onSome: (rtt) => `, round trip ${text(rtt)}`
    })
    return (
      `the peer was silent for ${text(this.missingFor)} (asked ${times(this.asked)}${roundTrip}); ` +
      "it is dead, frozen or unreachable; policy.silence says how long to wait"
    )
  }
}

/**
 * Nothing of ours moved within `policy.stall`, and the peer gave no sign of life either; or, where the kernel's figures
 * are known, whatever arrived meanwhile: nothing was acknowledged, and `unanswered` repetitions were not answered.
 */
export class WriteStuck extends Schema.TaggedError<WriteStuck>()("WriteStuck", {
  ...evidence,
  outstandingBytes: Schema.Number,
  /** Retransmissions, or probes of a closed window, that the peer's machine did not answer, if the kernel tells. */
  unanswered: Schema.optional(Schema.Number)
}) {
  readonly endedBy = "us"
  readonly retryable = true
  override get message(): string {
    const silent =
      this.unanswered === undefined
        ? `the peer gave no sign of life (asked ${times(this.asked)})`
        : `the peer's machine did not answer (the kernel repeated itself ${times(this.unanswered)})`
    return (
      `${this.outstandingBytes} bytes did not move for ${text(this.missingFor)} and ${silent}; ` +
      "policy.stall says how long to wait"
    )
  }
}

/** The peer lives, but nothing of ours moved for `policy.stalledLimit`. */
export class Stalled extends Schema.TaggedError<Stalled>()("Stalled", {
  ...evidence,
  outstandingBytes: Schema.Number
}) {
  readonly endedBy = "us"
  readonly retryable = true
  override get message(): string {
    return (
      `the peer lives, but ${this.outstandingBytes} bytes did not move for ${text(this.missingFor)}; ` +
      "its application does not read; policy.stalledLimit bounds this"
    )
  }
}

/** The link could not be made, or broke. `code` is the system's, such as ECONNRESET, where it gave one. */
export class LinkFailed extends Schema.TaggedError<LinkFailed>()("LinkFailed", {
  cause: Schema.Defect(),
  code: Schema.optional(Schema.String),
  during: Schema.Literals(["dial", "read", "write"])
}) {
  readonly endedBy = "network"
  /** A cause that says `retryable: false` of itself, such as a link that refuses to dial in plaintext, is final. */
  get retryable(): boolean {
    return !(Predicate.hasProperty(this.cause, "retryable") && this.cause.retryable === false)
  }
  override get message(): string {
    return `the link failed during ${this.during}: ${this.code ?? causeText(this.cause)}`
  }
}

/** The peer closed the link in good order. With bytes outstanding that is a failure, whatever the code. */
export class LinkClosed extends Schema.TaggedError<LinkClosed>()("LinkClosed", {
  /** The close code of the transport; 1000 for a TCP connection that was ended. */
  code: Schema.Number,
  unacknowledgedBytes: Schema.Number
}) {
  readonly endedBy = "peer"
  readonly retryable = true
  override get message(): string {
    return `the peer closed the link (code ${this.code}) with ${this.unacknowledgedBytes} bytes of ours unacknowledged`
  }
}

/** One side broke the wire's rules. Trying again would break them again. */
export class ProtocolViolated extends Schema.TaggedError<ProtocolViolated>()("ProtocolViolated", {
  /** The rule, as the specification words it. */
  rule: Schema.String,
  /** Who broke it. The other side ends the connection. */
  by: Schema.Literals(["us", "peer"])
}) {
  get endedBy(): EndedBy {
    return this.by === "peer" ? "us" : "peer"
  }
  readonly retryable = false
  override get message(): string {
    const who = this.by === "peer" ? "the peer" : "this side"
    return `${who} broke the protocol: ${this.rule}; check that both ends run compatible versions`
  }
}

/** A value that its Schema does not encode (it costs that `send`) or decode (it is the peer's fault). */
export class MessageInvalid extends Schema.TaggedError<MessageInvalid>()("MessageInvalid", {
  direction: Schema.Literals(["send", "receive"]),
  cause: Schema.Defect()
}) {
  get endedBy(): EndedBy {
    return this.direction === "send" ? "us" : "peer"
  }
  readonly retryable = false
  override get message(): string {
    const what = this.direction === "send" ? "the message does not encode" : "the peer's message does not decode"
    return `${what} with the schema of its direction: ${causeText(this.cause)}`
  }
}

/** A message longer than both sides agreed to. */
export class MessageTooLarge extends Schema.TaggedError<MessageTooLarge>()("MessageTooLarge", {
  bytes: Schema.Number,
  bytesMax: Schema.Number
}) {
  readonly endedBy = "us"
  readonly retryable = false
  override get message(): string {
    return `the message has ${this.bytes} bytes, at most ${this.bytesMax} are allowed; split it or raise the limit`
  }
}

/** The peer's handler skipped the message: it was taken, and nothing was done with it. */
export class MessageRejected extends Schema.TaggedError<MessageRejected>()("MessageRejected", {
  detail: Schema.String
}) {
  readonly endedBy = "peer"
  readonly retryable = false
  override get message(): string {
    return `the peer's handler skipped the message: ${this.detail}`
  }
}

/** Another holder of the same session dialled later and has it now. */
export class Fenced extends Schema.TaggedError<Fenced>()("Fenced", {
  /** Our epoch. */
  epoch: Schema.Number,
  /** The epoch that won. */
  byEpoch: Schema.Number
}) {
  readonly endedBy = "peer"
  readonly retryable = false
  override get message(): string {
    return (
      `another holder has taken over the session (epoch ${this.byEpoch}, ours was ${this.epoch}); ` +
      "use one holder for each session"
    )
  }
}

/** The peer refused the session. Only `Full` and `Draining` pass by themselves. */
export class Refused extends Schema.TaggedError<Refused>()("Refused", {
  code: Schema.Literals(["Unauthorized", "Version", "Definition", "Policy", "Full", "Draining", "Malformed"]),
  detail: Schema.String,
  /** The peer's hint. It is a floor for the next attempt, clamped by the supervisor. Default: none. */
  retryAfter: Schema.Option(Schema.Duration).pipe(Schema.withConstructorDefault(Effect.succeed(Option.none())))
}) {
  readonly endedBy = "peer"
  get retryable(): boolean {
    return this.code === "Full" || this.code === "Draining"
  }
  override get message(): string {
    return `the peer refused (${this.code}): ${this.detail}${hint(this.retryAfter)}`
  }
}

/** The peer is about to stop and asked us to come back, perhaps to another process behind the same address. */
export class GoneAway extends Schema.TaggedError<GoneAway>()("GoneAway", {
  retryAfter: Schema.Option(Schema.Duration)
}) {
  readonly endedBy = "peer"
  readonly retryable = true
  override get message(): string {
    return `the peer is going away${hint(this.retryAfter)}`
  }
}

/** More waits to be sent than `policy.backlog` allows. */
export class BacklogExceeded extends Schema.TaggedError<BacklogExceeded>()("BacklogExceeded", {
  messages: Schema.Number,
  bytes: Schema.Number,
  messagesMax: Schema.Number,
  bytesMax: Schema.Number,
  /** The channel on which it was to be sent; not given for a session's own messages. */
  channel: Schema.optionalKey(Schema.String),
  /** How long it waited for room, where `policy.backlog.patience` bounds that. */
  waitedFor: Schema.optionalKey(Schema.Duration)
}) {
  readonly endedBy = "us"
  readonly retryable = true
  override get message(): string {
    return (
      `the backlog is full: ${this.messages} of ${this.messagesMax} messages, ${this.bytes} of ${this.bytesMax} bytes; ` +
      'send slower, wait (whenFull: "wait"), or raise policy.backlog'
    )
  }
}

/** A detector of the user's ended the incarnation. */
export class DetectorFired extends Schema.TaggedError<DetectorFired>()("DetectorFired", {
  detector: Schema.String,
  detail: Schema.String
}) {
  readonly endedBy = "us"
  readonly retryable = true
  override get message(): string {
    return `the detector ${this.detector} ended the connection: ${this.detail}`
  }
}

/** The peer owes an answer, and patience with it is over: it is frozen, whatever its machine says, or it forgot. */
export class AnswerOverdue extends Schema.TaggedError<AnswerOverdue>()("AnswerOverdue", {
  ...evidence,
  /** How many answers it owes in all. */
  unanswered: Schema.Number
}) {
  readonly endedBy = "us"
  readonly retryable = true
  override get message(): string {
    return (
      `the peer owes ${this.unanswered} answers, the oldest for ${text(this.missingFor)}; ` +
      "allow more patience if it may take so long"
    )
  }
}

/** A request has no answer: it was read by the other side's handler, or by its schema, and that was the end of it. */
export class RequestFailed extends Schema.TaggedError<RequestFailed>()("RequestFailed", {
  channel: Schema.String,
  /** `Died`: the handler had a defect. `Interrupted`: it was interrupted. `Invalid`: the request did not decode. */
  outcome: Schema.Literals(["Died", "Interrupted", "Invalid"])
}) {
  readonly endedBy = "peer"
  readonly retryable = false
  override get message(): string {
    const what = {
      Died: "the handler had a defect, which its own log tells",
      Interrupted: "the handler was interrupted before it had one",
      Invalid: "the request does not decode there; check that both ends have the same definition"
    }[this.outcome]
    return `a request on the channel "${this.channel}" has no answer: ${what}`
  }
}

/** `policy.reconnect` is done. `last` is what ended the last attempt. */
export class RetriesExhausted extends Schema.TaggedError<RetriesExhausted>()("RetriesExhausted", {
  /** Attempts since the schedule began, which is since the last stable incarnation. */
  attempts: Schema.Number,
  last: Schema.suspend((): Schema.Codec<ConnectionError, unknown> => ConnectionError)
}) {
  readonly endedBy = "us"
  readonly retryable = false
  override get message(): string {
    return (
      `gave up after ${this.attempts} attempts; the last one: ${this.last.message}; ` +
      "policy.reconnect says how often to try"
    )
  }
}

/** An earlier session was asked for and cannot go on. What was taken stays taken; nothing is sent again by itself. */
export class SessionLost extends Schema.TaggedError<SessionLost>()("SessionLost", {
  lost: Schema.Literals(["Unknown", "Expired", "Refused"]),
  /** Messages that certainly never left. */
  notSent: Schema.Number,
  /** Messages that left and were not acknowledged: they may have been taken or not. */
  fateUnknown: Schema.Number
}) {
  readonly endedBy = "peer"
  readonly retryable = false
  override get message(): string {
    const why = {
      Unknown: "the peer does not know it (it was restarted?)",
      Expired: "it was away for longer than the peer's resume window",
      Refused: "the peer refused to go on with it"
    }[this.lost]
    return (
      `the session is lost: ${why}; ${this.notSent} messages were not sent, the fate of ${this.fateUnknown} is unknown; ` +
      "decide with onLost whether to begin a fresh session"
    )
  }
}

/** No link came back within the resume window, so the session ended on this side. */
export class Expired extends Schema.TaggedError<Expired>()("Expired", { resumeWindow: Schema.Duration }) {
  readonly endedBy = "us"
  readonly retryable = false
  override get message(): string {
    return `the peer did not come back within the resume window of ${text(this.resumeWindow)}`
  }
}

/** A channel was ended before its time, by `by`. What was not taken on it is gone: its `leftovers` tell what that is. */
export class ChannelReset extends Schema.TaggedError<ChannelReset>()("ChannelReset", {
  channel: Schema.String,
  /** `Refused`: nobody wants it there. `Abandoned`: whoever used it has left. `Invalid`: a message did not decode. */
  code: Schema.Literals(["Refused", "Abandoned", "Failed", "Invalid"]),
  detail: Schema.String,
  by: Schema.Literals(["us", "peer"])
}) {
  readonly retryable = false
  get endedBy(): EndedBy {
    return this.by
  }
  override get message(): string {
    const who = this.by === "us" ? "this side" : "the peer"
    return `${who} reset the channel "${this.channel}" (${this.code})${this.detail === "" ? "" : `: ${this.detail}`}`
  }
}

/** A channel cannot be opened; nothing was sent. */
export class ChannelRefused extends Schema.TaggedError<ChannelRefused>()("ChannelRefused", {
  channel: Schema.String,
  detail: Schema.String
}) {
  readonly endedBy = "us"
  readonly retryable = true
  override get message(): string {
    return `the channel "${this.channel}" was not opened: ${this.detail}`
  }
}

/** A message was dropped, or has expired, before it was handed to a link; the peer counts it as skipped. */
export class MessageSkipped extends Schema.TaggedError<MessageSkipped>()("MessageSkipped", { channel: Schema.String }) {
  readonly endedBy = "us"
  readonly retryable = true
  override get message(): string {
    return `a message on the channel "${this.channel}" was skipped before it was sent: it expired, or newer ones needed room`
  }
}

/** The peer ended the session for good, with a code and a word of its application. */
export class EndedByPeer extends Schema.TaggedError<EndedByPeer>()("EndedByPeer", {
  code: Schema.Literals(["Normal", "Drained", "Expired", "Failed", "Violated", "Fenced", "GoneAway"]),
  detail: Schema.String
}) {
  readonly endedBy = "peer"
  readonly retryable = false
  override get message(): string {
    return `the peer ended the session (${this.code})${this.detail === "" ? "" : `: ${this.detail}`}`
  }
}

/** An operation on a session that this side has closed. */
export class Closed extends Schema.TaggedError<Closed>()("Closed", {}) {
  readonly endedBy = "us"
  readonly retryable = false
  override get message(): string {
    return "the session was closed by this side"
  }
}

/** All reasons, as a Schema. */
export const Reason = Schema.Union([
  OpenTimedOut,
  CloseTimedOut,
  PeerSilent,
  WriteStuck,
  Stalled,
  LinkFailed,
  LinkClosed,
  ProtocolViolated,
  MessageInvalid,
  MessageTooLarge,
  MessageRejected,
  Fenced,
  Refused,
  GoneAway,
  BacklogExceeded,
  DetectorFired,
  AnswerOverdue,
  RequestFailed,
  RetriesExhausted,
  SessionLost,
  Expired,
  ChannelReset,
  ChannelRefused,
  MessageSkipped,
  EndedByPeer,
  Closed
])

/** Why a connection or an operation on it failed: a closed union, told apart by `_tag`. */
export type Reason = typeof Reason.Type

/** How long an incarnation lived, for `of`. */
export interface Times {
  readonly upFor?: Duration.Input | undefined
  readonly openingFor?: Duration.Input | undefined
}

/** The error of every operation on a connection. It has a codec, so it can be logged and sent as it is. */
export class ConnectionError extends Schema.TaggedError<ConnectionError>()("ConnectionError", {
  reason: Reason,
  /** How long the incarnation was up: from the handshake's answer to the end; zero if it never was. */
  upFor: Schema.Duration,
  /** How long dial and handshake took, or took until they failed. */
  openingFor: Schema.Duration
}) {
  /** Wraps a reason. Times that are not given are zero. */
  static of(reason: Reason, times: Times = {}): ConnectionError {
    return new ConnectionError({
      reason,
      upFor: Duration.fromInputUnsafe(times.upFor ?? 0),
      openingFor: Duration.fromInputUnsafe(times.openingFor ?? 0)
    })
  }

  override get message(): string {
    return this.reason.message
  }
}

/** Wraps a reason: `ConnectionError.of`, for those who import the module as a namespace. */
export const make = (reason: Reason, times?: Times): ConnectionError => ConnectionError.of(reason, times)

/** Whether a value is a `ConnectionError`. Says no to anything that merely looks like one. */
export const isConnectionError = (u: unknown): u is ConnectionError => u instanceof ConnectionError

/** Whether a value is one of the reasons. */
export const isReason: (u: unknown) => u is Reason = Schema.is(Reason)

const causeText = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

/** To the millisecond: what real clocks say beyond that tells nobody anything. */
const text = (duration: Duration.Duration): string =>
  Duration.format(Duration.isFinite(duration) ? Duration.millis(Math.round(Duration.toMillis(duration))) : duration)

const times = (count: number): string => (count === 1 ? "once" : `${count} times`)

const hint = (retryAfter: Option.Option<Duration.Duration>): string =>
  Option.match(retryAfter, { onNone: () => "", onSome: (after) => `; it says: try again after ${text(after)}` })
