/**
 * Whoever asks over a channel of requests: what waits for a slot, what was sent, and three fibers whatever the number of
 * requests. One reads the replies, one watches the patience of all, and one sends what has to wait for room.
 *
 * Nearly always there is room: then a request is a plain call from whoever asks into the channel's replay buffer, and its
 * reply one from the reader into the fiber that waits.
 */
import { Cause, Clock, Effect, Exit, Latch } from "effect"
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
import { Asked, AskedAlone, AskedTogether, type Outcome, type Owner, type Resume } from "./asked.ts"
import { flowOf } from "./channels.ts"
import type { Codec } from "./codec.ts"
import { type Deadline, deadlineOf, Deadlines } from "./deadlines.ts"
import type { Flow } from "./flow.ts"
import * as RequestRecord from "./requestRecord.ts"
import { Together } from "./together.ts"

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
    ask: (request, { patience } = {}) => {
      const isUsual = patience === undefined && !isStepped
      if (isUsual && codecs.request.isBytes && request instanceof Uint8Array) return send(request, deadline)
      return Effect.flatMap(
        Effect.suspend(() => codecs.request.encode([request])),
        ([payload]) =>
          isUsual
            ? send(payload!, deadline)
            : Effect.flatMap(deadlineOf(patience ?? options.patience), (own) => send(payload!, own))
      )
    },
    askAll: (requests, { patience } = {}) =>
      Effect.flatMap(
        Effect.suspend(() => codecs.request.encode(requests)),
        (payloads) => {
          const own = Effect.suspend(() => deadlineOf(patience ?? options.patience))
          const deadlines =
            patience === undefined && !isStepped
              ? Effect.succeed(payloads.map(() => deadline))
              : Effect.forEach(payloads, () => own)
          return Effect.flatMap(deadlines, (deadlines) =>
            Effect.callback<Array<unknown>, unknown>((resume) => asking.askAll(payloads, deadlines, resume))
          )
        }
      ),
    outstanding: Effect.sync(() => asking.outstanding)
  }
  return client
})

class Asking implements Owner {
  readonly deadlines: Deadlines
  private readonly options: Options
  private readonly flow: Flow
  /** In the order in which they were asked. */
  private readonly waiting = new Set<Asked>()
  /** By slot, until the reply. */
  private readonly sent: Array<Asked | typeof withdrawn | undefined> = []
  private sentCount = 0
  /** Slots of requests that the other side is to be told of. */
  private readonly cancelled = new Set<number>()
  /** Beside those that no request has had yet. */
  private readonly freeSlots: Array<number> = []
  /** Open while there may be something to send for which there was no room. */
  private readonly work = Latch.makeUnsafe(false)
  /** Many are being asked, or answered: the link is told when all of them are. */
  private batchAt: number | undefined
  private over: Cause.Cause<ConnectionError> | undefined

  constructor(options: Options, clock: Clock.Clock) {
    this.options = options
    this.flow = flowOf(options.channel)
    this.deadlines = new Deadlines(clock)
  }

  get outstanding(): number {
    return this.waiting.size + this.sentCount
  }

  /** Asks, and returns what withdraws it. */
  ask(payload: Uint8Array, deadline: Deadline, resume: Resume): Effect.Effect<void> | undefined {
    if (this.over !== undefined) {
      resume(Effect.failCause(this.over))
      return undefined
    }
    const asked = new AskedAlone(this, payload, deadline, this.batchAt ?? this.deadlines.now(), resume)
    this.begin(asked)
    return Effect.sync(() => this.withdraw(asked))
  }

  /** Asks many for one who waits until all have a response, or one has none. Returns what withdraws them. */
  askAll(
    payloads: ReadonlyArray<Uint8Array>,
    deadlines: ReadonlyArray<Deadline>,
    resume: (outcome: Effect.Effect<Array<unknown>, unknown>) => void
  ): Effect.Effect<void> | undefined {
    if (this.over !== undefined || payloads.length === 0) {
      resume(this.over === undefined ? Effect.succeed([]) : Effect.failCause(this.over))
      return undefined
    }
    const all: Array<Asked> = []
    const withdraw = () => this.inBatch(() => all.forEach((asked) => this.withdraw(asked)))
    const together = new Together(payloads.length, (outcome, isFailure) => {
      if (isFailure) withdraw()
      resume(outcome)
    })
    this.inBatch((now) => {
      for (let at = 0; at < payloads.length; at++) {
        const asked = new AskedTogether(this, payloads[at]!, deadlines[at]!, now, together, at)
        all.push(asked)
        this.begin(asked)
      }
    })
    if (together.isOver) withdraw() // one has failed at once, and others were asked behind it
    return Effect.sync(withdraw)
  }

