/**
 * One side of a session, after the handshake: what goes in are the bytes of the present link and the application's
 * calls, what comes out are bytes to write and facts: look at them after either. It outlives links, and knows no time.
 */
import type { Channel } from "./Channel.ts"
import { Channels, early, unknown } from "./Channels.ts"
import type { Sink } from "./Decoder.ts"
import { Due } from "./Due.ts"
import { type Facts, noFacts, nothing } from "./Facts.ts"
import * as Frame from "./Frame.ts"
import type { Terms } from "./Handshake.ts"
import type { Limits } from "./Limits.ts"
import type { Side } from "./Openings.ts"
import * as Positions from "./Positions.ts"
import * as Rare from "./Rare.ts"
import type { ReceiveWindow } from "./ReceiveWindow.ts"
import type { SendWindow } from "./SendWindow.ts"
import { type Violation, violation } from "./Violation.ts"
import { type Written, written } from "./Written.ts"

export type { Facts, WasReset } from "./Facts.ts"
export type { Limits } from "./Limits.ts"
export type { Written } from "./Written.ts"

/** One side of a session. */
export class Peer implements Sink {
  readonly limits: Limits
  /** Channel 0, which is there from the beginning. */
  readonly main: Channel
  /** Bytes of ours that are known to have arrived, as a running total. */
  movedBytes = 0
  /** For whoever carries the session: its memory, see `own` and `carriedBy`. */
  readonly channels: Channels
  private readonly due = new Due()
  private news = nothing

  constructor(limits: Limits, side: Side) {
    this.limits = limits
    this.channels = new Channels(limits, side)
    this.main = this.channels.main
  }

  /** Our direction of channel 0. */
  get send(): SendWindow {
    return this.main.send
  }

  /** The other direction of channel 0. */
  get receive(): ReceiveWindow {
    return this.main.receive
  }

  /** What this side offers in a handshake that begins a session. */
  get offer(): Terms {
    const { channelWindowBytes, channelsMax, growthBytes, windowBytes } = this.limits
    return {
      limit: this.main.receive.limit,
      reserve: windowBytes,
      channelLimit: channelWindowBytes,
      growth: growthBytes,
      channels: channelsMax
    }
  }

  /** All channels that are there. */
  get open(): Iterable<Channel> {
    return this.channels.open
  }

  /** How many there are beside channel 0. */
  get openCount(): number {
    return this.channels.openCount
  }

  /** How many channels we may open now; 0 before the session has begun. */
  get openable(): number {
    return this.channels.openings.openable
  }

  /** Channels that wait for credit, the one that has waited longest first. */
  get awaitingCredit(): ReadonlySet<Channel> {
    return this.channels.credit.awaiting
  }

  /** Channels whose window the other side has filled. */
  get full(): ReadonlySet<Channel> {
    return this.channels.credit.full
  }

  /** Bytes that were handed to the present link and are not known to have arrived. */
  get outstandingBytes(): number {
    return this.channels.credit.outstandingBytes
  }

  /** Bytes of theirs that have arrived and are not taken. */
  get untakenBytes(): number {
    return this.channels.credit.untakenBytes
  }

  /** Writing has finished a channel, of which {@link facts} tells. */
  get hasFinished(): boolean {
    return this.channels.finished.length > 0
  }

  /** What has happened since the last call. */
  facts(): Facts {
    if (this.channels.finished.length > 0) {
      this.told.finished = this.channels.finished
      this.channels.finished = []
    }
    const facts = this.news
    this.news = nothing
    for (const channel of facts.arrived) channel.hasArrived = false
    for (const channel of facts.taken) channel.hasTaken = false
    return facts
  }

  /** Facts for something to be added to. */
  private get told(): Facts {
    if (this.news === nothing) this.news = noFacts()
    return this.news
  }

  // ---- channels

  /** Opens a channel, if the other side lets us: see {@link openable}. Its messages may be accepted at once. */
  openChannel(name: string): Channel | undefined {
    const id = this.channels.openings.begin(name)
    return id === undefined ? undefined : this.channels.add(id, name, true)
  }

  /** Something was accepted on the channel, or skipped. */
  ready(channel: Channel): void {
    this.channels.accepted(channel)
  }

  /** Something was taken on the channel. */
  took(channel: Channel): void {
    this.channels.took(channel)
  }

