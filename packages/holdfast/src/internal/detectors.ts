/**
 * The detectors of one incarnation. They hold no fiber of their own: each is a watch that an alarm drives, and all that
 * they are told comes by plain calls.
 */
import { type Clock, Duration, Effect, Exit, Option } from "effect"
import * as ConnectionError from "../ConnectionError.ts"
import { monotonicMillis } from "../Patience.ts"
import type * as Patience from "../Patience.ts"
import type { Options, Signs, Watchdog } from "../Watchdog.ts"
import * as Meter from "./meter.ts"
import * as Suspension from "./Suspension.ts"
import { soonerShare, type Surroundings, surroundings, Watching } from "./watching.ts"

type Verdict = Exit.Exit<never, ConnectionError.ConnectionError>

/** Who is told the verdict. */
export interface Judge {
  readonly decide: (verdict: Verdict) => void
}

export class Detectors implements Watchdog, Suspension.Listener {
  readonly options: Options
  private readonly clock: Clock.Clock
  private readonly startedAt: number
  private receivedAt: number
  private progressBytes = 0
  private outstandingBytes = 0
  private backlogMessages = 0
  private backlogBytes = 0
  private isStalled = false
  // Signs of life are compared by their order: an answer may come within the millisecond of its question.
  private signsOfLife = 0
  private signsBeforeDelay = 0
  private isAlive = false
  private unanswered: number | undefined
  private isListening = true
  private readonly silence: Silence
  private readonly heartbeat: Heartbeat
  /** Made when something is outstanding for the first time. */
  private stall: Stall | undefined
  private around: Surroundings | undefined
  private meter: Meter.Meter | undefined
  private judge: Judge | undefined

  constructor(options: Options, clock: Clock.Clock) {
    this.options = options
    this.clock = clock
    this.startedAt = this.now()
    this.receivedAt = this.startedAt
    const { heartbeat, silence } = options.policy()
    this.silence = new Silence(this, silence, this.startedAt)
    this.heartbeat = new Heartbeat(this, heartbeat, this.startedAt)
    // What the kernel knows may have to be found out first; by the first delay it is known.
    if (options.progress !== undefined) this.metered()
  }

  /** The machine slept, or its clock was set. */
  jumped(): void {
    this.silence.question()
  }

  get run(): Effect.Effect<never, ConnectionError.ConnectionError> {
    const own = Effect.flatMap(surroundings, (surroundings) =>
      Effect.callback<never, ConnectionError.ConnectionError>((resume) => {
        this.start(surroundings, { decide: resume })
        return Effect.sync(() => this.stop())
      })
    )
    const others = this.others
    return others.length === 0 ? own : Effect.raceAllFirst([own, ...others])
  }

  /** The user's own detectors. */
  get others(): ReadonlyArray<Effect.Effect<never, ConnectionError.ConnectionError>> {
    const { detectors = [] } = this.options
    return detectors.length === 0 ? [] : detectors.map((detector) => detector(this.signs))
  }

  /** Watches until there is a verdict. */
  start(surroundings: Surroundings, judge: Judge): void {
    this.judge = judge
    this.around = surroundings
    this.silence.start(surroundings)
    this.stall?.start(surroundings)
    this.heartbeat.start(surroundings)
    Suspension.join(this.clock, surroundings.context, this)
    this.exceed()
  }

  stop(): void {
    this.judge = undefined
    this.silence.stop()
    this.stall?.stop()
    this.heartbeat.stop()
    Suspension.leave(this.clock, this)
  }

  received(): void {
    this.receivedAt = this.now()
    this.signsOfLife++
    this.silence.arrived(this.receivedAt)
  }

  listening(isListening: boolean): void {
    if (this.isListening === isListening) return
    this.isListening = isListening
    if (isListening) this.silence.arrived(this.now())
    else this.silence.rest()
  }

