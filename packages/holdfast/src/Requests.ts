/**
 * Requests and responses over a channel: many at once, matched, each with its own patience and its typed failure. A request
 * is handled once and its answer arrives once, across any number of reconnects.
 *
 * One value is the definition that both ends import:
 *
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Requests, Session } from "holdfast"
 *
 * class Market extends Session.Service<Market>()("app/Market") {}
 * class Unknown extends Schema.TaggedError<Unknown>()("Unknown", { symbol: Schema.String }) {}
 *
 * const Prices = Requests.make("prices", { request: Schema.String, response: Schema.Number, failure: Unknown })
 *
 * // One side answers, many at once. A handler is interrupted when whoever asked is.
 * const Server = Market.serve((session) =>
 *   Prices.serve(session, (symbol) => (symbol === "ACME" ? Effect.succeed(42) : Effect.fail(new Unknown({ symbol }))))
 * )
 *
 * // The other one asks.
 * const program = Effect.scoped(
 *   Effect.gen(function* () {
 *     const prices = yield* Prices.client(yield* Market, { patience: "5 seconds" })
 *     return yield* Effect.all([prices.ask("ACME"), prices.ask("HOLD", { patience: "1 second" })], { concurrency: 2 })
 *   })
 * )
 * ```
 *
 * Guarantees: every request settles, by its answer, by its patience, or with the reason for which the channel ended; in the
 * last two cases the other side may have handled it or not. Interrupting a request withdraws it where it was not sent, and
 * interrupts its handler where it was. At most `outstandingMax` requests are with the other side: the rest wait with whoever
 * asks, in order. A fiber watches the patience of all requests of a client, however many they are.
 */
import { Effect, Semaphore, Stream } from "effect"
import type { Context, Schema, Scope } from "effect"
import type { ConnectionError } from "./ConnectionError.ts"
import * as Answering from "./internal/answering.ts"
import * as Asking from "./internal/asking.ts"
import * as Codec from "./internal/codec.ts"
import type { Patience } from "./Patience.ts"
import type { Session } from "./Session.ts"
import type { Incoming, Options as ChannelOptions } from "./SessionChannel.ts"

/** Asks over a channel. */
export interface Client<in Request, out Response, out Failure> {
  /**
   * Sends a request and waits for its answer. Fails with the handler's typed failure, or with a `ConnectionError`:
   * `AnswerOverdue` when patience is over, `RequestFailed` when there is no answer, `MessageTooLarge`, or what ended the
   * channel.
   */
  readonly ask: (
    request: Request,
    options?: AskOptions | undefined
  ) => Effect.Effect<Response, Failure | ConnectionError>
  /**
   * Asks many at once and waits for their responses, which come in the order of the requests; each has the whole patience.
   * It fails as soon as one of them does, and withdraws the others. As `Effect.forEach` over `ask` with unbounded
   * concurrency, but one fiber waits for all.
   *
   * ```ts
   * import { Schema } from "effect"
   * import { Requests } from "holdfast"
   *
   * const Prices = Requests.make("prices", { request: Schema.String, response: Schema.Number })
   *
   * const portfolio = (prices: Requests.Client<string, number, never>) => prices.askAll(["ACME", "HOLD"])
   * ```
   */
  readonly askAll: (
    requests: ReadonlyArray<Request>,
    options?: AskOptions | undefined
  ) => Effect.Effect<Array<Response>, Failure | ConnectionError>
  /** Requests that wait for a slot, or with the other side; those too that were interrupted and not yet confirmed. */
  readonly outstanding: Effect.Effect<number>
}

/** What one request may be told. */
export interface AskOptions {
  /** Instead of the client's. */
  readonly patience?: Patience | undefined
}

/** What a client needs. */
export interface ClientOptions {
  /**
   * How long an answer may take, counted from `ask`, whatever happens to links meanwhile. A Schedule is stepped for each
   * request, and nothing is asked between its delays: their sum counts.
   */
  readonly patience: Patience
  /** The channel's share of the link: 1 (default) to 256. */
  readonly weight?: number | undefined
}

/** What whoever answers may set. */
export interface ServeOptions {
  /** How many handlers run at once, on all channels of this `serve`: 1 to 65,536. Default: as many as are outstanding. */
  readonly concurrencyMax?: number | undefined
  /** The channel's share of the link: 1 (default) to 256. */
  readonly weight?: number | undefined
}

