/**
 * Connections: supervised incarnations of a link that speaks a protocol you cannot change, in its {@link Dialect}. One
 * class is the definition and the key of the service:
 *
 * ```ts
 * import { NodeLink } from "@holdfast/node"
 * import { Effect } from "effect"
 * import { Connection, Dialect } from "holdfast"
 *
 * class Feed extends Connection.Service<Feed>()("app/Feed", { dialect: Dialect.lines() }) {}
 *
 * const Live = Feed.layer({
 *   link: NodeLink.tcp({ host: "127.0.0.1", port: 7000 }),
 *   fateUnknown: "sendAgain",
 *   onUp: ({ receive, send }) => send("LOGIN me").pipe(Effect.andThen(receive))
 * })
 * ```
 *
 * What is promised: a link is watched, given up with a typed reason, and dialled again; `onUp` has succeeded before a
 * message of the application flows; no write crosses from one incarnation into the next. What `send` accepted and no link
 * has seen goes out on the next one, or is in `leftovers` at the end. What a link has seen and may not have arrived is the
 * caller's choice, `fateUnknown`. Every operation settles, with a typed cause.
 *
 * What is not: the peer acknowledges nothing, so nothing is known to be taken. The fate of a message is known, in order of
 * what there is: when its answer came (`Answers`), when a ping that followed it was answered, when the peer's machine
 * acknowledged its bytes (a link with `progress`), when the link took it (any other link, and wherever the choice is
 * `"drop"`). For exactly once both sides must speak Holdfast: use `Session`.
 */
import { Context, Layer } from "effect"
import type { Duration, Effect, Exit, Option, Scope, Stream } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type { ConnectionError, Reason } from "./ConnectionError.ts"
import type { Dialect } from "./Dialect.ts"
import * as supervised from "./internal/supervised.ts"
import type { Link } from "./Link.ts"
import type * as Patience from "./Patience.ts"
import type * as Policy from "./Policy.ts"
import type { Detector } from "./Watchdog.ts"

/** A connection to a peer that speaks a dialect. `Send` goes out, `Receive` comes in. */
export interface Connection<in out Send, out Receive> {
  /**
   * Accepts a message: it goes out on the present link, or on the next. Waits for room, fails with `BacklogExceeded`, or
   * drops the oldest, as `policy.backlog` says. Interrupting a send that waits withdraws it.
   */
  readonly send: (message: Send) => Effect.Effect<void, ConnectionError>
  /** `send` for many at once, in order. Interrupting it withdraws those that still wait for room. */
  readonly sendAll: (messages: Iterable<Send>) => Effect.Effect<void, ConnectionError>
  /**
   * What arrives, across incarnations. A batch is taken when the next one is pulled: a consumer that stops inside a batch
   * leaves all of it to the next consumer. One consumer at a time; another one waits.
   */
  readonly messages: Stream.Stream<Receive, ConnectionError>
  /**
   * With `fateUnknown: "giveBack"`: what was handed to a link that ended, and may have arrived or not. It counts against
   * the backlog until it is taken here, in the way of `messages`; so read it, or senders will wait for ever.
   */
  readonly returned: Stream.Stream<Send, ConnectionError>
  /** The state at present. */
  readonly state: Effect.Effect<State>
  /** The present state and all later ones; a slow reader skips. */
  readonly changes: Stream.Stream<State>
  /** What happens, from now on. A reader that is more than 256 behind gets `Dropped` with the number it missed. */
  readonly events: Stream.Stream<ConnectionEvent>
  /** Replaces parts of the policy at once, also while up. */
  readonly setPolicy: (policy: PolicyOptions) => Effect.Effect<void, Policy.PolicyError>
  /** "The network is back": dials now, or asks the peer now. */
  readonly wake: Effect.Effect<void>
  /** Gives the present incarnation up for this reason: destroys its link and dials again. Nothing while none is up. */
  readonly giveUp: (reason: Reason) => Effect.Effect<void>
  /**
   * Ends in good order, within `policy.close`: succeeds when everything that was accepted has been handed over and its
   * fate is known, and its owner has taken what was given back; otherwise fails with `CloseTimedOut`. It goes on
   * reconnecting meanwhile.
   */
  readonly close: Effect.Effect<void, ConnectionError>
  /** Waits for the end, whoever brings it. */
  readonly join: Effect.Effect<void, ConnectionError>
  /** What was accepted and is not known to have arrived: at the end these go back to their owner. */
  readonly leftovers: Effect.Effect<Leftovers<Send>>
}

