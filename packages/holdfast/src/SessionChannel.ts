/**
 * Channels: many independent, ordered flows of messages in one session, exactly once across its reconnects like the
 * session's own. One that nobody reads stops itself after a bounded number of bytes, and nothing else.
 *
 * Either side opens them, by a name; the other one gets them as a stream and accepts or refuses each. Opening costs no
 * round trip: messages may follow at once.
 *
 * ```ts
 * import { Effect, Schema, Stream } from "effect"
 * import { Session } from "holdfast"
 *
 * class Market extends Session.Service<Market>()("app/Market") {}
 * const Quote = Schema.Struct({ symbol: Schema.String, bid: Schema.Number })
 *
 * // One side subscribes, and reads.
 * const watching = Effect.scoped(
 *   Effect.gen(function* () {
 *     const market = yield* Market
 *     const quotes = yield* market.open("quotes/ACME", { receive: Quote })
 *     yield* Stream.runForEach(quotes.messages, (quote) => Effect.log(quote.bid))
 *   })
 * )
 *
 * // The other side serves whatever is opened. Only the latest quotes matter: those that wait too long are skipped.
 * const Server = Market.serve((session) =>
 *   Stream.runForEach(session.channels, (incoming) =>
 *     Effect.forkScoped(
 *       Effect.scoped(
 *         Effect.gen(function* () {
 *           const quotes = yield* incoming.accept({ send: Quote, backlog: { messagesMax: 100, whenFull: "dropOldest" } })
 *           yield* quotes.send({ symbol: incoming.name, bid: 1 })
 *         })
 *       )
 *     )
 *   )
 * )
 * ```
 *
 * A channel ends when both directions have ended and everything was taken, or by a reset, which both sides are told; it
 * ends with its session in any case, and `leftovers` tells what was not taken.
 */
import type { Duration, Effect, Option, Schema, Scope } from "effect"
import type { ConnectionError } from "./ConnectionError.ts"
import type * as Policy from "./Policy.ts"
import type { Messaging } from "./Session.ts"

/** One end of a channel. `Send` goes out, `Receive` comes in. Sending and consuming are as in `Session`. */
export interface SessionChannel<in out Send, out Receive> extends Messaging<Send, Receive> {
  readonly name: string
  /** The state at present. */
  readonly state: Effect.Effect<State>
  /**
   * Ends both directions at once: what was not taken on either side is gone, and the other side's operations fail with
   * `ChannelReset`. Reliable across reconnects. Of a longer detail than 255 bytes the beginning is told.
   */
  readonly reset: (detail: string, code?: "Failed" | "Abandoned" | undefined) => Effect.Effect<void>
  /** Waits for the end: succeeds when both directions have ended and everything was taken. */
  readonly join: Effect.Effect<void, ConnectionError>
}

/** A picture of a channel. Instants are wall time in milliseconds. */
export interface State {
  readonly name: string
  /** Ours, not yet taken by the other application. */
  readonly keptMessages: number
  readonly keptBytes: number
  /** Theirs, arrived and not yet taken by our application. */
  readonly untakenMessages: number
  readonly untakenBytes: number
  /** We have more to send than the other side's window lets us: its application is slow. */
  readonly creditAwaitedSince: Option.Option<number>
  /** Our own application is slow: the other side has filled our window. */
  readonly consumerSlowSince: Option.Option<number>
  /** Messages of ours that were dropped or had expired before they were handed to a link. */
  readonly skippedSent: number
  /** Messages of theirs that they skipped: as many as they have counted, as far as we have read. */
  readonly skippedReceived: number
}

/** What a channel may be opened or accepted with. Each side says for itself. */
export interface Options<S extends Schema.Constraint, C extends Schema.Constraint> {
  /** What this side sends. Default: `Uint8Array`, as it is. */
  readonly send?: S | undefined
  /** What this side receives. Default: `Uint8Array`, as it is. */
  readonly receive?: C | undefined
  /** As `borrow` of a session: messages that are bytes are valid until the next batch is pulled. Default: false. */
  readonly borrow?: boolean | undefined
  /** Its share of the link, among channels that have something to send: 1 (default) to 256. */
  readonly weight?: number | undefined
  /**
   * Bounds of what waits to be taken; what is not given is as the policy says. With `"dropOldest"` and with `expiresAfter`
   * they bound what was not handed to a link yet; the rest is bounded by credit.
   */
  readonly backlog?:
    | (Omit<NonNullable<Policy.Options["backlog"]>, "whenFull"> & { readonly whenFull?: WhenFull | undefined })
    | undefined
  /** A message that was not handed to a link by then is skipped: the other side is told how many, and a `deliver` fails. */
  readonly expiresAfter?: Duration.Input | undefined
}

/**
 * What a sender meets when the backlog is full. `"wait"`: it waits. `"fail"`: `BacklogExceeded`. `"dropOldest"`: the
 * oldest messages that were not handed to a link yet are skipped; the other side is told how many.
 */
export type WhenFull = Policy.Backlog["whenFull"] | "dropOldest"

/** A channel that the other side has opened. Until it is accepted or refused it takes up one of `limits.channelsMax`. */
export interface Incoming {
  readonly name: string
  /**
   * Takes the channel. When the scope closes in success, our direction ends, and what was accepted still goes; otherwise
   * the channel is reset. Fails with `ChannelReset` when it is over already.
   */
  readonly accept: Accept
  /** Resets it with the code `Refused`. */
  readonly refuse: (detail: string) => Effect.Effect<void>
}

type Accept = <S extends Schema.Constraint = Bytes, C extends Schema.Constraint = Bytes>(
  options?: Options<S, C> | undefined
) => Effect.Effect<SessionChannel<S["Type"], C["Type"]>, ConnectionError, Scope.Scope | Services<S> | Services<C>>

type Bytes = typeof Schema.Uint8Array

type Services<S extends Schema.Constraint> = S["EncodingServices"] | S["DecodingServices"]
