/**
 * Whoever answers over a channel of requests: one fiber that reads and begins to handle, one for each request whose handler
 * has to wait, and one that sends the replies for which there is no room. It always reads, so that a `Cancel` never waits
 * behind requests.
 */
import { Cause, Effect, Exit, FiberMap, Latch, Option } from "effect"
import type { Scope, Semaphore } from "effect"
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
  const handling = yield* FiberMap.make<number, Answer>()
  const work = Latch.makeUnsafe(false)
  let replies: Array<Reply> = []
  let isReading = false
  let isOver = false
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      isOver = true // before the handlers are interrupted: nobody waits for what they have to say of that
    })
  )

  const replied = (slot: number, exit: Exit.Exit<Answer>) => {
    if (isOver) return
    const { kind, payload } = Exit.isSuccess(exit) ? exit.value : { kind: endOf(exit.cause), payload: nothing }
    if (replies.length > 0 || !outbox.tryAppend(RequestRecord.head(kind, slot), payload)) {
      replies.push({ kind, slot, payload })
      work.openUnsafe()
    } else if (!isReading) outbox.appended()
  }

  /** Nearly every handler is done, or waits for something, when it has been called. */
  const begin = (slot: number, payload: Uint8Array) => {
    const answering = answer(options, payload)
    if (Exit.isExit(answering)) return replied(slot, answering as Exit.Exit<Answer>)
    const fiber = fork(answering)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return replied(slot, exit)
    FiberMap.setUnsafe(handling, slot, fiber)
    fiber.addObserver((exit) => replied(slot, exit))
  }

  /** Whether the question may be asked. */
  const heard = ({ kind, payload, slot }: RequestRecord.RequestRecord): boolean => {
    if (kind === "Cancel") {
      Option.map(FiberMap.getUnsafe(handling, slot), (fiber) => fiber.interruptUnsafe())
    } else if (kind !== "Request" || slot >= outstandingMax || FiberMap.hasUnsafe(handling, slot)) return false
    else begin(slot, payload)
    return true
  }

  /** Whether all of them may be asked. */
  const allHeard = (batch: ReadonlyArray<Uint8Array>): boolean => {
    isReading = true
    try {
      return batch.every((bytes) => {
        const record = RequestRecord.decode(bytes)
        return record !== undefined && heard(record)
      })
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
  readonly kind: RequestRecord.Reply["kind"]
  readonly payload: Uint8Array
}

interface Reply extends Answer {
  readonly slot: number
}

/** From the request to its answer; an Exit where that is there at once, as of bytes and a handler that has them ready. */
const answer = <R>(options: Options<R>, payload: Uint8Array): Effect.Effect<Answer, never, R> => {
  const { codecs } = options
  if (codecs.request.isBytes) {
    const answered = handled(options, payload)
    return Exit.isExit(answered) && Exit.isSuccess(answered) ? answered : logged(answered)
  }
  return Effect.matchEffect(codecs.request.decode([payload]), {
    onFailure: () => Effect.succeed<Answer>({ kind: "Invalid", payload: nothing }),
    onSuccess: ([request]) => handled(options, request)
  }).pipe(logged)
}

const handled = <R>({ codecs, handler, permits }: Options<R>, request: unknown): Effect.Effect<Answer, never, R> => {
  const once =
    permits === undefined ? called(handler, request) : permits.withPermit(Effect.suspend(() => handler(request)))
  return Exit.isExit(once)
    ? concluded(codecs, once)
    : Effect.flatMap(Effect.exit(once), (exit) => concluded(codecs, exit))
}

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
  const { value } = exit
  return response.isBytes && value instanceof Uint8Array
    ? Exit.succeed({ kind: "Success", payload: value })
    : encoded("Success", response.encode([value]))
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
