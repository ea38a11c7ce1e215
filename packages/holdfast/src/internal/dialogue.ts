/**
 * One life of a connection's link, in its dialect: read, write and watch, racing until one of them ends it. Only `write`
 * touches the link; everything else makes plain calls.
 */
import { Deferred, Duration, Effect, Exit, Latch, Option } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as ConnectionError from "../ConnectionError.ts"
import type { Up } from "../Connection.ts"
import type * as Link from "../Link.ts"
import * as Watchdog from "../Watchdog.ts"
import type { Item } from "./backlog.ts"
import { type Attachment, type Exchange, violated } from "./exchange.ts"
import { Inbox } from "./inbox.ts"

/** How much is handed to the link at once: what waits below must not hold up an answer to a ping. */
const writeBytesMax = 65_536

/** How much may wait to be answered to a peer that asks and does not read. */
const answersBytesMax = 65_536

/** How soon it is found out what has arrived, and how soon while a sender waits for room. */
const inquireMillis = 1000
const inquireSoonMillis = 50

export interface Options<Send, Receive> {
  readonly exchange: Exchange<Send, Receive>
  readonly link: Link.Opened
  readonly endpoint: number
  readonly detectors: ReadonlyArray<Watchdog.Detector>
}

export interface Dialogue<Send, Receive> {
  /** Hands a message over before any of the application's. */
  readonly send: (item: Item<Send>) => void
  /** Asks, behind what was sent so far, and waits for the answer. */
  readonly ping: Effect.Effect<void>
  /** The next message, before any is the application's. */
  readonly receive: Effect.Effect<Receive, ConnectionError.ConnectionError>
  /** Fails when the link has ended. */
  readonly failure: Effect.Effect<never, ConnectionError.ConnectionError>
  /** From here on the application's messages flow. Never succeeds. */
  readonly run: (incarnation: number) => Effect.Effect<never, ConnectionError.ConnectionError>
}

/** A ping, and whoever waits for its answer. */
interface Asking {
  readonly answered?: (() => void) | undefined
}

/** What goes out before messages. A ping gets its bytes when it is written, in order with all else. */
type Control = { readonly ping: "probe" | "heartbeat" } | { readonly answer: Uint8Array }

