/**
 * One channel as both applications see it: our direction, whoever waits for what arrives, and how it ended. It joins the
 * pure `Channel` to a consumer; whatever waits is an `Effect.callback` whose `resume` is kept and called once.
 */
import type { Channel } from "@holdfast/protocol"
import { Deferred, Effect, Exit, Option, Semaphore } from "effect"
import { ChannelReset, type ConnectionError, make as connectionError } from "../ConnectionError.ts"
import type { Budget, Limits } from "./backlogLimits.ts"
import { closed } from "./closed.ts"
import { Outbox, type Owner } from "./outbox.ts"

/** What carries channels. */
export interface Carrier {
  readonly messageBytesMax: number
  readonly budget: Budget | undefined
  /** Monotonic milliseconds. */
  now(): number
  /** There is more to send. */
  accepted(flow: Flow): void
  /** There is more to send, and it is written now. */
  flush(flow: Flow): void
  /** So many messages are not sent at all. */
  skipped(flow: Flow, count: number): void
  /** The consumer has taken something. */
  taken(flow: Flow): void
  /** More or less is held than before. */
  account(flow: Flow): void
  /** Whether somebody waits for a fact of the flow. */
  looking(flow: Flow, isLooking: boolean): void
}

type Pulling<E> = Effect.Effect<ReadonlyArray<Uint8Array> | undefined, ConnectionError | E>

export class Flow implements Owner {
  channel: Channel.Channel
  /** How much of ours may be kept. */
  limits: () => Limits
  readonly outbox: Outbox
  readonly messageBytesMax: number
  readonly budget: Budget | undefined
  /** Completed once, when both directions are over. */
  readonly ended: Deferred.Deferred<void, ConnectionError> = Deferred.makeUnsafe()
  exit: Exit.Exit<void, ConnectionError> | undefined
  /** Nobody will take what arrives. It is ended when everything of ours was taken. */
  isAbandoned = false
  /** Bytes of ours that the budget was told of. */
  keptBytes = 0
  creditAwaitedSince: number | undefined
  consumerSlowSince: number | undefined
  private readonly carrier: Carrier
  private consumers: Semaphore.Semaphore | undefined
  private arrival: (() => void) | undefined
  private lookouts: Array<() => void> = []
  /** Messages that were appended since the link was told. */
  private appendedCount = 0

  constructor(carrier: Carrier, channel: Channel.Channel, limits: () => Limits) {
    this.carrier = carrier
    this.channel = channel
    this.limits = limits
    this.messageBytesMax = carrier.messageBytesMax
    this.budget = carrier.budget
    this.outbox = new Outbox(this, channel)
  }

  /** One consumer at a time. */
  get consumer(): Semaphore.Semaphore {
    this.consumers ??= Semaphore.makeUnsafe(1)
    return this.consumers
  }

  /**
   * The next messages, `undefined` when the other direction has ended. Those handed out before count as taken. Of those
   * that may be lent the bytes are valid until then. `ended` comes instead of `undefined`.
   */
  pull<E = never>(mayBeLent: boolean, ended: Effect.Effect<undefined, E> = Effect.undefined): Pulling<E> {
    const pull: Pulling<E> = Effect.suspend(() => {
      const { receive } = this.channel
      if (this.isReset) return Effect.fail(this.failure())
      const batch = receive.hand(mayBeLent)
      this.carrier.taken(this)
      if (batch !== undefined) return Effect.succeed(batch)
      if (receive.ended) return ended
      if (this.exit !== undefined) return Effect.fail(this.failure())
      return waiting
    })
    // Whoever is interrupted meanwhile is not there any more, and `resume` does nothing.
    const waiting: Pulling<E> = Effect.callback((resume) => {
      this.arrival = () => resume(pull)
    })
    return pull
  }

  /** The consumer is done with one message. */
  take(): void {
    this.channel.receive.take(1)
    this.carrier.taken(this)
  }

  /** The consumer declines one message, and the other side is told. Waits until there is room to tell. */
  get reject(): Effect.Effect<void> {
    return Effect.andThen(
      this.awaitFact(() => !this.channel.receive.isRejectedFull),
      Effect.sync(() => {
        this.channel.receive.reject()
        this.carrier.taken(this)
      })
    )
  }

  /** The consumer stops; what it has not taken goes to the next one. */
  giveBack(): void {
    this.channel.receive.giveBack()
  }

  /** Something arrived, or the end did. */
  arrived(): void {
    const arrival = this.arrival
    this.arrival = undefined
    arrival?.()
  }

  /** Waits for what `check` sees; it looks whenever something was taken or arrived, and when the channel is over. */
  awaitFact(check: () => boolean): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      const leave = this.onFact(check, () => resume(Effect.void))
      return Effect.sync(leave)
    })
  }

  /** Calls once, when `check` sees it. The returned call stops looking. */
  onFact(check: () => boolean, call: () => void): () => void {
    const leave = () => {
      this.lookouts = this.lookouts.filter((other) => other !== lookout)
      if (this.lookouts.length === 0) this.carrier.looking(this, false)
    }
    const lookout = () => {
      if (this.exit === undefined && !check()) return
      leave()
      call()
    }
    this.lookouts.push(lookout)
    this.carrier.looking(this, true)
    lookout()
    return leave
  }

  look(): void {
    for (const lookout of this.lookouts) lookout()
  }

  /** Both directions are over. Everything that is pending settles; the first call decides. */
  finish(exit: Exit.Exit<void, ConnectionError>): void {
    if (this.exit !== undefined) return
    this.exit = exit
    this.carrier.account(this)
    this.outbox.fail(this.failure())
    this.arrived()
    this.look()
    Deferred.doneUnsafe(this.ended, exit)
  }

  /** How a reset ends it. */
  wasReset(reset: Pick<ChannelReset, "code" | "detail" | "by">): Exit.Exit<never, ConnectionError> {
    return Exit.fail(connectionError(new ChannelReset({ channel: this.channel.name, ...reset })))
  }

  /** What operations fail with after the end. */
  failure(exit = this.exit): ConnectionError {
    const error = exit === undefined ? Option.none() : Exit.findErrorOption(exit)
    return Option.getOrElse(error, () => this.outbox.refusing ?? closed)
  }

  // ---- what the outbox asks

  now(): number {
    return this.carrier.now()
  }

  held(): void {
    this.carrier.account(this)
  }

  appended(): void {
    this.held()
    if (++this.appendedCount < appendedMax) return
    this.appendedCount = 0
    this.carrier.flush(this)
  }

  accepted(): void {
    this.appendedCount = 0
    this.carrier.accepted(this)
  }

  skipped(count: number): void {
    this.carrier.skipped(this, count)
  }

  private get isReset(): boolean {
    const error = this.exit === undefined ? Option.none() : Exit.findErrorOption(this.exit)
    return Option.exists(error, ({ reason }) => reason._tag === "ChannelReset")
  }
}

/**
 * So many are written before the others of their batch are appended: meanwhile the other side begins with them, where the two
 * would take turns otherwise.
 */
const appendedMax = 32
