/**
 * One session with so many channels, each with a fiber that receives.
 */
import { Effect, Stream } from "effect"
import type { SessionChannel } from "holdfast"
import type { Contestant } from "../contestant.ts"
import { Check, patternOf, type Source, stamp } from "../workload.ts"
import { arrays, Bytes, conversing, listening } from "./holdfast.ts"

type Channel = SessionChannel.SessionChannel<Uint8Array, Uint8Array>

/** One fiber that sends on one channel after the other, about 16 KiB at a time: the same memory serves for all. */
const sending = (channels: ReadonlyArray<Channel>, source: Source) => {
  const { size } = source
  const batch = Array.from({ length: Math.max(1, Math.floor(batchBytes / size)) }, () => patternOf(size))
  let count = 0
  let place = 0
  return Effect.whileLoop({
    while: () => !source.isOver,
    body: () => {
      for (let i = 0; i < batch.length; i++) stamp(batch[i]!, count + i)
      source.count += batch.length
      const channel = channels[place]!
      if (++place === channels.length) {
        place = 0
        count += batch.length
      }
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

const batchBytes = 16_384
/** What waits on all channels together is about as much as on one. */
const backlogBytes = 16 * 1024 * 1024

/** Of each channel: so that a message of 64 KiB fits. */
const limits = { channelWindowBytes: 262_144 }

export const channels = (count: number): Contestant => ({
  ...arrays,
  receive: (check) =>
    listening(
      Bytes.serve(
        (session) =>
          session.channels.pipe(
            Stream.runForEach((incoming) =>
              incoming.accept({ borrow: true }).pipe(
                Effect.flatMap((channel) => receiving(channel, check)),
                Effect.scoped,
                Effect.forkScoped
              )
            ),
            Effect.scoped
          ),
        { limits }
      )
    ),
  send: (port, source) =>
    conversing(
      port,
      (session) =>
        Effect.forEach(
          Array.from({ length: count }, (_, number) => `channel ${number}`),
          (name) =>
            session.open(name, {
              backlog: { bytesMax: Math.max(backlogBytes / count, batchBytes + source.size + 4096) }
            }),
          { concurrency: "unbounded" }
        ).pipe(
          Effect.flatMap((channels) => sending(channels, source)),
          Effect.scoped
        ),
      limits
    )
})
