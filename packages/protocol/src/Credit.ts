/**
 * How much all channels of a session hold together. Each channel has its own limit; beside that, what each holds beyond
 * its reserve is `growth`, of which there is one budget for all. All of it is worked out from positions, so that a resume
 * counts nothing twice and loses nothing.
 */
import type { Channel } from "./Channel.ts"
import * as Rare from "./Rare.ts"
import { type Violation, violation } from "./Violation.ts"

/** What one side may send and holds, beyond what is reserved, on all channels together. */
export class Credit {
  /** Channels that wait for credit, the one that has waited longest first. */
  awaiting: ReadonlySet<Channel> = Rare.nobody
  /** Channels whose window the other side has filled. */
  full: ReadonlySet<Channel> = Rare.nobody
  /** Bytes that were handed to the present link and are not known to have arrived. */
  outstandingBytes = 0
  /** Bytes of theirs that have arrived and are not taken. */
  untakenBytes = 0
  /** Bytes of theirs that were taken, of which the other side was not told: it keeps them all. */
  untoldBytes = 0
  /** What the other side lets all channels hold beyond what is reserved. */
  sendGrowthBytesMax = 0
  private sendGrowthBytes = 0
  private receiveGrowthBytes = 0
  private readonly receiveGrowthBytesMax: number
  private hasRoom = false

  constructor(receiveGrowthBytesMax: number) {
    this.receiveGrowthBytesMax = receiveGrowthBytesMax
  }

  /** How many bytes the channel may send now, as far as the session goes. */
  roomOf({ send, sendGrowthBytes }: Channel): number {
    const growthBytes = this.sendGrowthBytesMax - this.sendGrowthBytes + sendGrowthBytes
    return Math.max(send.sentMax, send.reserved + Math.max(0, growthBytes)) - send.sent
  }

  /** Something has changed in our direction of a channel. */
  sent(channel: Channel): void {
    const { send } = channel
    const outstandingBytes = send.sent - send.received
    this.outstandingBytes += outstandingBytes - channel.outstandingBytes
    channel.outstandingBytes = outstandingBytes
    const { growthBytes } = send
    this.sendGrowthBytes += growthBytes - channel.sendGrowthBytes
    if (growthBytes < channel.sendGrowthBytes) this.hasRoom = true
    channel.sendGrowthBytes = growthBytes
  }

  /** Something has changed in the other direction. */
  received(channel: Channel): void {
    const { receive } = channel
    if (receive.received >= receive.limit) this.full = Rare.add(this.full, channel)
    else Rare.remove(this.full, channel)
    const untakenBytes = receive.received - receive.taken
    this.untakenBytes += untakenBytes - channel.untakenBytes
    channel.untakenBytes = untakenBytes
    const untoldBytes = channel.announced === undefined ? 0 : receive.taken - channel.announced.taken
    this.untoldBytes += untoldBytes - channel.untoldBytes
    channel.untoldBytes = untoldBytes
    const { growthBytes } = receive
    this.receiveGrowthBytes += growthBytes - channel.receiveGrowthBytes
    channel.receiveGrowthBytes = growthBytes
  }

  /** The other side sends more than it may. */
  get exceeded(): Violation | undefined {
    const { receiveGrowthBytes, receiveGrowthBytesMax } = this
    return receiveGrowthBytes <= receiveGrowthBytesMax
      ? undefined
      : violation("growth", `${receiveGrowthBytes} bytes beyond what is reserved, more than ${receiveGrowthBytesMax}`)
  }

  /** The channel is gone, and what it held with it. */
  remove(channel: Channel): void {
    Rare.remove(this.awaiting, channel)
    Rare.remove(this.full, channel)
    this.outstandingBytes -= channel.outstandingBytes
    this.untakenBytes -= channel.untakenBytes
    this.untoldBytes -= channel.untoldBytes
    this.receiveGrowthBytes -= channel.receiveGrowthBytes
    this.sendGrowthBytes -= channel.sendGrowthBytes
    if (channel.sendGrowthBytes > 0) this.hasRoom = true
  }

  /** There is room again that somebody may be waiting for. */
  get isRoomy(): boolean {
    return this.hasRoom && this.awaiting.size > 0
  }

  /** Who may use that room. Each keeps its place among those that wait until it has sent. */
  roomFor(): Iterable<Channel> {
    const channels = this.isRoomy ? this.awaiting : []
    this.hasRoom = false
    return channels
  }
}
