/**
 * The race of detectors inside an incarnation: each watches one thing and ends the incarnation with a typed reason.
 *
 * Guarantees: the verdict does no I/O. Detectors read clocks and make plain calls (`probe` and `beat` append to the
 * caller's control queue), so a write that never completes cannot disable its own watchdog. Watching costs one store
 * for each batch. Slow is not dead: a peer that gives signs of life is called stalled, and only `policy.stalledLimit`
 * gives it up. Whoever runs the watchdog runs the link's `destroy` before it passes the verdict on.
 *
 * `stall` is fed in one of two ways. Where the peer itself acknowledges, call `moved`. Where it does not, call `writing`
 * and `written` and give the link's `progress`: where that has the kernel's figures, they alone decide who is dead. At
 * least two unanswered repetitions after a whole patience without an acknowledgement: `WriteStuck`, whatever arrives.
 * Fewer: the peer's machine may live, so it is called stalled at worst.
 */
import { Clock, type Duration, Effect, type Option, type Scope } from "effect"
import type * as ConnectionError from "./ConnectionError.ts"
import { Detectors } from "./internal/detectors.ts"
import type * as Link from "./Link.ts"
import type * as Patience from "./Patience.ts"
import type { Policy } from "./Policy.ts"

/** What a detector of the user's can see. Plain calls; instants are monotonic milliseconds. */
export interface Signs {
  readonly now: () => number
  /** When the last byte of the peer was read. */
  readonly receivedAt: () => number
  /** The running total of our bytes that are known to have moved. */
  readonly progressBytes: () => number
  readonly outstandingBytes: () => number
  readonly backlogMessages: () => number
  readonly backlogBytes: () => number
  /** Asks the peer for a sign of life. */
  readonly probe: () => void
}

/** Runs for as long as the incarnation and fails when it must end, for instance with the reason `DetectorFired`. */
export type Detector = (signs: Signs) => Effect.Effect<never, ConnectionError.ConnectionError>

/** The clocks of a policy that ask while a connection is up. */
export type Asking = "silence" | "stall" | "heartbeat"

/** What a watchdog is made of. All calls are plain: they must not wait and must not throw. */
export interface Options {
  /** The policy in force. Call `replacePolicy` when it has changed. */
  readonly policy: () => Policy
  /** Put an echo request on the control queue, unless one waits there. */
  readonly probe: () => void
  /** Put a heartbeat on the control queue, unless one waits there. */
  readonly beat: () => void
  /** Nothing of ours has moved since this wall time (ms); `undefined`: something moved again, or nothing is outstanding. */
  readonly onStalled: (sinceMillis: number | undefined) => void
  /** Told of every question, for events and logs. */
  readonly onAsk?: ((clock: Asking, evidence: Patience.Evidence) => void) | undefined
  /** The last measured round trip. */
  readonly roundTripTime?: (() => Option.Option<Duration.Duration>) | undefined
  /** What the link tells of bytes that were handed to it (`writing`). Without it they have moved when it took them. */
  readonly progress?: (() => Link.Progress) | undefined
  /** Detectors of the user's, which race with the others. */
  readonly detectors?: ReadonlyArray<Detector> | undefined
}

/** A watchdog of one incarnation. The calls are plain and cheap: one store, unless a question is open. */
export interface Watchdog {
  /** Bytes of the peer were read: a sign of life. Once for each batch. */
  readonly received: () => void
  /**
   * Whether we read what the peer sends; true at first. Stop right after `received`: from there until we read again the
   * peer's silence proves nothing, so the clock of `silence` stands still, and `stall` calls nobody dead.
   */
  readonly listening: (isListening: boolean) => void
  /** A frame of ours was handed to the link. Anything but a heartbeat puts the next heartbeat off. */
  readonly sent: (isHeartbeat: boolean) => void
  /**
   * The running total of our bytes that are known to have moved, and how many are outstanding now. The clock of `stall`
   * runs from the later of the last progress and the instant at which something became outstanding. Call it after
   * `received` where one batch tells both.
   */
  readonly moved: (progressBytesTotal: number, outstandingBytes: number) => void
  /** So many bytes are being handed to the link, for a peer that does not acknowledge them itself. Excludes `moved`. */
  readonly writing: (bytes: number) => void
  /** The link took them, or refused them: the write has settled. */
  readonly written: (bytes: number) => void
  /** What waits to be sent. Above `policy.backlog` the incarnation ends with `BacklogExceeded`. */
  readonly backlog: (messages: number, bytes: number) => void
  /** Probes now: "the network is back", or the machine woke up. */
  readonly wake: () => void
  /** Takes up a changed policy. Runs that are going on go on. */
  readonly replacePolicy: () => void
  /** The race of all detectors, to be run once. It never succeeds. */
  readonly run: Effect.Effect<never, ConnectionError.ConnectionError>
}

/**
 * Makes a watchdog at the instant of the handshake's answer, from which `silence`, `heartbeat` and `upFor` count. Until
 * the scope closes it also probes at once whenever the machine slept or its clock was set.
 */
export const make = Effect.fnUntraced(function* (options: Options): Effect.fn.Return<Watchdog, never, Scope.Scope> {
  const detectors = new Detectors(options, yield* Clock.Clock)
  yield* Effect.addFinalizer(() => Effect.sync(() => detectors.stop()))
  return {
    received: () => detectors.received(),
    listening: (isListening) => detectors.listening(isListening),
    sent: (isHeartbeat) => detectors.sent(isHeartbeat),
    moved: (progressBytesTotal, outstandingBytes) => detectors.moved(progressBytesTotal, outstandingBytes),
    writing: (bytes) => detectors.writing(bytes),
    written: (bytes) => detectors.written(bytes),
    backlog: (messages, bytes) => detectors.backlog(messages, bytes),
    wake: () => detectors.wake(),
    replacePolicy: () => detectors.replacePolicy(),
    run: detectors.run
  }
})
