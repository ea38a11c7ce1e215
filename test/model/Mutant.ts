/**
 * A core with one thing broken, and how it is made: nothing in the sources is changed, objects get another prototype.
 */
import type { Channel, Peer } from "@holdfast/protocol"
import { Channels } from "@holdfast/protocol/Channels"
import { type Core, type Extent, real } from "./Core.ts"
import { fieldsOf, frozen } from "./Snapshot.ts"

/** A broken core, the promise that it breaks, and where that can be seen. */
export interface Mutant {
  readonly name: string
  readonly core: Core
  readonly breaks: RegExp
  readonly extent: Partial<Extent>
}

type Class = abstract new (...parameters: never) => object

const become = (value: object, broken: Class): void => {
  Object.setPrototypeOf(value, broken.prototype as object)
}

/** A core of whose peers a part is of a broken class. */
const withPeers = (breakIt: (peer: Peer.Peer) => void): Core =>
  frozen<Core>({
    ...real,
    peer: (limits, side) => {
      const peer = real.peer(limits, side)
      breakIt(peer)
      return peer
    }
  })

/** A core whose peers, or their windows of channel 0, are of a broken class. */
export const withClass = (part: "peer" | "send" | "receive", broken: Class): Core =>
  withPeers((peer) => become(part === "peer" ? peer : peer[part], broken))

/** A core in which what looks after channels is of a broken class. */
export const withAccounts = (part: "channels" | "openings" | "credit", broken: Class): Core =>
  withPeers((peer) => {
    const channels = fieldsOf(peer)["channels"] as Channels
    become(part === "channels" ? channels : channels[part], broken)
  })

/** A core whose channels other than 0, or their windows, are of a broken class. */
export const withChannels = (part: "channel" | "send" | "receive", broken: Class): Core => {
  class Broken extends Channels {
    override add(id: number, name: string, isOurs: boolean): Channel.Channel {
      const channel = super.add(id, name, isOurs)
      become(part === "channel" ? channel : channel[part], broken)
      return channel
    }
  }
  return withAccounts("channels", Broken)
}

export const mutant = (name: string, core: Core, breaks: RegExp, extent: Partial<Extent> = {}): Mutant => ({
  name,
  core,
  breaks,
  extent: { messages: 1, incarnations: 1, ...extent }
})

/** Where a mistake with channels shows: the client opens one and sends a message on it. */
export const oneChannel: Partial<Extent> = { messages: 0, channels: 1, channelsMax: 1, channelMessages: [1, 0] }
