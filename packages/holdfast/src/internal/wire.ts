/**
 * A link with a decoder: during the handshake frame by frame, afterwards straight into the session's `Peer`.
 */
import { Decoder, Frame, Violation } from "@holdfast/protocol"
import type { Peer } from "@holdfast/protocol"
import { Duration, Effect } from "effect"
import * as Arr from "effect/Array"
import * as ConnectionError from "../ConnectionError.ts"
import type * as Link from "../Link.ts"

/** The largest frame that is accepted; handshakes with their credentials must fit. */
const frameBytesMax = 65_536

/** How long a last frame may take, until the other side has closed the link. */
export const farewellTimeout = Duration.seconds(1)

export interface Wire {
  readonly link: Link.Opened
  readonly decoder: Decoder.Decoder
  /** The next frame of the handshake. */
  readonly next: Effect.Effect<Frame.Control, ConnectionError.ConnectionError>
  /** Sends a frame of the handshake. Reads on meanwhile: a link that is dead may keep a write for ever. */
  readonly send: (frame: Frame.Control) => Effect.Effect<void, ConnectionError.ConnectionError>
  /** The handshake is done: what came behind it, and all that follows, goes to the peer. */
  readonly handTo: (peer: Peer.Peer) => Violation.Violation | undefined
  /**
   * Says last words and lets the link end in good order, but waits for the peer only for so long. Reads on meanwhile:
   * a link that is closed with unread input is reset, and the word is lost. Only `Closed` comes when nothing follows.
   */
  readonly sayLast: (...frames: ReadonlyArray<Frame.Control>) => Effect.Effect<void>
}

/**
 * Takes over a link. However the scope ends, the link is destroyed, unless a last word was said. At most
 * `earlyFramesMax` frames may come before they are asked for: small ones cost more memory than their bytes.
 */
export const make = Effect.fnUntraced(function* (link: Link.Opened, earlyFramesMax = Infinity) {
  let isOrderly = false
  yield* Effect.addFinalizer(() => (isOrderly ? Effect.void : link.destroy))
  const early: Array<
    Frame.Control | { readonly channel: number; readonly offset: number; readonly bytes: Uint8Array }
  > = []
  const keep = (item: (typeof early)[number]) => {
    if (early.length === earlyFramesMax) return Violation.violation("frame-order", "a frame that was not asked for yet")
    early.push(item)
    return undefined
  }
  const decoder = new Decoder.Decoder(frameBytesMax, {
    data: (channel, offset, bytes) => keep({ channel, offset, bytes }),
    control: keep
  })
  const write = (...frames: ReadonlyArray<Frame.Control>) =>
    Arr.isReadonlyArrayNonEmpty(frames) ? link.write(Arr.map(frames, Frame.encode)) : Effect.void
  const ignoreRest = Effect.forever(link.pull)
  /** What was read is never lost to an interruption. */
  const read = Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(restore(link.pull), (chunks) => {
      for (const chunk of chunks) {
        const failed = decoder.push(chunk)
        if (failed !== undefined) return Effect.fail(violated(failed))
      }
      return Effect.void
    })
  )
  const readUntilFrame = Effect.repeat(read, { until: () => early.length > 0 })

  const wire: Wire = {
    link,
    decoder,
    // An answer that comes before all was sent is a refusal.
    send: (frame) =>
      Effect.suspend(() => Effect.raceFirst(write(frame), early.length > 0 ? Effect.never : readUntilFrame)),
    next: Effect.gen(function* () {
      if (early.length === 0) yield* readUntilFrame
      const first = early.shift()!
      if (!("_tag" in first)) return yield* violated(Violation.violation("frame-order", "Data during the handshake"))
      return first
    }),
    handTo: (peer) => {
      decoder.handTo(peer)
      for (const item of early.splice(0)) {
        const failed = "_tag" in item ? peer.control(item) : peer.data(item.channel, item.offset, item.bytes)
        if (failed !== undefined) return failed
      }
      return undefined
    },
    sayLast: (...frames) =>
      Effect.raceFirst(write(...frames), ignoreRest).pipe(
        Effect.andThen(
          Effect.sync(() => {
            isOrderly = true
          })
        ),
        Effect.andThen(frames.at(-1)?._tag === "Closed" ? Effect.void : ignoreRest),
        Effect.interruptible,
        Effect.timeoutOption(farewellTimeout),
        Effect.ignore,
        Effect.uninterruptible
      )
  }
  return wire
})

/** The error for what a peer did. */
export const violated = ({ detail, rule }: Violation.Violation): ConnectionError.ConnectionError =>
  ConnectionError.make(new ConnectionError.ProtocolViolated({ rule: `${rule}: ${detail}`, by: "peer" }))

/** The error for a frame that does not belong here. */
export const unexpected = (frame: Frame.Control, expected: string): ConnectionError.ConnectionError =>
  violated(Violation.violation("frame-order", `${frame._tag} instead of ${expected}`))
