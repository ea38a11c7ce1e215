/**
 * Whoever asks over a channel of requests: what waits for a slot, what was sent, and three fibers whatever the number of
 * requests. One sends, one reads the replies, one watches the patience of all.
 */
import { Cause, Clock, Effect, Exit, Latch, Stream } from "effect"
import {
  AnswerOverdue,
  ChannelReset,
  Closed,
  type ConnectionError,
  make as connectionError,
  RequestFailed
} from "../ConnectionError.ts"
import type { Evidence, Patience } from "../Patience.ts"
import type { Client } from "../Requests.ts"
import type { SessionChannel } from "../SessionChannel.ts"
import type { Codec } from "./codec.ts"
import { type Deadline, deadlineOf, Deadlines } from "./deadlines.ts"
import * as RequestRecord from "./requestRecord.ts"

export interface Codecs {
  readonly request: Codec<unknown, never>
  readonly response: Codec<unknown, never>
  readonly failure: Codec<unknown, never>
}

export interface Options {
  readonly channel: SessionChannel<Uint8Array, Uint8Array>
  readonly codecs: Codecs
  readonly outstandingMax: number
  readonly patience: Patience
}

export const make = Effect.fnUntraced(function* (options: Options) {
  const { codecs } = options
  const asking = new Asking(options, yield* Clock.Clock)
  const deadline = yield* deadlineOf(options.patience)
  const isStepped = deadline.step !== undefined

  yield* asking.replies.pipe(
    Effect.raceFirst(asking.sending),
    Effect.raceFirst(asking.deadlines.run),
    Effect.onExit((exit) => asking.finish(exit)),
    Effect.forkScoped({ startImmediately: true })
  )

  const send = (payload: Uint8Array, deadline: Deadline) =>
    Effect.callback<unknown, unknown>((resume) => asking.ask(payload, deadline, resume))

  const client: Client<unknown, unknown, unknown> = {
    ask: (request, { patience } = {}) =>
      Effect.flatMap(codecs.request.encode([request]), ([payload]) => {
        if (patience === undefined && !isStepped) return send(payload!, deadline)
        return Effect.flatMap(deadlineOf(patience ?? options.patience), (own) => send(payload!, own))
      }),
    outstanding: Effect.sync(() => asking.outstanding)
  }
  return client
})

type Resume = (outcome: Effect.Effect<unknown, unknown>) => void

/** Somebody who waits for a reply. */
interface Asked {
  readonly payload: Uint8Array
  readonly resume: Resume
  /** Ends the watch over its patience. */
  settled: (() => void) | undefined
  /** Given when it is sent. */
  slot: number
}

class Asking {
  readonly deadlines: Deadlines
  private readonly options: Options
  /** In the order in which they were asked. */
  private readonly waiting = new Set<Asked>()
  /** By slot, until the reply; nothing where nobody waits for it any more. */
  private readonly sent = new Map<number, Asked | undefined>()
  /** Slots of requests that the other side is to be told of. */
  private readonly cancelled = new Set<number>()
  private readonly freeSlots: Array<number> = []
  /** Open while there may be something to send. */
  private readonly work = Latch.makeUnsafe(false)
  private over: Cause.Cause<ConnectionError> | undefined

  constructor(options: Options, clock: Clock.Clock) {
    this.options = options
    this.deadlines = new Deadlines(clock)
    for (let slot = options.outstandingMax; slot-- > 0;) this.freeSlots.push(slot)
  }

  get outstanding(): number {
    return this.waiting.size + this.sent.size
  }

  /** Asks, and returns what withdraws it. */
  ask(payload: Uint8Array, deadline: Deadline, resume: Resume): Effect.Effect<void> | undefined {
    if (this.over !== undefined) {
      resume(Effect.failCause(this.over))
      return undefined
    }
    const asked: Asked = { payload, resume, settled: undefined, slot: -1 }
    asked.settled = this.deadlines.begin(deadline, (evidence) => this.overdue(asked, evidence))
    this.waiting.add(asked)
    this.work.openUnsafe()
    return Effect.sync(() => this.withdraw(asked))
  }