  private begin(asked: Asked): void {
    this.deadlines.begin(asked)
    if (this.waiting.size > 0 || this.cancelled.size > 0 || !this.trySend(asked)) {
      this.waiting.add(asked)
      this.advance()
    } else if (this.batchAt === undefined) this.flow.outbox.appended()
  }

  /** Sends what found no room, as there is some. */
  get sending(): Effect.Effect<never> {
    const { channel } = this.options
    const rest = Effect.whileLoop({
      while: () => !this.append(),
      body: () => {
        for (const slot of this.cancelled) {
          this.cancelled.delete(slot)
          return Effect.ignore(channel.send(RequestRecord.encode("Cancel", slot)))
        }
        const [asked] = this.waiting
        const record = RequestRecord.encode("Request", this.freeSlot, asked!.payload)
        this.begun(asked!)
        return channel.send(record).pipe(Effect.catch((error) => Effect.sync(() => this.refused(asked!, error))))
      },
      step: () => undefined
    })
    return Effect.forever(
      Effect.suspend(() => {
        this.work.closeUnsafe()
        return Effect.andThen(rest, this.work.await)
      })
    )
  }

  /** Reads until the other side ends. */
  get replies(): Effect.Effect<void, ConnectionError> {
    const pull = this.flow.pull(false)
    return Effect.gen({ self: this }, function* () {
      while (true) {
        const batch = yield* pull
        if (batch === undefined) return
        if (!this.hand(batch)) yield* this.options.channel.reset("what came is no reply to a request")
      }
    })
  }