/** Messages of ours that are not known to have arrived, in order. */
export interface Leftovers<out Send> {
  /** Handed to a link: they may have arrived or not. What `returned` still holds is among them. */
  readonly fateUnknown: ReadonlyArray<Send>
  /** Never handed to a link. */
  readonly notSent: ReadonlyArray<Send>
}

/**
 * What happens to messages that were handed to a link and may not have arrived when it ended. `"sendAgain"`: they go out
 * first on the next one, in order, so the peer may see them twice. `"giveBack"`: they come out of `returned`. `"drop"`:
 * they are counted and forgotten, so the peer may never see them.
 */
export type FateUnknown = "sendAgain" | "giveBack" | "drop"

/**
 * What a sender meets when the backlog is full. `"wait"`: it waits. `"fail"`: `BacklogExceeded`. `"dropOldest"`: the
 * oldest messages that are not with the link are dropped, counted, and told as the event `Discarded`.
 */
export type WhenFull = Policy.Backlog["whenFull"] | "dropOldest"

/** Any part of a policy, and one more way to meet a full backlog. */
export type PolicyOptions = Omit<Policy.Options, "backlog"> & {
  readonly backlog?:
    | (Omit<NonNullable<Policy.Options["backlog"]>, "whenFull"> & { readonly whenFull?: WhenFull | undefined })
    | undefined
}

/** What `onUp` can do with a link that was just opened. */
export interface Opening<in Send, out Receive> {
  readonly send: (message: Send) => Effect.Effect<void, ConnectionError>
  /** The next message of the peer. What is not received here flows on to `messages`. */
  readonly receive: Effect.Effect<Receive, ConnectionError>
  /**
   * Asks by the dialect's ping and waits for the answer: then the peer has handled all that was sent before. For peers that
   * say nothing when they agree. A defect where the dialect has no ping.
   */
  readonly ping: Effect.Effect<void, ConnectionError>
  /** Which of the links it is, from 0. */
  readonly endpoint: number
}

/** What a connection needs. */
export interface Options<Send, Receive, RL, RU> {
  /**
   * Makes a link; run for each incarnation, in its scope. Several are several endpoints of one service: each attempt takes
   * the next one, and at first each is tried once without waiting, as Open vSwitch does.
   */
  readonly link: Effect.Effect<Link, unknown, RL> | NonEmptyReadonlyArray<Effect.Effect<Link, unknown, RL>>
  /** What happens to messages that may have arrived or not when a link has ended. */
  readonly fateUnknown: FateUnknown
  /**
   * Logs in, subscribes again: run on each new link, within `policy.open`, before any message of the application flows.
   * When it fails the link is destroyed and another one dialled; fail with a reason that is not retryable, such as
   * `new ConnectionError.Refused({ code: "Unauthorized", detail })`, to end the connection.
   */
  readonly onUp?: ((opening: Opening<Send, Receive>) => Effect.Effect<unknown, unknown, RU>) | undefined
  /**
   * Defaults: as for a session where the dialect can ask; heartbeats are off unless set, since any ping is one. Where it
   * cannot, as `Presets.withoutPing`.
   */
  readonly policy?: PolicyOptions | undefined
  /** Race inside each incarnation, beside the built-in detectors. */
  readonly detectors?: ReadonlyArray<Detector> | undefined
  /**
   * How much is read ahead of the consumer of `messages`. Beyond it nothing more is read: the peer meets back-pressure,
   * the clock of `silence` stands still, and the state says since when our consumer is slow. Default 1 MiB.
   */
  readonly readAheadBytesMax?: number | undefined
}

