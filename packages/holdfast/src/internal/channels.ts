/**
 * The channels of a conversation, as its two applications see them: opening, accepting, refusing.
 */
import { Cause, Deferred, Duration, Effect, Exit, Option } from "effect"
import type { Context, Pull, Schema, Scope, Semaphore, Stream } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as ConnectionError from "../ConnectionError.ts"
import type { Incoming, Options, SessionChannel, State } from "../SessionChannel.ts"
import * as Codec from "./codec.ts"
import type { Conversation } from "./conversation.ts"
import type { Flow } from "./flow.ts"
import { given } from "./given.ts"
import * as Messaging from "./messaging.ts"
import { type Limits, limitsOf } from "./backlogLimits.ts"

/** The longest name, in bytes. */
const nameBytesMax = 255

/** Opens a channel. */
export const open = Effect.fnUntraced(function* (conversation: Conversation, name: string, options: AnyOptions = {}) {
  const nameBytes = new TextEncoder().encode(name).length
  if (nameBytes > nameBytesMax) {
    const detail = `its name has ${nameBytes} bytes, more than ${nameBytesMax}`
    return yield* ConnectionError.make(new ConnectionError.ChannelRefused({ channel: name, detail }))
  }
  const flow = yield* Effect.acquireRelease(
    conversation.open(name, limitsFor(conversation, options)),
    leaving(conversation),
    { interruptible: true }
  )
  return yield* channelOf(conversation, flow, options)
})

/** The channels that the other side opens. */
export const incoming = (
  conversation: Conversation,
  consumer: Semaphore.Semaphore
): Stream.Stream<Incoming, ConnectionError.ConnectionError> => {
  const next: Pull.Pull<NonEmptyReadonlyArray<Incoming>, ConnectionError.ConnectionError> = Effect.suspend(() => {
    // One by one: a consumer that stops leaves the others to the next one.
    const flow = conversation.flows.nextOffered()
    if (flow !== undefined) return Effect.succeed([offered(conversation, flow)])
    const { exit } = conversation
    if (exit !== undefined) return Exit.isSuccess(exit) ? Cause.done() : Effect.failCause(exit.cause)
    return Effect.andThen(
      conversation.awaitFact(() => conversation.flows.hasOffered),
      next
    )
  })
  return Messaging.consuming(consumer, Effect.void, next)
}

const offered = (conversation: Conversation, flow: Flow): Incoming => ({
  name: flow.channel.name,
  accept: Effect.fnUntraced(function* (options: AnyOptions = {}) {
    if (flow.exit !== undefined && Exit.isFailure(flow.exit)) return yield* flow.failure()
    flow.limits = limitsFor(conversation, options)
    yield* Effect.acquireRelease(Effect.succeed(flow), leaving(conversation))
    return yield* channelOf(conversation, flow, options)
  }) as Incoming["accept"],
  refuse: (detail) => Effect.sync(() => conversation.reset(flow, "Refused", short(detail)))
})

type AnyOptions = Options<Schema.Constraint, Schema.Constraint>

/** Whoever leaves in good order leaves what was accepted to be sent. */
const leaving = (conversation: Conversation) => (flow: Flow, exit: Exit.Exit<unknown, unknown>) =>
  Effect.sync(() => {
    if (Exit.isSuccess(exit)) conversation.abandon(flow)
    else conversation.reset(flow, "Abandoned", "whoever used it has failed or was interrupted")
  })

const limitsFor = (conversation: Conversation, { backlog, expiresAfter }: AnyOptions): (() => Limits) => {
  const expiresAfterMillis =
    expiresAfter === undefined ? Infinity : Duration.toMillis(Duration.fromInputUnsafe(expiresAfter))
  return limitsOf(() => conversation.policy.backlog, given(backlog ?? {}), expiresAfterMillis)
}

const channelOf = Effect.fnUntraced(function* (conversation: Conversation, flow: Flow, options: AnyOptions) {
  const services = (yield* Effect.context()) as Context.Context<unknown>
  const { weight = 1 } = options
  flow.channel.weight = weight >= 1 ? Math.min(weight, weightMax) : 1 // also where it is no number
  if (options.expiresAfter !== undefined) conversation.flows.expires(flow)
  return new ChannelHandle(
    conversation,
    flow,
    Codec.provide(Codec.make(options.send), services),
    Codec.provide(Codec.make(options.receive, options.borrow), services)
  )
}) as (
  conversation: Conversation,
  flow: Flow,
  options: AnyOptions
) => Effect.Effect<SessionChannel<unknown, unknown>, never, Scope.Scope>

/** The public face of a channel. */
class ChannelHandle extends Messaging.Messages<unknown, unknown> implements SessionChannel<unknown, unknown> {
  private readonly conversation: Conversation

  constructor(
    conversation: Conversation,
    flow: Flow,
    outgoing: Codec.Codec<unknown, never>,
    incoming: Codec.Codec<unknown, never>
  ) {
    super(flow, outgoing, incoming)
    this.conversation = conversation
  }

  /** Whose face it is. */
  get below(): Flow {
    return this.flow
  }

  get name(): string {
    return this.flow.channel.name
  }

  get state(): Effect.Effect<State> {
    return Effect.sync(() => {
      const { channel, consumerSlowSince, creditAwaitedSince } = this.flow
      const { name, receive, send } = channel
      return {
        name,
        keptMessages: send.keptCount,
        keptBytes: send.keptBytes,
        untakenMessages: receive.untakenCount,
        untakenBytes: receive.received - receive.taken,
        creditAwaitedSince: Option.fromUndefinedOr(creditAwaitedSince),
        consumerSlowSince: Option.fromUndefinedOr(consumerSlowSince),
        skippedSent: send.skippedCount,
        skippedReceived: receive.skippedCount
      }
    })
  }

  get reset(): SessionChannel<unknown, unknown>["reset"] {
    return (detail, code) => Effect.sync(() => this.resetAs(code ?? "Failed", detail))
  }

  get join(): Effect.Effect<void, ConnectionError.ConnectionError> {
    return Deferred.await(this.flow.ended)
  }

  protected override invalid(): void {
    this.resetAs("Invalid", "a message does not decode")
  }

  protected override failed(detail: string): void {
    this.resetAs("Failed", detail)
  }

  private resetAs(code: ConnectionError.ChannelReset["code"], detail: string): void {
    this.conversation.reset(this.flow, code, short(detail))
  }
}

/** The flow of a channel, for who works on it by plain calls instead of an effect for each message. */
export const flowOf = (channel: SessionChannel<Uint8Array, Uint8Array>): Flow => {
  if (channel instanceof ChannelHandle) return channel.below
  throw new TypeError(`"${channel.name}" is not a channel that a session has opened or accepted`)
}

/** A detail must fit into its frame. */
const short = (detail: string): string =>
  new TextEncoder().encode(detail).length <= nameBytesMax ? detail : detail.slice(0, 60)

const weightMax = 256
