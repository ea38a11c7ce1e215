/**
 * The channels of a conversation, as its two applications see them: opening, accepting, refusing.
 */
import { Cause, Deferred, Duration, Effect, Exit, Option, Semaphore, Stream } from "effect"
import type { Context, Pull, Schema, Scope } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as ConnectionError from "../ConnectionError.ts"
import type { Session } from "../Session.ts"
import type { Incoming, Options, SessionChannel, State } from "../SessionChannel.ts"
import * as Codec from "./codec.ts"
import type { Conversation } from "./conversation.ts"
import type { Flow } from "./flow.ts"
import { given } from "./given.ts"
import * as Messaging from "./messaging.ts"
import { type Limits, limitsOf } from "./backlogLimits.ts"

/** The longest name, in bytes. */
const nameBytesMax = 255

export const make = (conversation: Conversation): Pick<Session<never, unknown>, "open" | "channels"> => {
  const consumer = Semaphore.makeUnsafe(1)

  const open = Effect.fnUntraced(function* (name: string, options: AnyOptions = {}) {
    const nameBytes = new TextEncoder().encode(name).length
    if (nameBytes > nameBytesMax) {
      const detail = `its name has ${nameBytes} bytes, more than ${nameBytesMax}`
      return yield* ConnectionError.make(new ConnectionError.ChannelRefused({ channel: name, detail }))
    }
    const flow = yield* Effect.acquireRelease(conversation.open(name, limitsFor(conversation, options)), leave, {
      interruptible: true
    })
    return yield* channelOf(conversation, flow, options)
  })

  const leave = (flow: Flow, exit: Exit.Exit<unknown, unknown>) => Effect.sync(() => left(conversation, flow, exit))

  const incoming = (flow: Flow): Incoming => ({
    name: flow.channel.name,
    accept: Effect.fnUntraced(function* (options: AnyOptions = {}) {
      if (flow.exit !== undefined && Exit.isFailure(flow.exit)) return yield* flow.failure()
      flow.limits = limitsFor(conversation, options)
      yield* Effect.acquireRelease(Effect.succeed(flow), leave)
      return yield* channelOf(conversation, flow, options)
    }) as Incoming["accept"],
    refuse: (detail) => Effect.sync(() => conversation.reset(flow, "Refused", short(detail)))
  })

  const next: Pull.Pull<NonEmptyReadonlyArray<Incoming>, ConnectionError.ConnectionError> = Effect.suspend(() => {
    // One by one: a consumer that stops leaves the others to the next one.
    for (const flow of conversation.incoming) {
      conversation.incoming.delete(flow)
      return Effect.succeed([incoming(flow)])
    }
    const { exit } = conversation
    if (exit !== undefined) return Exit.isSuccess(exit) ? Cause.done() : Effect.failCause(exit.cause)
    return Effect.andThen(
      conversation.awaitFact(() => conversation.incoming.size > 0),
      next
    )
  })

  return {
    open: open,
    channels: Stream.scoped(
      Stream.fromPull(
        Effect.as(
          Effect.acquireRelease(consumer.take(1), () => consumer.release(1), { interruptible: true }),
          next
        )
      )
    )
  }
}

type AnyOptions = Options<Schema.Constraint, Schema.Constraint>

/** Whoever leaves in good order leaves what was accepted to be sent. */
const left = (conversation: Conversation, flow: Flow, exit: Exit.Exit<unknown, unknown>): void => {
  if (Exit.isSuccess(exit)) conversation.abandon(flow)
  else conversation.reset(flow, "Abandoned", "whoever used it has failed or was interrupted")
}

const limitsFor = (conversation: Conversation, { backlog, expiresAfter }: AnyOptions): (() => Limits) => {
  const expiresAfterMillis =
    expiresAfter === undefined ? Infinity : Duration.toMillis(Duration.fromInputUnsafe(expiresAfter))
  return limitsOf(() => conversation.policy.backlog, given(backlog ?? {}), expiresAfterMillis)
}

const channelOf = Effect.fnUntraced(function* (conversation: Conversation, flow: Flow, options: AnyOptions) {
  const services = (yield* Effect.context()) as Context.Context<unknown>
  const { channel } = flow
  const { weight = 1 } = options
  channel.weight = weight >= 1 ? Math.min(weight, weightMax) : 1 // also where it is no number
  if (options.expiresAfter !== undefined) conversation.expires(flow)
  const reset = (detail: string, code: "Failed" | "Abandoned" | "Invalid" = "Failed") => {
    conversation.reset(flow, code, short(detail))
  }
  const messaging = Messaging.make<unknown, unknown>({
    flow,
    outgoing: Codec.provide(Codec.make(options.send), services),
    incoming: Codec.provide(Codec.make(options.receive, options.borrow), services),
    onInvalid: () => reset("a message does not decode", "Invalid"),
    onEnd: reset
  })
  const state = Effect.sync((): State => {
    const { receive, send } = channel
    return {
      name: channel.name,
      keptMessages: send.keptCount,
      keptBytes: send.keptBytes,
      untakenMessages: receive.untakenCount,
      untakenBytes: receive.received - receive.taken,
      creditAwaitedSince: Option.fromUndefinedOr(flow.creditAwaitedSince),
      consumerSlowSince: Option.fromUndefinedOr(flow.consumerSlowSince),
      skippedSent: send.skippedCount,
      skippedReceived: receive.skippedCount
    }
  })
  const made: SessionChannel<unknown, unknown> & Below = {
    [below]: flow,
    name: channel.name,
    ...messaging,
    state,
    reset: (detail, code) => Effect.sync(() => reset(detail, code)),
    join: Deferred.await(flow.ended)
  }
  return made
}) as (
  conversation: Conversation,
  flow: Flow,
  options: AnyOptions
) => Effect.Effect<SessionChannel<unknown, unknown>, never, Scope.Scope>

/** The flow of a channel, for who works on it by plain calls instead of an effect for each message. */
export const flowOf = (channel: SessionChannel<Uint8Array, Uint8Array>): Flow => {
  if (below in channel) return (channel as Below)[below]
  throw new TypeError(`"${channel.name}" is not a channel that a session has opened or accepted`)
}

const below = Symbol("holdfast/flow")

interface Below {
  readonly [below]: Flow
}

/** A detail must fit into its frame. */
const short = (detail: string): string =>
  new TextEncoder().encode(detail).length <= nameBytesMax ? detail : detail.slice(0, 60)

const weightMax = 256
