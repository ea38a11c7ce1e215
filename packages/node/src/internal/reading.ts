/**
 * Reads a Node socket batch by batch, and only while somebody wants one: otherwise the kernel holds the peer back.
 *
 * A batch can be borrowed: then it lies in memory that is read into again. Fresh memory for each read would cost more the
 * more the program keeps alive: its collection looks at all of that.
 */
import { Effect } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Socket from "effect/socket/Socket"
import type { Link } from "holdfast"
import type { Socket as NetSocket } from "node:net"
import * as Onread from "./onread.ts"

type Batch = NonEmptyReadonlyArray<Uint8Array>

type Subscriber = Link.Subscriber<Socket.SocketError>

/** Takes over a socket that is connected and paused, until `stop`. Thousands of them may wait. */
export class Reading {
  private readonly socket: NetSocket
  private readonly onread: Onread.Onread | undefined
  private resume: ((effect: Effect.Effect<Batch, Socket.SocketError>) => void) | undefined
  private subscriber: Subscriber | undefined
  /** The subscriber has what was read last, and wants nothing more. */
  private isPaused = false
  private pending: Uint8Array | undefined
  private isLent = false
  private isReading = false
  private error: Socket.SocketError | undefined
  private onData: ((chunk: Uint8Array) => void) | undefined
  private readonly onEnd = () => this.end(closedWell)
  private readonly onError = (cause: Error) =>
    this.fail(new Socket.SocketError({ reason: new Socket.SocketReadError({ cause }) }))
  private readonly onClose = (hadError: boolean) => (hadError ? this.fail(closedBadly) : this.end(closedWell))

  constructor(socket: NetSocket) {
    this.socket = socket
    this.onread = Onread.attach(socket, (bytes, isLent) => this.arrived(bytes, isLent))
    if (this.onread === undefined) {
      this.onData = (chunk) => {
        if (!this.arrived(chunk, false)) socket.pause()
      }
      socket.on("data", this.onData)
    }
    socket.on("end", this.onEnd)
    socket.on("error", this.onError)
    socket.on("close", this.onClose)
  }

  /** For whoever reads. */
  get reader(): Link.Reader {
    const borrow = Effect.callback<Batch, Socket.SocketError>((wake) => this.wait(wake))
    return {
      pull: Effect.suspend(() => Effect.map(borrow, ([bytes]): Batch => [this.isLent ? bytes.slice() : bytes])),
      borrow,
      keep: () => {
        if (this.isLent) this.onread?.renew()
      },
      subscribe: (subscriber) => {
        this.subscriber = subscriber
        this.isPaused = true
        return new Subscription(this, subscriber)
      },
      upgrade: Socket.SocketUpgradeError.unsupported
    }
  }

  /** Fails the pull that waits, and all later ones. */
  stop(): void {
    const { socket } = this
    this.fail(closedBadly)
    socket.pause()
    if (this.onData !== undefined) socket.off("data", this.onData)
    socket.off("end", this.onEnd)
    socket.off("error", this.onError)
    socket.off("close", this.onClose)
  }

  readOn(to: Subscriber): void {
    if (this.subscriber !== to) return
    this.isPaused = false
    const bytes = this.early()
    if (bytes !== undefined) this.hand(to, bytes)
    if (this.isPaused || this.subscriber !== to) return
    if (this.error === undefined) this.read()
    else to.ended(this.error)
  }

  cancel(to: Subscriber): void {
    if (this.subscriber === to) this.subscriber = undefined
  }

  private wait(wake: (effect: Effect.Effect<Batch, Socket.SocketError>) => void): Effect.Effect<void> | undefined {
    const bytes = this.early()
    if (bytes !== undefined) wake(Effect.succeed([bytes]))
    else if (this.error !== undefined) wake(Effect.fail(this.error))
    else {
      this.resume = wake
      this.read()
      return Effect.sync(() => {
        this.resume = undefined
      })
    }
    return undefined
  }

  private settle(effect: Effect.Effect<Batch, Socket.SocketError>): void {
    const waiting = this.resume
    this.resume = undefined
    waiting?.(effect)
  }

  private hand(to: Subscriber, bytes: Uint8Array): void {
    this.isPaused = true // whatever it calls meanwhile
    this.isPaused = !to.received([bytes])
  }

  /** Whoever waits has the bytes at once. Tells whether to read on: somebody waits again, and has no use for these. */
  private arrived(bytes: Uint8Array, isLent: boolean): boolean {
    this.isLent = isLent
    if (this.subscriber !== undefined && !this.isPaused) this.hand(this.subscriber, bytes)
    else if (this.resume === undefined) this.pending = bytes
    else this.settle(Effect.succeed([bytes]))
    // Whoever got it may have handed the socket on to another reader.
    this.isReading = this.subscriber === undefined ? this.resume !== undefined : !this.isPaused
    return this.isReading
  }

  /** What has arrived before is given first. */
  private end(error: Socket.SocketError): void {
    this.error ??= error
    if (this.pending !== undefined) return
    this.settle(Effect.fail(this.error))
    if (!this.isPaused) this.subscriber?.ended(this.error)
  }

  private fail(error: Socket.SocketError): void {
    this.pending = undefined
    this.end(error)
  }

  /** What was read before anybody wanted it. */
  private early(): Uint8Array | undefined {
    // Node may have read a little before the socket was taken over.
    if (this.onread !== undefined && this.pending === undefined && this.socket.readableLength > 0) {
      this.isLent = false
      return (this.socket.read() as Uint8Array | null) ?? undefined
    }
    const bytes = this.pending
    this.pending = undefined
    return bytes
  }

  private read(): void {
    if (this.isReading) return
    this.isReading = true
    this.socket.resume()
  }
}

/** What is read goes to a subscriber. */
class Subscription implements Link.Subscription {
  private readonly reading: Reading
  private readonly subscriber: Subscriber

  constructor(reading: Reading, subscriber: Subscriber) {
    this.reading = reading
    this.subscriber = subscriber
  }

  readOn(): void {
    this.reading.readOn(this.subscriber)
  }

  cancel(): void {
    this.reading.cancel(this.subscriber)
  }
}

const closed = (code: number) => new Socket.SocketError({ reason: new Socket.SocketCloseError({ code }) })

/** They have no evidence, and every connection ends with one: to make an error costs as much as a write. */
const closedWell = closed(1000)
const closedBadly = closed(1006)