  /** Ends both directions: what was not taken is gone, and the other side is told, on later links again. */
  reset(channel: Channel, code: Frame.ResetCode, detail: string): void {
    this.channels.reset(channel, code, detail)
  }

  /** A round trip has passed: windows grow and shrink with what was taken meanwhile. */
  tune(): void {
    this.channels.tune()
  }

  // ---- the present link

  /** Data of the present link. */
  data(id: number, offset: number, bytes: Uint8Array): Violation | undefined {
    const channel = this.channels.get(id)
    if (channel === undefined) return this.channels.openings.isPast(id) ? undefined : unknown(id)
    if (!this.channels.isUsable(channel)) return early(id)
    const { receive } = channel
    const failed = receive.data(offset, bytes)
    if (failed !== undefined) return failed
    this.channels.lend(channel)
    if ((receive.waitingCount > 0 || receive.ended) && !channel.hasArrived) {
      channel.hasArrived = true
      this.told.arrived.push(channel)
    }
    this.channels.received(channel)
    return this.channels.credit.exceeded
  }

  /** A control frame of the present link. */
  control(frame: Frame.Control): Violation | undefined {
    switch (frame._tag) {
      case "Ping":
        this.due.pong = frame.id
        return undefined
      case "Pong":
        this.told.pong = frame.id
        return undefined
      case "Heartbeat":
        return undefined
      case "Positions":
        return this.positioned(frame)
      case "Open":
        return this.opened(frame)
      case "Channels":
        return this.counted(frame)
      case "Reset":
        return this.wasReset(frame)
      case "ResetDone":
        this.channels.openings.forget(frame.channel)
        return undefined
      case "GoAway":
        this.told.goAway = frame
        return undefined
      case "Close":
        this.told.close = frame
        this.due.closed = true
        return undefined
      case "Closed":
        this.told.closed = true
        return undefined
      case "Hello":
      case "Welcome":
      case "Challenge":
      case "Proof":
      case "Resumed":
      case "Refused":
        return violation("frame-order", `${frame._tag} after the handshake`)
    }
  }

  /** Asks the other side for a sign of life; a later ping replaces one that was not written yet. */
  ping(id: number): void {
    this.due.ping = id
  }

  /** Says that we live. */
  heartbeat(): void {
    this.due.heartbeat = true
  }

  /** Says where we stand, with the next bytes that are written. */
  announce(): void {
    this.due.positions = true
  }

  /** Says that this session will move elsewhere, on later links again; nothing may be accepted afterwards. */
  goAway(retryAfterMillis: number): void {
    this.main.send.feed(Infinity, Infinity) // where our direction ends must be known
    this.due.leave(retryAfterMillis)
  }

  /** Ends the session: said once, with the next bytes that are written. */
  close(close: Omit<Frame.Close, "_tag">): void {
    this.due.close = { _tag: "Close", ...close }
  }

  /** The other side does not know yet how far we are. */
  get hasNews(): boolean {
    return this.main.isNews || this.channels.newsy.size > 0 || this.channels.openings.isNews
  }

  /** There is something to write now. News can wait a little for company, unless the other side may be waiting for it. */
  get hasWork(): boolean {
    return this.hasControl || this.hasData
  }

  /** There are messages to write now. */
  get hasData(): boolean {
    return this.channels.hasData
  }

  /** There is something other than messages to write now. */
  get hasControl(): boolean {
    const { isUrgent, openings } = this.channels
    return this.due.isAny || isUrgent || this.main.isUrgent || openings.hasWork
  }

  /** The next bytes for the link: control frames first, then at most `bytesMax` of data. */
  write(bytesMax: number): Written | undefined {
    if (!this.hasWork) return undefined
    const chunks: Array<Uint8Array> = []
    const isHeartbeat = this.controlFrames(chunks)
    const dataBytes = this.channels.write(bytesMax, chunks)
    return written(chunks, dataBytes, isHeartbeat)
  }

  /** Where channel 0 stands, for a handshake; a link that is up meanwhile goes on undisturbed. The others follow on it. */
  positions(): ReadonlyArray<Positions.Positions> {
    const positions = this.main.standing()
    this.channels.received(this.main)
    return [positions]
  }

  /** The link is gone. What waited to be said on it is forgotten, what was accepted is not. */
  cut(): void {
    this.due.cut()
    this.channels.cut()
  }

  /** A fresh session: what the other side lets us do. */
  begin(terms: Terms): Violation | undefined {
    return this.channels.begin(terms)
  }

