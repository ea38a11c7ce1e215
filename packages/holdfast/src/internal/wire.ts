/**
 * A link with a decoder: during the handshake frame by frame, afterwards straight into the session's `Peer`.
 */
import { Decoder, Frame, Violation } from "@holdfast/protocol"
import type { Peer } from "@holdfast/protocol"
import { Duration, Effect } from "effect"
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
  readonly send: (frame: Frame.Control) => Effect.Effect<void, ConnectionError.ConnectionError>
  /** The handshake is done: what came behind it, and all that follows, goes to the peer. */
  readonly handTo: (peer: Peer.Peer) => Violation.Violation | undefined
  /**
   * Says a last word and lets the link end in good order, but waits for the peer only for so long. Reads on meanwhile:
   * a link that is closed with unread input is reset, and the word is lost. Only `Closed` comes when nothing follows.
   */
  readonly sayLast: (frame: Frame.Control) => Effect.Effect<void>
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
  const send = (frame: Frame.Control) => link.write([Frame.encode(frame)])
  const ignoreRest = Effect.forever(link.pull)

  const wire: Wire = {
    link,
    decoder,
    send,
    next: Effect.gen(function* () {
      while (early.length === 0) {
        for (const chunk of yield* link.pull) {
          const failed = decoder.push(chunk)
          if (failed !== undefined) return yield* violated(failed)
        }
      }
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
    sayLast: (frame) =>
      send(frame).pipe(
        Effect.andThen(
          Effect.sync(() => {
            isOrderly = true
          })
        ),
        Effect.andThen(frame._tag === "Closed" ? Effect.void : ignoreRest),
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
