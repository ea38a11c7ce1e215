/**
 * A link in plain calls, as an incarnation uses it: what was read is handed over, and a write tells whether it may go on.
 * Where the link offers the same, no fiber stands between the two; for any other socket one reads, and one waits with each
 * write that waits.
 */
import { type Context, Effect, Exit, Fiber } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type { ConnectionError } from "../ConnectionError.ts"
import type * as Link from "../Link.ts"

/** Who uses it. */
export interface User {
  /** The next batch. False: it stays as it is until `readOn`, and nothing more is read. */
  readonly received: (batch: NonEmptyReadonlyArray<Uint8Array>) => boolean
  /** What was written last has been taken. */
  readonly written: () => void
  /** It has failed. */
  readonly decide: (exit: Exit.Exit<never, ConnectionError>) => void
}

export class Carrier implements Link.Subscriber<ConnectionError> {
  private readonly link: Link.Opened
  private readonly user: User
  private readonly context: Context.Context<never>
  private subscription: Link.Subscription | undefined
  private reading: Fiber.Fiber<never, ConnectionError> | undefined
  private writing: Fiber.Fiber<void, ConnectionError> | undefined
  private isPaused = false
  private goOn: (() => void) | undefined

  constructor(link: Link.Opened, context: Context.Context<never>, user: User) {
    this.link = link
    this.user = user
    this.context = context
  }

  /** Reads from now on. */
  start(): void {
    const { subscribe } = this.link
    if (subscribe !== undefined) {
      this.subscription = subscribe(this)
      return this.subscription.readOn()
    }
    this.reading = this.fork(this.read)
    this.reading.addObserver((exit) => {
      if (Exit.isFailure(exit)) this.user.decide(exit)
    })
  }

  received(batch: NonEmptyReadonlyArray<Uint8Array>): boolean {
    return this.user.received(batch)
  }

  ended(error: ConnectionError): void {
    this.user.decide(Exit.fail(error))
  }

  /** Whoever had the last batch is done with it. */
  readOn(): void {
    this.subscription?.readOn()
    const { goOn } = this
    this.isPaused = false
    this.goOn = undefined
    goOn?.()
  }

  /** Hands a batch to the link. False: nothing more before `written` was called. */
  write(chunks: NonEmptyReadonlyArray<Uint8Array>): boolean {
    const { link } = this
    const rest = link.offer === undefined ? link.write(chunks) : link.offer(chunks)
    if (rest === undefined) return true
    const writing = this.fork(rest)
    const exit = writing.pollUnsafe()
    if (exit !== undefined) return this.isTaken(exit)
    this.writing = writing
    writing.addObserver((exit) => {
      this.writing = undefined
      if (this.isTaken(exit)) this.user.written()
    })
    return false
  }

  /** Reads no more. */
  get stopReading(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.subscription?.cancel()
      return this.reading === undefined ? Effect.void : Fiber.interrupt(this.reading)
    })
  }

  /** Waits until the last write has settled. */
  get settled(): Effect.Effect<unknown> {
    return this.writing === undefined ? Effect.void : Fiber.await(this.writing)
  }

  /** Gives up the last write. */
  get stopWriting(): Effect.Effect<void> {
    return this.writing === undefined ? Effect.void : Fiber.interrupt(this.writing)
  }

  private fork<A>(effect: Effect.Effect<A, ConnectionError>): Fiber.Fiber<A, ConnectionError> {
    return Effect.runForkWith(this.context)(effect)
  }

  private get read(): Effect.Effect<never, ConnectionError> {
    const pause = Effect.callback<void>((resume) => {
      if (!this.isPaused) return resume(Effect.void)
      this.goOn = () => resume(Effect.void)
    })
    return Effect.forever(
      Effect.flatMap(this.link.borrow, (batch) => {
        this.isPaused = !this.user.received(batch)
        return this.isPaused ? pause : Effect.void
      }),
      { disableYield: true }
    )
  }

  private isTaken(exit: Exit.Exit<void, ConnectionError>): boolean {
    if (Exit.isFailure(exit)) this.user.decide(Exit.failCause(exit.cause))
    return Exit.isSuccess(exit)
  }
}
