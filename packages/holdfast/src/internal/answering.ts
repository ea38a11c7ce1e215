/**
 * Whoever answers over a channel of requests: one fiber that reads and begins to handle, one for each request whose handler
 * has to wait, and one that sends the replies for which there is no room. It always reads, so that a `Cancel` never waits
 * behind requests.
 */
import { Cause, Effect, Exit, FiberSet, Latch, Option } from "effect"
import type { Fiber, Scope, Semaphore } from "effect"
import type { ConnectionError } from "../ConnectionError.ts"
import type { SessionChannel } from "../SessionChannel.ts"
import type { Codecs } from "./asking.ts"
import { flowOf } from "./channels.ts"
import * as RequestRecord from "./requestRecord.ts"

export interface Options<R> {
  readonly channel: SessionChannel<Uint8Array, Uint8Array>
  readonly codecs: Codecs
  readonly outstandingMax: number
  readonly handler: (request: unknown) => Effect.Effect<unknown, unknown, R>
  /** How many handlers may run. */
  readonly permits: Semaphore.Semaphore | undefined
}

/** Answers until the other side has ended. */
export const run = Effect.fnUntraced(function* <R>(
  options: Options<R>
): Effect.fn.Return<void, ConnectionError, R | Scope.Scope> {
  const { channel, outstandingMax } = options
  const flow = flowOf(channel)
  const { outbox } = flow
  const fork = Effect.runForkWith(yield* Effect.context<R>())
  const handling = yield* FiberSet.make<Answer>()
  /** By slot. */
  const handlers: Array<Fiber.Fiber<Answer> | undefined> = []
  const work = Latch.makeUnsafe(false)
  let replies: Array<Reply> = []
  let isReading = false
  let isOver = false
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      isOver = true // before the handlers are interrupted: nobody waits for what they have to say of that
    })
  )

  const ended = (slot: number, exit: Exit.Exit<Answer>) =>
    Exit.isSuccess(exit)
      ? replied(slot, exit.value.kind, exit.value.payload)
      : replied(slot, endOf(exit.cause), nothing)

  const replied = (slot: number, kind: RequestRecord.ReplyKind, payload: Uint8Array) => {
    if (isOver) return
    if (replies.length > 0 || !outbox.tryAppend(RequestRecord.head(kind, slot), payload)) {
      replies.push({ kind, slot, payload })
      work.openUnsafe()
    } else if (!isReading) outbox.appended()
  }

  /** Nearly every handler is done, or waits for something, when it has been called. */
  const begin = (slot: number, payload: Uint8Array) => {
    const answering = answer(options, payload)
    if (answering instanceof Uint8Array) return replied(slot, "Success", answering)
    const fiber = fork(answering)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return ended(slot, exit)
    handlers[slot] = fiber
    FiberSet.addUnsafe(handling, fiber)
    fiber.addObserver((exit) => {
      handlers[slot] = undefined
      ended(slot, exit)
    })
  }

  /** Whether it may be asked. */
  const heard = (bytes: Uint8Array): boolean => {
    const kind = RequestRecord.kindOf(bytes)
    const slot = RequestRecord.slotOf(bytes)
    if (kind === "Cancel") handlers[slot]?.interruptUnsafe()
    else if (kind !== "Request" || slot >= outstandingMax || handlers[slot] !== undefined) return false
    else begin(slot, RequestRecord.payloadOf(bytes))
    return true
  }

  /** Whether all of them may be asked. */
  const allHeard = (batch: ReadonlyArray<Uint8Array>): boolean => {
    isReading = true
    try {
      return batch.every(heard)
    } finally {
      isReading = false
      outbox.appended()
    }
  }

  const pull = flow.pull(false)
  const reading = Effect.gen(function* () {
    while (true) {
      const batch = yield* pull
      if (batch === undefined) return
      if (!allHeard(batch)) yield* channel.reset("what came is no request that may be asked")
    }
  })

  const sending = Effect.forever(
    Effect.suspend(() => {
      work.closeUnsafe()
      const batch = replies
      replies = []
      return Effect.andThen(
        Effect.forEach(batch, (reply) => send(channel, reply), { discard: true }),
        work.await
      )
    })
  )

  yield* Effect.raceFirst(reading, sending)
})

