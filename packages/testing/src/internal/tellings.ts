/** What a session tells, in words. */
import { Duration, Exit, Option, Result, Stream } from "effect"
import type { ConnectionError, Session } from "holdfast"
import type { SessionFact } from "../Transcript.ts"

export type Telling = Pick<SessionFact, "what" | "text" | "reason">

/** States and events of a session, in the order in which they come. */
export const tellings = <Send, Receive>(session: Session.Session<Send, Receive>): Stream.Stream<Telling> =>
  Stream.merge(Stream.map(session.changes, stateOf), Stream.filterMap(session.events, eventOf))

const stateOf = (state: Session.State): Telling => {
  switch (state._tag) {
    case "Connecting":
    case "Handshaking":
      return { what: state._tag, text: `attempt ${state.attempt}` }
    case "Waiting":
      return {
        what: state._tag,
        text: Option.match(state.error, { onNone: () => "", onSome: ({ message }) => message })
      }
    case "Closing":
      return { what: state._tag, text: `${state.unacknowledged} not acknowledged` }
    case "Up":
      return { what: "Up", text: upText(state) }
    case "Closed":
      return { what: "Closed", text: exitText(state.exit) }
  }
}

const eventOf = (event: Session.SessionEvent): Result.Result<Telling, void> => {
  switch (event._tag) {
    case "Opened":
      return Result.succeed({ what: event._tag, text: `incarnation ${event.incarnation}, ${event.opened}` })
    case "Ended":
    case "Retrying":
      return Result.succeed({ what: event._tag, ...errorOf(event.error) })
    case "Asked":
      return Result.succeed({
        what: event._tag,
        text: `${event.detector} after ${Duration.format(event.evidence.missingFor)}`
      })
    case "Lost":
      return Result.succeed({ what: event._tag, text: event.reason.message, reason: event.reason._tag })
    case "Stalled":
    case "Moved":
    case "Dropped":
      return Result.succeed({ what: event._tag, text: "" })
    default:
      return Result.failVoid
  }
}

const errorOf = (error: ConnectionError.ConnectionError) => ({ text: error.message, reason: error.reason._tag })

const upText = ({ consumerSlowSince, creditAwaitedSince, incarnation, stalledSince }: Session.Up) =>
  [
    `incarnation ${incarnation}`,
    Option.isSome(stalledSince) ? "stalled" : "",
    Option.isSome(creditAwaitedSince) ? "waits for credit" : "",
    Option.isSome(consumerSlowSince) ? "our consumer is slow" : ""
  ]
    .filter((part) => part !== "")
    .join(", ")

const exitText = (exit: Exit.Exit<void, ConnectionError.ConnectionError>) =>
  Exit.isSuccess(exit)
    ? "in good order"
    : Option.match(Exit.findErrorOption(exit), {
        onNone: () => "by a defect",
        onSome: ({ message }) => message
      })
