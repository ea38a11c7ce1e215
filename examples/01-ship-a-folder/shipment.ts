/**
 * The conversation that both processes import, and the policy that both keep.
 */
import { Cause, Clock, Duration, Effect, Exit, Option, Schedule, Stream } from "effect"
import { Policy, Presets, Session } from "holdfast"
import type { FaultKind } from "./faults.ts"
import { type Sent, tell } from "./reports.ts"
import type { Tally } from "./tally.ts"

/** Bytes both ways; `message.ts` says what they mean. */
export class Shipment extends Session.Service<Shipment>()("holdfast/examples/Shipment", {
  messageBytesMax: 64 * 1024
}) {}

const askAfterMs = 400
const stalledAfterMs = 200
const heartbeatMs = 150

/** Impatient, so that a run of half a minute sees many incarnations. On a real network nobody needs to be. */
export const policy: Policy.Options = {
  open: "1 second",
  heartbeat: Duration.millis(heartbeatMs),
  silence: Presets.openVSwitch(Duration.millis(askAfterMs)),
  stall: Schedule.concat(Schedule.duration(Duration.millis(stalledAfterMs)), Schedule.duration("600 millis")),
  close: "30 seconds",
  reconnect: Presets.fullJitter("50 millis", "500 millis"),
  stability: "1 second",
  backlog: { bytesMax: 1024 * 1024, messagesMax: 1_000 }
}

/** What may be on its way, so that a fault costs no more than this to send again. */
export const windowBytes = 256 * 1024

/**
 * Within which time a fault must be noticed: what the policy promises from the last sign of life, plus what patience
 * allows a timer to be late before it asks once more. A slow reader is to be called stalled after the first delay, from
 * the last progress, which is known with the next heartbeat.
 */
export const boundMs = (kind: FaultKind): number =>
  kind === "slowReader" ? stalledAfterMs + heartbeatMs + latenessMs : 2 * askAfterMs + latenessMs

const latenessMs = 100

/** Tells the parent process what happens to a session and, five times a second, how it is doing. */
export const report = <Send, Receive>(session: Session.Session<Send, Receive>, out: () => Sent, tally: Tally) =>
  Effect.gen(function* () {
    yield* Effect.forkScoped(Stream.runForEach(session.events, tellEvent), { startImmediately: true })
    const snapshot = Effect.gen(function* () {
      const state = yield* session.state
      const roundTripTime = state._tag === "Up" ? state.roundTripTime : Option.none()
      tell({
        _tag: "Snapshot",
        state: describe(state, yield* Clock.currentTimeMillis),
        roundTripMs: Option.getOrNull(Option.map(roundTripTime, Duration.toMillis)),
        out: out(),
        in: tally.counts()
      })
    })
    yield* Effect.forkScoped(Effect.repeat(snapshot, Schedule.spaced("200 millis")))
  })

/** What the plan of harm wants to know: of all that happens to a session, what happens to its incarnations. */
const tellEvent = (event: Session.SessionEvent) =>
  Effect.sync(() => {
    if (event._tag !== "Opened" && event._tag !== "Ended" && event._tag !== "Stalled") return
    const reason = event._tag === "Opened" ? event.opened : event._tag === "Ended" ? event.error.reason._tag : ""
    const incarnation = event._tag === "Stalled" ? 0 : event.incarnation
    tell({ _tag: "Sighting", at: event.at, what: event._tag, incarnation, reason })
  })

const describe = (state: Session.State, now: number): string => {
  switch (state._tag) {
    case "Connecting":
    case "Handshaking":
      return `${state._tag.toLowerCase()}, attempt ${state.attempt}`
    case "Up": {
      const stalled = Option.map(state.stalledSince, (since) => `, stalled for ${Math.round(now - since)} ms`)
      return `up, ${state.opened.toLowerCase()}${Option.getOrElse(stalled, () => "")}`
    }
    case "Waiting": {
      const why = Option.match(state.error, { onNone: () => "", onSome: (error) => `: ${error.reason._tag}` })
      return `waiting ${Math.max(0, Math.round(state.retryAt - now))} ms after attempt ${state.attempt}${why}`
    }
    case "Closing":
      return `closing, ${state.unacknowledged} messages not yet taken`
    case "Closed":
      return Exit.isSuccess(state.exit) ? "closed" : `closed: ${String(Cause.squash(state.exit.cause))}`
  }
}
