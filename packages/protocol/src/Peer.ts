/**
 * One side of a session, after the handshake: what goes in are the bytes of the present link and the application's
 * calls, what comes out are bytes to write and facts. It outlives links: `cut` and `resume` join them. It knows no time
 * and does no I/O. Whoever has called `receive` looks at `facts` afterwards.
 */
import type { Sink } from "./Decoder.ts"
import * as Frame from "./Frame.ts"
import type { Positions } from "./Positions.ts"
import { ReceiveWindow } from "./ReceiveWindow.ts"
import { SendWindow } from "./SendWindow.ts"
import { type Violation, violation } from "./Violation.ts"

/** Bounds in bytes. */
export interface Limits {
  /** How much may arrive beyond what the application has taken; at least 8, so that a record's length fits. */
  readonly windowBytes: number
  /** The largest message in either direction; both sides must agree on it. */
  readonly messageBytesMax: number
  /** The largest body of a frame. */
  readonly frameBytesMax: number
}

/** What has happened since the facts were last read. */
export interface Facts {
  /** Messages arrived, or the end of the other direction. */
  arrived: boolean
  /** More of ours was taken. */
  taken: boolean
  /** The answer to our latest ping arrived. */
  pong: number | undefined
  /** Ordinals (from 0, over the life of the session) of messages that the other application declined. */
  rejected: Array<number>
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

/** Both directions of one channel, and what the other side was last told of it on the present link. */
interface Channel {
  readonly id: number
  readonly send: SendWindow
  readonly receive: ReceiveWindow
  announced: Positions | undefined
  confirmDue: boolean
}

/** One side of a session. */
export class Peer implements Sink {
  readonly limits: Limits
  private readonly channels: Map<number, Channel>
  private readonly main: Channel
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

  constructor(limits: Limits) {
    this.limits = limits
    this.main = {
      id: 0,
      send: new SendWindow(),
      receive: new ReceiveWindow(limits),
      announced: undefined,
      confirmDue: false
    }
    this.channels = new Map([[0, this.main]])
  }

  /** Our direction of channel 0. */
  get send(): SendWindow {
    return this.main.send
  }

  /** The other direction of channel 0. */
  get receive(): ReceiveWindow {
    return this.main.receive
  }

  /** What has happened since the last call. */
  facts(): Facts {
    const facts = this.news
    this.news = noFacts()
    return facts
  }

  /** Data of the present link. */
  data(channel: number, offset: number, bytes: Uint8Array): Violation | undefined {
    const { receive } = this.channels.get(channel) ?? {}
    if (receive === undefined) return violation("channel", `there is no channel ${channel}`)
    const failed = receive.data(offset, bytes)
    if (receive.waitingCount > 0 || receive.ended) this.news.arrived = true
    return failed
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
        return this.acknowledge(frame, false)
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
    for (const channel of this.channels.values()) if (isNews(channel)) return true
    return false
  }

  /** There is something to write now. News can wait a little for company, unless the other side may be waiting for it. */
  get hasWork(): boolean {
    if (this.hasControl) return true
    for (const { announced, receive, send } of this.channels.values()) {
      if (send.sendableBytes > 0) return true
      if (receive.grantable - (announced?.limit ?? 0) >= this.limits.windowBytes / 4) return true
    }
    return false
  }

  /** The next bytes for the link: control frames first, then at most `bytesMax` of data. */
  write(bytesMax: number): Written | undefined {
    if (!this.hasWork) return undefined
    const chunks: Array<Uint8Array> = []
    let dataBytes = 0
    const isHeartbeat = this.controlFrames(chunks)
    for (const { id, send } of this.channels.values()) {
      while (dataBytes < bytesMax && send.sendableBytes > 0) {
        const length = Math.min(
          bytesMax - dataBytes,
          send.sendableBytes,
          this.limits.frameBytesMax - dataHeaderBytesMax
        )
        chunks.push(Frame.dataHeader(id, send.sent, length))
        for (const view of send.next(length)) chunks.push(view)
        dataBytes += length
      }
    }
    if (chunks.length === 0) return undefined
    let bytes = 0
    for (const chunk of chunks) bytes += chunk.length
    const small = bytes <= joinBytesMax ? [join(chunks, bytes)] : chunks
    return { chunks: small, bytes, dataBytes, isHeartbeat: isHeartbeat && dataBytes === 0 }
  }

