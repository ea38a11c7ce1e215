/**
 * Sessions: messages that arrive exactly once and in order, in both directions, across any number of reconnects.
 *
 * One class is the definition that both ends import, and the key of the client's service:
 *
 * ```ts
 * import { Schema } from "effect"
 * import { Session } from "holdfast"
 *
 * class Telemetry extends Session.Service<Telemetry>()("app/Telemetry", {
 *   toServer: Schema.Struct({ sensor: Schema.String, celsius: Schema.Number }),
 *   toClient: Schema.Literals(["faster", "slower"])
 * }) {}
 * ```
 *
 * What is promised: what `send` accepted is delivered once and in order while the memory of both sides lives; `deliver`
 * and `flush` succeed when the other application is done with it; every operation settles, with a typed cause. What is
 * not: accepted is not durable. When the other side has lost the session, that is a typed `SessionLost`, and `onLost`
 * decides; messages whose fate is unknown are never sent again by themselves.
 */
import { Context, Layer, Schema } from "effect"
import type { Duration, Effect, Exit, Option, Redacted, Schedule, Scope, Stream } from "effect"
import type * as SocketServer from "effect/socket/SocketServer"
import type { ConnectionError, SessionLost } from "./ConnectionError.ts"
import * as client from "./internal/client.ts"
import * as codec from "./internal/codec.ts"
import * as server from "./internal/server.ts"
import type { Link } from "./Link.ts"
import type * as Patience from "./Patience.ts"
import type * as Policy from "./Policy.ts"
import type { Incoming, Options as ChannelOptions, SessionChannel } from "./SessionChannel.ts"
import type { Detector } from "./Watchdog.ts"

/** Sending and consuming: what a session and each of its channels have in common. */
export interface Messaging<in out Send, out Receive> {
  /**
   * Accepts a message for delivery: it is kept until the other application has taken it. Waits for room, or fails with
   * `BacklogExceeded`, as `policy.backlog` says. Interrupting a send that waits withdraws it.
   */
  readonly send: (message: Send) => Effect.Effect<void, ConnectionError>
  /** `send` for many at once, in order. Interrupting it withdraws those that still wait for room. */
  readonly sendAll: (messages: Iterable<Send>) => Effect.Effect<void, ConnectionError>
  /**
   * `send`, and waits until the other application has taken it; `MessageRejected` if it declined. Interrupting it does
   * not withdraw a message that was accepted.
   */
  readonly deliver: (message: Send) => Effect.Effect<void, ConnectionError>
  /** Waits until everything that was accepted so far has been taken. */
  readonly flush: Effect.Effect<void, ConnectionError>
  /** Ends our direction: the other side's `messages` end after the last one. Later sends fail with `Closed`. */
  readonly end: Effect.Effect<void, ConnectionError>
  /**
   * What arrives. A batch is taken when the next one is pulled: a consumer that stops inside a batch leaves all of it to
   * the next consumer, and operators that pull ahead take early. One consumer at a time; another one waits.
   */
  readonly messages: Stream.Stream<Receive, ConnectionError>
  /**
   * Runs `f` for each message and takes it when `f` has succeeded. Succeeds when the other direction has ended. What
   * happens when `f` fails is the caller's choice, see {@link HandleOptions}.
   */
  readonly handle: <E, R>(
    f: (message: Receive) => Effect.Effect<unknown, E, R>,
    options?: HandleOptions<E> | undefined
  ) => Effect.Effect<void, ConnectionError | E, R>
  /** What was accepted and is not known to be taken: after a failed end these go back to their owner. */
  readonly leftovers: Effect.Effect<Leftovers<Send>, ConnectionError>
}

/** One end of a session. `Send` goes out, `Receive` comes in. */
export interface Session<in out Send, out Receive> extends Messaging<Send, Receive> {
  /**
   * Opens a channel beside the session's own messages, see {@link SessionChannel}. It waits for the first link of the
   * session, or of the next one while the other side goes away; then nobody is asked, and messages may follow at once.
   * Fails with `ChannelRefused` when as many are open as the other side allows. When the scope closes in success, our
   * direction ends, and what was accepted still goes; otherwise the channel is reset.
   */
  readonly open: <S extends Schema.Constraint = Bytes, C extends Schema.Constraint = Bytes>(
    name: string,
    options?: ChannelOptions<S, C> | undefined
  ) => Effect.Effect<SessionChannel<S["Type"], C["Type"]>, ConnectionError, Scope.Scope | Services<S> | Services<C>>
  /** The channels that the other side opens. One consumer at a time. Ends with the session. */
  readonly channels: Stream.Stream<Incoming, ConnectionError>
  /** The state at present. */
  readonly state: Effect.Effect<State>
  /** The present state and all later ones; a slow reader skips. */
  readonly changes: Stream.Stream<State>
  /** What happens, from now on. A reader that is more than 256 behind gets `Dropped` with the number it missed. */
  readonly events: Stream.Stream<SessionEvent>
  /** Replaces parts of the policy at once, also while up. */
  readonly setPolicy: (policy: Policy.Options) => Effect.Effect<void, Policy.PolicyError>
  /** "The network is back": dials now, or asks the peer now. */
  readonly wake: Effect.Effect<void>
  /**
   * Ends the session in good order, within `policy.close`: succeeds when everything was taken on both sides, otherwise
   * fails with `CloseTimedOut`. It goes on reconnecting meanwhile. Interrupting it ends the session at once.
   */
  readonly close: Effect.Effect<void, ConnectionError>
  /** Waits for the end of the session, whoever brings it. */
  readonly join: Effect.Effect<void, ConnectionError>
}