  /** Sends whenever there is something and a slot is free. */
  get sending(): Effect.Effect<never> {
    const { channel } = this.options
    const all = Effect.whileLoop({
      while: () => this.cancelled.size > 0 || (this.waiting.size > 0 && this.freeSlots.length > 0),
      body: () => {
        for (const slot of this.cancelled) {
          this.cancelled.delete(slot)
          return Effect.ignore(channel.send(RequestRecord.encode("Cancel", slot)))
        }
        const asked = this.next()
        return channel
          .send(RequestRecord.encode("Request", asked.slot, asked.payload))
          .pipe(Effect.catch((error) => Effect.sync(() => this.refused(asked, error))))
      },
      step: () => undefined
    })
    return Effect.forever(
      Effect.suspend(() => {
        this.work.closeUnsafe()
        return Effect.andThen(all, this.work.await)
      })
    )
  }

  /** Reads until the other side ends. */
  get replies(): Effect.Effect<void, ConnectionError> {
    const { channel } = this.options
    return Stream.runForEachArray(channel.messages, (batch) => {
      for (const bytes of batch) {
        const record = RequestRecord.decode(bytes)
        if (record === undefined || !RequestRecord.isReply(record) || !this.sent.has(record.slot)) {
          return channel.reset("what came is no reply to a request")
        }
        this.replied(record)
      }
      return Effect.void
    })
  }

  /** Nobody reads or sends any more: everybody who waits is told why. */
  finish(exit: Exit.Exit<void, ConnectionError>): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { channel } = this.options
      this.over = causeOf(exit, channel.name)
      const asked = [...this.waiting, ...this.sent.values()]
      this.waiting.clear()
      this.sent.clear()
      for (const each of asked) if (each !== undefined) this.settle(each, Effect.failCause(this.over))
      return Cause.hasDies(this.over) ? channel.reset("whoever asked has died") : Effect.void
    })
  }

  private next(): Asked {
    const [asked] = this.waiting
    this.waiting.delete(asked!)
    asked!.slot = this.freeSlots.pop()!
    this.sent.set(asked!.slot, asked)
    return asked!
  }

  private replied({ kind, payload, slot }: RequestRecord.Reply): void {
    const { channel, codecs } = this.options
    const asked = this.release(slot)
    if (asked === undefined) return
    switch (kind) {
      case "Success":
        return this.settle(
          asked,
          Effect.map(codecs.response.decode([payload]), ([response]) => response)
        )
      case "Failure":
        return this.settle(
          asked,
          Effect.flatMap(codecs.failure.decode([payload]), ([failure]) => Effect.fail(failure))
        )
      case "Died":
      case "Interrupted":
      case "Invalid":
        return this.settle(
          asked,
          Effect.fail(connectionError(new RequestFailed({ channel: channel.name, outcome: kind })))
        )
    }
  }

  private refused(asked: Asked, error: ConnectionError): void {
    if (this.sent.get(asked.slot) === asked) this.settle(asked, Effect.fail(error))
    this.release(asked.slot)
  }

  private overdue(asked: Asked, { asked: times, missingFor }: Evidence): void {
    const reason = new AnswerOverdue({ asked: times, missingFor, unanswered: this.outstanding })
    this.withdraw(asked)
    asked.resume(Effect.fail(connectionError(reason)))
  }

  /** Where nobody has seen it, nobody will; else the other side is told to stop. */
  private withdraw(asked: Asked): void {
    asked.settled?.()
    if (this.waiting.delete(asked) || this.sent.get(asked.slot) !== asked) return
    this.sent.set(asked.slot, undefined)
    this.cancelled.add(asked.slot)
    this.work.openUnsafe()
  }

  private settle(asked: Asked, outcome: Effect.Effect<unknown, unknown>): void {
    asked.settled?.()
    asked.resume(outcome)
  }

  /** The slot serves the next request. */
  private release(slot: number): Asked | undefined {
    const asked = this.sent.get(slot)
    this.sent.delete(slot)
    this.cancelled.delete(slot)
    this.freeSlots.push(slot)
    if (this.waiting.size > 0) this.work.openUnsafe()
    return asked
  }
}

/** What is told to whoever still waits when it is over. */
const causeOf = (exit: Exit.Exit<void, ConnectionError>, channel: string): Cause.Cause<ConnectionError> => {
  if (Exit.isSuccess(exit)) {
    const detail = "nobody answers there any more"
    return Cause.fail(connectionError(new ChannelReset({ channel, code: "Abandoned", detail, by: "peer" })))
  }
  return Cause.hasInterruptsOnly(exit.cause) ? Cause.fail(connectionError(new Closed())) : exit.cause
}