  /** Nobody reads or sends any more: everybody who waits is told why. */
  finish(exit: Exit.Exit<void, ConnectionError>): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { channel } = this.options
      this.over = causeOf(exit, channel.name)
      const asked = [...this.waiting, ...this.sent]
      this.waiting.clear()
      this.sent.length = 0
      this.sentCount = 0
      for (const each of asked) if (each instanceof Asked) this.settle(each, Effect.failCause(this.over), true)
      return Cause.hasDies(this.over) ? channel.reset("whoever asked has died") : Effect.void
    })
  }

  /** Patience with it is over. */
  overdue(asked: Asked, { asked: times, missingFor }: Evidence): void {
    const reason = new AnswerOverdue({ asked: times, missingFor, unanswered: this.outstanding })
    this.withdraw(asked)
    asked.settled(Effect.fail(connectionError(reason)), true)
  }

  /** Hands out replies. Whether all are some. */
  private hand(batch: ReadonlyArray<Uint8Array>): boolean {
    return this.inBatch(() => {
      for (let i = 0; i < batch.length; i++) if (!this.replied(batch[i]!)) return false
      return true
    })
  }

  /** What is sent meanwhile goes together, and begins at one instant. */
  private inBatch<A>(body: (now: number) => A): A {
    if (this.batchAt !== undefined) return body(this.batchAt)
    const now = this.deadlines.now()
    this.batchAt = now
    try {
      return body(now)
    } finally {
      this.batchAt = undefined
      this.advance()
      this.flow.outbox.appended()
    }
  }

  /** Whether it is a reply to what was asked. */
  private replied(bytes: Uint8Array): boolean {
    const kind = RequestRecord.kindOf(bytes)
    const slot = RequestRecord.slotOf(bytes)
    if (kind === undefined || kind === "Request" || kind === "Cancel" || this.sent[slot] === undefined) return false
    const asked = this.release(slot)
    if (asked === withdrawn) return true
    const payload = RequestRecord.payloadOf(bytes)
    if (kind === "Success" && this.options.codecs.response.isBytes) {
      this.deadlines.end(asked)
      asked.responded(payload)
    } else this.settle(asked, this.outcomeOf(kind, payload), kind !== "Success")
    return true
  }

  private outcomeOf(kind: RequestRecord.ReplyKind, payload: Uint8Array): Outcome {
    const { channel, codecs } = this.options
    switch (kind) {
      case "Success":
        return Effect.map(codecs.response.decode([payload]), ([response]) => response)
      case "Failure":
        return Effect.flatMap(codecs.failure.decode([payload]), ([failure]) => Effect.fail(failure))
      case "Died":
      case "Interrupted":
      case "Invalid":
        return Effect.fail(connectionError(new RequestFailed({ channel: channel.name, outcome: kind })))
    }
  }

  private refused(asked: Asked, error: ConnectionError): void {
    if (this.sent[asked.slot] === asked) this.settle(asked, Effect.fail(error), true)
    this.release(asked.slot)
  }

  /** Where nobody has seen it, nobody will; else the other side is told to stop. */
  private withdraw(asked: Asked): void {
    this.deadlines.end(asked)
    asked.payload = RequestRecord.nothing
    if (this.waiting.delete(asked) || this.sent[asked.slot] !== asked) return
    this.sent[asked.slot] = withdrawn
    this.cancelled.add(asked.slot)
    this.advance()
  }

  private settle(asked: Asked, outcome: Outcome, isFailure: boolean): void {
    this.deadlines.end(asked)
    asked.settled(outcome, isFailure)
  }

  /** Sends what there is room for, and leaves the rest to the fiber that waits for room. */
  private advance(): void {
    if (!this.append()) this.work.openUnsafe()
  }

  /** Whether all that may be sent was. The link is told, unless it will be with what is asked after this. */
  private append(): boolean {
    let isAll = true
    let isAny = false
    const { outbox } = this.flow
    for (const slot of this.cancelled) {
      isAll = outbox.tryAppend(RequestRecord.head("Cancel", slot), RequestRecord.nothing)
      if (!isAll) break
      this.cancelled.delete(slot)
      isAny = true
    }
    if (isAll) {
      for (const asked of this.waiting) {
        if (this.freeSlot === this.options.outstandingMax) break
        isAll = this.trySend(asked)
        if (!isAll) break
        isAny = true
      }
    }
    if (isAny && this.batchAt === undefined) outbox.appended()
    return isAll
  }

  /** Appends a request if there is a slot and room for it. */
  private trySend(asked: Asked): boolean {
    const { freeSlot } = this
    if (freeSlot === this.options.outstandingMax) return false
    const isSent = this.flow.outbox.tryAppend(RequestRecord.head("Request", freeSlot), asked.payload)
    if (isSent) this.begun(asked)
    return isSent
  }

  /** The slot that the next request gets; `outstandingMax` if there is none. */
  private get freeSlot(): number {
    return this.freeSlots.at(-1) ?? this.sent.length
  }

  private begun(asked: Asked): void {
    asked.slot = this.freeSlots.pop() ?? this.sent.length
    asked.payload = RequestRecord.nothing
    if (this.waiting.size > 0) this.waiting.delete(asked)
    this.sent[asked.slot] = asked
    this.sentCount++
  }

  /** The slot serves the next request. */
  private release(slot: number): Asked | typeof withdrawn {
    const asked = this.sent[slot] ?? withdrawn
    this.sent[slot] = undefined
    this.sentCount--
    if (this.cancelled.size > 0) this.cancelled.delete(slot)
    this.freeSlots.push(slot)
    return asked
  }
}

/** Stands for a request for whose reply nobody waits any more. */
const withdrawn = "withdrawn"

/** What is told to whoever still waits when it is over. */
const causeOf = (exit: Exit.Exit<void, ConnectionError>, channel: string): Cause.Cause<ConnectionError> => {
  if (Exit.isSuccess(exit)) {
    const detail = "nobody answers there any more"
    return Cause.fail(connectionError(new ChannelReset({ channel, code: "Abandoned", detail, by: "peer" })))
  }
  return Cause.hasInterruptsOnly(exit.cause) ? Cause.fail(connectionError(new Closed())) : exit.cause
}