/** Messages that the other application is not known to have taken, in order. */
export interface Leftovers<out Send> {
  /** Handed to a link and not acknowledged: the other application may have taken them, or not. */
  readonly fateUnknown: ReadonlyArray<Send>
  /** Never handed to a link. */
  readonly notSent: ReadonlyArray<Send>
}

/** What happens when the handler of a message fails. */
export interface HandleOptions<in E> {
  /** Tries the same message again. */
  readonly retry?: Schedule.Schedule<unknown, E> | undefined
  /**
   * And then: `"fail"` (default) fails `handle`, and the message goes to the next consumer; `"skip"` declines it, so that
   * the sender's `deliver` fails with `MessageRejected`, and goes on; `"end"` ends the session for both sides.
   */
  readonly onFailure?: "fail" | "skip" | "end" | undefined
}

/** How a link was opened: see the module. */
export type Opened = "Fresh" | "Resumed" | "Gap"

/** A picture of a session. Instants are wall time in milliseconds. */
export type State =
  | { readonly _tag: "Connecting"; readonly attempt: number }
  | { readonly _tag: "Handshaking"; readonly attempt: number }
  | Up
  | {
      readonly _tag: "Waiting"
      readonly attempt: number
      readonly error: Option.Option<ConnectionError>
      /** When it will be tried again; on a server, when the session expires. */
      readonly retryAt: number
    }
  | { readonly _tag: "Closing"; readonly unacknowledged: number }
  | { readonly _tag: "Closed"; readonly exit: Exit.Exit<void, ConnectionError> }

/** A link is open. */
export interface Up {
  readonly _tag: "Up"
  readonly incarnation: number
  readonly opened: Opened
  readonly since: number
  readonly roundTripTime: Option.Option<Duration.Duration>
  /** The peer lives, and nothing of ours moves. */
  readonly stalledSince: Option.Option<number>
  /** We have more to send than the peer's window lets us: its application is slow. */
  readonly creditAwaitedSince: Option.Option<number>
  /** On which channel, of those that wait the one that has waited longest; `""` for the session's own messages. */
  readonly creditAwaitedOn: Option.Option<string>
  /** Our own application is slow: the peer has filled our window. */
  readonly consumerSlowSince: Option.Option<number>
  /** On which channel, the one that has been full longest; `""` for the session's own messages. */
  readonly consumerSlowOn: Option.Option<string>
}

/** One fact. */
export type Happening =
  | { readonly _tag: "Dialed"; readonly attempt: number }
  | { readonly _tag: "Opened"; readonly incarnation: number; readonly opened: Opened }
  | { readonly _tag: "Ended"; readonly incarnation: number; readonly error: ConnectionError }
  | { readonly _tag: "Retrying"; readonly error: ConnectionError; readonly delay: Duration.Duration }
  | { readonly _tag: "Asked"; readonly detector: string; readonly evidence: Patience.Evidence }
  | { readonly _tag: "Stalled"; readonly since: number }
  | { readonly _tag: "Moved"; readonly stalledFor: Duration.Duration }
  | { readonly _tag: "Declined"; readonly count: number }
  /** Messages of ours that were dropped, or have expired, before they were handed to a link. */
  | { readonly _tag: "Skipped"; readonly channel: string; readonly count: number }
  | { readonly _tag: "Lost"; readonly reason: SessionLost }
  | { readonly _tag: "GoingAway"; readonly retryAfter: Duration.Duration }
  | { readonly _tag: "PolicyReplaced" }
  | { readonly _tag: "Closed"; readonly exit: Exit.Exit<void, ConnectionError> }
  /** This subscriber was too slow for so many events. */
  | { readonly _tag: "Dropped"; readonly count: number }

/** A fact and when it was, in wall time (milliseconds). */
export type SessionEvent = Happening & { readonly at: number }

