/**
 * The race of detectors inside an incarnation: each watches one thing and ends the incarnation with a typed reason.
 *
 * Guarantees: the verdict does no I/O. Detectors read clocks and make plain calls (`probe` and `beat` append to the
 * caller's control queue), so a write that never completes cannot disable its own watchdog. Watching costs one store
 * for each batch. Slow is not dead: a peer that gives signs of life is called stalled, and only `policy.stalledLimit`
 * gives it up. Whoever runs the watchdog runs the link's `destroy` before it passes the verdict on.
 */
import { Clock, Duration, Effect, Latch, type Option, type Scope } from "effect"
import * as ConnectionError from "./ConnectionError.ts"
import * as Suspension from "./internal/Suspension.ts"
import * as Patience from "./Patience.ts"
import { heartbeatSchedule, type Policy } from "./Policy.ts"

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
  /** Detectors of the user's, which race with the others. */
  readonly detectors?: ReadonlyArray<Detector> | undefined
}

/** A watchdog of one incarnation. The calls are plain and cheap: one store, unless a question is open. */
export interface Watchdog {
  /** Bytes of the peer were read: a sign of life. Once for each batch. */
  readonly received: () => void
  /** A frame of ours was handed to the link. Anything but a heartbeat puts the next heartbeat off. */
  readonly sent: (isHeartbeat: boolean) => void
  /**
   * The running total of our bytes that are known to have moved, and how many are outstanding now. The clock of `stall`
   * runs from the later of the last progress and the instant at which something became outstanding. Call it after
   * `received` where one batch tells both.
   */
  readonly moved: (progressBytesTotal: number, outstandingBytes: number) => void
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
  const clock = yield* Clock.Clock
  const now = () => Patience.monotonicMillis(clock)
  const startedAt = now()
  const { roundTripTime } = options
  let receivedAt = startedAt
  let progressBytes = 0
  let outstandingBytes = 0
  let backlogMessages = 0
  let backlogBytes = 0
  let stalled = false
  // Signs of life are compared by their order: an answer may come within the millisecond of its question.
  let signsOfLife = 0
  let signsBeforeDelay = 0
  let alive = false

  const stalledLimitMillis = () => Duration.toMillis(options.policy().stalledLimit)

  const fail = (reason: ConnectionError.Reason) =>
    Effect.fail(ConnectionError.make(reason, { upFor: Duration.millis(now() - startedAt) }))

  const unstall = () => {
    if (!stalled) return
    stalled = false
    options.onStalled(undefined)
  }

  const silence = Patience.watch({
    patience: options.policy().silence,
    anchor: startedAt,
    roundTripTime,
    ask(evidence) {
      options.onAsk?.("silence", evidence)
      options.probe()
    }
  })

  const stall = Patience.watch({
    patience: options.policy().stall,
    anchor: undefined,
    roundTripTime,
    ask(evidence) {
      if (!stalled) {
        stalled = true
        options.onStalled(clock.currentTimeMillisUnsafe() - Duration.toMillis(evidence.missingFor))
      }
      signsBeforeDelay = signsOfLife
      options.onAsk?.("stall", evidence)
      options.probe()
    },
    limitMillis: stalledLimitMillis,
    onDone({ missingFor }, { millis, startedAt }) {
      const lived = signsOfLife > signsBeforeDelay
      const limitReached = Duration.toMillis(missingFor) >= stalledLimitMillis()
      const cutShort = now() - startedAt < millis // by the limit, so its silence proves nothing
      if (lived && !limitReached) return "again"
      alive = limitReached && (lived || cutShort)
      return "over"
    }
  })

  const heartbeat = Patience.watch({
    patience: heartbeatSchedule(options.policy().heartbeat),
    anchor: startedAt,
    roundTripTime,
    ask(evidence) {
      options.onAsk?.("heartbeat", evidence)
      options.beat()
    },
    onDone: () => "rest"
  })

  const overfull = Latch.makeUnsafe(false)
  const exceeded = () => {
    const { bytesMax, messagesMax } = options.policy().backlog
    return backlogMessages > messagesMax || backlogBytes > bytesMax
  }

  yield* Suspension.listen(silence.question)

  const signs: Signs = {
    now,
    receivedAt: () => receivedAt,
    progressBytes: () => progressBytes,
    outstandingBytes: () => outstandingBytes,
    backlogMessages: () => backlogMessages,
    backlogBytes: () => backlogBytes,
    probe: options.probe
  }

  return {
    received() {
      receivedAt = now()
      signsOfLife++
      silence.arrived(receivedAt)
    },
    sent(isHeartbeat) {
      if (!isHeartbeat) heartbeat.arrived(now())
    },
    moved(progressBytesTotal, outstanding) {
      const before = outstandingBytes
      const progressed = progressBytesTotal > progressBytes
      progressBytes = progressBytesTotal
      outstandingBytes = outstanding
      if (outstanding === 0) {
        if (before > 0) stall.rest()
        unstall()
      } else if (progressed || before === 0) {
        signsBeforeDelay = signsOfLife
        stall.arrived(now())
        unstall()
      }
    },
    backlog(messages, bytes) {
      backlogMessages = messages
      backlogBytes = bytes
      if (exceeded()) overfull.openUnsafe()
    },
    wake: options.probe,
    replacePolicy() {
      const policy = options.policy()
      silence.replace(policy.silence)
      stall.replace(policy.stall)
      heartbeat.replace(heartbeatSchedule(policy.heartbeat))
    },
    run: Effect.raceAllFirst([
      Effect.flatMap(silence.run, (evidence) => fail(new ConnectionError.PeerSilent(evidence))),
      Effect.flatMap(stall.run, ({ asked, missingFor }) => {
        const evidence = { asked, missingFor, outstandingBytes }
        return fail(alive ? new ConnectionError.Stalled(evidence) : new ConnectionError.WriteStuck(evidence))
      }),
      Effect.andThen(heartbeat.run, Effect.never),
      overfull.await.pipe(
        Effect.andThen(
          Effect.suspend(() => {
            const { bytesMax, messagesMax } = options.policy().backlog
            return fail(
              new ConnectionError.BacklogExceeded({
                messages: backlogMessages,
                bytes: backlogBytes,
                messagesMax,
                bytesMax
              })
            )
          })
        )
      ),
      ...(options.detectors ?? []).map((detector) => detector(signs))
    ])
  }
})