/** Begins to read and write. It lasts as long as its scope. */
export const begin = Effect.fnUntraced(function* <Send, Receive>(options: Options<Send, Receive>) {
  const { exchange, link } = options
  const { backlog, bulletin } = exchange
  const speech = exchange.dialect.begin()
  const verdict = Deferred.makeUnsafe<never, ConnectionError.ConnectionError>()

  const control: Array<Control> = []
  const first: Array<Item<Send> | Asking> = []
  const pings: Array<Asking & { readonly position: number; readonly at: number }> = []
  const opening = new Inbox<Receive>(exchange.readAheadBytesMax)
  let watchdog: Watchdog.Watchdog | undefined
  let picture: Picture | undefined
  let isUp = false
  let answersBytes = 0
  let handedBytes = 0
  let takenBytes = 0
  let receivedAt = exchange.now()

  // ---- writing

  const work = Latch.makeUnsafe(false)
  const hasWork = () => control.length > 0 || first.length > 0 || (isUp && !backlog.isEmpty)
  const add = (entry: Control) => {
    control.push(entry)
    work.openUnsafe()
  }
  const ask = (ping: "probe" | "heartbeat") => {
    if (speech.ping !== undefined && !control.some((entry) => "ping" in entry)) add({ ping })
  }

  const bytesOf = (entry: Control): Uint8Array => {
    if ("answer" in entry) {
      answersBytes -= entry.answer.length
      return entry.answer
    }
    return bytesOfPing({})
  }

  const bytesOfPing = ({ answered }: Asking): Uint8Array => {
    const bytes = speech.ping!()
    pings.push({ position: handedBytes, at: exchange.now(), answered })
    return bytes
  }

  /** What is to be written next, which is handed over with this call. */
  const next = (): { readonly chunks: Array<Uint8Array>; readonly isHeartbeat: boolean } => {
    const chunks: Array<Uint8Array> = []
    let isHeartbeat = true
    const append = (bytes: Uint8Array) => {
      handedBytes += bytes.length
      if (bytes.length > 0) chunks.push(bytes)
    }
    for (const entry of control.splice(0)) {
      if (!("ping" in entry) || entry.ping === "probe") isHeartbeat = false
      append(bytesOf(entry))
    }
    for (const entry of first.splice(0)) {
      isHeartbeat = false
      if ("message" in entry) {
        append(entry.bytes)
        speech.said?.(entry.message)
      } else append(bytesOfPing(entry))
    }
    if (!isUp || chunks.length > 0) return { chunks, isHeartbeat }
    for (const item of backlog.hand(writeBytesMax)) {
      append(item.bytes)
      item.end = handedBytes
      speech.said?.(item.message)
      exchange.expectations?.handed(item)
    }
    return { chunks, isHeartbeat: false }
  }

  const handOver = Effect.fnUntraced(function* (chunks: NonEmptyReadonlyArray<Uint8Array>) {
    const dog = watchdog
    const bytes = chunks.reduce((total, { length }) => total + length, 0)
    dog?.writing(bytes)
    yield* link.write(chunks)
    takenBytes += bytes
    dog?.written(bytes)
    if (settles === "when taken") backlog.arrived(takenBytes)
  })

  const write = Effect.gen(function* () {
    while (true) {
      while (!hasWork()) {
        work.closeUnsafe()
        yield* work.await
      }
      yield* Effect.yieldNow // so that what is sent in one turn of the event loop is one write
      const { chunks, isHeartbeat } = next()
      watchdog?.sent(isHeartbeat)
      for (const batch of batches(chunks)) yield* handOver(batch)
      inquiry.openUnsafe()
    }
  })

  // ---- what has arrived

  const settles: "when taken" | "by ping" | "by progress" =
    exchange.fateUnknown === "drop"
      ? "when taken"
      : speech.ping !== undefined
        ? "by ping"
        : link.progress !== undefined
          ? "by progress"
          : "when taken"

  /** As far as the link tells. What it still holds is counted from the end of all that was handed to it. */
  const look = () => {
    const progress = link.progress?.()
    const queuedBytes = Math.max(progress?.queuedBytes ?? 0, handedBytes - takenBytes)
    backlog.arrived(handedBytes - queuedBytes - (progress?.unacknowledgedBytes ?? 0))
  }

  const inquiry = Latch.makeUnsafe(false)
  const hurry = Latch.makeUnsafe(false)
  const inquire = Effect.gen(function* () {
    if (settles === "when taken") return yield* Effect.never
    while (true) {
      while (!backlog.isFateUnknown) {
        inquiry.closeUnsafe()
        yield* inquiry.await
      }
      const isUrgent = backlog.isAwaited || exchange.isClosing
      hurry.closeUnsafe()
      yield* Effect.raceFirst(
        Effect.sleep(isUrgent ? inquireSoonMillis : inquireMillis),
        isUrgent ? Effect.never : hurry.await
      )
      if (settles === "by progress") look()
      else if (pings.length === 0) ask("probe")
    }
  })

  // ---- reading

  /** From a chunk to the application; returns what is wrong, after what was right. */
  const digest = (chunk: Uint8Array): ConnectionError.ConnectionError | undefined => {
    const messages: Array<Receive> = []
    const violation = speech.hear(chunk, {
      message: (message) => {
        if (!isUp || exchange.expectations?.received(message) !== true) messages.push(message)
      },
      pong: () => {
        const ping = pings.shift()
        if (ping === undefined) return
        exchange.roundTripTime = Option.some(Duration.millis(exchange.now() - ping.at))
        if (settles === "by ping") backlog.arrived(ping.position)
        ping.answered?.()
        picture?.publish()
      },
      answer: (bytes) => {
        answersBytes += bytes.length
        add({ answer: bytes })
      }
    })
    if (messages.length > 0) (isUp ? exchange.inbox : opening).push(messages, chunk.length)
    if (violation !== undefined) return violated(violation)
    if (answersBytes <= answersBytesMax) return undefined
    return ConnectionError.make(
      new ConnectionError.BacklogExceeded({
        messages: control.length,
        bytes: answersBytes,
        messagesMax: answersBytesMax,
        bytesMax: answersBytesMax
      })
    )
  }

  const awaitRoom = Effect.gen(function* () {
    watchdog?.listening(false)
    picture?.consumerSlow(true)
    while (true) {
      const inbox: Inbox<Receive> = isUp ? exchange.inbox : opening
      if (!inbox.isFull) break
      yield* inbox.room.await
    }
    watchdog?.listening(true)
    picture?.consumerSlow(false)
  })

  const read = Effect.gen(function* () {
    while (true) {
      if ((isUp ? exchange.inbox : opening).isFull) yield* awaitRoom
      const chunks = yield* link.pull
      receivedAt = exchange.now()
      watchdog?.received()
      for (const chunk of chunks) {
        const failed = digest(chunk)
        if (failed !== undefined) return yield* failed
      }
    }
  })

  // ---- living

  const run = Effect.fnUntraced(function* (incarnation: number) {
    picture = pictureOf(exchange, incarnation, options.endpoint)
    const { publish, stalled } = picture
    watchdog = yield* Watchdog.make({
      policy: () => exchange.policy,
      probe: () => ask("probe"),
      beat: () => ask("heartbeat"),
      onStalled: stalled,
      onAsk: (detector, evidence) => {
        if (detector !== "heartbeat") bulletin.event({ _tag: "Asked", detector, evidence })
      },
      roundTripTime: () => exchange.roundTripTime,
      progress: link.progress,
      detectors: options.detectors
    })
    const { replacePolicy, wake } = watchdog
    const attachment: Attachment = {
      work: () => work.openUnsafe(),
      ask: wake,
      inquire: () => hurry.openUnsafe(),
      end: (error) => void Deferred.doneUnsafe(verdict, Exit.fail(error)),
      endedBy: undefined,
      policyReplaced: replacePolicy,
      receivedAt: () => receivedAt
    }
    isUp = true
    const { bytes, messages } = opening.drain()
    const unanswered = messages.filter((message) => exchange.expectations?.received(message) !== true)
    if (unanswered.length > 0) exchange.inbox.push(unanswered, bytes)
    exchange.attach(attachment)
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        isUp = false // nothing of the next incarnation may reach this one
        exchange.detach(attachment)
      })
    )
    publish()
    bulletin.event({ _tag: "Opened", incarnation, endpoint: options.endpoint })
    work.openUnsafe()
    return yield* Effect.raceAllFirst([Deferred.await(verdict), watchdog.run, inquire]).pipe(
      Effect.tapError((error) => Effect.sync(() => void (attachment.endedBy = error)))
    )
  })

  const judged = Effect.onExit((exit: Exit.Exit<never, ConnectionError.ConnectionError>) =>
    Effect.sync(() => {
      if (!Exit.hasInterrupts(exit)) Deferred.doneUnsafe(verdict, exit) // a defect ends it as well
    })
  )
  yield* Effect.forkScoped(judged(read))
  yield* Effect.forkScoped(judged(write))
  const sendFirst = (entry: Item<Send> | Asking) => {
    first.push(entry)
    work.openUnsafe()
  }
  const dialogue: Dialogue<Send, Receive> = {
    send: sendFirst,
    ping: Effect.callback<void>((resume) => {
      if (speech.ping === undefined) return resume(Effect.die(new TypeError("this dialect has no ping to send")))
      sendFirst({ answered: () => resume(Effect.void) })
    }),
    receive: opening.next,
    failure: Deferred.await(verdict),
    run: (incarnation) => Effect.scoped(run(incarnation))
  }
  return dialogue
})

