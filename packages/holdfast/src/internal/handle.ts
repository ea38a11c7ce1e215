/**
 * The public face of a conversation: what `Session` offers, the same on both sides.
 */
import { Deferred, Effect, Exit, Semaphore } from "effect"
import * as ConnectionError from "../ConnectionError.ts"
import * as Patience from "../Patience.ts"
import * as Policy from "../Policy.ts"
import type { Session } from "../Session.ts"
import * as Channels from "./channels.ts"
import { closed } from "./closed.ts"
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

export class Handle<in out Send, in out Receive>
  extends Messaging.Messages<Send, Receive>
  implements Session<Send, Receive>
{
  private readonly conversation: Conversation
  private readonly dialNow: Effect.Effect<void>
  private accepting: Semaphore.Semaphore | undefined

  constructor({ conversation, dialNow, incoming, outgoing }: Options<Send, Receive>) {
    super(conversation.main, outgoing, incoming)
    this.conversation = conversation
    this.dialNow = dialNow
  }

  get open(): Session<Send, Receive>["open"] {
    return (name, options) => Channels.open(this.conversation, name, options)
  }

  get channels(): Session<Send, Receive>["channels"] {
    this.accepting ??= Semaphore.makeUnsafe(1)
    return Channels.incoming(this.conversation, this.accepting)
  }

  get state(): Session<Send, Receive>["state"] {
    return Effect.sync(() => this.conversation.bulletin.current())
  }

  get changes(): Session<Send, Receive>["changes"] {
    return this.conversation.bulletin.changes
  }

  get events(): Session<Send, Receive>["events"] {
    return this.conversation.bulletin.events
  }

  get setPolicy(): Session<Send, Receive>["setPolicy"] {
    const { conversation } = this
    return Effect.fnUntraced(function* (partial) {
      conversation.policy = yield* Policy.make(partial, conversation.policy)
      conversation.attachment?.policyReplaced()
      for (const { outbox } of conversation.flows) outbox.policyReplaced()
      conversation.bulletin.event({ _tag: "PolicyReplaced" })
    })
  }

  get wake(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.conversation.attachment?.wake()
      return this.dialNow
    })
  }

  get close(): Effect.Effect<void, ConnectionError.ConnectionError> {
    return Effect.suspend(() => (this.conversation.isClosing ? this.join : shut(this.conversation)))
  }

  get join(): Effect.Effect<void, ConnectionError.ConnectionError> {
    return Deferred.await(this.conversation.ended)
  }

  protected override invalid(error: ConnectionError.ConnectionError): void {
    this.conversation.finish(Exit.fail(error), { code: "Violated", epoch: 0, detail: "a message does not decode" })
  }

  protected override failed(detail: string): void {
    const ended = ConnectionError.make(new ConnectionError.Closed())
    this.conversation.finish(Exit.fail(ended), { code: "Failed", epoch: 0, detail })
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

const interrupted = Exit.fail(closed)

/** What the other side is told when closing was given up. */
const unfinished = { code: "Failed", epoch: 0, detail: "the other side closed and gave up waiting" } as const
