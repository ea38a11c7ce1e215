/**
 * Metrics and logs of a session, made from its events and from nothing else.
 */
import { Effect, Metric, Stream } from "effect"
import type { SessionEvent } from "../Session.ts"
import type { Bulletin } from "./bulletin.ts"

const incarnations = Metric.counter("holdfast_incarnations_total", {
  description: "Links that were opened",
  incremental: true
})
const ended = Metric.counter("holdfast_links_ended_total", { description: "Links that ended, by reason", incremental: true })
const asked = Metric.counter("holdfast_asked_total", { description: "Questions of the detectors", incremental: true })
const sessions = Metric.counter("holdfast_sessions_ended_total", { description: "Sessions that ended", incremental: true })

/** Follows the events until the scope closes. */
export const observe = (bulletin: Bulletin, session: string, role: "client" | "server") =>
  bulletin.events.pipe(
    Stream.runForEach((event) => record(event, { session, role })),
    Effect.annotateLogs({ session, role }),
    Effect.forkScoped({ startImmediately: true })
  )

const record = (event: SessionEvent, attributes: { readonly session: string; readonly role: string }) => {
  const count = (metric: Metric.Counter<number>, more: Record<string, string> = {}) =>
    Metric.update(Metric.withAttributes(metric, { ...attributes, ...more }), 1)
  switch (event._tag) {
    case "Opened":
      return Effect.andThen(
        Effect.logDebug(`opened (${event.opened}), incarnation ${event.incarnation}`),
        count(incarnations, { opened: event.opened })
      )
    case "Ended":
      return Effect.andThen(
        Effect.logDebug(`incarnation ${event.incarnation} ended: ${event.error.message}`),
        count(ended, { reason: event.error.reason._tag })
      )
    case "Asked":
      return count(asked, { detector: event.detector })
    case "Lost":
      return Effect.logWarning(event.reason.message)
    case "Closed":
      return Effect.andThen(Effect.logDebug(`closed: ${event.exit._tag}`), count(sessions, { exit: event.exit._tag }))
    default:
      return Effect.logDebug(event._tag)
  }
}
