/**
 * Metrics and logs of a session or a connection, made from its events and from nothing else.
 */
import { Context, Duration, Effect, LogLevel, Metric, References } from "effect"
import type * as Connection from "../Connection.ts"
import type { Happening, SessionEvent } from "../Session.ts"
import type { Dated, Listener } from "./bulletin.ts"

const incarnations = counter("holdfast_incarnations_total", "Links that were opened")
const ended = counter("holdfast_links_ended_total", "Links that ended, by reason")
const asked = counter("holdfast_asked_total", "Questions of the detectors")
const sessions = counter("holdfast_sessions_ended_total", "Sessions that ended")

/** What is told of an event. */
interface Account {
  readonly level?: "Debug" | "Warn"
  readonly line?: () => string
  readonly counter?: Counter
  readonly attributes?: { readonly [name: string]: string }
}

/**
 * Whoever is told of the events, for all that are told of alike. They are counted at once; lines are written a turn later,
 * so that a logger may use what it is told of, and only where somebody wants them: most sessions are never looked at.
 */
const follower =
  <H extends { readonly _tag: string }>(
    accountOf: (event: Dated<H>) => Account,
    attributes: { readonly [name: string]: string },
    annotations: { readonly [name: string]: string }
  ): Listener<H> =>
  (event, context) => {
    const account = accountOf(event)
    account.counter?.({ ...attributes, ...account.attributes }).updateUnsafe(1, context)
    const { level = "Debug", line } = account
    if (line === undefined || LogLevel.isGreaterThan(Context.get(context, References.MinimumLogLevel), level)) return
    const log = Effect.suspend(() => Effect.logWithLevel(level)(line()))
    Effect.runForkWith(context)(Effect.andThen(Effect.yieldNow, Effect.annotateLogs(log, annotations)))
  }

/** Whoever is told of the events of sessions of this name. */
export const ofSessions = (session: string, role: "client" | "server"): Listener<Happening> => {
  const attributes = { session, role }
  return follower<Happening>(accountOf, attributes, attributes)
}

/** The same for connections. */
export const ofConnections = (connection: string): Listener<Connection.Happening> =>
  follower<Connection.Happening>(accountOfConnection, { session: connection, role: "connection" }, { connection })

const accountOfConnection = (event: Connection.ConnectionEvent): Account => {
  switch (event._tag) {
    case "Opened":
      return { line: () => `opened, incarnation ${event.incarnation}`, counter: incarnations }
    case "FateUnknown":
      return { level: "Warn", line: () => `the fate of ${event.count} messages is unknown: ${event.choice}` }
    case "Discarded":
      return {
        level: "Warn",
        line: () => `the backlog was full: ${event.count} messages (${event.bytes} bytes) were dropped`
      }
    case "Ended":
    case "Asked":
    case "Closed":
    case "Retrying":
      return accountOf(event)
    default:
      return { line: () => event._tag }
  }
}

const accountOf = (event: SessionEvent): Account => {
  switch (event._tag) {
    case "Opened":
      return {
        line: () => `opened (${event.opened}), incarnation ${event.incarnation}`,
        counter: incarnations,
        attributes: { opened: event.opened }
      }
    case "Ended":
      return {
        line: () => `incarnation ${event.incarnation} ended: ${event.error.message}`,
        counter: ended,
        attributes: { reason: event.error.reason._tag }
      }
    case "Retrying":
      return {
        line: () =>
          `tries again in ${Duration.format(Duration.millis(Math.round(Duration.toMillis(event.delay))))}: ${event.error.message}`
      }
    case "Asked":
      return { counter: asked, attributes: { detector: event.detector } }
    case "Lost":
      return { level: "Warn", line: () => event.reason.message }
    case "Closed":
      return {
        line: () => `closed: ${event.exit._tag}`,
        counter: sessions,
        attributes: { exit: event.exit._tag }
      }
    default:
      return { line: () => event._tag }
  }
}

/** A counter, one for each set of attributes; the registry keeps as many. */
type Counter = (attributes: { readonly [name: string]: string }) => Metric.Counter<number>

function counter(name: string, description: string): Counter {
  const metric = Metric.counter(name, { description, incremental: true })
  const made = new Map<string, Metric.Counter<number>>()
  return (attributes) => {
    const key = Object.values(attributes).join("\0")
    let one = made.get(key)
    if (one === undefined) {
      one = Metric.withAttributes(metric, attributes)
      made.set(key, one)
    }
    return one
  }
}
