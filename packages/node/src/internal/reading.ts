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

export interface Reading {
  /** The next bytes, to keep. */
  readonly pull: Effect.Effect<Batch, Socket.SocketError>
  /** The next bytes, valid until the next pull. */
  readonly borrow: Effect.Effect<Batch, Socket.SocketError>
  /** What was borrowed last stays as it is. */
  readonly keep: () => void
  /** Hands over each batch as it comes. */
  readonly subscribe: (subscriber: Subscriber) => Link.Subscription
  /** Fails the pull that waits, and all later ones. */
  readonly stop: () => void
}

/** Takes over a socket that is connected and paused. */
export const make = (socket: NetSocket): Reading => {
  let resume: ((effect: Effect.Effect<Batch, Socket.SocketError>) => void) | undefined
  let subscriber: Subscriber | undefined
  /** The subscriber has what was read last, and wants nothing more. */
  let isPaused = false
  let pending: Uint8Array | undefined
  let isLent = false
  let isReading = false
  let ended: Socket.SocketError | undefined

  const settle = (effect: Effect.Effect<Batch, Socket.SocketError>): void => {
    const waiting = resume
    resume = undefined
    waiting?.(effect)
  }
  const hand = (to: Subscriber, bytes: Uint8Array): void => {
    isPaused = true // whatever it calls meanwhile
    isPaused = !to.received([bytes])
  }
  /** Whoever waits has the bytes at once. Tells whether to read on: somebody waits again, and has no use for these. */
  const arrived = (bytes: Uint8Array, isLentNow: boolean): boolean => {
    isLent = isLentNow
    if (subscriber !== undefined && !isPaused) hand(subscriber, bytes)
    else if (resume === undefined) pending = bytes
    else settle(Effect.succeed([bytes]))
    // Whoever got it may have handed the socket on to another reader.
    isReading = subscriber === undefined ? resume !== undefined : !isPaused
    return isReading
  }
  /** What has arrived before is given first. */
  const end = (error: Socket.SocketError): void => {
    ended ??= error
    if (pending !== undefined) return
    settle(Effect.fail(ended))
    if (!isPaused) subscriber?.ended(ended)
  }
  const fail = (error: Socket.SocketError): void => {
    pending = undefined
    end(error)
  }

  const onData = (chunk: Uint8Array) => {
    if (!arrived(chunk, false)) socket.pause()
  }
  const onEnd = () => end(closedWell)
  const onError = (cause: Error) => fail(new Socket.SocketError({ reason: new Socket.SocketReadError({ cause }) }))
  const onClose = (hadError: boolean) => (hadError ? fail(closedBadly) : end(closedWell))
  const onread = Onread.attach(socket, arrived)
  if (onread === undefined) socket.on("data", onData)
  socket.on("end", onEnd)
  socket.on("error", onError)
  socket.on("close", onClose)

  const forget = Effect.sync(() => {
    resume = undefined
  })
  /** What was read before anybody wanted it. */
  const early = (): Uint8Array | undefined => {
    // Node may have read a little before the socket was taken over.
    if (onread !== undefined && pending === undefined && socket.readableLength > 0) {
      isLent = false
      return (socket.read() as Uint8Array | null) ?? undefined
    }
    const bytes = pending
    pending = undefined
    return bytes
  }
  const read = (): void => {
    if (isReading) return
    isReading = true
    socket.resume()
  }
  const borrow = Effect.callback<Batch, Socket.SocketError>((wake) => {
    const bytes = early()
    if (bytes !== undefined) return wake(Effect.succeed([bytes]))
    if (ended !== undefined) return wake(Effect.fail(ended))
    resume = wake
    read()
    return forget
  })
  const subscribe = (to: Subscriber): Link.Subscription => {
    const readOn = () => {
      if (subscriber !== to) return
      isPaused = false
      const bytes = early()
      if (bytes !== undefined) hand(to, bytes)
      if (isPaused || subscriber !== to) return
      if (ended === undefined) read()
      else to.ended(ended)
    }
    subscriber = to
    isPaused = true
    return {
      readOn,
      cancel: () => {
        if (subscriber === to) subscriber = undefined
      }
    }
  }

  return {
    pull: Effect.map(borrow, ([bytes]): Batch => [isLent ? bytes.slice() : bytes]),
    borrow,
    keep: () => {
      if (isLent) onread?.renew()
    },
    subscribe,
    stop: () => {
      fail(closedBadly)
      socket.pause()
      socket.off("data", onData)
      socket.off("end", onEnd)
      socket.off("error", onError)
      socket.off("close", onClose)
    }
  }
}

const closed = (code: number) => new Socket.SocketError({ reason: new Socket.SocketCloseError({ code }) })

/** They have no evidence, and every connection ends with one: to make an error costs as much as a write. */
const closedWell = closed(1000)
const closedBadly = closed(1006)
