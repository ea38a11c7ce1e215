/**
 * One life of a session's link after the handshake: read, write, acknowledge and watch, racing until one of them ends
 * it. Only `write` touches the link; everything else makes plain calls.
 */
import type { Decoder, Frame, Peer } from "@holdfast/protocol"
import { Duration, Effect, Exit, Fiber, Option } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as ConnectionError from "../ConnectionError.ts"
import type * as Patience from "../Patience.ts"
import type { Opened } from "../Session.ts"
import type * as Watchdog from "../Watchdog.ts"
import type { Alarm } from "./alarms.ts"
import type { Attachment, Conversation, LastWord } from "./conversation.ts"
import { Detectors } from "./detectors.ts"
import { Pace } from "./pace.ts"
import { picture } from "./picture.ts"
import { surroundings, Watching } from "./watching.ts"
import { violated, type Wire } from "./wire.ts"

/** So much is handed over in a row before reading has its turn. */
const turnBytesMax = 2_097_152

/** Less is not written at once when more may come in the same turn of the event loop. */
const joinedBytesMin = 65_536

/** A consumer gets so many turns to finish with what it was lent, before what it was lent has to be left to it. */
const lentTurnsMax = 8

/** How long the last write may take before the last word. */
const lastWriteTimeout = "1 second"

/** Acknowledgements go out at once, and then not more often than this. */
const acknowledgeInterval = Duration.millis(10)

/** The first ones come sooner: whoever sends finds out by them what the link carries (as TCP's quick acknowledgements). */
const quickAcknowledgementsMax = 32
const quickMillis = 1

export interface Options {
  readonly conversation: Conversation
  readonly wire: Wire
  readonly incarnation: number
  readonly opened: Opened
  readonly epoch: number
  readonly detectors: ReadonlyArray<Watchdog.Detector>
  readonly frame: Patience.Patience
  /** Run once, when the first bytes have arrived. */
  readonly onInput?: Effect.Effect<void> | undefined
  /** Called once, when it is decided that the link ends; the last word is yet to be said. */
  readonly onVerdict?: ((error: ConnectionError.ConnectionError) => void) | undefined
}

type Verdict = Exit.Exit<never, ConnectionError.ConnectionError>

const interrupted: Verdict = Exit.interrupt()

