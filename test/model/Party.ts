/**
 * One side of one session: the real `Peer`, and what its application does on each channel.
 */
import { type Channel, type Openings, type Peer, SendWindow } from "@holdfast/protocol"
import { type Core, type Extent, limits, limitsOf, messageBytes } from "./Core.ts"
import { Line } from "./Line.ts"
import { frozen } from "./Snapshot.ts"
import { framesOf } from "./Wire.ts"

export class Party {
  readonly peer: Peer.Peer
  readonly side: Openings.Side
  readonly extent: Extent
  readonly main: Line
  /** Every channel but 0 that was ever there, the oldest first. */
  readonly others: Array<Line> = []
  /** How often the application has opened one, in this session or an earlier one. */
  openedCount = 0
  broken: string | undefined
  /** Every message of channel 0 that the applications of all lives of this side have taken. */
  takenEver: string

  constructor(core: Core, side: Openings.Side, extent: Extent, takenEver = "") {
    this.peer = core.peer(limitsOf(extent), side)
    this.side = side
    this.extent = extent
    this.main = this.line(this.peer.main)
    this.takenEver = takenEver
  }

  get canOpen(): boolean {
    const { channels, opener } = this.extent
    return opener === this.side && this.openedCount < channels && this.peer.openable > 0
  }

  /** The application opens a channel. */
  open(): void {
    const channel = this.peer.openChannel("")
    if (channel === undefined) return
    this.openedCount++
    this.add(channel)
  }

  /** Channel 0 and all others. */
  get lines(): ReadonlyArray<Line> {
    return [this.main, ...this.others]
  }

  /** A consumer takes one message. What the server's applications ever took is remembered across its lives. */
  take(line: Line, isDeclined: boolean): void {
    this.broken ??= line.take(isDeclined)
    if (line !== this.main || this.side === "client") return
    const letter = line.taken.at(-1)!
    if (this.takenEver.includes(letter)) this.broken ??= `message ${letter} is taken twice`
    this.takenEver += letter
  }

  /** Reads the facts, as whoever has received or written does. */
  digest(): void {
    const facts = this.peer.facts()
    for (const channel of facts.opened) {
      if (this.others.some((line) => line.channel.id === channel.id))
        this.broken ??= `channel ${channel.id} was opened twice`
      this.add(channel)
    }
    for (const { channel, ordinal } of facts.rejected) this.lineOf(channel).told += ordinal
    for (const channel of facts.finished) this.over(channel, "finished")
    for (const { channel } of facts.reset) this.over(channel, "reset")
  }

  /** Everything that there is to write now, as frames. */
  write(): Array<Uint8Array> {
    const frames: Array<Uint8Array> = []
    while (this.peer.hasWork) {
      const written = this.peer.write(Number.MAX_SAFE_INTEGER)
      if (written === undefined) break
      frames.push(...framesOf(Buffer.concat(written.chunks), this.extent.channels === 0))
    }
    this.digest()
    return frames
  }

  private over(channel: Channel.Channel, fate: "finished" | "reset"): void {
    const line = this.lineOf(channel)
    if (!line.isOpen) this.broken ??= `channel ${channel.id} is ${fate} after it was ${line.fate}`
    line.fate = fate
  }

  private lineOf(channel: Channel.Channel): Line {
    return channel === this.peer.main ? this.main : this.others.find((line) => line.channel === channel)!
  }

  private add(channel: Channel.Channel): void {
    const line = this.line(channel)
    this.others.push(line)
    if (this.extent.growthBytes === 0) return
    channel.receive.resize(limitsOf(this.extent).windowBytesMax)
    this.peer.took(channel)
  }

  private line(channel: Channel.Channel): Line {
    const { extent, side } = this
    const isMain = channel.id === 0
    const [toServer, toClient] = isMain ? [extent.messages, extent.messages] : extent.channelMessages
    const application = frozen({
      first: String.fromCharCode((side === "client" ? 97 : 65) + channel.id * 4),
      bytes: side === "client" ? messageBytes.toServer : messageBytes.toClient,
      messages: side === "client" ? toServer : toClient,
      ends: isMain ? extent.ends : extent.channelEnds,
      extent
    })
    return new Line(this.peer, channel, application)
  }
}

/** The widest record that there is. */
export const recordBytesMax = SendWindow.SendWindow.recordBytes(limits.messageBytesMax)
