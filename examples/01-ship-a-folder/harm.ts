/**
 * Carries out the plan: one fault at a time, each after the last one was noticed and the sender is up again, so that
 * what ends in between belongs to that fault and to no other.
 */
import { Clock, Duration, Effect, Option, Queue, type Scope } from "effect"
import { type Fault, type FaultKind, isLethal, planPass } from "./faults.ts"
import type { Relay, Strike } from "./relay.ts"
import type { Side, Sighting } from "./reports.ts"

export interface Detection {
  readonly fault: FaultKind
  /** why the side that noticed ended its incarnation; for a slow reader what it was taken for */
  readonly reason: string
  readonly noticedBy: Side | null
  /** `null`: nobody did */
  readonly noticedAfterMs: number | null
  readonly boundMs: number
  /** bytes that the relay had not passed on when it struck */
  readonly heldBytes: number
}

export interface Seen extends Sighting {
  readonly side: Side
}

export interface HarmOptions {
  readonly relay: Pick<Relay, "strike" | "resetAll">
  readonly seed: number
  readonly seconds: number
  readonly spacingBytes: number
  readonly boundMs: (kind: FaultKind) => number
  readonly sightings: Queue.Dequeue<Seen>
  /** Stops the receiver's process; the scope lets it go on. */
  readonly freeze: Effect.Effect<void, never, Scope.Scope>
  readonly onStrike: (strike: Strike) => void
  readonly onDetection: (detection: Detection) => void
}

/** Goes on for `seconds`, and in any case until every kind has struck once. Answers how many kills nobody asked for. */
export const carryOut = Effect.fnUntraced(function* (options: HarmOptions) {
  const started = yield* Clock.currentTimeMillis
  let unprovoked = 0
  for (let pass = 0; ; pass++) {
    for (const fault of yield* planPass(options.seed, pass, options.spacingBytes)) {
      const elapsedMs = (yield* Clock.currentTimeMillis) - started
      if (pass > 0 && elapsedMs >= options.seconds * 1000) return { unprovoked }
      unprovoked += (yield* Queue.clear(options.sightings)).filter(isKill).length
      const strike = yield* options.relay.strike(fault)
      options.onStrike(strike)
      const outcome = isLethal(fault.kind)
        ? yield* Effect.scoped(Effect.andThen(during(fault, options), outlast(strike, options)))
        : yield* endure(strike, options)
      unprovoked += outcome.unprovoked
      options.onDetection(outcome.detection)
    }
  }
})

/** What goes on in a process while the fault does. */
const during = (fault: Fault, options: HarmOptions): Effect.Effect<unknown, never, Scope.Scope> =>
  fault.kind === "frozenReceiver"
    ? options.freeze.pipe(
        Effect.andThen(Effect.sleep(Duration.millis(fault.lastsMs))),
        Effect.scoped,
        Effect.forkScoped({ startImmediately: true })
      )
    : Effect.void

/** A fault that ends the incarnation: who noticed, when, and until the sender has opened the next one. */
const outlast = Effect.fnUntraced(function* (strike: Strike, options: HarmOptions) {
  const { kind } = strike.fault
  let noticed: Seen | undefined
  let senderEnded = false
  let recovered = false
  const watch = Effect.gen(function* () {
    while (noticed === undefined || !recovered) {
      const seen = yield* Queue.take(options.sightings)
      if (seen.at < strike.at) continue
      if (seen.what === "Ended" && noticed === undefined && noticers(kind).includes(seen.side)) noticed = seen
      if (seen.side === "sender" && seen.what === "Ended") senderEnded = true
      if (seen.side === "sender" && seen.what === "Opened" && senderEnded) recovered = true
    }
  })
  const inTime = yield* Effect.timeoutOption(watch, noticeLimit)
  if (Option.isNone(inTime)) yield* options.relay.resetAll
  return { unprovoked: 0, detection: detectionOf(strike, noticed, options) }
})

/** A fault that must not end anything: for as long as it lasts, and a little more. */
const endure = Effect.fnUntraced(function* (strike: Strike, options: HarmOptions) {
  yield* Effect.sleep(Duration.millis(strike.fault.lastsMs + afterthoughtMs))
  const seen = (yield* Queue.clear(options.sightings)).filter((seen) => seen.at >= strike.at)
  const stalled = seen.find((seen) => seen.side === "sender" && seen.what === "Stalled")
  const detection = detectionOf(strike, seen.find((seen) => seen.what === "Ended") ?? stalled, options)
  return { unprovoked: seen.filter(isKill).length, detection }
})

const detectionOf = (strike: Strike, noticed: Seen | undefined, options: HarmOptions): Detection => ({
  fault: strike.fault.kind,
  reason: reasonOf(strike, noticed),
  noticedBy: noticed?.side ?? null,
  noticedAfterMs: noticed === undefined ? null : noticed.at - strike.at,
  boundMs: options.boundMs(strike.fault.kind),
  heldBytes: strike.heldBytes
})

const reasonOf = (strike: Strike, noticed: Seen | undefined): string => {
  if (noticed?.what === "Ended") return noticed.reason
  if (isLethal(strike.fault.kind)) return "not noticed"
  return noticed === undefined ? "not killed" : "stalled, not killed"
}

/** Who can notice: a side that was reset knows at once, which says nothing about the one that was left open. */
const noticers = (kind: FaultKind): ReadonlyArray<Side> => {
  switch (kind) {
    case "halfOpenAtSender":
    case "blackholeToClient":
    case "frozenReceiver":
      return ["sender"]
    case "halfOpenAtReceiver":
    case "blackholeToServer":
      return ["receiver"]
    default:
      return ["sender", "receiver"]
  }
}

/** The sender's incarnations are the session's: one that ended is one that was killed. */
const isKill = (seen: Seen): boolean => seen.side === "sender" && seen.what === "Ended"

const noticeLimit = Duration.seconds(15)
const afterthoughtMs = 300