/** Runs until the link ends, with the reason. */
export const run = Effect.fn("holdfast.incarnation")(function* (options: Options) {
  const { conversation, wire } = options
  const { bulletin, peer } = conversation
  const { decoder, link } = wire
  const around = yield* surroundings
  /** The first one ends this incarnation. */
  let verdict: Verdict | undefined
  let passed: ((verdict: Verdict) => void) | undefined
  const decide = (other: Verdict) => {
    if (verdict !== undefined) return
    verdict = other
    passed?.(verdict)
  }
  const start = Effect.runForkWith(around.context)
  let lastWord: LastWord | undefined
  let isWriting = false
  const up = picture(options)

  let pings = 0
  let pingedAt = conversation.now()
  const watchdog = new Detectors(
    {
      policy: () => conversation.policy,
      probe: () => {
        pingedAt = conversation.now()
        peer.ping(++pings)
        work()
      },
      beat: () => {
        peer.heartbeat()
        work()
      },
      onStalled: up.stalled,
      onAsk: (detector, evidence) => {
        if (detector !== "heartbeat") bulletin.event({ _tag: "Asked", detector, evidence })
      },
      roundTripTime: () => conversation.roundTripTime,
      detectors: options.detectors
    },
    conversation.clock
  )
  yield* watchdog.listen
  const frames = new Watching({ patience: options.frame, anchor: undefined })
  const pace = new Pace(peer.movedBytes, conversation.now(), Duration.toMillis(acknowledgeInterval))
  const roomBytes = () => Math.min(pace.batchBytes, pace.bytesMax - peer.outstandingBytes)

  const moved = () => {
    watchdog.moved(peer.movedBytes, peer.outstandingBytes)
    up.flow()
  }

  const answered = (facts: Peer.Facts): ConnectionError.ConnectionError | undefined => {
    if (facts.pong === pings && pings > 0) {
      conversation.roundTripTime = Option.some(Duration.millis(conversation.now() - pingedAt))
      up.publish()
    }
    if (facts.goAway !== undefined) {
      conversation.leave(facts.goAway)
      watchForDrained()
    }
    return facts.close === undefined ? undefined : endedByPeer(facts.close, options.epoch)
  }

  let tunedAt = conversation.now()
  /** Windows follow what the application takes in one round trip, the delay of acknowledgements included. */
  const tune = (now: number) => {
    const roundTrip = Option.getOrElse(conversation.roundTripTime, () => Duration.zero)
    if (now - tunedAt < Duration.toMillis(Duration.sum(roundTrip, acknowledgeInterval))) return
    tunedAt = now
    peer.tune()
  }

  const digest = Effect.suspend(() => {
    const ended = answered(conversation.received())
    const now = conversation.now()
    pace.arrived(peer.movedBytes, now)
    tune(now)
    moved()
    if (peer.hasWork) work()
    else if (peer.hasNews) acknowledge()
    return ended === undefined ? Effect.void : Effect.fail(ended)
  })

  const read = Effect.gen(function* () {
    let frame = decoder.frameCount
    let wasInside = false
    let onInput = options.onInput
    while (true) {
      for (const chunk of yield* link.borrow) {
        const failed = decoder.push(chunk)
        if (failed !== undefined) return yield* violated(failed)
      }
      watchdog.received()
      if (!decoder.isInsideFrame) {
        if (wasInside) frames.rest()
      } else if (!wasInside || decoder.frameCount !== frame) frames.arrived(conversation.now())
      wasInside = decoder.isInsideFrame
      frame = decoder.frameCount
      if (onInput !== undefined) {
        yield* onInput
        onInput = undefined
      }
      isDigesting = true
      yield* digest
      isDigesting = false
      work(peer.hasData) // an answer that is there already goes at once
      for (let turns = 0; turns < lentTurnsMax && peer.channels.isLentOut; turns++) yield* Effect.yieldNow
      if (peer.channels.own()) link.keep() // whoever waited has had its turn
    }
  })

  const write = Effect.fnUntraced(function* (isWhole: boolean) {
    let isGathered = isWhole
    let bytesInTurn = 0
    while (hasWork()) {
      if (!isGathered) yield* Effect.yieldNow // so that what is sent in one turn of the event loop is one write
      isGathered = false
      if (verdict !== undefined) return
      conversation.expire()
      const written = peer.write(Math.max(0, roomBytes()))
      if (written === undefined) continue
      watchdog.sent(written.isHeartbeat)
      if (written.dataBytes > 0) {
        pace.handed(peer.movedBytes + peer.outstandingBytes, conversation.now(), !peer.hasData)
      }
      moved()
      if (peer.hasFinished) yield* digest
      isWriting = true
      yield* link.write(written.chunks as NonEmptyReadonlyArray<Uint8Array>)
      isWriting = false
      bytesInTurn += written.dataBytes
      isGathered = written.dataBytes >= joinedBytesMin && bytesInTurn < turnBytesMax
      if (!isGathered) bytesInTurn = 0
      if (peer.hasNews) acknowledge()
    }
  })

  const hasWork = () => peer.hasControl || (peer.hasData && roomBytes() > 0)
  let writing: Fiber.Fiber<void, ConnectionError.ConnectionError> | undefined
  /** Input is being handed out, and what comes of it is to be one write. */
  let isDigesting = false
  /** Nobody waits for something to write: whoever has some starts the writer. `isWhole`: nothing is to join it. */
  const work = (isWhole = false) => {
    if (isDigesting || writing !== undefined || verdict !== undefined || !hasWork()) return
    writing = start(write(isWhole))
    writing.addObserver((exit) => {
      writing = undefined
      if (Exit.isFailure(exit)) decide(Exit.failCause(exit.cause))
      else if (hasWork()) work()
    })
  }

  let mayAcknowledge = true
  let quickAcknowledgements = quickAcknowledgementsMax
  const acknowledge = () => {
    if (!mayAcknowledge || isWriting || !peer.hasNews) return
    mayAcknowledge = false
    const millis = quickAcknowledgements-- > 0 ? quickMillis : Duration.toMillis(acknowledgeInterval)
    around.alarms.set(again, around.alarms.now() + millis)
    peer.announce()
    work()
  }
  const again: Alarm = {
    due: 0,
    place: -1,
    ring: () => {
      mayAcknowledge = true
      acknowledge()
    }
  }

  let drained: (() => void) | undefined
  const watchForDrained = () => {
    drained?.()
    drained = conversation.main.onFact(
      () => conversation.isDrained,
      () => {
        if (conversation.isDrained) decide(goneAway(conversation))
      }
    )
  }

  let isEndTold = false
  const tellEnd = (error: ConnectionError.ConnectionError) => {
    if (isEndTold) return
    isEndTold = true
    bulletin.event({ _tag: "Ended", incarnation: options.incarnation, error })
  }

  const attachment: Attachment = {
    work: () => {
      work()
      up.flow()
    },
    news: acknowledge,
    end: (error, word) => {
      tellEnd(error)
      decoder.handTo(deaf)
      lastWord = word
      decide(Exit.fail(error))
    },
    wake: () => watchdog.wake(),
    policyReplaced: () => watchdog.replacePolicy()
  }

  const decided = (error: ConnectionError.ConnectionError) => {
    tellEnd(error)
    options.onVerdict?.(error)
  }

  const failed = wire.handTo(peer)
  if (failed !== undefined) {
    const error = violated(failed)
    decided(error)
    return yield* sayLast(wire, error, undefined, [], Effect.void)
  }
  if (conversation.exit !== undefined) return yield* conversation.failure()
  conversation.attach(attachment)
  peer.channels.carriedBy(link.isCopying)
  yield* Effect.addFinalizer(() => Effect.sync(() => conversation.detach(attachment)))
  if (conversation.lastWord !== undefined) peer.close(conversation.lastWord)
  peer.announce()
  up.publish()
  bulletin.event({ _tag: "Opened", incarnation: options.incarnation, opened: options.opened })

  /** Everything at once, until one of them decides. What it has started has ended before it goes on. */
  const racing = Effect.callback<never, ConnectionError.ConnectionError>((resume) => {
    passed = resume
    for (const detector of [Effect.andThen(digest, read), ...watchdog.others]) run(detector)
    if (verdict !== undefined) return resume(verdict)
    watchdog.start(around, decide)
    frames.start(around, (exit) =>
      decide(Exit.isFailure(exit) ? Exit.failCause(exit.cause) : tooSlow(exit.value.missingFor))
    )
    if (conversation.goingAway !== undefined) watchForDrained()
    work()
  })
  const running = new Set<Fiber.Fiber<unknown, ConnectionError.ConnectionError>>()
  const run = (effect: Effect.Effect<never, ConnectionError.ConnectionError>) => {
    const fiber = start(effect)
    running.add(fiber)
    fiber.addObserver((exit) => {
      running.delete(fiber)
      if (Exit.isFailure(exit)) decide(Exit.failCause(exit.cause))
    })
  }
  const stop = Effect.suspend(() => {
    passed = undefined
    verdict ??= interrupted
    watchdog.stop()
    frames.stop()
    drained?.()
    around.alarms.clear(again)
    return Fiber.interruptAll([...running])
  })
  yield* Effect.addFinalizer(() => (writing === undefined ? Effect.void : Fiber.interrupt(writing)))

  return yield* Effect.ensuring(racing, stop).pipe(
    Effect.catchDefect((defect) => {
      conversation.finish(Exit.die(defect), { code: "Failed", epoch: 0, detail: "a defect on the other side" })
      return Effect.fail(conversation.failure())
    }),
    Effect.catch((error) => {
      decided(error)
      const standing = lastWord?.code === "Fenced" ? [] : peer.positions()
      conversation.detach(attachment) // nothing of the next incarnation may reach this one
      const written = writing === undefined ? Effect.void : Fiber.await(writing)
      return sayLast(wire, error, lastWord, standing, written)
    })
  )
})