/** What is known when the other side can no longer continue a session. */
export interface Gap<out Send> extends Leftovers<Send> {
  readonly reason: SessionLost
  /** Messages of theirs that arrived and that our application has not taken; they stay available. */
  readonly untaken: number
}

/** What a client needs. */
export interface ClientOptions<Send, RL, RC, RG> {
  /** Makes a link; run for each incarnation, in its scope, so that nothing of one incarnation reaches the next. */
  readonly link: Effect.Effect<Link, unknown, RL>
  /** Run for each attempt. Sent as they are: over TLS, or within the machine. */
  readonly credentials?: Effect.Effect<Redacted.Redacted, unknown, RC> | undefined
  readonly policy?: Policy.Options | undefined
  readonly limits?: ClientLimits | undefined
  /** Race inside each incarnation, beside the built-in detectors. */
  readonly detectors?: ReadonlyArray<Detector> | undefined
  /**
   * Decides what happens when the other side has lost the session. Without it the session ends with `SessionLost`. What
   * it returns goes first in a fresh session: `gap.notSent` loses what may have been lost, `[...gap.fateUnknown,
   * ...gap.notSent]` repeats what may have been taken.
   */
  readonly onLost?: ((gap: Gap<Send>) => Effect.Effect<ReadonlyArray<Send>, never, RG>) | undefined
}

/** Bounds of a client. */
export interface ClientLimits {
  /** How much of the session's own messages may arrive beyond what the application has taken. Default 1 MiB. */
  readonly windowBytes?: number | undefined
  /** The same for each other channel; it is there whatever comes on others. Default 64 KiB. */
  readonly channelWindowBytes?: number | undefined
  /** What one of these windows may grow to where the round trip is long. Default 8 MiB. */
  readonly windowBytesMax?: number | undefined
  /** How much may arrive beyond the above on all channels together. Default 16 MiB. */
  readonly growthBytesMax?: number | undefined
  /** How many channels the other side may have open at once. Default 1,024. */
  readonly channelsMax?: number | undefined
  /**
   * A frame that began must be complete within this; where it carries messages, and may be large for a slow link, its next
   * bytes must come within it. Default: 30 s on a server, without limit on a client.
   */
  readonly frame?: Patience.Patience | undefined
}

/** What a server may know of whoever asks. */
export interface Applicant {
  readonly credentials: Redacted.Redacted
  /** The remote address, if the link tells. */
  readonly address: Option.Option<string>
}

/** A yes: who it is, and services for the handler. A resume must yield the same `principal`. */
export interface Authorized<in out P> {
  readonly principal: string
  readonly services: Context.Context<P>
}

/** Says yes. */
export const authorized = <P = never>(
  principal: string,
  services: Context.Context<P> = Context.empty() as Context.Context<P>
): Authorized<P> => ({ principal, services })

/** What a server may set. */
export interface ServerOptions<P, RA> {
  /**
   * Says who it is, within `policy.open`. A failure refuses the client for good, and its message is told. Where the
   * reason will pass, fail with `Refused` and the code `Full`: then the client tries again after `limits.retryAfter`. A
   * defect costs the connection only. Without it everybody is the same principal.
   */
  readonly authorize?: ((applicant: Applicant) => Effect.Effect<Authorized<P>, unknown, RA>) | undefined
  readonly policy?: Policy.Options | undefined
  readonly limits?: ServerLimits | undefined
  readonly detectors?: ReadonlyArray<Detector> | undefined
  /** What happens to links that do not become part of a session, and to sessions. At most 256 wait; older ones go. */
  readonly onEvent?: ((event: ServerEvent) => Effect.Effect<void>) | undefined
}

/** Bounds of a server. Whoever comes when one is reached is refused with a hint; nobody is evicted. */
export interface ServerLimits extends ClientLimits {
  /** How long a session lives without a link. Default 2 minutes. */
  readonly resumeWindow?: Duration.Input | undefined
  /** Default 10,000. */
  readonly sessionsMax?: number | undefined
  /** Default: as `sessionsMax`. */
  readonly sessionsPerPrincipalMax?: number | undefined
  /** Default: as `sessionsMax`. */
  readonly sessionsPerAddressMax?: number | undefined
  /** Links that are not yet part of a session. Default 1,000. */
  readonly handshakesMax?: number | undefined
  /** Of one address; lower it where no proxy hides the addresses. Default: as `handshakesMax`. */
  readonly handshakesPerAddressMax?: number | undefined
  /**
   * Bytes kept for all sessions together, sent and received, beyond which newcomers are refused and sends wait: each
   * session keeps one message of its handler then. What clients may send is bound by `windowBytes` each. Default 1 GiB.
   */
  readonly bytesMax?: number | undefined
  /** What refused newcomers and clients of a server that goes away are told. Default 1 s. */
  readonly retryAfter?: Duration.Input | undefined
  /** Over which time a server that goes away tells its clients so. Default 1 s. */
  readonly goAwaySpread?: Duration.Input | undefined
}

