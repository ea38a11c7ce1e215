/**
 * The public face of a conversation: what `Session` offers, the same on both sides.
 */
import { Deferred, Effect, Exit } from "effect"
import * as ConnectionError from "../ConnectionError.ts"
import * as Patience from "../Patience.ts"
import * as Policy from "../Policy.ts"
import type { Session } from "../Session.ts"
import * as Channels from "./channels.ts"
import type { Codec } from "./codec.ts"
import type { Conversation } from "./conversation.ts"
import * as Messaging from "./messaging.ts"

export interface Options<Send, Receive> {
  readonly conversation: Conversation
  readonly outgoing: Codec<Send, never>
  readonly incoming: Codec<Receive, never>
  /** Dials now, if nothing is up. */
  readonly dialNow: Effect.Effect<void>
}

export const make = <Send, Receive>(options: Options<Send, Receive>): Session<Send, Receive> => {
  const { conversation, incoming, outgoing } = options
  const { bulletin, main } = conversation

  const close = Effect.suspend(() => (conversation.isClosing ? Deferred.await(conversation.ended) : shut(conversation)))

  return {
    ...Messaging.make({
      flow: main,
      outgoing,
      incoming,
      onInvalid: (error) => {
        conversation.finish(Exit.fail(error), { code: "Violated", epoch: 0, detail: "a message does not decode" })
      },
      onEnd: (detail) => {
        const ended = ConnectionError.make(new ConnectionError.Closed())
        conversation.finish(Exit.fail(ended), { code: "Failed", epoch: 0, detail })
      }
    }),
    ...Channels.make(conversation),
    state: Effect.sync(() => bulletin.current()),
    changes: bulletin.changes,
    events: bulletin.events,
    setPolicy: Effect.fnUntraced(function* (partial) {
      conversation.policy = yield* Policy.make(partial, conversation.policy)
      conversation.attachment?.policyReplaced()
      for (const { outbox } of conversation.flows.values()) outbox.policyReplaced()
      bulletin.event({ _tag: "PolicyReplaced" })
    }),
    wake: Effect.suspend(() => {
      conversation.attachment?.wake()
      return options.dialNow
    }),
    close,
    join: Deferred.await(conversation.ended)
  }
}

/** Ends in good order: everything taken on both sides, the last word confirmed, within the patience of `close`. */
export const shut = (conversation: Conversation, isAbandoning = false) =>
  Effect.suspend(() => {
    if (conversation.exit !== undefined) return conversation.exit
    conversation.isClosing = true
    conversation.end()
    conversation.publish({ _tag: "Closing", unacknowledged: conversation.unacknowledged })
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
              unacknowledged: conversation.unacknowledged,
              untaken: conversation.untaken
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
