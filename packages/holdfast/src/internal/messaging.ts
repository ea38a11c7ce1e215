/**
 * What can be done with one channel: sending and consuming, the same for a session's own messages and for each of its
 * channels.
 */
import { Cause, Channel, Effect, Effectable, Exit, Fiber, Scope, Stream } from "effect"
import type { Pull, Semaphore } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as ConnectionError from "../ConnectionError.ts"
import type { HandleOptions, Messaging } from "../Session.ts"
import type { Codec } from "./codec.ts"
import type { Flow } from "./flow.ts"

type Batch<A> = Pull.Pull<NonEmptyReadonlyArray<A>, ConnectionError.ConnectionError>

/** What is seldom asked for is made when it is: of most sessions and channels there are many, and they do little. */
export abstract class Messages<in out Send, in out Receive> implements Messaging<Send, Receive> {
  protected readonly flow: Flow
  private readonly outgoing: Codec<Send, never>
  private readonly incoming: Codec<Receive, never>

  constructor(flow: Flow, outgoing: Codec<Send, never>, incoming: Codec<Receive, never>) {
    this.flow = flow
    this.outgoing = outgoing
    this.incoming = incoming
  }

  /** A message of the other side does not decode. */
  protected abstract invalid(error: ConnectionError.ConnectionError): void
  /** A handler has failed, and ends it for both sides. */
  protected abstract failed(detail: string): void

  readonly send = (message: Send) =>
    this.outgoing.isBytes ? new Sending<Send>(this, message) : this.sendAll([message])

  readonly sendAll = (messages: Iterable<Send>) =>
    Effect.flatMap(
      Effect.suspend(() => this.outgoing.encode(Array.isArray(messages) ? messages : Array.from(messages))),
      (encoded) => this.flow.outbox.send(encoded)
    )

  /** Nearly always there is room, and bytes need no codec. */
  sendNow(message: Send): Effect.Effect<void, ConnectionError.ConnectionError> {
    return this.flow.outbox.trySend(message) ?? this.sendAll([message])
  }

  get deliver(): Messaging<Send, Receive>["deliver"] {
    return (message) =>
      Effect.flatMap(this.outgoing.encode([message]), ([encoded]) => this.flow.outbox.deliver(encoded!))
  }

  get flush(): Effect.Effect<void, ConnectionError.ConnectionError> {
    return this.flow.outbox.flush
  }

  get end(): Effect.Effect<void, ConnectionError.ConnectionError> {
    return Effect.suspend(() => {
      const { exit, outbox } = this.flow
      if (exit !== undefined) return Exit.isSuccess(exit) ? Effect.void : Effect.fail(this.flow.failure())
      outbox.end()
      return Effect.void
    })
  }

  get messages(): Stream.Stream<Receive, ConnectionError.ConnectionError> {
    const pull = this.flow.pull(this.incoming.isBorrowing, Cause.done())
    const decoded = () => Effect.flatMap(pull, (batch) => this.decode(batch!))
    return consuming(this.flow.consumer, this.release, (this.incoming.isBytes ? pull : decoded()) as Batch<Receive>)
  }

  get handle(): Messaging<Send, Receive>["handle"] {
    return (f, handling = {}) =>
      this.flow.consumer.withPermit(Effect.ensuring(this.handling(f, handling), this.release))
  }

  get leftovers(): Messaging<Send, Receive>["leftovers"] {
    return Effect.suspend(() => {
      const { fateUnknown, notSent } = this.flow.channel.send.outstanding()
      return Effect.all({ fateUnknown: this.outgoing.decode(fateUnknown), notSent: this.outgoing.decode(notSent) })
    })
  }

  private get release(): Effect.Effect<void> {
    return Effect.sync(() => this.flow.giveBack())
  }

  /** What does not decode is the peer's violation. */
  private decode(batch: ReadonlyArray<Uint8Array>) {
    const decoding = this.incoming.decode(batch)
    return this.incoming.isBytes
      ? decoding
      : Effect.tapError(decoding, (error) => Effect.sync(() => this.invalid(error)))
  }

  private handling<E, R>(
    f: (message: Receive) => Effect.Effect<unknown, E, R>,
    { onFailure, retry }: HandleOptions<E>
  ): Effect.Effect<void, ConnectionError.ConnectionError | E, R> {
    const { flow, incoming } = this
    const pull = flow.pull(incoming.isBorrowing)
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
      switch (onFailure) {
        case "skip":
          return flow.reject
        case "end":
          return Effect.suspend(() => {
            this.failed(error instanceof Error ? error.message : String(error))
            return Effect.fail(error)
          })
        case "fail":
        case undefined:
          return Effect.fail(error)
      }
    }
    const decode = (bytes: Uint8Array) => this.decode([bytes])
    return Effect.gen(function* () {
      while (true) {
        const batch = yield* pull
        if (batch === undefined) return
        for (const bytes of batch) {
          const message = incoming.isBytes ? bytes : (yield* decode(bytes))[0]
          yield* Effect.matchEffect(one(message as Receive), { onFailure: failed, onSuccess })
        }
      }
    })
  }
}

/** A stream with one consumer at a time. What `release` does comes before the next one's turn. */
export const consuming = <A>(
  consumer: Semaphore.Semaphore,
  release: Effect.Effect<void>,
  next: Batch<A>
): Stream.Stream<A, ConnectionError.ConnectionError> =>
  Stream.fromChannel(
    Channel.fromTransform((_upstream, scope) =>
      Effect.uninterruptibleMask((restore) =>
        restore(consumer.take(1)).pipe(
          Effect.andThen(Scope.addFinalizer(scope, Effect.andThen(release, consumer.release(1)))),
          Effect.as(next)
        )
      )
    )
  )

/**
 * A message to send. In a generator it is accepted on the spot, where nothing is to be waited for: the way through the loop
 * of the fiber costs three times as much as to send a small message.
 */
class Sending<A> extends Effectable.Class<void, ConnectionError.ConnectionError> {
  private readonly from: { sendNow(message: A): Effect.Effect<void, ConnectionError.ConnectionError> }
  private readonly message: A

  constructor(from: { sendNow(message: A): Effect.Effect<void, ConnectionError.ConnectionError> }, message: A) {
    super()
    this.from = from
    this.message = message
  }

  asEffect(): Effect.Effect<void, ConnectionError.ConnectionError> {
    return this.from.sendNow(this.message)
  }

  override [Symbol.iterator](): Effect.EffectIterator<Effect.Effect<void, ConnectionError.ConnectionError>> {
    if (Fiber.getCurrent() === undefined) return super[Symbol.iterator]()
    const sending = this.asEffect()
    return sending === Effect.void ? nothingToWaitFor : sending[Symbol.iterator]()
  }
}

const nothingToWaitFor: Effect.EffectIterator<Effect.Effect<void>> = { next: () => done }
const done = { done: true, value: undefined } as const