/** What a request comes to. */
interface Answer {
  readonly kind: RequestRecord.ReplyKind
  readonly payload: Uint8Array
}

interface Reply extends Answer {
  readonly slot: number
}

/** From the request to its answer; the response where it is there at once, as of bytes and a handler that has them ready. */
const answer = <R>(options: Options<R>, payload: Uint8Array): Effect.Effect<Answer, never, R> | Uint8Array => {
  const { codecs, handler, permits } = options
  if (codecs.request.isBytes && permits === undefined) {
    const once = called(handler, payload)
    if (!Exit.isExit(once)) return logged(waitedFor(codecs, once))
    return isBytesReady(codecs, once) ? once.value : logged(concluded(codecs, once))
  }
  const handled = (request: unknown) => {
    const once = Effect.suspend(() => handler(request))
    return waitedFor(codecs, permits === undefined ? once : permits.withPermit(once))
  }
  return Effect.matchEffect(codecs.request.decode([payload]), {
    onFailure: () => Effect.succeed<Answer>({ kind: "Invalid", payload: nothing }),
    onSuccess: ([request]) => handled(request)
  }).pipe(logged)
}

const isBytesReady = (
  { response }: Codecs,
  exit: Exit.Exit<unknown, unknown>
): exit is Exit.Success<Uint8Array, unknown> =>
  response.isBytes && exit._tag === "Success" && exit.value instanceof Uint8Array

const waitedFor = <R>(codecs: Codecs, once: Effect.Effect<unknown, unknown, R>): Effect.Effect<Answer, never, R> =>
  Effect.flatMap(Effect.exit(once), (exit) => concluded(codecs, exit))

/** What a handler throws is a defect of its effect. */
const called = <R>(handler: Options<R>["handler"], request: unknown): Effect.Effect<unknown, unknown, R> => {
  try {
    return handler(request)
  } catch (defect) {
    return Effect.die(defect)
  }
}

const concluded = ({ failure, response }: Codecs, exit: Exit.Exit<unknown, unknown>): Effect.Effect<Answer> => {
  if (Exit.isFailure(exit)) {
    const { cause } = exit
    return Option.match(Cause.findErrorOption(cause), {
      onNone: () => Effect.failCause(cause as Cause.Cause<never>),
      onSome: (error) => encoded("Failure", failure.encode([error]))
    })
  }
  return encoded("Success", response.encode([exit.value]))
}

/** What does not encode is a defect of the handler. */
const encoded = (
  kind: Answer["kind"],
  bytes: Effect.Effect<ReadonlyArray<Uint8Array>, ConnectionError>
): Effect.Effect<Answer> => Effect.orDie(Effect.map(bytes, ([payload]): Answer => ({ kind, payload: payload! })))

const logged = <R>(answer: Effect.Effect<Answer, never, R>): Effect.Effect<Answer, never, R> =>
  Effect.tapCause(answer, (cause) =>
    Cause.hasDies(cause) ? Effect.logError("the handler of a request died", cause) : Effect.void
  )

const endOf = (cause: Cause.Cause<never>): "Died" | "Interrupted" => (Cause.hasDies(cause) ? "Died" : "Interrupted")

/** A reply that may not be sent, being too large, is a defect of the handler. After the end of the channel nobody waits. */
const send = (channel: SessionChannel<Uint8Array, Uint8Array>, { kind, payload, slot }: Reply): Effect.Effect<void> =>
  Effect.catch(channel.send(RequestRecord.encode(kind, slot, payload)), (error) => {
    switch (error.reason._tag) {
      case "MessageTooLarge":
      case "BacklogExceeded":
        return Effect.andThen(
          Effect.logError("the response of a handler cannot be sent", error),
          Effect.ignore(channel.send(RequestRecord.encode("Died", slot)))
        )
      default:
        return Effect.void
    }
  })

const { nothing } = RequestRecord
