/**
 * How an incarnation ends: the reason, and what the other side is told.
 */
import type { Decoder, Frame } from "@holdfast/protocol"
import { Duration, Effect, Exit, Option } from "effect"
import * as ConnectionError from "../ConnectionError.ts"
import type * as Patience from "../Patience.ts"
import type { Conversation, LastWord } from "./conversation.ts"
import type { Wire } from "./wire.ts"

/** How long the last write may take before the last word. */
const lastWriteTimeout = "1 second"

/** Tells the other side where we stand and why, and fails. A word must not land inside of what is being written. */
export const sayLast = (
  wire: Wire,
  error: ConnectionError.ConnectionError,
  lastWord: LastWord | undefined,
  standing: ReadonlyArray<Frame.Control>,
  written: Effect.Effect<unknown>
) => {
  const frame = lastWord === undefined ? lastFrame(error) : { _tag: "Close" as const, ...lastWord }
  if (frame === undefined) return Effect.fail(error)
  return Effect.timeoutOption(written, lastWriteTimeout).pipe(
    Effect.flatMap((isWritten) => (Option.isSome(isWritten) ? wire.sayLast(...standing, frame) : Effect.void)),
    Effect.andThen(Effect.fail(error))
  )
}

/** What the other side is told, where it is of use to it. */
const lastFrame = ({ message, reason }: ConnectionError.ConnectionError): Frame.Control | undefined => {
  switch (reason._tag) {
    case "EndedByPeer":
      return { _tag: "Closed" }
    case "GoneAway":
      return { _tag: "Close", code: "Drained", epoch: 0, detail: "" }
    case "ProtocolViolated":
      return reason.by === "peer" ? { _tag: "Close", code: "Violated", epoch: 0, detail: message } : undefined
    default:
      return undefined
  }
}

/** Whoever takes so long for one frame holds a place that others want. It is slow, not wrong: the session goes on. */
export const tooSlow = (exit: Exit.Exit<Patience.Evidence>): Exit.Exit<never, ConnectionError.ConnectionError> => {
  if (Exit.isFailure(exit)) return Exit.failCause(exit.cause)
  const cause = new Error(`a frame is incomplete after ${Duration.format(exit.value.missingFor)}`)
  return Exit.fail(ConnectionError.make(new ConnectionError.LinkFailed({ cause, during: "read" })))
}

export const goneAway = (conversation: Conversation) => {
  const retryAfter = Option.map(Option.fromUndefinedOr(conversation.goingAway), ({ retryAfterMillis }) =>
    Duration.millis(retryAfterMillis)
  )
  return Exit.fail(ConnectionError.make(new ConnectionError.GoneAway({ retryAfter })))
}

export const endedByPeer = ({ code, detail, epoch }: Frame.Close, ours: number): ConnectionError.ConnectionError => {
  switch (code) {
    case "Fenced":
      return ConnectionError.make(new ConnectionError.Fenced({ epoch: ours, byEpoch: epoch }))
    case "Violated":
      return ConnectionError.make(new ConnectionError.ProtocolViolated({ rule: detail, by: "us" }))
    default:
      return ConnectionError.make(new ConnectionError.EndedByPeer({ code, detail }))
  }
}

/** Nothing that still arrives on a link whose time is over may move the session. */
export const deaf: Decoder.Sink = { data: () => undefined, control: () => undefined }
