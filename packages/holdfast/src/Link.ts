/**
 * A link: one live transport, any Effect `Socket`, made anew for each incarnation. It dies and is never revived.
 *
 * Guarantees of `open`: reader and writer live in the incarnation's scope, so no write crosses into the next one; every
 * failure is a typed reason with the system's code; `destroy` waits for nothing, whatever the transport is doing.
 */
import { Effect, type Scope } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import { constVoid } from "effect/Function"
import * as Predicate from "effect/Predicate"
import * as Socket from "effect/socket/Socket"
import * as ConnectionError from "./ConnectionError.ts"
import { destroyOf } from "./internal/destroy.ts"

/** A `Socket` that may do or tell more than others. */
export interface Link extends Socket.Socket {
  /** Ends the connection at once (reset, terminate), and waits for nothing. After it no byte of ours arrives. */
  readonly destroy?: Effect.Effect<void> | undefined
  /**
   * What has not moved yet and what the system knows of it, by a plain call that waits for nothing: the strongest that
   * this transport can tell. A watchdog calls it once for each delay of `policy.stall`, never for each message.
   */
  readonly progress?: (() => Progress) | undefined
  /**
   * The bytes of a write are copied before the peer can have them, so their memory may serve again once the peer has said
   * that it has them. Default: false, as for links within one process that hand over the very bytes.
   */
  readonly isCopying?: boolean | undefined
  /** The remote address without the port, once it is known. */
  readonly peer?: string | undefined
}

/** A reader of a link that can lend what it has read. */
export interface Reader extends Socket.Reader {
  /**
   * The next batch, as `pull` gives it, in memory that the link reads into again: valid until the next `borrow` or `pull`.
   * Without it everybody gets memory of his own by `pull`.
   */
  readonly borrow?: Effect.Effect<NonEmptyReadonlyArray<Uint8Array>, Socket.SocketError> | undefined
  /** What was borrowed last stays as it is: the link takes other memory. A plain call. */
  readonly keep?: (() => void) | undefined
  /**
   * Hands over what is read by plain calls, as `borrow` would give it, from the first `readOn` until it is cancelled: no fiber
   * has to wake up for each batch. Nobody pulls meanwhile.
   */
  readonly subscribe?: ((subscriber: Subscriber<Socket.SocketError>) => Subscription) | undefined
}

/** Who takes what a link reads. Plain calls, which must not throw. */
export interface Subscriber<E> {
  /** The next batch, valid during the call. False: it stays valid and nothing more is read, until `readOn`. */
  readonly received: (batch: NonEmptyReadonlyArray<Uint8Array>) => boolean
  /** The connection has ended, and all that arrived before was handed over. */
  readonly ended: (error: E) => void
}

/** What is read goes to a subscriber. */
export interface Subscription {
  /** Begins, or goes on after `received` said false. A plain call. */
  readonly readOn: () => void
  /** What is read from now on is there for `pull` and `borrow`. A plain call. */
  readonly cancel: () => void
}

/** A writer of a link that need not be waited for. */
export interface Writer extends Socket.Writer {
  /**
   * As `writeAll`, by a plain call: hands the batch to the transport, and returns what is to be waited for before the next
   * one, `undefined` where that is nothing.
   */
  readonly offer?:
    | ((chunks: NonEmptyReadonlyArray<Uint8Array>) => Effect.Effect<void, Socket.SocketError> | undefined)
    | undefined
}

/** Bytes of ours that are still on this side, and what the system's kernel knows of them where it tells. */
export interface Progress {
  /** Handed to the transport and not yet to the network. */
  readonly queuedBytes: number
  /** Handed to the network and not acknowledged by the peer's machine, where the system tells. */
  readonly unacknowledgedBytes?: number | undefined
  /**
   * The running total of what the peer's machine has acknowledged. It counts what is on the wire, encryption included:
   * compare it only with itself. A transport that gives it gives the next two as well.
   */
  readonly acknowledgedBytes?: number | undefined
  /** How long ago the peer's machine acknowledged anything, in milliseconds. */
  readonly acknowledgedAgoMillis?: number | undefined
  /** Retransmissions, or probes of a closed window, in a row that the peer's machine has not answered. */
  readonly unanswered?: number | undefined
  /** Who tells: the kernel, or only Node; nothing where neither is meant. */
  readonly source?: "kernel" | "node" | undefined
}

/** A link that was opened: its connection lives until the scope of the opening closes. */
export interface Opened {
  /** The next batch of bytes. Fails when the connection ends, in whatever way. */
  readonly pull: Effect.Effect<NonEmptyReadonlyArray<Uint8Array>, ConnectionError.ConnectionError>
  /** The same, valid until the next `borrow` or `pull`: where the link can lend, nothing is copied. */
  readonly borrow: Effect.Effect<NonEmptyReadonlyArray<Uint8Array>, ConnectionError.ConnectionError>
  /** What was borrowed last stays as it is. */
  readonly keep: () => void
  /** As the reader offers it, if it does. */
  readonly subscribe: ((subscriber: Subscriber<ConnectionError.ConnectionError>) => Subscription) | undefined
  /** As the writer offers it, if it does. */
  readonly offer:
    | ((chunks: NonEmptyReadonlyArray<Uint8Array>) => Effect.Effect<void, ConnectionError.ConnectionError> | undefined)
    | undefined
  /** Hands a batch to the transport; waits where the transport pushes back. */
  readonly write: (chunks: NonEmptyReadonlyArray<Uint8Array>) => Effect.Effect<void, ConnectionError.ConnectionError>
  /** Ends the connection at once. For sockets that cannot, a close is asked for and not waited for. */
  readonly destroy: Effect.Effect<void>
  /** As the link tells it, if it does. */
  readonly progress: (() => Progress) | undefined
  /** Memory that was written may serve again when the peer has it. */
  readonly isCopying: boolean
}

