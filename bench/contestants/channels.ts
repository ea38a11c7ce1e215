/**
 * One session with so many channels, each with a fiber that sends and a fiber that receives.
 */
import { Effect, Stream } from "effect"
import type { SessionChannel } from "holdfast"
import type { Contestant } from "../contestant.ts"
import { Check, patternOf, stamp } from "../workload.ts"
import { arrays, Bytes, conversing, listening } from "./holdfast.ts"

type Channel = SessionChannel.SessionChannel<Uint8Array, Uint8Array>

/** Sends about 4 KiB of messages at a time, as does every other channel. */
const sending = (channel: Channel, source: { readonly size: number; readonly isOver: boolean; count: number }) => {
  const { size } = source
  const batch = Array.from({ length: Math.max(1, Math.floor(4096 / size)) }, () => patternOf(size))
  let count = 0
  return Effect.whileLoop({
    while: () => !source.isOver,
    body: () => {
      for (const message of batch) stamp(message, count++)
      source.count += batch.length
      return channel.sendAll(batch)
    },
    step: () => undefined
  })
}

/** Numbers count for each channel; `check` only counts. */
const receiving = (channel: Channel, check: Check) => {
  const own = new Check(check.size)
  return Stream.runForEachArray(channel.messages, (batch) => {
    own.messages(batch)
    check.count += batch.length
    return Effect.void
  })
}

/** What waits on all channels together is about as much as on one. */
const backlogBytes = 16 * 1024 * 1024

export const channels = (count: number): Contestant => ({
  ...arrays,
  receive: (check) =>
    listening(
      Bytes.serve((session) =>
        session.channels.pipe(
          Stream.runForEach((incoming) =>
            incoming.accept({ borrow: true }).pipe(
              Effect.flatMap((channel) => receiving(channel, check)),
              Effect.scoped,
              Effect.forkScoped
            )
          ),
          Effect.scoped
        )
      )
    ),
  send: (port, source) =>
    conversing(port, (session) =>
      Effect.forEach(
        Array.from({ length: count }, (_, number) => `channel ${number}`),
        (name) =>
          session.open(name, { backlog: { bytesMax: Math.max(backlogBytes / count, 2 * source.size + 64) } }).pipe(
            Effect.flatMap((channel) => sending(channel, source)),
            Effect.scoped
          ),
        { concurrency: "unbounded", discard: true }
      )
    )
})
