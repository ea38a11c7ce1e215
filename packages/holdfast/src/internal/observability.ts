/**
 * Metrics and logs of a session or a connection, made from its events and from nothing else.
 */
import { type Context, Duration, Effect, Metric } from "effect"
import type * as Connection from "../Connection.ts"
import type { SessionEvent } from "../Session.ts"
import type { Bulletin, Dated } from "./bulletin.ts"

const incarnations = Metric.counter("holdfast_incarnations_total", {
  description: "Links that were opened",
  incremental: true
})
const ended = Metric.counter("holdfast_links_ended_total", {
  description: "Links that ended, by reason",
  incremental: true
})
const asked = Metric.counter("holdfast_asked_total", { description: "Questions of the detectors", incremental: true })
const sessions = Metric.counter("holdfast_sessions_ended_total", {
  description: "Sessions that ended",
  incremental: true
})

/** Follows the events to the end. They are told a turn later, so that a logger may use what it is told of. */
const follow = <H extends { readonly _tag: string }>(
  bulletin: Pick<Bulletin<never, H>, "listen">,
  record: (event: Dated<H>) => Effect.Effect<void>
): Effect.Effect<void> =>
  Effect.contextWith((context: Context.Context<never>) => {
    const run = Effect.runForkWith(context)
    bulletin.listen((event) => void run(Effect.andThen(Effect.yieldNow, record(event))))
    return Effect.void
  })

export const observe = (bulletin: Bulletin, session: string, role: "client" | "server") =>
  follow(bulletin, (event) => Effect.annotateLogs(record(event, { session, role }), { session, role }))

/** The same for a connection. */
export const observeConnection = (bulletin: Bulletin<Connection.State, Connection.Happening>, connection: string) =>
  follow(bulletin, (event) =>
    Effect.annotateLogs(recordConnection(event, { session: connection, role: "connection" }), { connection })
  )

const recordConnection = (event: Connection.ConnectionEvent, attributes: Attributes) => {
  switch (event._tag) {
    case "Opened":
      return Effect.andThen(
        Effect.logDebug(`opened, incarnation ${event.incarnation}`),
        Metric.update(Metric.withAttributes(incarnations, { ...attributes }), 1)
      )
    case "FateUnknown":
      return Effect.logWarning(`the fate of ${event.count} messages is unknown: ${event.choice}`)
    case "Discarded":
      return Effect.logWarning(`the backlog was full: ${event.count} messages (${event.bytes} bytes) were dropped`)
    case "Ended":
    case "Asked":
    case "Closed":
    case "Retrying":
      return record(event, attributes)
    default:
      return Effect.logDebug(event._tag)
  }
}

interface Attributes {
  readonly session: string
  readonly role: string
}

const record = (event: SessionEvent, attributes: Attributes) => {
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
    case "Retrying":
      return Effect.logDebug(
        `tries again in ${Duration.format(Duration.millis(Math.round(Duration.toMillis(event.delay))))}: ${event.error.message}`
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