/** Chunks in pieces that the link is handed at once, so that each piece it takes is progress. */
function* batches(chunks: ReadonlyArray<Uint8Array>): Generator<NonEmptyReadonlyArray<Uint8Array>> {
  let batch: Array<Uint8Array> = []
  let bytes = 0
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += writeBytesMax) {
      const piece = chunk.subarray(at, at + writeBytesMax)
      if (bytes + piece.length > writeBytesMax && batch.length > 0) {
        yield batch as unknown as NonEmptyReadonlyArray<Uint8Array>
        batch = []
        bytes = 0
      }
      batch.push(piece)
      bytes += piece.length
    }
  }
  if (batch.length > 0) yield batch as unknown as NonEmptyReadonlyArray<Uint8Array>
}

/** The picture of this incarnation, published whenever it changes. */
const pictureOf = <Send, Receive>(exchange: Exchange<Send, Receive>, incarnation: number, endpoint: number) => {
  const wall = () => exchange.clock.currentTimeMillisUnsafe()
  const since = wall()
  let stalledSince: number | undefined
  let consumerSlowSince: number | undefined

  const publish = () => {
    const state: Up = {
      _tag: "Up",
      incarnation,
      endpoint,
      since,
      roundTripTime: exchange.roundTripTime,
      stalledSince: Option.fromUndefinedOr(stalledSince),
      consumerSlowSince: Option.fromUndefinedOr(consumerSlowSince)
    }
    exchange.publish(state)
  }
  return {
    publish,
    stalled: (at: number | undefined) => {
      if (at !== undefined) exchange.bulletin.event({ _tag: "Stalled", since: at })
      else if (stalledSince !== undefined) {
        exchange.bulletin.event({ _tag: "Moved", stalledFor: Duration.millis(wall() - stalledSince) })
      }
      stalledSince = at
      publish()
    },
    consumerSlow: (isSlow: boolean) => {
      consumerSlowSince = isSlow ? wall() : undefined
      publish()
    }
  }
}

type Picture = ReturnType<typeof pictureOf>
