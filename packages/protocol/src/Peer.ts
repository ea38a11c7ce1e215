/**
 * One side of a session, after the handshake: what goes in are the bytes of the present link and the application's
 * calls, what comes out are bytes to write and facts. It outlives links: `cut` and `resume` join them. It knows no time
 * and does no I/O. Whoever has called `receive` looks at `facts` afterwards.
 */
import { Channel } from "./Channel.ts"
import type { Sink } from "./Decoder.ts"
import * as Frame from "./Frame.ts"
import type { Terms } from "./Handshake.ts"
import { type Opening, Openings, type Side } from "./Openings.ts"
import type { Positions } from "./Positions.ts"
import { ReceiveWindow } from "./ReceiveWindow.ts"
import { SendWindow } from "./SendWindow.ts"
import { Turns } from "./Turns.ts"
import { type Violation, violation } from "./Violation.ts"

/** Bounds in bytes. */
export interface Limits {
  /** How much may arrive on channel 0 beyond what the application has taken, whatever comes on others; at least 8. */
  readonly windowBytes: number
  /** The same for each other channel. */
  readonly channelWindowBytes: number
  /** What a window may grow to. */
  readonly windowBytesMax: number
  /** How much all channels together may hold beyond the above. */
  readonly growthBytes: number
  /** How many channels the other side may have open at once. */
  readonly channelsMax: number
  /** The largest message in either direction; both sides must agree on it. */
  readonly messageBytesMax: number
  /** The largest body of a frame. */
  readonly frameBytesMax: number
}

/** A channel that the other side has ended before its time. */
export interface WasReset {
  readonly channel: Channel
  readonly code: Frame.ResetCode
  readonly detail: string
}

/** What has happened since the facts were last read. */
export interface Facts {
  /** Channels on which messages arrived, or the end of the other direction. */
  arrived: Array<Channel>
  /** Channels on which more of ours was taken. */
  taken: Array<Channel>
  /** Channels that the other side has opened. */
  opened: Array<Channel>
  /** Channels of which both directions have ended, and all was taken. */
  finished: Array<Channel>
  reset: Array<WasReset>
  /** The answer to our latest ping arrived. */
  pong: number | undefined
  /** Messages that the other application declined, by their ordinals (from 0, over the life of the channel). */
  rejected: Array<{ readonly channel: Channel; readonly ordinal: number }>
  goAway: Frame.GoAway | undefined
  close: Frame.Close | undefined
  closed: boolean
}

/** Bytes for the link. */
export interface Written {
  readonly chunks: ReadonlyArray<Uint8Array>
  readonly bytes: number
  /** How many of them are messages of the application. */
  readonly dataBytes: number
  /** Nothing but a heartbeat and positions. */
  readonly isHeartbeat: boolean
}

/** One side of a session. */
export class Peer implements Sink {
  readonly limits: Limits
  /** Channel 0, which is there from the beginning. */
  readonly main: Channel
  /** Channels that wait for credit, the one that has waited longest first. */
  readonly awaitingCredit = new Set<Channel>()
  /** Channels whose window the other side has filled. */
  readonly full = new Set<Channel>()
  /** Bytes of ours that are known to have arrived, as a running total. */
  movedBytes = 0
  /** Bytes that were handed to the present link and are not known to have arrived. */
  outstandingBytes = 0
  /** Bytes of theirs that have arrived and are not taken. */
  untakenBytes = 0

  private readonly channels: Map<number, Channel>
  private readonly openings: Openings
  private readonly turns = new Turns()
  private readonly newsy = new Set<Channel>()
  private readonly consuming = new Set<Channel>()
  /** What the other side lets us do. */
  private terms: Terms | undefined
  private sendGrowthBytes = 0
  private receiveGrowthBytes = 0
  private isUrgent = false
  /** There is room again for whoever waits for it. */
  private hasRoom = false

  private news: Facts = noFacts()
  private pingDue: number | undefined
  private pongDue: number | undefined
  private heartbeatDue = false
  private positionsDue = false
  private isGoingAway = false
  private goAwayDue = false
  private retryAfterMillis = 0
  private closeDue: Frame.Close | undefined
  private closedDue = false