/** Tells the other side where we stand and why, and fails. A word must not land inside of what is being written. */
const sayLast = (
  wire: Wire,
  error: ConnectionError.ConnectionError,
  lastWord: LastWord | undefined,
  standing: ReadonlyArray<Frame.Control>,
  written: Effect.Effect<unknown>
) => {
  const frame = lastWord === undefined ? lastFrame(error) : { _tag: "Close" as const, ...lastWord }
  if (frame === undefined) return Effect.fail(error)
  return Effect.timeoutOption(written, lastWriteTimeout).pipe(
    Effect.flatMap((isWritten) => (Option.isSome(isWritten) ? wire.sayLast(...standing, frame) : Effect.void)),
    Effect.andThen(Effect.fail(error))
  )
}

/** What the other side is told, where it is of use to it. */
const lastFrame = ({ message, reason }: ConnectionError.ConnectionError): Frame.Control | undefined => {
  switch (reason._tag) {
    case "EndedByPeer":
      return { _tag: "Closed" }
    case "GoneAway":
      return { _tag: "Close", code: "Drained", epoch: 0, detail: "" }
    case "ProtocolViolated":
      return reason.by === "peer" ? { _tag: "Close", code: "Violated", epoch: 0, detail: message } : undefined
    default:
      return undefined
  }
}

/** Whoever takes so long for one frame holds a place that others want. It is slow, not wrong: the session goes on. */
const tooSlow = (missingFor: Duration.Duration) =>
  Exit.fail(
    ConnectionError.make(
      new ConnectionError.LinkFailed({
        cause: new Error(`a frame is incomplete after ${Duration.format(missingFor)}`),
        during: "read"
      })
    )
  )

const goneAway = (conversation: Conversation) => {
  const retryAfter = Option.map(Option.fromUndefinedOr(conversation.goingAway), ({ retryAfterMillis }) =>
    Duration.millis(retryAfterMillis)
  )
  return Exit.fail(ConnectionError.make(new ConnectionError.GoneAway({ retryAfter })))
}

const endedByPeer = ({ code, detail, epoch }: Frame.Close, ours: number): ConnectionError.ConnectionError => {
  switch (code) {
    case "Fenced":
      return ConnectionError.make(new ConnectionError.Fenced({ epoch: ours, byEpoch: epoch }))
    case "Violated":
      return ConnectionError.make(new ConnectionError.ProtocolViolated({ rule: detail, by: "us" }))
    default:
      return ConnectionError.make(new ConnectionError.EndedByPeer({ code, detail }))
  }
}

/** Nothing that still arrives on a link whose time is over may move the session. */
const deaf: Decoder.Sink = { data: () => undefined, control: () => undefined }
