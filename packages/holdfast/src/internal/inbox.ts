/**
 * Messages that wait for their one consumer, batch by batch. What a consumer that stops had not taken goes to the next
 * one: a batch counts as taken when the next one is pulled.
 */
import { Cause, Effect, Exit, Latch, Semaphore, Stream } from "effect"
import type { Pull } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type { ConnectionError } from "../ConnectionError.ts"

export class Inbox<A> {
  /** Open while there is room. */
  readonly room = Latch.makeUnsafe(true)
  private readonly bytesMax: number
  private readonly onTaken: (messages: ReadonlyArray<A>) => void
  private readonly consumer = Semaphore.makeUnsafe(1)
  private readonly arrival = Latch.makeUnsafe(false)
  private waiting: Array<A> = []
  private waitingBytes = 0
  private handed: Array<A> = []
  private handedBytes = 0
  private exit: Exit.Exit<void, ConnectionError> | undefined

  constructor(bytesMax: number, onTaken: (messages: ReadonlyArray<A>) => void = () => undefined) {
    this.bytesMax = bytesMax
    this.onTaken = onTaken
  }

  /** Not yet taken. */
  get messages(): ReadonlyArray<A> {
    return [...this.handed, ...this.waiting]
  }

  get bytes(): number {
    return this.handedBytes + this.waitingBytes
  }

  get isFull(): boolean {
    return this.bytes >= this.bytesMax
  }

  push(messages: ReadonlyArray<A>, bytes: number): void {
    for (const message of messages) this.waiting.push(message)
    this.waitingBytes += bytes
    if (this.isFull) this.room.closeUnsafe()
    this.arrival.openUnsafe()
  }

  /** No more will come. What is there can still be taken. */
  end(exit: Exit.Exit<void, ConnectionError>): void {
    this.exit = exit
    this.arrival.openUnsafe()
  }

  /** All that waits, at least one message. What was handed out before is taken. */
  readonly pull: Pull.Pull<NonEmptyReadonlyArray<A>, ConnectionError> = Effect.suspend(() => {
    this.take()
    if (this.waiting.length > 0) {
      this.handed = this.waiting
      this.handedBytes = this.waitingBytes
      this.waiting = []
      this.waitingBytes = 0
      return Effect.succeed(this.handed as unknown as NonEmptyReadonlyArray<A>)
    }
    if (this.exit !== undefined) return Exit.isSuccess(this.exit) ? Cause.done() : Effect.failCause(this.exit.cause)
    this.arrival.closeUnsafe()
    return Effect.andThen(this.arrival.await, this.pull)
  })

  /** One message, which is taken with it. For a reader of its own, not beside the stream. */
  readonly next: Effect.Effect<A, ConnectionError> = Effect.suspend(() => {
    const message = this.waiting.shift()
    if (message === undefined) {
      this.arrival.closeUnsafe()
      return Effect.andThen(this.arrival.await, this.next)
    }
    if (this.waiting.length === 0) this.waitingBytes = 0
    if (!this.isFull) this.room.openUnsafe()
    return Effect.succeed(message)
  })

  /** Takes all that waits at once. */
  drain(): { readonly messages: ReadonlyArray<A>; readonly bytes: number } {
    const drained = { messages: this.waiting, bytes: this.waitingBytes }
    this.waiting = []
    this.waitingBytes = 0
    this.room.openUnsafe()
    return drained
  }

  /** One consumer at a time; another one waits. */
  readonly stream: Stream.Stream<A, ConnectionError> = Stream.scoped(
    Stream.fromPull(
      Effect.as(
        Effect.acquireRelease(
          this.consumer.take(1),
          () =>
            Effect.andThen(
              Effect.sync(() => this.giveBack()),
              this.consumer.release(1)
            ),
          { interruptible: true }
        ),
        this.pull
      )
    )
  )

  private take(): void {
    if (this.handed.length === 0) return
    const taken = this.handed
    this.handed = []
    this.handedBytes = 0
    if (!this.isFull) this.room.openUnsafe()
    this.onTaken(taken)
  }

  /** The consumer has stopped. */
  private giveBack(): void {
    if (this.handed.length === 0) return
    this.waiting = [...this.handed, ...this.waiting]
    this.waitingBytes += this.handedBytes
    this.handed = []
    this.handedBytes = 0
  }
}