  constructor(limits: Limits, side: Side) {
    this.limits = limits
    this.main = new Channel(0, "", true, new SendWindow(), new ReceiveWindow(limits))
    this.channels = new Map([[0, this.main]])
    this.openings = new Openings(side, limits.channelsMax)
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
    const { channelWindowBytes, channelsMax, growthBytes } = this.limits
    return {
      limit: this.main.receive.limit,
      reserve: this.limits.windowBytes,
      channelLimit: channelWindowBytes,
      growth: growthBytes,
      channels: channelsMax
    }
  }

  /** All channels that are there. */
  get open(): Iterable<Channel> {
    return this.channels.values()
  }

  /** How many there are beside channel 0. */
  get openCount(): number {
    return this.channels.size - 1
  }

  /** How many channels we may open now; 0 before the session has begun. */
  get openable(): number {
    return this.openings.openable
  }

  /** What has happened since the last call. */
  facts(): Facts {
    const facts = this.news
    this.news = noFacts()
    for (const channel of facts.arrived) channel.hasArrived = false
    for (const channel of facts.taken) channel.hasTaken = false
    return facts
  }

  // ---- channels

  /** Opens a channel, if the other side lets us: see {@link openable}. Its messages may be accepted at once. */
  openChannel(name: string): Channel | undefined {
    const id = this.openings.begin(name)
    return id === undefined ? undefined : this.add(id, name, true)
  }

  /** Something was accepted on the channel. */
  ready(channel: Channel): void {
    if (this.channels.get(channel.id) !== channel) return
    const { send } = channel
    const isBehind = send.isReady && this.roomOf(channel) <= 0
    if (send.isWaitingForCredit || isBehind) this.awaitingCredit.add(channel)
    else this.awaitingCredit.delete(channel)
    if (send.isReady && !isBehind && (channel === this.main || this.openings.isUp)) this.turns.join(channel)
    else this.turns.leave(channel)
  }

  /** Something was taken on the channel. */
  took(channel: Channel): void {
    if (this.channels.get(channel.id) !== channel) return
    this.consuming.add(channel)
    this.received(channel)
  }

  /** Ends both directions: what was not taken is gone, and the other side is told, on later links again. */
  reset(channel: Channel, code: Frame.ResetCode, detail: string): void {
    if (channel === this.main || this.channels.get(channel.id) !== channel) return
    this.remove(channel)
    this.openings.reset({ _tag: "Reset", channel: channel.id, code, detail }, channel)
  }

  /**
   * A round trip has passed: a window of which more than half was taken meanwhile limits its channel, and grows (as in
   * yamux); one of which next to nothing was taken shrinks.
   */
  tune(): void {
    for (const channel of this.consuming) {
      const { receive } = channel
      const { windowBytes } = receive
      const taken = receive.taken - channel.tunedAt
      channel.tunedAt = receive.taken
      if (taken > windowBytes / 2) receive.resize(Math.min(windowBytes * 2, this.limits.windowBytesMax))
      else if (taken < windowBytes / 16) receive.resize(windowBytes / 2)
      this.received(channel)
    }
    this.consuming.clear()
  }

  // ---- the present link

  /** Data of the present link. */
  data(id: number, offset: number, bytes: Uint8Array): Violation | undefined {
    const channel = this.channels.get(id)
    if (channel === undefined) return this.openings.isPast(id) ? undefined : unknown(id)
    if (channel !== this.main && !this.openings.isUp) return early(id)
    const { receive } = channel
    const failed = receive.data(offset, bytes)
    if (failed !== undefined) return failed
    if ((receive.waitingCount > 0 || receive.ended) && !channel.hasArrived) {
      channel.hasArrived = true
      this.news.arrived.push(channel)
    }
    this.received(channel)
    const { growthBytes } = this.limits
    return this.receiveGrowthBytes <= growthBytes
      ? undefined
      : violation("growth", `${this.receiveGrowthBytes} bytes beyond what is reserved, more than ${growthBytes}`)
  }

