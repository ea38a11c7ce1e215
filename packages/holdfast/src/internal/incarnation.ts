/**
 * One life of a session's link after the handshake: read, write, acknowledge and watch, racing until one of them ends
 * it. Only `write` touches the link; everything else makes plain calls.
 */
import type { Channel, Decoder, Frame, Peer } from "@holdfast/protocol"
import { Deferred, Duration, Effect, Exit, Fiber, Option } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as ConnectionError from "../ConnectionError.ts"
import * as Patience from "../Patience.ts"
import type { Opened, Up } from "../Session.ts"
import * as Watchdog from "../Watchdog.ts"
import type { Attachment, Conversation, LastWord } from "./conversation.ts"
import type { Flow } from "./flow.ts"
import { Pace } from "./pace.ts"
import { violated, type Wire } from "./wire.ts"

/** How much is handed to the link at once; what waits below must not hold up a heartbeat. */
const writeBytesMax = 131_072

/** How long the last write may take before the last word. */
const lastWriteTimeout = "1 second"

/** Acknowledgements go out at once, and then not more often than this. */
const acknowledgeInterval = Duration.millis(10)

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

/** Runs until the link ends, with the reason. */
export const run = Effect.fn("holdfast.incarnation")(function* (options: Options) {
  const { conversation, wire } = options
  const { bulletin, peer } = conversation
  const { decoder, link } = wire
  const verdict = Deferred.makeUnsafe<never, ConnectionError.ConnectionError>()
  let lastWord: LastWord | undefined
  let isWriting = false
  let isOver = false
  const up = picture(options)

  let pings = 0
  let pingedAt = conversation.now()
  const watchdog = yield* Watchdog.make({
    policy: () => conversation.policy,
    probe: () => {
      pingedAt = conversation.now()
      peer.ping(++pings)
      writer.signal()
    },
    beat: () => {
      peer.heartbeat()
      writer.signal()
    },
    onStalled: up.stalled,
    onAsk: (detector, evidence) => {
      if (detector !== "heartbeat") bulletin.event({ _tag: "Asked", detector, evidence })
    },
    roundTripTime: () => conversation.roundTripTime,
    detectors: options.detectors
  })
  const frames = Patience.watch({ patience: options.frame, anchor: undefined })
  const pace = new Pace(peer.movedBytes, conversation.now(), Duration.toMillis(acknowledgeInterval))
  const roomBytes = () => Math.min(writeBytesMax, pace.bytesMax - peer.outstandingBytes)
  const writer = waker(() => peer.hasControl || isOver || (peer.hasData && roomBytes() > 0))
  const acknowledger = waker(() => peer.hasNews && !isWriting)

  const moved = () => {
    watchdog.moved(peer.movedBytes, peer.outstandingBytes)
    up.flow()
  }

  const answered = (facts: Peer.Facts): ConnectionError.ConnectionError | undefined => {
    if (facts.pong === pings && pings > 0) {
      conversation.roundTripTime = Option.some(Duration.millis(conversation.now() - pingedAt))
      up.publish()
    }
    if (facts.goAway !== undefined) conversation.leave(facts.goAway)
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
    if (peer.hasWork) writer.signal()
    else if (peer.hasNews) acknowledger.signal()
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
      yield* digest
      if (peer.channels.own()) link.keep() // whoever waited has had its turn
    }
  })

  const write = Effect.gen(function* () {
    while (true) {
      yield* writer.wait
      yield* Effect.yieldNow // so that what is sent in one turn of the event loop is one write
      if (isOver) return
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
      if (peer.hasNews) acknowledger.signal()
    }
  })

  const acknowledge = Effect.gen(function* () {
    while (true) {
      yield* acknowledger.wait
      peer.announce()
      writer.signal()
      yield* Effect.sleep(acknowledgeInterval)
    }
  })

  let isEndTold = false
  const tellEnd = (error: ConnectionError.ConnectionError) => {
    if (isEndTold) return
    isEndTold = true
    bulletin.event({ _tag: "Ended", incarnation: options.incarnation, error })
  }

  const attachment: Attachment = {
    work: () => {
      writer.signal()
      up.flow()
    },
    news: acknowledger.signal,
    end: (error, word) => {
      tellEnd(error)
      decoder.handTo(deaf)
      lastWord = word
      Deferred.doneUnsafe(verdict, Exit.fail(error))
    },
    wake: watchdog.wake,
    policyReplaced: watchdog.replacePolicy
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

  const writing = yield* Effect.forkScoped(write)
  return yield* Effect.raceAllFirst([
    Effect.andThen(digest, read),
    Effect.andThen(Fiber.join(writing), Effect.never),
    acknowledge,
    watchdog.run,
    Effect.flatMap(frames.run, ({ missingFor }) => Effect.fail(tooSlow(missingFor))),
    conversation
      .awaitFact(() => conversation.isDrained)
      .pipe(Effect.andThen(Effect.suspend(() => (conversation.isDrained ? goneAway(conversation) : Effect.never)))),
    Deferred.await(verdict)
  ]).pipe(
    Effect.catchDefect((defect) => {
      conversation.finish(Exit.die(defect), { code: "Failed", epoch: 0, detail: "a defect on the other side" })
      return Effect.fail(conversation.failure())
    }),
    Effect.catch((error) => {
      decided(error)
      const standing = lastWord?.code === "Fenced" ? [] : peer.positions()
      conversation.detach(attachment) // nothing of the next incarnation may reach this one
      isOver = true
      writer.signal()
      return sayLast(wire, error, lastWord, standing, Fiber.await(writing))
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
  ConnectionError.make(
    new ConnectionError.LinkFailed({
      cause: new Error(`a frame is incomplete after ${Duration.format(missingFor)}`),
      during: "read"
    })
  )

const goneAway = (conversation: Conversation) => {
  const retryAfter = Option.map(Option.fromUndefinedOr(conversation.goingAway), ({ retryAfterMillis }) =>
    Duration.millis(retryAfterMillis)
  )
  return Effect.fail(ConnectionError.make(new ConnectionError.GoneAway({ retryAfter })))
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

/** Lets one fiber wait for a condition that plain calls bring about. */
const waker = (isDue: () => boolean) => {
  let waiting: (() => void) | undefined
  return {
    signal: () => {
      const wake = waiting
      waiting = undefined
      wake?.()
    },
    wait: Effect.callback<void>((resume) => {
      if (isDue()) return resume(Effect.void)
      waiting = () => resume(Effect.void)
      return Effect.sync(() => {
        waiting = undefined
      })
    })
  }
}

/** The picture of this incarnation, published whenever it changes. */
const picture = ({ conversation, incarnation, opened }: Options) => {
  const { peer } = conversation
  const wall = () => conversation.clock.currentTimeMillisUnsafe()
  const since = wall()
  let stalledSince: number | undefined
  const credit = waitingOn(conversation, peer.awaitingCredit, "creditAwaitedSince")
  const consumer = waitingOn(conversation, peer.full, "consumerSlowSince")

  const publish = () => {
    const state: Up = {
      _tag: "Up",
      incarnation,
      opened,
      since,
      roundTripTime: conversation.roundTripTime,
      stalledSince: Option.fromUndefinedOr(stalledSince),
      creditAwaitedSince: Option.fromUndefinedOr(credit.first()?.creditAwaitedSince),
      creditAwaitedOn: Option.fromUndefinedOr(credit.first()?.channel.name),
      consumerSlowSince: Option.fromUndefinedOr(consumer.first()?.consumerSlowSince),
      consumerSlowOn: Option.fromUndefinedOr(consumer.first()?.channel.name)
    }
    conversation.publish(state)
  }
  return {
    publish,
    stalled: (at: number | undefined) => {
      if (at !== undefined) conversation.bulletin.event({ _tag: "Stalled", since: at })
      else if (stalledSince !== undefined) {
        conversation.bulletin.event({ _tag: "Moved", stalledFor: Duration.millis(wall() - stalledSince) })
      }
      stalledSince = at
      publish()
    },
    flow: () => {
      const isOther = credit.look(wall)
      if (consumer.look(wall) || isOther) publish()
    }
  }
}

/** Channels that wait for something, and since when. Almost always there are none. */
const waitingOn = (
  { flows }: Conversation,
  channels: ReadonlySet<Channel.Channel>,
  since: "creditAwaitedSince" | "consumerSlowSince"
) => {
  const waiting = new Set<Flow>()
  const first = (): Flow | undefined => waiting.values().next().value
  return {
    first,
    /** Whether another one is the first now. */
    look: (wall: () => number): boolean => {
      if (channels.size === 0 && waiting.size === 0) return false
      const before = first()
      for (const flow of waiting) {
        if (channels.has(flow.channel)) continue
        flow[since] = undefined
        waiting.delete(flow)
      }
      for (const channel of channels) {
        const flow = flows.get(channel)
        if (flow === undefined || waiting.has(flow)) continue
        flow[since] = wall()
        waiting.add(flow)
      }
      return first() !== before
    }
  }
}
