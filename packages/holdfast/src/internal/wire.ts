/**
 * A link with a decoder: during the handshake frame by frame, afterwards straight into the session's `Peer`.
 */
import { Decoder, Frame, Violation } from "@holdfast/protocol"
import type { Peer } from "@holdfast/protocol"
import { Duration, Effect, Scope } from "effect"
import * as Arr from "effect/Array"
import * as ConnectionError from "../ConnectionError.ts"
import type * as Link from "../Link.ts"

/** The largest frame that is accepted; handshakes with their credentials must fit. */
const frameBytesMax = 65_536

/** How long a last frame may take, until the other side has closed the link. */
export const farewellTimeout = Duration.seconds(1)

type Early = Frame.Control | { readonly channel: number; readonly offset: number; readonly bytes: Uint8Array }

/** It lives as long as its link, so what only the handshake needs is made when it is asked for. */
export class Wire implements Decoder.Sink {
  readonly link: Link.Opened
  readonly decoder: Decoder.Decoder
  /** A last word was said: the link need not be destroyed. */
  isOrderly = false
  private readonly earlyFramesMax: number
  /** What came before it was asked for. */
  private early: Array<Early> = []

  constructor(link: Link.Opened, earlyFramesMax: number) {
    this.link = link
    this.earlyFramesMax = earlyFramesMax
    this.decoder = new Decoder.Decoder(frameBytesMax, this)
  }

  /** The next frame of the handshake. */
  get next(): Effect.Effect<Frame.Control, ConnectionError.ConnectionError> {
    return Effect.flatMap(this.readUntilFrame, () => {
      const first = this.early.shift()!
      return "_tag" in first
        ? Effect.succeed(first)
        : Effect.fail(violated(Violation.violation("frame-order", "Data during the handshake")))
    })
  }

  /** Sends a frame of the handshake. Reads on meanwhile: a link that is dead may keep a write for ever. */
  send(frame: Frame.Control): Effect.Effect<void, ConnectionError.ConnectionError> {
    // An answer that comes before all was sent is a refusal.
    return Effect.suspend(() =>
      Effect.raceFirst(this.write(frame), this.early.length > 0 ? Effect.never : this.readUntilFrame)
    )
  }

  /** The handshake is done: what came behind it, and all that follows, goes to the peer. */
  handTo(peer: Peer.Peer): Violation.Violation | undefined {
    const { early } = this
    this.early = []
    this.decoder.handTo(peer)
    for (const item of early) {
      const failed = "_tag" in item ? peer.control(item) : peer.data(item.channel, item.offset, item.bytes)
      if (failed !== undefined) return failed
    }
    return undefined
  }

  /**
   * Says last words and lets the link end in good order, but waits for the peer only for so long. Reads on meanwhile:
   * a link that is closed with unread input is reset, and the word is lost. Only `Closed` comes when nothing follows.
   */
  sayLast(...frames: ReadonlyArray<Frame.Control>): Effect.Effect<void> {
    const ignoreRest = Effect.forever(this.link.pull)
    return Effect.raceFirst(this.write(...frames), ignoreRest).pipe(
      Effect.andThen(
        Effect.sync(() => {
          this.isOrderly = true
        })
      ),
      Effect.andThen(frames.at(-1)?._tag === "Closed" ? Effect.void : ignoreRest),
      Effect.interruptible,
      Effect.timeoutOption(farewellTimeout),
      Effect.ignore,
      Effect.uninterruptible
    )
  }

  data(channel: number, offset: number, bytes: Uint8Array): Violation.Violation | undefined {
    return this.keep({ channel, offset, bytes })
  }

  control(frame: Frame.Control): Violation.Violation | undefined {
    return this.keep(frame)
  }

  private keep(item: Early): Violation.Violation | undefined {
    if (this.early.length === this.earlyFramesMax) {
      return Violation.violation("frame-order", "a frame that was not asked for yet")
    }
    this.early.push(item)
    return undefined
  }

  private write(...frames: ReadonlyArray<Frame.Control>): Effect.Effect<void, ConnectionError.ConnectionError> {
    return Arr.isReadonlyArrayNonEmpty(frames) ? this.link.write(Arr.map(frames, Frame.encode)) : Effect.void
  }

  private get readUntilFrame(): Effect.Effect<void, ConnectionError.ConnectionError> {
    return Effect.suspend(() =>
      this.early.length > 0 ? Effect.void : Effect.flatMap(this.read, () => this.readUntilFrame)
    )
  }

  /** What was read is never lost to an interruption. */
  private get read(): Effect.Effect<void, ConnectionError.ConnectionError> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(restore(this.link.pull), (chunks) => {
        for (const chunk of chunks) {
          const failed = this.decoder.push(chunk)
          if (failed !== undefined) return Effect.fail(violated(failed))
        }
        return Effect.void
      })
    )
  }
}

/**
 * Takes over a link. However the scope ends, the link is destroyed, unless a last word was said. At most
 * `earlyFramesMax` frames may come before they are asked for: small ones cost more memory than their bytes.
 */
export const make = (link: Link.Opened, earlyFramesMax: number): Effect.Effect<Wire, never, Scope.Scope> =>
  Effect.flatMap(Effect.scope, (scope) => {
    const wire = new Wire(link, earlyFramesMax)
    const end = Effect.suspend(() => (wire.isOrderly ? Effect.void : link.destroy))
    return Effect.as(Scope.addFinalizer(scope, end), wire)
  })

/** The error for what a peer did. */
export const violated = ({ detail, rule }: Violation.Violation): ConnectionError.ConnectionError =>
  ConnectionError.make(new ConnectionError.ProtocolViolated({ rule: `${rule}: ${detail}`, by: "peer" }))

/** The error for a frame that does not belong here. */
export const unexpected = (frame: Frame.Control, expected: string): ConnectionError.ConnectionError =>
  violated(Violation.violation("frame-order", `${frame._tag} instead of ${expected}`))