  /** Where all channels stand, for a handshake; a link that is up meanwhile goes on undisturbed. */
  positions(): ReadonlyArray<Positions> {
    return Array.from(this.channels.values(), standing)
  }

  /** The link is gone. What waited to be said on it is forgotten, what was accepted is not. */
  cut(): void {
    this.nothingDue()
    this.goAwayDue = this.isGoingAway
    for (const channel of this.channels.values()) channel.announced = undefined
  }

  /** A fresh session: how much the other side takes on channel 0. */
  begin(limit: number): Violation | undefined {
    return this.main.send.resume(0, 0, limit)
  }

  /** A new link: both sides go on where the other stands. */
  resume(theirs: ReadonlyArray<Positions>): Violation | undefined {
    if (theirs.length !== this.channels.size) {
      return violation("resume", `positions of ${theirs.length} channels, not ${this.channels.size}`)
    }
    for (const positions of theirs) {
      const failed = this.acknowledge(positions, true)
      if (failed !== undefined) return failed
    }
    return undefined
  }

  private acknowledge(frame: Positions, isResume: boolean): Violation | undefined {
    const channel = this.channels.get(frame.channel)
    if (channel === undefined) return violation("channel", `there is no channel ${frame.channel}`)
    const { receive, send } = channel
    const before = send.takenCount
    const rejected = rejectedIndexes(send, frame)
    if ("rule" in rejected) return rejected
    const failed = isResume
      ? send.resume(frame.received, frame.taken, frame.limit)
      : send.acknowledge(frame.received, frame.taken, frame.limit)
    if (failed !== undefined) return failed
    for (const index of rejected) this.news.rejected.push(before + index)
    if (frame.rejected.length > 0) channel.confirmDue = true
    if (send.takenCount > before) this.news.taken = true
    return receive.confirm(frame.released)
  }

  private nothingDue(): void {
    this.pingDue = undefined
    this.pongDue = undefined
    this.heartbeatDue = false
    this.positionsDue = false
    this.closedDue = false
  }

  private get hasControl(): boolean {
    return (
      this.pingDue !== undefined ||
      this.pongDue !== undefined ||
      this.heartbeatDue ||
      this.positionsDue ||
      this.goAwayDue ||
      this.closeDue !== undefined ||
      this.closedDue
    )
  }

  /** Appends the control frames that are due; true if they are no more than a heartbeat and positions. */
  private controlFrames(into: Array<Uint8Array>): boolean {
    const { closeDue, goAwayDue, pingDue, pongDue, retryAfterMillis } = this
    for (const channel of this.channels.values()) {
      if (!this.positionsDue && !isNews(channel)) continue
      channel.announced = standing(channel)
      channel.confirmDue = false
      into.push(Frame.encode(channel.announced))
    }
    if (pongDue !== undefined) into.push(Frame.encode({ _tag: "Pong", id: pongDue }))
    if (pingDue !== undefined) into.push(Frame.encode({ _tag: "Ping", id: pingDue }))
    if (this.heartbeatDue) into.push(Frame.encode({ _tag: "Heartbeat" }))
    if (goAwayDue) into.push(Frame.encode({ _tag: "GoAway", retryAfterMillis, end: this.main.send.end }))
    if (closeDue !== undefined) into.push(Frame.encode(closeDue))
    if (this.closedDue) into.push(Frame.encode({ _tag: "Closed" }))
    const isHeartbeat =
      this.heartbeatDue &&
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
}

const noFacts = (): Facts => ({
  arrived: false,
  taken: false,
  pong: undefined,
  rejected: [],
  goAway: undefined,
  close: undefined,
  closed: false
})

const isNews = ({ announced, confirmDue, receive }: Channel): boolean =>
  confirmDue ||
  announced === undefined ||
  announced.received !== receive.received ||
  announced.taken !== receive.taken ||
  announced.limit !== receive.grantable

/** What there is to say of a channel. Whoever hears the limit may use it, so it binds from here on. */
const standing = ({ id, receive, send }: Channel): Positions => {
  receive.limit = receive.grantable
  return {
    _tag: "Positions",
    channel: id,
    received: receive.received,
    taken: receive.taken,
    limit: receive.limit,
    released: send.released,
    rejected: receive.rejected
  }
}

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