/** What happens on a server. */
export type ServerEvent =
  | {
      readonly _tag: "LinkRefused"
      readonly at: number
      readonly address: Option.Option<string>
      /** Why: for instance `ProtocolViolated` for rubbish, `OpenTimedOut` for silence, `Refused` for bad credentials. */
      readonly error: ConnectionError
    }
  | { readonly _tag: "SessionOpened"; readonly at: number; readonly session: string; readonly principal: string }
  | { readonly _tag: "SessionResumed"; readonly at: number; readonly session: string; readonly incarnation: number }
  | {
      readonly _tag: "LinkEnded"
      readonly at: number
      readonly session: string
      readonly incarnation: number
      readonly error: ConnectionError
    }
  | {
      readonly _tag: "SessionEnded"
      readonly at: number
      readonly session: string
      readonly exit: Exit.Exit<void, ConnectionError>
    }

/** The definition of a session: what both ends import. */
export interface ServiceClass<
  in out Self,
  in out Id extends string,
  in out ToServer,
  in out ToClient,
  in out R
> extends Context.ServiceClass<Self, Id, Session<ToServer, ToClient>> {
  /**
   * A client's session, for as long as the scope. It is there at once; the first connect is retried like any other. When
   * the scope closes, what was accepted is still delivered, within `policy.close`.
   */
  readonly make: <RL, RC = never, RG = never>(
    options: ClientOptions<ToServer, RL, RC, RG>
  ) => Effect.Effect<Session<ToServer, ToClient>, Policy.PolicyError, RL | RC | RG | R | Scope.Scope>
  /** The same as a layer. */
  readonly layer: <RL, RC = never, RG = never>(
    options: ClientOptions<ToServer, RL, RC, RG>
  ) => Layer.Layer<Self, Policy.PolicyError, Exclude<RL | RC | RG | R, Scope.Scope>>
  /**
   * Serves sessions on a `SocketServer`. The handler runs once for each session and lives across its incarnations; when
   * it has succeeded the session is closed in good order, when it fails the client gets `EndedByPeer`. When the session
   * ends before, the handler has `policy.close` to finish. Releasing the layer tells the clients to go away, waits
   * until they are drained or `policy.close` is over, and ends.
   */
  readonly serve: <E, RH, P = never, RA = never>(
    handler: (session: Session<ToClient, ToServer>) => Effect.Effect<unknown, E, RH>,
    options?: ServerOptions<P, RA> | undefined
  ) => Layer.Layer<
    never,
    Policy.PolicyError,
    SocketServer.SocketServer | Exclude<RH, P | Scope.Scope> | Exclude<RA, Scope.Scope> | R
  >
}

/** The messages of a session. */
export interface Messages<S extends Schema.Constraint, C extends Schema.Constraint> {
  /** Default: `Uint8Array`, sent as it is. */
  readonly toServer?: S | undefined
  /** Default: `Uint8Array`, sent as it is. */
  readonly toClient?: C | undefined
  /**
   * Messages that are bytes lie in memory that is read into again: they are valid until the next batch is pulled, in
   * `handle` until the effect is done. Saves a copy, and with it memory to collect. Default: false, they can be kept.
   */
  readonly borrow?: boolean | undefined
  /** The largest message in bytes, the same on both ends. Default 16 MiB; it may be held twice while it arrives. */
  readonly messageBytesMax?: number | undefined
}

type Bytes = typeof Schema.Uint8Array

type Services<S extends Schema.Constraint> = S["EncodingServices"] | S["DecodingServices"]

/**
 * Defines a session. Other Schemas than the default are encoded as JSON in UTF-8 (their `Schema.toCodecJson`).
 */
export const Service =
  <Self>() =>
  <
    const Id extends string,
    S extends Schema.Constraint = typeof Schema.Uint8Array,
    C extends Schema.Constraint = typeof Schema.Uint8Array
  >(
    id: Id,
    messages: Messages<S, C> = {}
  ): ServiceClass<Self, Id, S["Type"], C["Type"], Services<S> | Services<C>> => {
    const definition: codec.Definition<S["Type"], C["Type"], Services<S> | Services<C>> = codec.definition(id, messages)
    const make = client.make(definition)
    const statics = {
      make,
      layer(this: Context.Key<Self, Session<S["Type"], C["Type"]>>, options: Parameters<typeof make>[0]) {
        return Layer.effect(this, make(options))
      },
      serve: server.serve(definition)
    }
    return Object.assign(Context.Service<Self, Session<S["Type"], C["Type"]>>()(id), statics) as never
  }
