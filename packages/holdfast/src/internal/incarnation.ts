/**
 * One life of a session's link after the handshake, until something ends it; then the last word is said.
 */
import { type Cause, Clock, Context, Effect, Exit, References, Scope, Tracer } from "effect"
import type * as ConnectionError from "../ConnectionError.ts"
import type * as Patience from "../Patience.ts"
import type { Opened } from "../Session.ts"
import type * as Watchdog from "../Watchdog.ts"
import * as Alarming from "./alarms.ts"
import type { Conversation } from "./conversation.ts"
import { sayLast } from "./ending.ts"
import { later } from "./later.ts"
import { Life } from "./life.ts"
import { violated, type Wire } from "./wire.ts"

export interface Options {
  readonly conversation: Conversation
  readonly wire: Wire
  readonly incarnation: number
  readonly opened: Opened
  readonly epoch: number
  readonly detectors: ReadonlyArray<Watchdog.Detector>
  readonly frame: Patience.Patience
  /** Called once, when the first bytes have arrived, with what is around the incarnation. */
  readonly onInput?: ((context: Context.Context<never>) => void) | undefined
  /** Called once, when it is decided that the link ends; the last word is yet to be said. */
  readonly onVerdict?: ((error: ConnectionError.ConnectionError) => void) | undefined
}

/**
 * Runs until the link ends, with the reason; the scope is that of the link. Most links are idle most of the time, and there
 * may be thousands: while one goes on, its fiber keeps no more than the way to its end.
 */
export const run = (options: Options, scope: Scope.Scope): Effect.Effect<never, ConnectionError.ConnectionError> =>
  Effect.flatMap(begin(options, scope), (life) =>
    Effect.catchCause(life.race, (cause) =>
      Effect.andThen(Effect.uninterruptible(life.stop), end(life, options, cause))
    )
  )

/** From now on the session goes over the link. */
const begin = Effect.fnUntraced(function* (options: Options, scope: Scope.Scope) {
  const { conversation, wire } = options
  const span = yield* Effect.makeSpan("holdfast.incarnation")
  const context = Context.add(yield* Effect.context(), Tracer.ParentSpan, span)
  const life = new Life(options, { alarms: yield* Alarming.alarms, context }, yield* later)
  yield* Scope.addFinalizerExit(scope, (exit) => Effect.andThen(leave(life, conversation), ended(span, exit)))
  const failed = wire.handTo(conversation.peer)
  if (failed !== undefined) {
    const error = violated(failed)
    decided(life, options, error)
    return yield* sayLast(wire, error, undefined, [], Effect.void)
  }
  if (conversation.exit !== undefined) return yield* conversation.failure()
  attach(life, options)
  return life
})

const attach = (life: Life, { conversation, incarnation, opened, wire }: Options): void => {
  const { peer } = conversation
  conversation.attach(life)
  peer.channels.carriedBy(wire.link.isCopying)
  if (conversation.lastWord !== undefined) peer.close(conversation.lastWord)
  peer.announce()
  life.up.publish()
  conversation.bulletin.event({ _tag: "Opened", incarnation, opened })
}

const decided = (life: Life, { onVerdict }: Options, error: ConnectionError.ConnectionError): void => {
  life.tellEnd(error)
  onVerdict?.(error)
}

/** The link is not used any more. */
const leave = (life: Life, conversation: Conversation) =>
  Effect.suspend(() => {
    conversation.detach(life)
    return life.carrier.stopWriting
  })

const ended = (span: Tracer.Span, exit: Exit.Exit<unknown, unknown>) =>
  Effect.gen(function* () {
    const isTimed = yield* References.TracerTimingEnabled
    span.end(isTimed ? yield* Clock.currentTimeNanos : 0n, exit)
  })

/** What it has started has ended: the last word is said. */
const end = (life: Life, options: Options, cause: Cause.Cause<ConnectionError.ConnectionError>) => {
  const { conversation, wire } = options
  return Effect.failCause(cause).pipe(
    Effect.catchDefect((defect) => {
      conversation.finish(Exit.die(defect), { code: "Failed", epoch: 0, detail: "a defect on the other side" })
      return Effect.fail(conversation.failure())
    }),
    Effect.catch((error) => {
      decided(life, options, error)
      const { lastWord } = life
      const standing = lastWord?.code === "Fenced" ? [] : conversation.peer.positions()
      conversation.detach(life) // nothing of the next incarnation may reach this one
      return sayLast(wire, error, lastWord, standing, life.carrier.settled)
    })
  )
}