  sent(isHeartbeat: boolean): void {
    if (!isHeartbeat) this.heartbeat.arrived(this.now())
  }

  moved(total: number, outstanding: number): void {
    this.progressed(total, outstanding, this.now())
  }

  writing(bytes: number): void {
    const meter = this.metered()
    if (meter.hasPaused()) this.look(meter)
    meter.writing(bytes)
    this.progressed(this.progressBytes, this.outstandingBytes + bytes, this.now())
  }

  written(bytes: number): void {
    const meter = this.metered()
    meter.written(bytes)
    if (this.unanswered === undefined) this.look(meter)
  }

  backlog(messages: number, bytes: number): void {
    this.backlogMessages = messages
    this.backlogBytes = bytes
    this.exceed()
  }

  wake(): void {
    this.options.probe()
  }

  replacePolicy(): void {
    const { heartbeat, silence, stall } = this.options.policy()
    this.silence.replace(silence)
    this.stall?.replace(stall)
    this.heartbeat.replace(heartbeat)
  }

  // ---- what its watches tell

  silent(exit: Exit.Exit<Patience.Evidence>): void {
    this.over(exit, (evidence) => new ConnectionError.PeerSilent({ ...evidence }))
  }

  stuck(exit: Exit.Exit<Patience.Evidence>): void {
    this.over(exit, ({ asked, missingFor }) => {
      const { isAlive, outstandingBytes, unanswered } = this
      const evidence = { asked, missingFor, outstandingBytes }
      if (isAlive) return new ConnectionError.Stalled(evidence)
      return new ConnectionError.WriteStuck({ ...evidence, unanswered })
    })
  }

  private over(
    exit: Exit.Exit<Patience.Evidence>,
    reason: (evidence: Patience.Evidence) => ConnectionError.Reason
  ): void {
    if (Exit.isFailure(exit)) this.decide(Exit.failCause(exit.cause))
    else this.fail(reason(exit.value))
  }

  lookAtMeter(): void {
    if (this.meter?.isUsed() === true) this.look(this.meter)
  }

  askStalled(evidence: Patience.Evidence): void {
    const { options } = this
    if (!this.isStalled) {
      this.isStalled = true
      options.onStalled(this.clock.currentTimeMillisUnsafe() - Duration.toMillis(evidence.missingFor))
    }
    this.signsBeforeDelay = this.signsOfLife
    options.onAsk?.("stall", evidence)
    options.probe()
  }

  judgeStalled({ missingFor }: Patience.Evidence, { millis, startedAt }: Patience.LastDelay): "over" | "again" {
    const { isListening, signsBeforeDelay, signsOfLife, unanswered } = this
    if (unanswered !== undefined && unanswered >= unansweredMin) return "over"
    // The kernel knows better than our reader: a peer without a ping may have nothing to say.
    const hasLived = unanswered !== undefined || signsOfLife > signsBeforeDelay || !isListening
    const isLimitReached = Duration.toMillis(missingFor) >= this.stalledLimitMillis
    const isCutShort = this.now() - startedAt < millis // by the limit, so its silence proves nothing
    if (hasLived && !isLimitReached) return "again"
    this.isAlive = isLimitReached && (hasLived || isCutShort)
    return "over"
  }

  private fail(reason: ConnectionError.Reason): void {
    this.decide(Exit.fail(ConnectionError.make(reason, { upFor: Duration.millis(this.now() - this.startedAt) })))
  }

  decide(verdict: Verdict): void {
    const { judge } = this
    this.stop()
    judge?.decide(verdict)
  }

  /** What waits to be sent has passed its bounds. */
  private exceed(): void {
    const { backlogBytes: bytes, backlogMessages: messages } = this
    const { bytesMax, messagesMax } = this.options.policy().backlog
    if (messages <= messagesMax && bytes <= bytesMax) return
    this.fail(new ConnectionError.BacklogExceeded({ messages, bytes, messagesMax, bytesMax }))
  }

