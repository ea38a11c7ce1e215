/**
 * Joins a TCP connection and a channel: bytes, half-close, reset and back-pressure pass in both directions.
 */
import { Cause, Effect, Option, Stream } from "effect"
import type { ConnectionError, SessionChannel } from "holdfast"
import type { Carried } from "./connections.ts"
import type { Tcp, TcpFailed } from "./tcp.ts"

/**
 * Succeeds when both directions have ended and everything was taken. Fails with what broke one side, and then the other
 * side is reset: the channel here, the connection when its scope closes.
 *
 * What comes out of the channel is taken when the connection has taken it, so credit follows the slower program, and
 * nothing is read from the connection while the channel has no room.
 */
export const splice = (
  tcp: Tcp,
  channel: SessionChannel.SessionChannel<Uint8Array, Uint8Array>,
  carried: Carried
): Effect.Effect<void, TcpFailed | ConnectionError.ConnectionError> => {
  const inwards = tcp.incoming.pipe(
    Stream.runForEachArray((chunks) => {
      for (const { length } of chunks) carried.bytesIn += length
      return channel.sendAll(chunks)
    }),
    Effect.andThen(channel.end)
  )
  const outwards = channel.messages.pipe(
    Stream.mapArray((chunks) => {
      for (const { length } of chunks) carried.bytesOut += length
      return chunks
    }),
    Stream.run(tcp.outgoing),
    Effect.andThen(tcp.end)
  )
  return Effect.all([inwards, outwards], { concurrency: 2, discard: true }).pipe(
    Effect.andThen(channel.join),
    Effect.onError((cause) => channel.reset(detail(cause)))
  )
}

const detail = (cause: Cause.Cause<Error>): string =>
  Option.match(Cause.findErrorOption(cause), {
    onNone: () => "this end of the tunnel is going away",
    onSome: ({ message }) => message
  })
