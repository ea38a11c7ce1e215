/**
 * What happens on a session's link: read, write, acknowledge and watch, until one of them ends it. All of it are plain calls,
 * which the carrier, alarms and whoever uses the session make; only `write` touches the link.
 */
import { Frame, type Peer } from "@holdfast/protocol"
import { Duration, Effect, Exit, Fiber, Option } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as ConnectionError from "../ConnectionError.ts"
import type * as Patience from "../Patience.ts"
import type { Policy } from "../Policy.ts"
import type * as Watchdog from "../Watchdog.ts"
import { acknowledgeMillis, Acknowledging } from "./acknowledging.ts"
import { Carrier, type User } from "./carrier.ts"
import type { Attachment, Conversation, LastWord } from "./conversation.ts"
import { Detectors } from "./detectors.ts"
import { deaf, endedByPeer, goneAway, tooSlow } from "./ending.ts"
import { FrameWatch } from "./frameWatch.ts"
import type { Options } from "./incarnation.ts"
import type { Later } from "./later.ts"
import { Pace } from "./pace.ts"
import { Picture } from "./picture.ts"
import type { Surroundings } from "./watching.ts"
import { violated } from "./wire.ts"

/** So much is handed over in a row before reading has its turn. */
const turnBytesMax = 2_097_152

/** Less is not written at once when more may come in the same turn of the event loop. */
const joinedBytesMin = 65_536

/** A consumer gets so many turns to finish with what it was lent, before what it was lent has to be left to it. */
const lentTurnsMax = 8

const heartbeat = [Frame.encode({ _tag: "Heartbeat" })] as const

type Verdict = Exit.Exit<never, ConnectionError.ConnectionError>

/** What is said in one turn of the event loop is one write, unless it is flushed: it waits for its `due` turn. */
type Writer = "idle" | "due" | "writing"

export class Life implements Attachment, User, Watchdog.Options {
  readonly carrier: Carrier
  readonly watchdog: Detectors
  readonly detectors: ReadonlyArray<Watchdog.Detector>
  lastWord: LastWord | undefined
  private readonly options: Options
  private readonly conversation: Conversation
  private readonly peer: Peer.Peer
  private readonly around: Surroundings
  private readonly later: Later
  private readonly frames: FrameWatch
  private readonly acknowledging: Acknowledging
  private readonly pace: Pace
  readonly up: Picture
  /** The first one ends this incarnation. */
  private verdict: Verdict | undefined
  private passed: ((verdict: Verdict) => void) | undefined
  private running: Set<Fiber.Fiber<unknown, ConnectionError.ConnectionError>> | undefined
  private isEndTold = false
  private drained: (() => void) | undefined

  private pings = 0
  private pingedAt: number
  private tunedAt: number
  private hasInput = false
  /** Input is being handed out, and what comes of it is written when all of it is, unless it is flushed. */
  private isDigesting = false
  private lentTurns = 0

  private writer: Writer = "idle"
  private bytesInTurn = 0
  private readonly turn = () => this.guarded(() => this.writeDue())
  private readonly lentTurn = () => this.guarded(() => this.waitForLent())

  constructor(options: Options, around: Surroundings, later: Later) {
    const { conversation, wire } = options
    const { peer } = conversation
    const now = conversation.now()
    this.options = options
    this.detectors = options.detectors
    this.conversation = conversation
    this.peer = peer
    this.around = around
    this.later = later
    this.pingedAt = now
    this.tunedAt = now
    this.up = new Picture(options)
    this.frames = new FrameWatch(wire.decoder, options.frame, (exit) => this.decide(tooSlow(exit)))
    this.acknowledging = new Acknowledging(around.alarms, peer, () => this.news())
    this.pace = new Pace(peer.movedBytes, now, acknowledgeMillis)
    this.watchdog = new Detectors(this, conversation.clock)
    this.carrier = new Carrier(wire.link, around.context, this)
  }

  // ---- its life

  /** Everything at once, until one of them decides. Whoever gets its verdict stops what it has started. */
  get race(): Effect.Effect<never, ConnectionError.ConnectionError> {
    return Effect.callback<never, ConnectionError.ConnectionError>((resume) => {
      this.passed = resume
      this.guarded(() => this.start())
      return this.stop
    })
  }

  private start(): void {
    this.digest()
    if (this.verdict !== undefined) return
    this.carrier.start()
    for (const detector of this.watchdog.others) this.run(detector)
    if (this.verdict !== undefined) return
    this.watchdog.start(this.around, this)
    this.frames.start(this.around)
    if (this.conversation.goingAway !== undefined) this.watchForDrained()
    this.begin(false)
  }

