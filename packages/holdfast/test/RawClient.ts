/**
 * A client that speaks the wire frame by frame, and may say anything: a second holder, a thief, or another program.
 */
import { Decoder, Frame, Handshake } from "@holdfast/protocol"
import type { Positions } from "@holdfast/protocol"
import { Effect } from "effect"
import { type ConnectionError, Link } from "holdfast"
import { createHmac, randomBytes } from "node:crypto"

/** Some bytes of a Data frame. */
export interface Data {
  readonly _tag: "Data"
  readonly offset: number
  readonly bytes: Uint8Array
}

/** What a holder of a session knows. */
export interface Ticket {
  readonly session: Uint8Array
  readonly secret: Uint8Array
}

export interface RawLink {
  /** Frames, or bytes as they are, in one write. */
  readonly send: (
    ...parts: ReadonlyArray<Frame.Control | Uint8Array>
  ) => Effect.Effect<void, ConnectionError.ConnectionError>
  /** The next frame of the server. */
  readonly next: Effect.Effect<Frame.Control | Data, ConnectionError.ConnectionError>
  /** Reads on until the link ends: the tags of what came, and why it ended. */
  readonly rest: Effect.Effect<{ readonly tags: ReadonlyArray<string>; readonly reason: ConnectionError.Reason }>
  readonly destroy: Effect.Effect<void>
}

/** Dials; the link lives as long as the scope. */
export const dial = (network: { readonly newLink: () => Link.Link }) => Effect.map(Link.open(network.newLink()), speak)

/** Speaks in frames over a link. */
export const speak = (link: Link.Opened): RawLink => {
  const frames: Array<Frame.Control | Data> = []
  const decoder = new Decoder.Decoder(65_536, {
    data: (_channel, offset, bytes) => void frames.push({ _tag: "Data", offset, bytes: bytes.slice() }),
    control: (frame) => void frames.push(frame)
  })
  const next: RawLink["next"] = Effect.gen(function* () {
    while (frames.length === 0) for (const chunk of yield* link.pull) decoder.push(chunk)
    return frames.shift()!
  })
  return {
    send: (...parts) =>
      link.write([Buffer.concat(parts.map((part) => (part instanceof Uint8Array ? part : Frame.encode(part))))]),
    next,
    rest: Effect.gen(function* () {
      const tags: Array<string> = []
      const error = yield* Effect.flip(
        Effect.forever(
          Effect.map(next, ({ _tag }) => {
            tags.push(_tag)
          })
        )
      )
      return { tags, reason: error.reason }
    }),
    destroy: link.destroy
  }
}

export const hello = (parts: Partial<Handshake.Hello> = {}): Handshake.Hello => ({
  _tag: "Hello",
  versions: Handshake.versions,
  definition: "test/Plain",
  messageBytesMax: 16 * 1024 * 1024,
  heartbeatMillisMax: 2500,
  terms: { limit: 1024 * 1024, reserve: 1024 * 1024, channelLimit: 65_536, growth: 1024 * 1024, channels: 16 },
  session: new Uint8Array(0),
  epoch: 1,
  nonce: randomBytes(32),
  credentials: new Uint8Array(0),
  ...parts
})

/** Where somebody stands who has received and sent nothing. */
export const nowhere: Positions.Positions = {
  _tag: "Positions",
  channel: 0,
  received: 0,
  taken: 0,
  limit: 1024 * 1024,
  released: 0,
  rejected: []
}

/** Opens a fresh session and says the first frame, so that the handler runs. */
export const begin = Effect.fnUntraced(function* (raw: RawLink, parts?: Partial<Handshake.Hello>) {
  yield* raw.send(hello(parts))
  const welcome = yield* raw.next
  if (welcome._tag !== "Welcome") return yield* Effect.die(welcome)
  yield* raw.send(nowhere)
  const { secret, session } = welcome
  return { session, secret } satisfies Ticket
})

/** Asks for an earlier session, proves that it is ours, and returns the answer to the proof. */
export const resume = Effect.fnUntraced(function* (
  raw: RawLink,
  { secret, session }: Ticket,
  parts: Partial<Handshake.Hello> & { readonly epoch: number },
  positions: Positions.Positions = nowhere
) {
  const said = hello({ session, ...parts })
  yield* raw.send(said)
  const challenge = yield* raw.next
  if (challenge._tag !== "Challenge") return challenge
  yield* raw.send(proof(secret, said, challenge, positions))
  return yield* raw.next
})

export const proof = (
  secret: Uint8Array,
  said: Handshake.Hello,
  challenge: Handshake.Challenge,
  positions: Positions.Positions = nowhere
): Handshake.Proof => ({
  _tag: "Proof",
  positions: [positions],
  mac: createHmac("sha256", secret)
    .update(Handshake.proofTranscript(said, challenge, [positions]))
    .digest()
})

/** Messages as a Data frame at this position. */
export const data = (offset: number, ...messages: ReadonlyArray<Uint8Array>): Uint8Array => {
  const records = Buffer.concat(messages.map((message) => Buffer.concat([Buffer.of(message.length + 2), message])))
  return Buffer.concat([Frame.dataHeader(0, offset, records.length), records])
}
