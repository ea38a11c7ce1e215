/**
 * What can be done with one channel: sending and consuming, the same for a session's own messages and for each of its
 * channels.
 */
import { Cause, Effect, Effectable, Exit, Fiber, Stream } from "effect"
import type { Pull } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as ConnectionError from "../ConnectionError.ts"
import type { HandleOptions, Messaging } from "../Session.ts"
import type { Codec } from "./codec.ts"
import type { Flow } from "./flow.ts"

export interface Options<Send, Receive> {
  readonly flow: Flow
  readonly outgoing: Codec<Send, never>
  readonly incoming: Codec<Receive, never>
  /** A message of the other side does not decode. */
  readonly onInvalid: (error: ConnectionError.ConnectionError) => void
  /** A handler has failed, and ends it for both sides. */
  readonly onEnd: (detail: string) => void
}

export const make = <Send, Receive>(options: Options<Send, Receive>): Messaging<Send, Receive> => {
  const { flow, incoming, outgoing } = options
  const release = Effect.sync(() => flow.giveBack())
  const pull = flow.pull(incoming.isBorrowing)

  const sendAll = (messages: Iterable<Send>) =>
    Effect.flatMap(
      Effect.suspend(() => outgoing.encode(Array.isArray(messages) ? messages : Array.from(messages))),
      (encoded) => flow.outbox.send(encoded)
    )

  /** Nearly always there is room, and bytes need no codec. */
  const sendNow = (message: Send) => flow.outbox.trySend(message) ?? sendAll([message])
  const send = (message: Send) => (outgoing.isBytes ? new Sending(sendNow, message) : sendAll([message]))

  /** What does not decode is the peer's violation. */
  const decode = (batch: ReadonlyArray<Uint8Array>) =>
    incoming.isBytes
      ? incoming.decode(batch)
      : Effect.tapError(incoming.decode(batch), (error) => Effect.sync(() => options.onInvalid(error)))

  const next: Pull.Pull<NonEmptyReadonlyArray<Receive>, ConnectionError.ConnectionError> = Effect.flatMap(
    pull,
    (batch): Pull.Pull<NonEmptyReadonlyArray<Receive>, ConnectionError.ConnectionError> =>
      batch === undefined
        ? Cause.done()
        : (decode(batch) as Pull.Pull<NonEmptyReadonlyArray<Receive>, ConnectionError.ConnectionError>)
  )

  const messages = Stream.scoped(
    Stream.fromPull(
      Effect.gen(function* () {
        yield* Effect.acquireRelease(flow.consumer.take(1), () => Effect.andThen(release, flow.consumer.release(1)), {
          interruptible: true
        })
        return next
      })
    )
  )

  const handle = <E, R>(f: (message: Receive) => Effect.Effect<unknown, E, R>, handling: HandleOptions<E> = {}) => {
    const { retry } = handling
    const one = (message: Receive) =>
      retry === undefined
        ? f(message)
        : Effect.retry(
            Effect.suspend(() => f(message)),
            retry
          )
    const onSuccess = () => {
      flow.take()
      return Effect.void
    }
    const failed = (error: E): Effect.Effect<void, ConnectionError.ConnectionError | E> => {
      switch (handling.onFailure) {
        case "skip":
          return flow.reject
        case "end":
          return Effect.suspend(() => {
            options.onEnd(error instanceof Error ? error.message : String(error))
            return Effect.fail(error)
          })
        case "fail":
        case undefined:
          return Effect.fail(error)
      }
    }
    const loop = Effect.gen(function* () {
      while (true) {
        const batch = yield* pull
        if (batch === undefined) return
        for (const bytes of batch) {
          const message = incoming.isBytes ? bytes : (yield* decode([bytes]))[0]
          yield* Effect.matchEffect(one(message as Receive), { onFailure: failed, onSuccess })
        }
      }
    })
    return flow.consumer.withPermit(Effect.ensuring(loop, release))
  }

  return {
    send,
    sendAll,
    deliver: (message) => Effect.flatMap(outgoing.encode([message]), ([encoded]) => flow.outbox.deliver(encoded!)),
    flush: flow.outbox.flush,
    end: Effect.suspend(() => {
      if (flow.exit !== undefined) return Exit.isSuccess(flow.exit) ? Effect.void : Effect.fail(flow.failure())
      flow.outbox.end()
      return Effect.void
    }),
    messages,
    handle,
    leftovers: Effect.suspend(() => {
      const { fateUnknown, notSent } = flow.channel.send.outstanding()
      return Effect.all({ fateUnknown: outgoing.decode(fateUnknown), notSent: outgoing.decode(notSent) })
    })
  }
}

/**
 * A message to send. In a generator it is accepted on the spot, where nothing is to be waited for: the way through the loop
 * of the fiber costs three times as much as to send a small message.
 */
class Sending<A> extends Effectable.Class<void, ConnectionError.ConnectionError> {
  private readonly now: (message: A) => Effect.Effect<void, ConnectionError.ConnectionError>
  private readonly message: A

  constructor(now: (message: A) => Effect.Effect<void, ConnectionError.ConnectionError>, message: A) {
    super()
    this.now = now
    this.message = message
  }

  asEffect(): Effect.Effect<void, ConnectionError.ConnectionError> {
    return this.now(this.message)
  }

  override [Symbol.iterator](): Effect.EffectIterator<Effect.Effect<void, ConnectionError.ConnectionError>> {
    if (Fiber.getCurrent() === undefined) return super[Symbol.iterator]()
    const sending = this.now(this.message)
    return sending === Effect.void ? nothingToWaitFor : sending[Symbol.iterator]()
  }
}

const nothingToWaitFor: Effect.EffectIterator<Effect.Effect<void>> = { next: () => done }
const done = { done: true, value: undefined } as const