  private progressed(total: number, outstanding: number, at: number): void {
    const before = this.outstandingBytes
    const hasMoved = total > this.progressBytes
    this.progressBytes = total
    this.outstandingBytes = outstanding
    if (outstanding === 0) {
      if (before > 0) this.stall?.rest()
      this.unstall()
    } else if (hasMoved || before === 0) {
      this.signsBeforeDelay = this.signsOfLife
      this.stalling.arrived(at)
      this.unstall()
    }
  }

  private get stalling(): Stall {
    if (this.stall === undefined) {
      this.stall = new Stall(this, this.options.policy().stall, undefined)
      if (this.judge !== undefined) this.stall.start(this.around!)
    }
    return this.stall
  }

  private unstall(): void {
    if (!this.isStalled) return
    this.isStalled = false
    this.options.onStalled(undefined)
  }

  private look(meter: Meter.Meter): void {
    const reading = meter.read()
    this.unanswered = reading.unanswered
    this.progressed(reading.progressBytes, reading.outstandingBytes, reading.at)
  }

  /** What becomes of bytes, where the peer does not acknowledge them itself. */
  private metered(): Meter.Meter {
    this.meter ??= Meter.make({ progress: this.options.progress, now: () => this.now() })
    return this.meter
  }

  get stalledLimitMillis(): number {
    return Duration.toMillis(this.options.policy().stalledLimit)
  }

  private now(): number {
    return monotonicMillis(this.clock)
  }

  private get signs(): Signs {
    return {
      now: () => this.now(),
      receivedAt: () => this.receivedAt,
      progressBytes: () => this.progressBytes,
      outstandingBytes: () => this.outstandingBytes,
      backlogMessages: () => this.backlogMessages,
      backlogBytes: () => this.backlogBytes,
      probe: () => this.options.probe()
    }
  }
}

/** One repetition may be lost on a healthy way, and its successor is on the way already. */
const unansweredMin = 2

/** What one of the clocks watches. */
abstract class Watched extends Watching {
  protected readonly detectors: Detectors

  constructor(detectors: Detectors, patience: Patience.Patience, anchor: number | undefined) {
    super(patience, anchor)
    this.detectors = detectors
  }

  protected override get roundTripTime(): Option.Option<Duration.Duration> {
    return this.detectors.options.roundTripTime?.() ?? Option.none()
  }
}

class Silence extends Watched {
  protected override asks(evidence: Patience.Evidence): void {
    const { options } = this.detectors
    options.onAsk?.("silence", evidence)
    options.probe()
  }

  protected override ended(exit: Exit.Exit<Patience.Evidence>): void {
    this.detectors.silent(exit)
  }
}

class Stall extends Watched {
  protected override looks(): void {
    this.detectors.lookAtMeter()
  }

  protected override asks(evidence: Patience.Evidence): void {
    this.detectors.askStalled(evidence)
  }

  protected override get limitMillis(): number {
    return this.detectors.stalledLimitMillis
  }

  protected override done(evidence: Patience.Evidence, lastDelay: Patience.LastDelay): "over" | "again" {
    return this.detectors.judgeStalled(evidence, lastDelay)
  }

  protected override ended(exit: Exit.Exit<Patience.Evidence>): void {
    this.detectors.stuck(exit)
  }
}

/** Sooner than promised does no harm. */
class Heartbeat extends Watched {
  override get soonerMillis(): number {
    return this.delay * soonerShare
  }

  protected override get isRepeating(): boolean {
    return true
  }

  protected override asks(evidence: Patience.Evidence): void {
    const { options } = this.detectors
    options.onAsk?.("heartbeat", evidence)
    options.beat()
  }

  protected override done(): "rest" {
    return "rest"
  }

  protected override ended(exit: Exit.Exit<Patience.Evidence>): void {
    if (Exit.isFailure(exit)) this.detectors.decide(Exit.failCause(exit.cause))
  }
}
