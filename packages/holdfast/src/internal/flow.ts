/**
 * One channel as both applications see it: our direction, whoever waits for what arrives, and how it ended. It joins the
 * pure `Channel` to a consumer; whatever waits is an `Effect.callback` whose `resume` is kept and called once.
 */
import type { Channel } from "@holdfast/protocol"
import { Deferred, Effect, Exit, Option, Semaphore } from "effect"
import { ChannelReset, Closed, type ConnectionError, make as connectionError } from "../ConnectionError.ts"
import type { Limits } from "./backlogLimits.ts"
import { Outbox, type Options as OutboxOptions } from "./outbox.ts"

export interface Options extends Omit<OutboxOptions, "held"> {
  /** The consumer has taken something. */
  readonly taken: (flow: Flow) => void
  /** Flows on which somebody waits for a fact. */
  readonly looking: Set<Flow>
  /** More or less is held than before. */
  readonly account: (flow: Flow) => void
}

export class Flow {
  channel: Channel.Channel
  /** How much of ours may be kept. */
  limits: () => Limits
  readonly outbox: Outbox
  /** One consumer at a time. */
  readonly consumer = Semaphore.makeUnsafe(1)
  /** Completed once, when both directions are over. */
  readonly ended: Deferred.Deferred<void, ConnectionError> = Deferred.makeUnsafe()
  exit: Exit.Exit<void, ConnectionError> | undefined
  /** Nobody will take what arrives. It is ended when everything of ours was taken. */
  isAbandoned = false
  /** Bytes of ours that the budget was told of. */
  keptBytes = 0
  creditAwaitedSince: number | undefined
  consumerSlowSince: number | undefined
  private readonly options: Options
  private arrival: (() => void) | undefined
  private lookouts: Array<() => void> = []

  constructor(options: Options) {
    this.options = options
    this.channel = options.channel
    this.limits = options.limits
    this.outbox = new Outbox({ ...options, limits: () => this.limits(), held: () => options.account(this) })
  }

  /**
   * The next messages, `undefined` when the other direction has ended. Those handed out before count as taken. Of those
   * that may be lent the bytes are valid until then.
   */
  pull(mayBeLent: boolean): Effect.Effect<ReadonlyArray<Uint8Array> | undefined, ConnectionError> {
    return Effect.suspend(() => {
      const { receive } = this.channel
      if (this.isReset) return Effect.fail(this.failure())
      const batch = receive.hand(mayBeLent)
      this.options.taken(this)
      if (batch !== undefined) return Effect.succeed(batch)
      if (receive.ended) return Effect.undefined
      if (this.exit !== undefined) return Effect.fail(this.failure())
      return Effect.callback<void>((resume) => {
        this.arrival = () => resume(Effect.void)
        return Effect.sync(() => {
          this.arrival = undefined
        })
      }).pipe(Effect.andThen(this.pull(mayBeLent)))
    })
  }

  /** The consumer is done with one message. */
  take(): void {
    this.channel.receive.take(1)
    this.options.taken(this)
  }

  /** The consumer declines one message, and the other side is told. Waits until there is room to tell. */
  get reject(): Effect.Effect<void> {
    return Effect.andThen(
      this.awaitFact(() => !this.channel.receive.isRejectedFull),
      Effect.sync(() => {
        this.channel.receive.reject()
        this.options.taken(this)
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
      if (this.lookouts.length === 0) this.options.looking.delete(this)
    }
    const lookout = () => {
      if (this.exit === undefined && !check()) return
      leave()
      call()
    }
    this.lookouts.push(lookout)
    this.options.looking.add(this)
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
    this.options.account(this)
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
    return Option.getOrElse(error, () => this.outbox.refusing ?? connectionError(new Closed()))
  }

  private get isReset(): boolean {
    const error = this.exit === undefined ? Option.none() : Exit.findErrorOption(this.exit)
    return Option.exists(error, ({ reason }) => reason._tag === "ChannelReset")
  }
}
