/**
 * Holdfast: connections that hold on. `Session` delivers everything exactly once and in order across reconnects; it is
 * made of `Supervisor` (when to try again), `Watchdog` (when to give up) and `Policy` (how long to wait), each of which
 * works alone over any Effect `Socket`.
 */
export * as Answers from "./Answers.ts"
export * as Connection from "./Connection.ts"
export * as ConnectionError from "./ConnectionError.ts"
export * as Dialect from "./Dialect.ts"
export * as Guard from "./Guard.ts"
export * as Link from "./Link.ts"
export * as PageEvents from "./PageEvents.ts"
export * as Patience from "./Patience.ts"
export * as Plaintext from "./Plaintext.ts"
export * as Policy from "./Policy.ts"
export * as Presets from "./Presets.ts"
export * as Requests from "./Requests.ts"
export * as Session from "./Session.ts"
export * as SessionChannel from "./SessionChannel.ts"
export * as Supervisor from "./Supervisor.ts"
export * as Watchdog from "./Watchdog.ts"
export * as WebSocketLink from "./WebSocketLink.ts"
