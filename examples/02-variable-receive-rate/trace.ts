/** A link that prints what keeps it alive: every heartbeat in both directions, and every deadline that is renewed. */
import { Decoder } from "@holdfast/protocol"
import type { Frame } from "@holdfast/protocol"
import { Clock, Duration, Effect } from "effect"
import * as Socket from "effect/socket/Socket"
import type { Link } from "holdfast"

/** The deadlines that are renewed: by any byte of the peer, and by its word that something of ours moved. */
interface Deadlines {
  readonly silence: Duration.Input
  readonly stall: Duration.Input
}

export const traced =
  ({ silence, stall }: Deadlines, print: (line: string) => Effect.Effect<void>) =>
  (link: Link.Link): Effect.Effect<Link.Link> =>
    Effect.sync(() => {
      const says = Effect.fnUntraced(function* (text: string) {
        yield* print(`${clock(yield* Clock.currentTimeMillis)} ${text}`)
      })
      const until = (patience: Duration.Input) =>
        Effect.map(Clock.currentTimeMillis, (now) => clock(now + Duration.toMillis(Duration.fromInputUnsafe(patience))))
      const inbound = makeReading()
      const outbound = makeReading()
      let received = 0

      const arrived = Effect.fnUntraced(function* (chunks: ReadonlyArray<Uint8Array | string>) {
        for (const frame of inbound(chunks)) {
          if (frame._tag === "Heartbeat") yield* says("received a heartbeat")
          if (frame._tag !== "Positions" || frame.received <= received) continue
          received = frame.received
          yield* says(`the peer has ${received} bytes: WriteStuck no earlier than ${yield* until(stall)}`)
        }
        yield* says(`a sign of life: PeerSilent no earlier than ${yield* until(silence)}`)
      })
      const departing = Effect.fnUntraced(function* (chunks: ReadonlyArray<Uint8Array | string>) {
        for (const frame of outbound(chunks)) if (frame._tag === "Heartbeat") yield* says("sent a heartbeat")
      })
      return {
        ...Socket.make({
          reader: Effect.map(link.reader, ({ pull, upgrade }) => ({ pull: Effect.tap(pull, arrived), upgrade })),
          writer: Effect.map(link.writer, ({ write, writeAll }) => ({
            write,
            writeAll: (chunks) => Effect.andThen(departing(chunks), writeAll(chunks))
          }))
        }),
        destroy: link.destroy,
        progress: link.progress,
        get peer() {
          return link.peer
        }
      }
    })

/** The control frames in what passes. */
const makeReading = () => {
  let frames: Array<Frame.Control> = []
  const decoder = new Decoder.Decoder(frameBytesMax, {
    data: () => undefined,
    control: (frame) => {
      frames.push(frame)
      return undefined
    }
  })
  return (chunks: ReadonlyArray<Uint8Array | string>): ReadonlyArray<Frame.Control> => {
    for (const chunk of chunks) if (typeof chunk !== "string") decoder.push(chunk)
    const found = frames
    frames = []
    return found
  }
}

const clock = (millis: number) => new Date(millis).toISOString().slice(11, 23)

const frameBytesMax = 1_048_576
