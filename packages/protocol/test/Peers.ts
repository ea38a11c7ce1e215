/**
 * A client and a server in the midst of a session, and what they say to each other.
 */
import { type Channel, Decoder, Peer, type Violation } from "@holdfast/protocol"
import { assert } from "@effect/vitest"
import { concat } from "./Samples.ts"
import { decodeAll, type SlowFrame } from "./SlowProtocol.ts"

export const limits: Peer.Limits = {
  windowBytes: 100,
  channelWindowBytes: 40,
  windowBytesMax: 400,
  growthBytes: 60,
  channelsMax: 3,
  messageBytesMax: 1000,
  frameBytesMax: 4096
}

/** The frames of what was written. */
export const frames = (written: Peer.Written | undefined): ReadonlyArray<SlowFrame> =>
  decodeAll(concat(written?.chunks ?? []), 65_536).frames

export const tags = (written: Peer.Written | undefined): ReadonlyArray<string> =>
  frames(written).map(({ _tag }) => _tag)

/** Data in what was written: the channel and how much. */
export const data = (written: Peer.Written | undefined): ReadonlyArray<readonly [channel: number, bytes: number]> =>
  frames(written)
    .filter(({ _tag }) => _tag === "Data")
    .map(({ bytes, channel }) => [Number(channel), String(bytes).length / 2])

export const deliver = (written: Peer.Written | undefined, to: Peer.Peer): Violation.Violation | undefined =>
  new Decoder.Decoder(65_536, to).push(concat(written?.chunks ?? []))

/** Two peers that have said where they stand. */
export class Peers {
  readonly client: Peer.Peer
  readonly server: Peer.Peer

  constructor(client: Partial<Peer.Limits> = {}, server: Partial<Peer.Limits> = client) {
    this.client = new Peer.Peer({ ...limits, ...client }, "client")
    this.server = new Peer.Peer({ ...limits, ...server }, "server")
    assert.isUndefined(this.client.begin(this.server.offer))
    assert.isUndefined(this.server.begin(this.client.offer))
    this.exchange()
  }

  /** Opens a channel and lets the other side see it. */
  open(from: "client" | "server" = "client", name = "one"): readonly [ours: Channel.Channel, theirs: Channel.Channel] {
    const ours = this[from].openChannel(name)!
    this.exchange()
    return [ours, this.other(from).facts().opened[0]!]
  }

  /** Everything that there is to say arrives. */
  exchange(): void {
    for (let quiet = 0; quiet < 2;) {
      quiet = 0
      for (const from of ["client", "server"] as const) {
        const peer = this[from]
        if (peer.hasNews) peer.announce()
        const written = peer.write(10_000)
        if (written === undefined) quiet++
        else assert.isUndefined(deliver(written, this.other(from)))
      }
    }
  }

  /** The link breaks, what was written and not delivered is lost; another one is up, and nothing was said on it. */
  relink(): void {
    this.cut()
    const positions = this.client.positions()
    assert.isUndefined(this.client.resume(this.server.positions()))
    assert.isUndefined(this.server.resume(positions))
  }

  cut(): void {
    this.client.cut()
    this.server.cut()
  }

  private other(from: "client" | "server"): Peer.Peer {
    return from === "client" ? this.server : this.client
  }
}

/** The application accepts a message. */
export const say = (peer: Peer.Peer, channel: Channel.Channel, message: Uint8Array): void => {
  channel.send.accept(message)
  peer.ready(channel)
}

/** The application accepts the end. */
export const end = (peer: Peer.Peer, channel: Channel.Channel): void => {
  channel.send.acceptEnd()
  peer.ready(channel)
}

/** The application takes everything that has come. */
export const takeAll = (peer: Peer.Peer, channel: Channel.Channel): ReadonlyArray<Uint8Array> => {
  const messages = channel.receive.hand() ?? []
  channel.receive.hand()
  peer.took(channel)
  return messages
}