/** What is asked and answered. Both ends must agree. */
export interface Messages<Q extends Schema.Constraint, A extends Schema.Constraint, F extends Schema.Constraint> {
  /** Default: `Uint8Array`, as it is. */
  readonly request?: Q | undefined
  /** Default: `Uint8Array`, as it is. */
  readonly response?: A | undefined
  /** What a handler may fail with. Default: nothing. */
  readonly failure?: F | undefined
  /** How many requests may be with the other side at once, for each client: 1 to 65,536. Default 256. */
  readonly outstandingMax?: number | undefined
}

/** The definition of requests: what both ends import. */
export interface Definition<in out Request, in out Response, in out Failure, out R> {
  /** Of the channels. */
  readonly name: string
  /** Opens a channel, for as long as the scope. When it closes, whoever still waits fails with `Closed`. */
  readonly client: (
    session: Pick<Session<never, unknown>, "open">,
    options: ClientOptions
  ) => Effect.Effect<Client<Request, Response, Failure>, ConnectionError, R | Scope.Scope>
  /**
   * Answers on a channel until its client is done, or on all channels of this name that a session's other side opens, until
   * the session ends; others are refused. A defect of the handler is logged, costs that request, and is not told in detail.
   */
  readonly serve: <RH>(
    from: Incoming | Pick<Session<never, unknown>, "channels">,
    handler: (request: Request) => Effect.Effect<Response, Failure, RH>,
    options?: ServeOptions | undefined
  ) => Effect.Effect<void, ConnectionError, R | RH>
}

/**
 * Defines requests. Other Schemas than the default are encoded as JSON in UTF-8 (their `Schema.toCodecJson`).
 */
export const make = <
  Q extends Schema.Constraint = typeof Schema.Uint8Array,
  A extends Schema.Constraint = typeof Schema.Uint8Array,
  F extends Schema.Constraint = typeof Schema.Never
>(
  name: string,
  messages: Messages<Q, A, F> = {}
): Definition<Q["Type"], A["Type"], F["Type"], Services<Q> | Services<A> | Services<F>> => {
  const { outstandingMax = 256 } = messages
  refuse("outstandingMax", outstandingMax)

  const codecsIn = (services: Context.Context<unknown>): Asking.Codecs => ({
    request: Codec.provide(Codec.make(messages.request), services),
    response: Codec.provide(Codec.make(messages.response), services),
    failure: Codec.provide(Codec.make(messages.failure), services)
  })

  const client = Effect.fnUntraced(function* (
    session: Pick<Session<never, unknown>, "open">,
    { patience, weight }: ClientOptions
  ) {
    const codecs = codecsIn(yield* Effect.context<unknown>())
    const channel = yield* session.open(name, channelOptions(weight))
    return yield* Asking.make({ channel, codecs, outstandingMax, patience })
  })

  const serve = Effect.fnUntraced(function* (
    from: Incoming | Pick<Session<never, unknown>, "channels">,
    handler: (request: unknown) => Effect.Effect<unknown, unknown>,
    { concurrencyMax, weight }: ServeOptions = {}
  ) {
    const codecs = codecsIn(yield* Effect.context<unknown>())
    if (concurrencyMax !== undefined) refuse("concurrencyMax", concurrencyMax)
    const permits = concurrencyMax === undefined ? undefined : Semaphore.makeUnsafe(concurrencyMax)
    const one = Effect.fnUntraced(function* (incoming: Incoming) {
      const channel = yield* incoming.accept(channelOptions(weight))
      yield* Answering.run({ channel, codecs, outstandingMax, handler, permits })
    }, Effect.scoped)
    if ("accept" in from) return yield* one(from)
    yield* Stream.runForEach(from.channels, (incoming) =>
      incoming.name === name
        ? Effect.forkScoped(Effect.ignore(one(incoming)))
        : incoming.refuse(`only requests "${name}" are answered here`)
    )
  }, Effect.scoped)

  return { name, client, serve } as never
}

/** Requests wait with their own patience and never fail for want of room. */
const channelOptions = (
  weight: number | undefined
): ChannelOptions<typeof Schema.Uint8Array, typeof Schema.Uint8Array> => ({
  weight,
  backlog: { whenFull: "wait", patience: "Infinity" }
})

/** A bound that cannot be one is a mistake of the program. */
const refuse = (name: string, bound: number): void => {
  if (Number.isSafeInteger(bound) && bound >= 1 && bound <= boundMax) return
  throw new RangeError(`${name} is ${bound}; write a whole number from 1 to ${boundMax}`)
}

/** Each slot costs a number in the client. */
const boundMax = 65_536

type Services<S extends Schema.Constraint> = S["EncodingServices"] | S["DecodingServices"]
