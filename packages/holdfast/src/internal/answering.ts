/**
 * Whoever answers over a channel of requests: a fiber for each request that is being handled, one that reads, and one
 * that sends the replies. It always reads, so that a `Cancel` never waits behind requests.
 */
import { Cause, Effect, Exit, FiberMap, Latch, Option, Stream } from "effect"
import type { Scope, Semaphore } from "effect"
import type { ConnectionError } from "../ConnectionError.ts"
import type { SessionChannel } from "../SessionChannel.ts"
import type { Codecs } from "./asking.ts"
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
  const handling = yield* FiberMap.make<number, Uint8Array>()
  const fork = yield* FiberMap.runtime(handling)<R>()
  const work = Latch.makeUnsafe(false)
  let replies: Array<Uint8Array> = []

  const begin = ({ payload, slot }: RequestRecord.RequestRecord) => {
    fork(slot, answer(options, slot, payload)).addObserver((exit) => {
      replies.push(Exit.isSuccess(exit) ? exit.value : RequestRecord.encode(endOf(exit.cause), slot))
      work.openUnsafe()
    })
  }

  /** Whether the question may be asked. */
  const heard = (record: RequestRecord.RequestRecord): boolean => {
    const { kind, slot } = record
    const running = FiberMap.getUnsafe(handling, slot)
    if (kind === "Cancel") Option.map(running, (fiber) => fiber.interruptUnsafe())
    else if (kind !== "Request" || slot >= outstandingMax || Option.isSome(running)) return false
    else begin(record)
    return true
  }

  const reading = Stream.runForEachArray(channel.messages, (batch) => {
    for (const bytes of batch) {
      const record = RequestRecord.decode(bytes)
      if (record === undefined || !heard(record)) return channel.reset("what came is no request that may be asked")
    }
    return Effect.void
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

/** From the request to the record of its reply. */
const answer = <R>({ codecs, handler, permits }: Options<R>, slot: number, payload: Uint8Array) => {
  const handled = (request: unknown) => {
    const once = Effect.suspend(() => handler(request))
    return permits === undefined ? once : permits.withPermit(once)
  }
  return Effect.matchEffect(codecs.request.decode([payload]), {
    onFailure: () => Effect.succeed(RequestRecord.encode("Invalid", slot)),
    onSuccess: ([request]) =>
      Effect.matchEffect(handled(request), {
        onFailure: (failure) =>
          Effect.map(codecs.failure.encode([failure]), ([bytes]) => RequestRecord.encode("Failure", slot, bytes)),
        onSuccess: (response) =>
          Effect.map(codecs.response.encode([response]), ([bytes]) => RequestRecord.encode("Success", slot, bytes))
      })
  }).pipe(
    Effect.orDie,
    Effect.tapCause((cause) =>
      Cause.hasDies(cause) ? Effect.logError("the handler of a request died", cause) : Effect.void
    )
  )
}

const endOf = (cause: Cause.Cause<never>): "Died" | "Interrupted" => (Cause.hasDies(cause) ? "Died" : "Interrupted")

/** A reply that may not be sent, being too large, is a defect of the handler. After the end of the channel nobody waits. */
const send = (channel: SessionChannel<Uint8Array, Uint8Array>, reply: Uint8Array): Effect.Effect<void> =>
  Effect.catch(channel.send(reply), (error) => {
    const { slot } = RequestRecord.decode(reply)!
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