  /** A new link: both sides go on where the other stands, with channel 0 at once, and with each other one when it is told. */
  resume(theirs: ReadonlyArray<Positions.Positions>): Violation | undefined {
    const [positions] = theirs
    if (positions === undefined || theirs.length > 1 || positions.channel !== 0) {
      return violation("resume", "a handshake has the positions of channel 0 and of no other")
    }
    this.channels.resume()
    return this.acknowledge(this.main, positions, true)
  }

  // ---- what arrives

  private positioned(frame: Positions.Positions): Violation | undefined {
    const channel = this.channels.get(frame.channel)
    const { openings } = this.channels
    if (channel === undefined) {
      return !openings.isUp || openings.isPast(frame.channel) ? undefined : unknown(frame.channel)
    }
    const isListing = !this.channels.isUsable(channel)
    if (isListing) channel.isListed = true
    return this.acknowledge(channel, frame, isListing)
  }

  private opened({ channel: id, name }: Frame.Open): Violation | undefined {
    const { openings } = this.channels
    if (!openings.isUp) return early(id)
    const found = openings.see(id)
    if (typeof found !== "boolean") return found
    if (found) this.told.opened.push(this.channels.add(id, name, false))
    return undefined
  }

  private counted(frame: Frame.Channels): Violation | undefined {
    const { openings } = this.channels
    const isFirst = !openings.isUp
    const failed = openings.count(frame, (id) => this.channels.get(id))
    if (failed !== undefined || !isFirst) return failed
    for (const channel of this.channels.open) {
      if (channel === this.main || channel.isListed) {
        this.channels.ready(channel)
        this.channels.received(channel)
        continue
      }
      const wrong = this.unlisted(channel)
      if (wrong !== undefined) return wrong
    }
    return undefined
  }

  /** The other side has never seen the channel, or is done with it. */
  private unlisted(channel: Channel): Violation | undefined {
    const { id, receive, send } = channel
    if (this.channels.openings.isUnseen(id)) {
      channel.announced = Positions.unseen(id, this.limits.channelWindowBytes)
      Rare.remove(this.channels.newsy, channel)
      this.channels.received(channel)
      return this.acknowledge(channel, Positions.unseen(id, send.limit), true)
    }
    if (!channel.isForgettable) {
      return violation("channels", `channel ${id} was forgotten before both directions had ended`)
    }
    const { end, limit } = send
    const all = { ...Positions.unseen(id, limit), received: end, taken: end, released: receive.taken }
    const failed = this.acknowledge(channel, all, true)
    this.channels.finish(channel)
    return failed
  }

  private wasReset({ channel: id, code, detail }: Frame.Reset): Violation | undefined {
    if (id === 0) return violation("channel", "channel 0 cannot be reset")
    const { openings } = this.channels
    const channel = this.channels.get(id)
    if (channel !== undefined) {
      this.channels.remove(channel)
      this.told.reset.push({ channel, code, detail })
    } else if (!openings.isPast(id)) return openings.isUp ? unknown(id) : undefined
    return openings.wasReset(id, channel !== undefined)
  }

  private acknowledge(channel: Channel, frame: Positions.Positions, isResume: boolean): Violation | undefined {
    const { send } = channel
    const { received, takenCount } = send
    const declined = channel.hear(frame, isResume)
    if ("rule" in declined) return declined
    this.movedBytes += send.received - received
    for (const ordinal of declined) this.told.rejected.push({ channel, ordinal })
    if (channel.confirmDue) this.channels.received(channel)
    if (send.takenCount > takenCount && !channel.hasTaken) {
      channel.hasTaken = true
      this.told.taken.push(channel)
    }
    this.channels.credit.sent(channel)
    this.channels.ready(channel)
    if (channel.isFinished && !channel.isNews) this.channels.finish(channel)
    return undefined
  }

  // ---- what is written

  /** Appends the control frames that are due; true if they are no more than a heartbeat and positions. */
  private controlFrames(into: Array<Uint8Array>): boolean {
    const { channels, due, main } = this
    channels.tell(due.positions, into)
    const openings = channels.openings.write()
    for (const frame of openings) {
      into.push(Frame.encode(frame))
      const opened = frame._tag === "Open" ? channels.get(frame.channel) : undefined
      if (opened !== undefined) channels.received(opened)
    }
    if (channels.newsy.size > 0) channels.tell(false, into)
    return due.write(main.send.end, into) && openings.length === 0
  }
}