  get stop(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.passed = undefined
      this.verdict ??= Exit.interrupt()
      this.watchdog.stop()
      this.frames.stop()
      this.drained?.()
      this.acknowledging.stop()
      return Effect.andThen(this.carrier.stopReading, Fiber.interruptAll([...(this.running ?? [])]))
    })
  }

  private run(effect: Effect.Effect<unknown, ConnectionError.ConnectionError>): void {
    const fiber = Effect.runForkWith(this.around.context)(effect)
    this.running ??= new Set()
    this.running.add(fiber)
    fiber.addObserver((exit) => {
      this.running?.delete(fiber)
      if (Exit.isFailure(exit)) this.decide(Exit.failCause(exit.cause))
    })
  }

  decide(verdict: Verdict): void {
    if (this.verdict !== undefined) return
    this.verdict = verdict
    this.passed?.(verdict)
  }

  /** A defect of ours ends the link, and not whoever has called. */
  private guarded(call: () => void): void {
    try {
      call()
    } catch (defect) {
      this.decide(Exit.die(defect))
    }
  }

  private watchForDrained(): void {
    const { conversation } = this
    this.drained?.()
    this.drained = conversation.main.onFact(
      () => conversation.isDrained,
      () => {
        if (conversation.isDrained) this.decide(goneAway(conversation))
      }
    )
  }

  /** It is decided that the link ends, of which listeners are told once. */
  tellEnd(error: ConnectionError.ConnectionError): void {
    if (this.isEndTold) return
    this.isEndTold = true
    this.conversation.bulletin.event({ _tag: "Ended", incarnation: this.options.incarnation, error })
  }

  // ---- what the conversation tells it

  work(): void {
    this.begin(false)
    this.up.flow()
  }

  flush(): void {
    if (this.writer !== "writing" && this.verdict === undefined && this.hasWork) this.schedule(true)
  }

  news(): void {
    if (this.writer !== "writing" && this.acknowledging.announce()) this.begin(false)
  }

  end(error: ConnectionError.ConnectionError, word: LastWord | undefined): void {
    this.tellEnd(error)
    this.options.wire.decoder.handTo(deaf)
    this.lastWord = word
    this.decide(Exit.fail(error))
  }

  wake(): void {
    this.watchdog.wake()
  }

  policyReplaced(): void {
    this.watchdog.replacePolicy()
  }

  // ---- what its watchdog asks

  policy(): Policy {
    return this.conversation.policy
  }

  probe(): void {
    this.pingedAt = this.conversation.now()
    this.peer.ping(++this.pings)
    this.begin(true)
  }

  beat(): void {
    const { peer } = this
    if (this.writer === "idle" && !peer.hasWork && !peer.hasNews) return this.guarded(() => this.beatAlone())
    peer.heartbeat()
    this.begin(true)
  }

  /** There is nothing else to say, as nearly always. */
  private beatAlone(): void {
    this.writer = "writing"
    this.watchdog.sent(true)
    if (this.carrier.write(heartbeat)) this.mayWriteOn()
  }

  onStalled(at: number | undefined): void {
    this.up.stalled(at)
  }

  onAsk(detector: Watchdog.Asking, evidence: Patience.Evidence): void {
    if (detector !== "heartbeat") this.conversation.bulletin.event({ _tag: "Asked", detector, evidence })
  }

  roundTripTime(): Option.Option<Duration.Duration> {
    return this.conversation.roundTripTime
  }

  // ---- reading

  received(batch: ReadonlyArray<Uint8Array>): boolean {
    if (this.verdict !== undefined) return false
    try {
      this.take(batch)
      return this.verdict === undefined && this.isDone()
    } catch (defect) {
      this.decide(Exit.die(defect))
      return false
    }
  }

  private take(batch: ReadonlyArray<Uint8Array>): void {
    const { onInput, wire } = this.options
    const { decoder } = wire
    const before = decoder.tellingCount
    for (const chunk of batch) {
      const failed = decoder.push(chunk)
      if (failed !== undefined) return this.decide(Exit.fail(violated(failed)))
    }
    this.watchdog.received()
    this.frames.look(() => this.conversation.now())
    if (!this.hasInput) {
      this.hasInput = true
      onInput?.(this.around.context)
    } else if (decoder.tellingCount === before) return
    this.isDigesting = true
    this.digest()
    if (this.peer.hasFinished) this.digest()
    this.isDigesting = false
    this.begin(this.peer.hasData) // an answer that is there already goes at once
  }

  private digest(): void {
    const { conversation, peer } = this
    const facts = conversation.received()
    const now = conversation.now()
    this.answered(facts, now)
    this.pace.arrived(peer.movedBytes, now)
    this.tune(now)
    this.moved()
    if (peer.hasWork) this.begin(false)
    else if (peer.hasNews) this.news()
    if (facts.close !== undefined) this.decide(Exit.fail(endedByPeer(facts.close, this.options.epoch)))
  }

  private answered({ goAway, pong }: Peer.Facts, now: number): void {
    const { conversation } = this
    if (pong === this.pings && this.pings > 0) {
      conversation.roundTripTime = Option.some(Duration.millis(now - this.pingedAt))
      this.up.publish()
    }
    if (goAway === undefined) return
    conversation.leave(goAway)
    this.watchForDrained()
  }

  /** Windows follow what the application takes in one round trip, the delay of acknowledgements included. */
  private tune(now: number): void {
    const roundTrip = Option.getOrElse(this.conversation.roundTripTime, () => Duration.zero)
    if (now - this.tunedAt < Duration.toMillis(roundTrip) + acknowledgeMillis) return
    this.tunedAt = now
    this.peer.tune()
  }

  private moved(): void {
    this.watchdog.moved(this.peer.movedBytes, this.peer.outstandingBytes)
    this.up.flow()
  }

  /** Nobody has what was read last; otherwise they get some turns to be done with it. */
  private isDone(): boolean {
    if (this.peer.channels.isLentOut) {
      this.lentTurns = 0
      this.later(this.lentTurn)
      return false
    }
    if (this.peer.channels.own()) this.options.wire.link.keep()
    return true
  }

  private waitForLent(): void {
    if (this.verdict !== undefined) return
    const { channels } = this.peer
    if (channels.isLentOut && ++this.lentTurns < lentTurnsMax) return this.later(this.lentTurn)
    if (channels.own()) this.options.wire.link.keep() // whoever waited has had its turn
    this.carrier.readOn()
  }

  // ---- writing

  private get hasWork(): boolean {
    return this.peer.hasControl || (this.peer.hasData && this.roomBytes > 0)
  }

  private get roomBytes(): number {
    return Math.min(this.pace.batchBytes, this.pace.bytesMax - this.peer.outstandingBytes)
  }

  /** Nobody waits for something to write: whoever has some says so. `isWhole`: nothing is to join it. */
  private begin(isWhole: boolean): void {
    if (this.isDigesting || this.writer !== "idle" || this.verdict !== undefined || !this.hasWork) return
    this.schedule(isWhole)
  }

  private schedule(isNow: boolean): void {
    this.writer = "due"
    this.bytesInTurn = 0
    if (isNow) this.turn()
    else this.later(this.turn)
  }

  /** Nothing is due any more where it was written at once meanwhile. */
  private writeDue(): void {
    if (this.writer === "due") this.write()
  }

  private write(): void {
    const { conversation, pace, peer } = this
    do {
      this.writer = "writing"
      if (this.verdict !== undefined) return
      conversation.expire()
      const written = peer.write(Math.max(0, this.roomBytes))
      if (written === undefined) {
        this.bytesInTurn = turnBytesMax
        continue
      }
      this.watchdog.sent(written.isHeartbeat)
      if (written.dataBytes > 0) {
        pace.handed(peer.movedBytes + peer.outstandingBytes, conversation.now(), !peer.hasData)
      }
      this.moved()
      if (peer.hasFinished && !this.isDigesting) this.digest()
      this.bytesInTurn = written.dataBytes < joinedBytesMin ? turnBytesMax : this.bytesInTurn + written.dataBytes
      if (!this.carrier.write(written.chunks as NonEmptyReadonlyArray<Uint8Array>)) return
    } while (this.mayWriteOn())
  }

  written(): void {
    this.guarded(() => {
      if (this.mayWriteOn()) this.write()
    })
  }

  /** A write is done: in the same turn comes only what is large. */
  private mayWriteOn(): boolean {
    this.writer = "due"
    if (this.peer.hasNews) this.news()
    if (this.verdict === undefined && this.hasWork) {
      if (this.bytesInTurn < turnBytesMax) return true
      this.schedule(false)
    } else this.writer = "idle"
    return false
  }
}