/** Whether a value is a Socket that offers `destroy` or `progress`. */
export const isLink = (u: unknown): u is Link =>
  Socket.isSocket(u) && (Predicate.hasProperty(u, "destroy") || Predicate.hasProperty(u, "progress"))

/** Dials and takes hold of both directions. Fails with `LinkFailed` (dial) or `LinkClosed`. */
export const open = Effect.fnUntraced(function* (
  link: Link
): Effect.fn.Return<Opened, ConnectionError.ConnectionError, Scope.Scope> {
  const scope = yield* Effect.scope
  const fromSocketError = reasonOf(link)
  const { borrow, keep, pull, subscribe }: Reader = yield* Effect.mapError(link.reader, fromSocketError("dial"))
  const writer: Writer = yield* link.writer
  const { offer } = writer
  // Most links wait most of the time, and there may be thousands: what they do is made when it is done.
  const owned = Effect.suspend(() => Effect.flatMap(Effect.mapError(pull, fromSocketError("read")), onlyBytes))
  return {
    pull: owned,
    borrow: borrow === undefined ? owned : Effect.suspend(() => Effect.mapError(borrow, fromSocketError("read"))),
    keep: keep ?? constVoid,
    subscribe:
      subscribe === undefined
        ? undefined
        : (subscriber) => subscribe(new Reported(subscriber, fromSocketError("read"))),
    offer:
      offer === undefined
        ? undefined
        : (chunks) => {
            const rest = offer(chunks)
            return rest === undefined ? undefined : Effect.mapError(rest, fromSocketError("write"))
          },
    write: (chunks) => Effect.mapError(writer.writeAll(chunks), fromSocketError("write")),
    destroy: Effect.suspend(() => destroyOf(link, writer, scope)),
    progress: link.progress,
    isCopying: link.isCopying ?? false
  }
})

/** A subscriber that is told of errors in the words of this library. */
class Reported implements Subscriber<Socket.SocketError> {
  private readonly subscriber: Subscriber<ConnectionError.ConnectionError>
  private readonly report: (error: Socket.SocketError) => ConnectionError.ConnectionError

  constructor(
    subscriber: Subscriber<ConnectionError.ConnectionError>,
    report: (error: Socket.SocketError) => ConnectionError.ConnectionError
  ) {
    this.subscriber = subscriber
    this.report = report
  }

  received(batch: NonEmptyReadonlyArray<Uint8Array>): boolean {
    return this.subscriber.received(batch)
  }

  ended(error: Socket.SocketError): void {
    this.subscriber.ended(this.report(error))
  }
}

/** Runs the effect that makes a link and opens what it made; its own failure is a `LinkFailed` of the dial. */
export const dial = <E, R>(
  make: Effect.Effect<Link, E, R>
): Effect.Effect<Opened, ConnectionError.ConnectionError, R | Scope.Scope> =>
  Effect.flatMap(
    Effect.mapError(make, (cause) => (ConnectionError.isConnectionError(cause) ? cause : linkFailed(cause, "dial"))),
    open
  )

type During = ConnectionError.LinkFailed["during"]

const reasonOf =
  (link: Link) =>
  (during: During) =>
  ({ reason }: Socket.SocketError): ConnectionError.ConnectionError => {
    switch (reason._tag) {
      case "SocketCloseError": {
        const progress = link.progress?.()
        const unacknowledgedBytes = (progress?.queuedBytes ?? 0) + (progress?.unacknowledgedBytes ?? 0)
        return ConnectionError.make(new ConnectionError.LinkClosed({ code: reason.code, unacknowledgedBytes }))
      }
      case "SocketReadError":
        return linkFailed(reason.cause, "read")
      case "SocketWriteError":
        return linkFailed(reason.cause, "write")
      case "SocketOpenError":
      case "SocketUpgradeError":
        return linkFailed(reason.cause ?? reason, during)
    }
  }

const linkFailed = (cause: unknown, during: During): ConnectionError.ConnectionError =>
  ConnectionError.make(new ConnectionError.LinkFailed({ cause, code: codeOf(cause), during }))

const codeOf = (cause: unknown): string | undefined =>
  Predicate.hasProperty(cause, "code") && typeof cause.code === "string" ? cause.code : undefined

const onlyBytes = (
  batch: NonEmptyReadonlyArray<Uint8Array | string>
): Effect.Effect<NonEmptyReadonlyArray<Uint8Array>, ConnectionError.ConnectionError> => {
  for (const chunk of batch) if (typeof chunk === "string") return Effect.fail(textReceived())
  return Effect.succeed(batch as NonEmptyReadonlyArray<Uint8Array>)
}

const textReceived = () =>
  ConnectionError.make(new ConnectionError.ProtocolViolated({ rule: "frames are binary, never text", by: "peer" }))