/** A picture of a connection. Instants are wall time in milliseconds. */
export type State =
  | { readonly _tag: "Connecting"; readonly attempt: number; readonly endpoint: number }
  /** The link is there and `onUp` runs. */
  | { readonly _tag: "Handshaking"; readonly attempt: number; readonly endpoint: number }
  | Up
  | {
      readonly _tag: "Waiting"
      readonly attempt: number
      readonly error: ConnectionError
      /** When it will be tried again. */
      readonly retryAt: number
    }
  | { readonly _tag: "Closing"; readonly unsettled: number }
  | { readonly _tag: "Closed"; readonly exit: Exit.Exit<void, ConnectionError> }

/** A link is open and `onUp` has succeeded. */
export interface Up {
  readonly _tag: "Up"
  readonly incarnation: number
  readonly endpoint: number
  readonly since: number
  readonly roundTripTime: Option.Option<Duration.Duration>
  /** The peer lives, as far as is known, and nothing of ours moves. */
  readonly stalledSince: Option.Option<number>
  /** Our own consumer is slow: as much was read ahead as is allowed, and the peer waits. */
  readonly consumerSlowSince: Option.Option<number>
}

/** One fact. */
export type Happening =
  | { readonly _tag: "Dialed"; readonly attempt: number; readonly endpoint: number }
  | { readonly _tag: "Opened"; readonly incarnation: number; readonly endpoint: number }
  | { readonly _tag: "Ended"; readonly incarnation: number; readonly error: ConnectionError }
  | { readonly _tag: "Retrying"; readonly error: ConnectionError; readonly delay: Duration.Duration }
  | { readonly _tag: "Asked"; readonly detector: string; readonly evidence: Patience.Evidence }
  | { readonly _tag: "Stalled"; readonly since: number }
  | { readonly _tag: "Moved"; readonly stalledFor: Duration.Duration }
  /** So many messages met the caller's choice when their link ended. */
  | { readonly _tag: "FateUnknown"; readonly count: number; readonly choice: FateUnknown }
  /** The backlog was full, and so many of the oldest messages were dropped. */
  | { readonly _tag: "Discarded"; readonly count: number; readonly bytes: number }
  | { readonly _tag: "PolicyReplaced" }
  | { readonly _tag: "Closed"; readonly exit: Exit.Exit<void, ConnectionError> }
  /** This subscriber was too slow for so many events. */
  | { readonly _tag: "Dropped"; readonly count: number }

/** A fact and when it was, in wall time (milliseconds). */
export type ConnectionEvent = Happening & { readonly at: number }

/** The definition of a connection. */
export interface ServiceClass<
  in out Self,
  in out Id extends string,
  in out Send,
  in out Receive
> extends Context.ServiceClass<Self, Id, Connection<Send, Receive>> {
  /** A connection, for as long as the scope. It is there at once; the first connect is retried like any other. */
  readonly make: <RL, RU = never>(
    options: Options<Send, Receive, RL, RU>
  ) => Effect.Effect<Connection<Send, Receive>, Policy.PolicyError, RL | RU | Scope.Scope>
  /** The same as a layer. Releasing it closes the connection, within `policy.close`. */
  readonly layer: <RL, RU = never>(
    options: Options<Send, Receive, RL, RU>
  ) => Layer.Layer<Self, Policy.PolicyError, Exclude<RL | RU, Scope.Scope>>
}

/** Defines a connection: a dialect under a name. Many peers are Effect's own `LayerMap`: see docs/dialects.md. */
export const Service =
  <Self>() =>
  <const Id extends string, Receive, Send>(
    id: Id,
    definition: { readonly dialect: Dialect<Receive, Send> }
  ): ServiceClass<Self, Id, Send, Receive> => {
    const make = supervised.make(id, definition.dialect)
    const statics = {
      make,
      layer(this: Context.Key<Self, Connection<Send, Receive>>, options: Parameters<typeof make>[0]) {
        return Layer.effect(this, make(options))
      }
    }
    return Object.assign(Context.Service<Self, Connection<Send, Receive>>()(id), statics) as never
  }