  /** A control frame of the present link. */
  control(frame: Frame.Control): Violation | undefined {
    switch (frame._tag) {
      case "Ping":
        this.pongDue = frame.id
        return undefined
      case "Pong":
        this.news.pong = frame.id
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
        this.openings.forget(frame.channel)
        return undefined
      case "GoAway":
        this.news.goAway = frame
        return undefined
      case "Close":
        this.news.close = frame
        this.closedDue = true
        return undefined
      case "Closed":
        this.news.closed = true
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
    this.pingDue = id
  }

  /** Says that we live. */
  heartbeat(): void {
    this.heartbeatDue = true
  }

  /** Says where we stand, with the next bytes that are written. */
  announce(): void {
    this.positionsDue = true
  }

  /** Says that this session will move elsewhere, on later links again; nothing may be accepted afterwards. */
  goAway(retryAfterMillis: number): void {
    this.main.send.feed(Infinity, Infinity) // where our direction ends must be known
    this.retryAfterMillis = retryAfterMillis
    this.isGoingAway = true
    this.goAwayDue = true
  }

  /** Ends the session: said once, with the next bytes that are written. */
  close(close: Omit<Frame.Close, "_tag">): void {
    this.closeDue = { _tag: "Close", ...close }
  }

  /** The other side does not know yet how far we are. */
  get hasNews(): boolean {
    return this.main.isNews || this.newsy.size > 0 || this.openings.isNews
  }

  /** There is something to write now. News can wait a little for company, unless the other side may be waiting for it. */
  get hasWork(): boolean {
    return this.hasControl || this.hasData
  }

  /** There are messages to write now. */
  get hasData(): boolean {
    return (
      !this.turns.isEmpty ||
      (this.hasRoom && this.awaitingCredit.size > 0) ||
      (this.main.send.isReady && this.roomOf(this.main) > 0)
    )
  }

  /** The next bytes for the link: control frames first, then at most `bytesMax` of data. */
  write(bytesMax: number): Written | undefined {
    if (!this.hasWork) return undefined
    const chunks: Array<Uint8Array> = []
    const isHeartbeat = this.controlFrames(chunks)
    const dataBytes = this.dataFrames(bytesMax, chunks)
    if (chunks.length === 0) return undefined
    let bytes = 0
    for (const chunk of chunks) bytes += chunk.length
    const small = bytes <= joinBytesMax ? [join(chunks, bytes)] : chunks
    return { chunks: small, bytes, dataBytes, isHeartbeat: isHeartbeat && dataBytes === 0 }
  }

  /** Where channel 0 stands, for a handshake; a link that is up meanwhile goes on undisturbed. The others follow on it. */
  positions(): ReadonlyArray<Positions> {
    const positions = this.main.standing()
    this.received(this.main)
    return [positions]
  }

  /** The link is gone. What waited to be said on it is forgotten, what was accepted is not. */
  cut(): void {
    this.nothingDue()
    this.goAwayDue = this.isGoingAway
    this.openings.cut()
    for (const channel of this.channels.values()) {
      channel.announced = undefined
      channel.isListed = false
      channel.send.cut()
      this.weigh(channel)
      this.turns.leave(channel)
    }
  }

  /** A fresh session: what the other side lets us do. */
  begin(terms: Terms): Violation | undefined {
    if (terms.channels > 0 && terms.channelLimit < windowBytesMin) {
      return violation("terms", `a channel may send ${terms.channelLimit} bytes, fewer than ${windowBytesMin}`)
    }
    if (terms.reserve < windowBytesMin) {
      return violation("terms", `channel 0 may send ${terms.reserve} bytes, fewer than ${windowBytesMin}`)
    }
    this.terms = terms
    this.openings.permit(terms.channels)
    this.main.send.reserveBytes = terms.reserve
    const failed = this.main.send.resume(0, 0, terms.limit)
    this.weigh(this.main)
    return failed
  }

  /** A new link: both sides go on where the other stands, with channel 0 at once, and with each other one when it is told. */
  resume(theirs: ReadonlyArray<Positions>): Violation | undefined {
    const [positions] = theirs
    if (positions === undefined || theirs.length > 1 || positions.channel !== 0) {
      return violation("resume", "a handshake has the positions of channel 0 and of no other")
    }
    this.openings.resume()
    for (const channel of this.channels.values()) if (channel !== this.main) this.newsy.add(channel)
    return this.acknowledge(this.main, positions, true)
  }

  // ---- what arrives

  private positioned(frame: Positions): Violation | undefined {
    const channel = this.channels.get(frame.channel)
    const { isUp } = this.openings
    if (channel === undefined) return !isUp || this.openings.isPast(frame.channel) ? undefined : unknown(frame.channel)
    if (isUp || channel === this.main) return this.acknowledge(channel, frame, false)
    channel.isListed = true
    return this.acknowledge(channel, frame, true)
  }

  private opened({ channel: id, name }: Frame.Open): Violation | undefined {
    if (!this.openings.isUp) return early(id)
    const found = this.openings.see(id)
    if (typeof found !== "boolean") return found
    if (found) this.news.opened.push(this.add(id, name, false))
    return undefined
  }

  private counted(frame: Frame.Channels): Violation | undefined {
    const isFirst = !this.openings.isUp
    const failed = this.openings.count(frame, (id) => this.channels.get(id))
    return failed ?? (isFirst ? this.listed() : undefined)
  }

  /** All channels that the other side has were told: it is done with the others, or has never seen them. */
  private listed(): Violation | undefined {
    for (const channel of this.channels.values()) {
      if (channel === this.main || channel.isListed) this.ready(channel)
      else if (this.openings.isUnseen(channel.id)) {
        const failed = this.acknowledge(channel, unseen(channel.id, this.terms!.channelLimit), true)
        if (failed !== undefined) return failed
        channel.announced = channel.standing()
        this.newsy.delete(channel)
      } else {
        const { receive, send } = channel
        const isDone = send.ended && send.sentMax === send.end && send.queuedCount === 0 && receive.isFinished
        if (!isDone)
          return violation("channels", `channel ${channel.id} was forgotten before both directions had ended`)
        const { limit } = send
        const all = { ...unseen(channel.id, limit), received: send.end, taken: send.end, released: receive.taken }
        const failed = this.acknowledge(channel, all, true)
        if (failed !== undefined) return failed
        this.finish(channel)
      }
    }
    return undefined
  }

  private wasReset({ channel: id, code, detail }: Frame.Reset): Violation | undefined {
    if (id === 0) return violation("channel", "channel 0 cannot be reset")
    const channel = this.channels.get(id)
    if (channel !== undefined) {
      this.remove(channel)
      this.news.reset.push({ channel, code, detail })
    } else if (!this.openings.isPast(id)) return this.openings.isUp ? unknown(id) : undefined
    return this.openings.wasReset(id, channel !== undefined)
  }

  private acknowledge(channel: Channel, frame: Positions, isResume: boolean): Violation | undefined {
    const { receive, send } = channel
    const before = send.takenCount
    const receivedBefore = send.received
    const rejected = rejectedIndexes(send, frame)
    if ("rule" in rejected) return rejected
    const failed = isResume
      ? send.resume(frame.received, frame.taken, frame.limit)
      : send.acknowledge(frame.received, frame.taken, frame.limit)
    if (failed !== undefined) return failed
    this.movedBytes += send.received - receivedBefore
    for (const index of rejected) this.news.rejected.push({ channel, ordinal: before + index })
    if (frame.rejected.length > 0) {
      channel.confirmDue = true
      this.newsy.add(channel)
    }
    if (send.takenCount > before && !channel.hasTaken) {
      channel.hasTaken = true
      this.news.taken.push(channel)
    }
    this.weigh(channel)
    this.ready(channel)
    const refused = receive.confirm(frame.released)
    if (refused === undefined && channel.isFinished && !channel.isNews) this.finish(channel)
    return refused
  }

  // ---- accounts

  private add(id: number, name: string, isOurs: boolean): Channel {
    const { channelWindowBytes, messageBytesMax } = this.limits
    const { channelLimit } = this.terms!
    const send = new SendWindow(channelLimit)
    send.limit = channelLimit
    const receive = new ReceiveWindow({ windowBytes: channelWindowBytes, messageBytesMax })
    const channel = new Channel(id, name, isOurs, send, receive)
    channel.announced = channel.standing()
    this.channels.set(id, channel)
    return channel
  }

  /** Nothing is known of it any more. */
  private remove(channel: Channel): void {
    this.channels.delete(channel.id)
    this.turns.leave(channel)
    for (const set of [this.newsy, this.consuming, this.awaitingCredit, this.full]) set.delete(channel)
    this.outstandingBytes -= channel.outstandingBytes
    this.untakenBytes -= channel.untakenBytes
    this.receiveGrowthBytes -= channel.receiveGrowthBytes
    this.sendGrowthBytes -= channel.sendGrowthBytes
    if (channel.sendGrowthBytes > 0) this.hasRoom = true
  }

  private finish(channel: Channel): void {
    if (channel === this.main || this.channels.get(channel.id) !== channel) return
    this.remove(channel)
    this.openings.done(channel.id)
    this.news.finished.push(channel)
  }

  /** Something has changed in our direction. */
  private weigh(channel: Channel): void {
    const { send } = channel
    const outstandingBytes = send.sent - send.received
    this.outstandingBytes += outstandingBytes - channel.outstandingBytes
    channel.outstandingBytes = outstandingBytes
    const { growthBytes } = send
    const more = growthBytes - channel.sendGrowthBytes
    if (more === 0) return
    channel.sendGrowthBytes = growthBytes
    this.sendGrowthBytes += more
    if (more < 0) this.hasRoom = true
  }

  /** Whoever waits for room that is there now gets a turn, and keeps its place among those that wait until it has sent. */
  private room(): void {
    this.hasRoom = false
    if (!this.openings.isUp) return
    for (const channel of this.awaitingCredit) {
      if (channel.send.isReady && this.roomOf(channel) > 0) this.turns.join(channel)
    }
  }

  /** How many bytes the channel may send now, as far as the session goes. */
  private roomOf({ send, sendGrowthBytes }: Channel): number {
    const growth = (this.terms?.growth ?? 0) - this.sendGrowthBytes + sendGrowthBytes
    return Math.max(send.sentMax, send.reserved + Math.max(0, growth)) - send.sent
  }

  /** Something has changed in the other direction. */
  private received(channel: Channel): void {
    const { receive } = channel
    if (channel.isNews) {
      if (channel !== this.main) this.newsy.add(channel)
      if (channel.isUrgent) this.isUrgent = true
    }
    if (receive.received >= receive.limit) this.full.add(channel)
    else if (this.full.size > 0) this.full.delete(channel)
    const untakenBytes = receive.received - receive.taken
    this.untakenBytes += untakenBytes - channel.untakenBytes
    channel.untakenBytes = untakenBytes
    const { growthBytes } = receive
    this.receiveGrowthBytes += growthBytes - channel.receiveGrowthBytes
    channel.receiveGrowthBytes = growthBytes
  }

  // ---- what is written

  private nothingDue(): void {
    this.pingDue = undefined
    this.pongDue = undefined
    this.heartbeatDue = false
    this.positionsDue = false
    this.closedDue = false
    this.isUrgent = false
  }

  /** There is something other than messages to write now. */
  get hasControl(): boolean {
    return (
      this.isUrgent ||
      this.main.isUrgent ||
      this.pingDue !== undefined ||
      this.pongDue !== undefined ||
      this.heartbeatDue ||
      this.positionsDue ||
      this.goAwayDue ||
      this.closeDue !== undefined ||
      this.closedDue ||
      this.openings.hasWork
    )
  }

  /** Appends the control frames that are due; true if they are no more than a heartbeat and positions. */
  private controlFrames(into: Array<Uint8Array>): boolean {
    const { closeDue, goAwayDue, pingDue, pongDue, retryAfterMillis } = this
    if (this.positionsDue || this.main.isNews) this.tell(this.main, into)
    for (const channel of this.newsy) {
      this.tell(channel, into)
      if (channel.isFinished) this.finish(channel)
    }
    this.newsy.clear()
    const openings: ReadonlyArray<Opening> = this.openings.write()
    for (const frame of openings) into.push(Frame.encode(frame))
    if (pongDue !== undefined) into.push(Frame.encode({ _tag: "Pong", id: pongDue }))
    if (pingDue !== undefined) into.push(Frame.encode({ _tag: "Ping", id: pingDue }))
    if (this.heartbeatDue) into.push(Frame.encode({ _tag: "Heartbeat" }))
    if (goAwayDue) into.push(Frame.encode({ _tag: "GoAway", retryAfterMillis, end: this.main.send.end }))
    if (closeDue !== undefined) into.push(Frame.encode(closeDue))
    if (this.closedDue) into.push(Frame.encode({ _tag: "Closed" }))
    const isHeartbeat =
      this.heartbeatDue &&
      openings.length === 0 &&
      pongDue === undefined &&
      pingDue === undefined &&
      !goAwayDue &&
      closeDue === undefined &&
      !this.closedDue
    this.nothingDue()
    this.goAwayDue = false
    this.closeDue = undefined
    return isHeartbeat
  }

  /** Appends where a channel stands. What its application took by itself counts from here on. */
  private tell(channel: Channel, into: Array<Uint8Array>): void {
    into.push(Frame.encode(channel.announce()))
    this.received(channel)
  }

  /** Appends data, by turns. */
  private dataFrames(bytesMax: number, into: Array<Uint8Array>): number {
    const { turns } = this
    let written = 0
    if (this.hasRoom) this.room()
    this.ready(this.main)
    for (let channel = turns.next; channel !== undefined && written < bytesMax; channel = turns.next) {
      const { id, send } = channel
      const wanted = Math.min(bytesMax - written, turns.isAlone ? bytesMax : channel.deficitBytes)
      send.feed(wanted)
      const length = Math.min(
        wanted,
        send.sendableBytes,
        this.roomOf(channel),
        this.limits.frameBytesMax - dataHeaderBytesMax
      )
      if (length > 0) {
        into.push(Frame.dataHeader(id, send.sent, length))
        for (const view of send.next(length)) into.push(view)
        written += length
        this.weigh(channel)
        turns.spend(channel, length)
        this.awaitingCredit.delete(channel)
      }
      this.ready(channel)
    }
    return written
  }
}

const noFacts = (): Facts => ({
  arrived: [],
  taken: [],
  opened: [],
  finished: [],
  reset: [],
  pong: undefined,
  rejected: [],
  goAway: undefined,
  close: undefined,
  closed: false
})

const unknown = (channel: number): Violation => violation("channel", `there is no channel ${channel}`)

const early = (channel: number): Violation =>
  violation("channels", `channel ${channel} is used before it was told which channels there are`)

/** What stands at the beginning of a channel. */
const unseen = (channel: number, limit: number): Positions => ({
  _tag: "Positions",
  channel,
  received: 0,
  taken: 0,
  limit,
  released: 0,
  rejected: []
})

/** Which of the kept messages were declined. Those that are released were told before and are not yet confirmed. */
const rejectedIndexes = (send: SendWindow, { rejected, taken }: Positions): Array<number> | Violation => {
  const indexes: Array<number> = []
  let last = 0
  for (const end of rejected) {
    if (end <= last || end > taken)
      return violation("rejected", `rejected ${end} is not within ${last + 1} to ${taken}`)
    last = end
    if (end <= send.released) continue
    const index = send.keptIndexOf(end)
    if (index < 0) return violation("rejected", `rejected ${end} is not the end of a message`)
    indexes.push(index)
  }
  return indexes
}

const join = (chunks: ReadonlyArray<Uint8Array>, bytes: number): Uint8Array => {
  if (chunks.length === 1) return chunks[0]!
  const joined = new Uint8Array(bytes)
  let at = 0
  for (const chunk of chunks) {
    joined.set(chunk, at)
    at += chunk.length
  }
  return joined
}

/** Channel and offset, at their longest. */
const dataHeaderBytesMax = 16
/** Up to here one copy is cheaper than several pieces for the kernel. */
const joinBytesMax = 16_384
/** The header of a record must fit. */
const windowBytesMin = 8
