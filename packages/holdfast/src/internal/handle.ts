/**
 * The public face of a conversation: what `Session` offers, the same on both sides.
 */
import { Cause, Deferred, Effect, Exit, Semaphore, Stream } from "effect"
import type { Pull } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as ConnectionError from "../ConnectionError.ts"
import * as Patience from "../Patience.ts"
import * as Policy from "../Policy.ts"
import type { HandleOptions, Session } from "../Session.ts"
import type { Codec } from "./codec.ts"
import type { Conversation } from "./conversation.ts"

export interface Options<Send, Receive> {
  readonly conversation: Conversation
  readonly outgoing: Codec<Send, never>
  readonly incoming: Codec<Receive, never>
  /** Dials now, if nothing is up. */
  readonly dialNow: Effect.Effect<void>
}

export const make = <Send, Receive>(options: Options<Send, Receive>): Session<Send, Receive> => {
  const { conversation, incoming, outgoing } = options
  const { bulletin } = conversation
  const consumer = Semaphore.makeUnsafe(1)
  const release = Effect.sync(() => conversation.giveBack())

  const sendAll = (messages: Iterable<Send>) =>
    Effect.flatMap(
      Effect.suspend(() => outgoing.encode(Array.from(messages))),
      (encoded) => conversation.outbox.send(encoded)
    )

  /** What does not decode is the peer's violation. */
  const decode = (batch: ReadonlyArray<Uint8Array>) =>
    Effect.tapError(incoming.decode(batch), (error) =>
      Effect.sync(() => {
        conversation.finish(Exit.fail(error), { code: "Violated", epoch: 0, detail: "a message does not decode" })
      })
    )

  const next: Pull.Pull<NonEmptyReadonlyArray<Receive>, ConnectionError.ConnectionError> = Effect.flatMap(
    conversation.pull,
    (batch): Pull.Pull<NonEmptyReadonlyArray<Receive>, ConnectionError.ConnectionError> =>
      batch === undefined ? Cause.done() : Effect.map(decode(batch), (all) => all as NonEmptyReadonlyArray<Receive>)
  )

  const messages = Stream.scoped(
    Stream.fromPull(
      Effect.gen(function* () {
        yield* Effect.acquireRelease(consumer.take(1), () => Effect.andThen(release, consumer.release(1)), {
          interruptible: true
        })
        return next
      })
    )
  )

  const handle = <E, R>(f: (message: Receive) => Effect.Effect<unknown, E, R>, handling: HandleOptions<E> = {}) => {
    const one = (message: Receive) => {
      const once = Effect.suspend(() => f(message))
      return handling.retry === undefined ? once : Effect.retry(once, handling.retry)
    }
    const decline = Effect.andThen(
      conversation.awaitFact(() => !conversation.peer.receive.isRejectedFull),
      Effect.sync(() => conversation.reject())
    )
    const failed = (error: E): Effect.Effect<void, ConnectionError.ConnectionError | E> => {
      switch (handling.onFailure) {
        case "skip":
          return decline
        case "end":
          return Effect.suspend(() => {
            const ended = ConnectionError.make(new ConnectionError.Closed())
            conversation.finish(Exit.fail(ended), {
              code: "Failed",
              epoch: 0,
              detail: error instanceof Error ? error.message : String(error)
            })
            return Effect.fail(error)
          })
        case "fail":
        case undefined:
          return Effect.fail(error)
      }
    }
    const loop = Effect.gen(function* () {
      while (true) {
        const batch = yield* conversation.pull
        if (batch === undefined) return
        for (const bytes of batch) {
          const [message] = yield* decode([bytes])
          yield* one(message as Receive).pipe(
            Effect.andThen(Effect.sync(() => conversation.take())),
            Effect.catch(failed)
          )
        }
      }
    })
    return consumer.withPermit(Effect.ensuring(loop, release))
  }

  const close = Effect.suspend(() => (conversation.isClosing ? Deferred.await(conversation.ended) : shut(conversation)))

  return {
    send: (message) => sendAll([message]),
    sendAll,
    deliver: (message) =>
      Effect.flatMap(outgoing.encode([message]), ([encoded]) => conversation.outbox.deliver(encoded!)),
    flush: conversation.outbox.flush,
    end: Effect.suspend(() => {
      if (conversation.exit !== undefined) return Effect.fail(conversation.failure())
      conversation.outbox.end()
      return Effect.void
    }),
    messages,
    handle,
    state: Effect.sync(bulletin.current),
    changes: bulletin.changes,
    events: bulletin.events,
    setPolicy: Effect.fnUntraced(function* (partial) {
      conversation.policy = yield* Policy.make(partial, conversation.policy)
      conversation.attachment?.policyReplaced()
      conversation.outbox.policyReplaced()
      bulletin.event({ _tag: "PolicyReplaced" })
    }),
    wake: Effect.suspend(() => {
      conversation.attachment?.wake()
      return options.dialNow
    }),
    close,
    join: Deferred.await(conversation.ended),
    leftovers: Effect.suspend(() => {
      const { fateUnknown, notSent } = conversation.peer.send.outstanding()
      return Effect.all({ fateUnknown: outgoing.decode(fateUnknown), notSent: outgoing.decode(notSent) })
    })
  }
}

/** Ends in good order: everything taken on both sides, the last word confirmed, within the patience of `close`. */
export const shut = (conversation: Conversation, isAbandoning = false) =>
  Effect.suspend(() => {
    if (conversation.exit !== undefined) return conversation.exit
    conversation.isClosing = true
    conversation.outbox.end()
    conversation.publish({ _tag: "Closing", unacknowledged: conversation.outbox.unacknowledged })
    const isSettled = () => (isAbandoning ? conversation.isAcknowledged : conversation.isSettled)
    return conversation.awaitFact(isSettled).pipe(
      Effect.andThen(
        Effect.suspend(() => {
          conversation.lastWord = { code: "Normal", epoch: 0, detail: "" }
          conversation.peer.close(conversation.lastWord)
          conversation.attachment?.work()
          return conversation.awaitFact(() => conversation.lastWordConfirmed || !conversation.isEstablished)
        })
      ),
      Patience.within({
        patience: conversation.policy.close,
        onOver: ({ missingFor }) =>
          ConnectionError.make(
            new ConnectionError.CloseTimedOut({
              missingFor,
              unacknowledged: conversation.outbox.unacknowledged,
              untaken: conversation.peer.receive.untakenCount
            })
          )
      }),
      Effect.andThen(Effect.suspend(() => conversation.exit ?? Effect.void)),
      Effect.onExit((exit) =>
        Effect.sync(() => {
          if (Exit.isSuccess(exit)) conversation.finish(exit)
          else conversation.finish(Exit.hasInterrupts(exit) ? interrupted : exit, unfinished)
        })
      )
    )
  })

const interrupted = Exit.fail(ConnectionError.make(new ConnectionError.Closed()))

/** What the other side is told when closing was given up. */
const unfinished = { code: "Failed", epoch: 0, detail: "the other side closed and gave up waiting" } as const
