/**
 * The channels of one side of a session: which there are, which of them has a turn to send, and of which there is news.
 */
import { Channel } from "./Channel.ts"
import { Credit } from "./Credit.ts"
import * as Frame from "./Frame.ts"
import type { Terms } from "./Handshake.ts"
import type { Limits } from "./Limits.ts"
import { Openings, type Side } from "./Openings.ts"
import * as Rare from "./Rare.ts"
import { ReceiveWindow } from "./ReceiveWindow.ts"
import { SendWindow } from "./SendWindow.ts"
import { Turns } from "./Turns.ts"
import { type Violation, violation } from "./Violation.ts"

/** All channels of one side, and which of them have something to say or to send. */
export class Channels {
  readonly main: Channel
  readonly openings: Openings
  readonly credit: Credit
  readonly turns = new Turns()
  /** Channels other than 0 that the other side knows, and of which there is something to tell. */
  newsy: ReadonlySet<Channel> = Rare.nobody
  /** One channel has news that should not wait. */
  private isAnyUrgent = false
  /** Both directions of these have ended, and all was taken. */
  finished: Array<Channel> = []
  /** Channels whose data may lie in memory that is used again. */
  private lent: Array<Channel> = []
  private reusesMemory = false
  private isCarried = false
  /** The limit of each channel when we open it, and its reserve. */
  private channelLimit = 0
  private readonly limits: Limits
  private readonly all: Map<number, Channel>
  /** Channels on which something was taken in this round trip. */
  private consuming: ReadonlySet<Channel> = Rare.nobody

  constructor(limits: Limits, side: Side) {
    this.limits = limits
    this.main = new Channel(0, "", true, new SendWindow(), new ReceiveWindow(limits))
    this.all = new Map([[0, this.main]])
    this.openings = new Openings(side, limits.channelsMax)
    this.credit = new Credit(limits.growthBytes)
  }

  /** What the other side lets us do. */
  begin({ channelLimit, channels, growth, limit, reserve }: Terms): Violation | undefined {
    const least = channels > 0 ? Math.min(reserve, channelLimit) : reserve
    if (least < windowBytesMin) {
      return violation("terms", `a channel may send ${least} bytes, fewer than ${windowBytesMin}`)
    }
    this.channelLimit = channelLimit
    this.credit.sendGrowthBytesMax = growth
    this.openings.permit(channels)
    this.main.send.reserveBytes = reserve
    return this.main.send.resume(0, 0, limit)
  }

  /** A link carries the session from now on. What one keeps that does not copy may not serve again, on later links neither. */
  carriedBy(isCopying: boolean): void {
    this.reusesMemory = isCopying && (this.reusesMemory || !this.isCarried)
    this.isCarried = true
    for (const { send } of this.all.values()) send.kept.reusesMemory = this.reusesMemory
  }

  get open(): Iterable<Channel> {
    return this.all.values()
  }

  /** How many there are beside channel 0. */
  get openCount(): number {
    return this.all.size - 1
  }

  get(id: number): Channel | undefined {
    return this.all.get(id)
  }

  /** The present link carries it. */
  isUsable(channel: Channel): boolean {
    return channel === this.main || this.openings.isUp
  }

  add(id: number, name: string, isOurs: boolean): Channel {
    const { channelWindowBytes, messageBytesMax } = this.limits
    const send = new SendWindow(this.channelLimit)
    send.limit = this.channelLimit
    send.kept.reusesMemory = this.reusesMemory
    const receive = new ReceiveWindow({ windowBytes: channelWindowBytes, messageBytesMax })
    const channel = new Channel(id, name, isOurs, send, receive)
    channel.announced = channel.standing()
    this.all.set(id, channel)
    return channel
  }

  /** Nothing is known of it any more. */
  remove(channel: Channel): void {
    this.all.delete(channel.id)
    this.turns.leave(channel)
    Rare.remove(this.newsy, channel)
    Rare.remove(this.consuming, channel)
    this.credit.remove(channel)
  }

  /** Ends both directions: what was not taken is gone. */
  reset(channel: Channel, code: Frame.ResetCode, detail: string): void {
    if (channel === this.main || !this.isThere(channel)) return
    this.remove(channel)
    this.openings.reset({ _tag: "Reset", channel: channel.id, code, detail }, channel)
  }

  finish(channel: Channel): void {
    if (channel === this.main || !this.isThere(channel)) return
    this.remove(channel)
    this.openings.done(channel.id)
    this.finished.push(channel)
  }

  /** More was accepted, or some was skipped: nothing new for whoever has a turn, or waits for credit, and still does. */
  accepted(channel: Channel): void {
    const { isReady, isWaitingForCredit } = channel.send
    const isKnown = channel.isWaiting ? isReady : isWaitingForCredit && this.credit.awaiting.has(channel)
    if (!isKnown) this.ready(channel)
  }

  /** Something has changed in our direction: whether it has a turn, or waits for credit. */
  ready(channel: Channel): void {
    if (!this.isThere(channel)) return
    const { credit } = this
    const { isReady, isWaitingForCredit } = channel.send
    const isBehind = isReady && credit.roomOf(channel) <= 0
    if (isWaitingForCredit || isBehind) credit.awaiting = Rare.add(credit.awaiting, channel)
    else Rare.remove(credit.awaiting, channel)
    if (isReady && !isBehind && this.isUsable(channel)) this.turns.join(channel)
    else this.turns.leave(channel)
  }

  /** Data came, in memory that may be used again. */
  lend(channel: Channel): void {
    if (channel.isLent) return
    channel.isLent = true
    this.lent.push(channel)
  }

  /** A consumer has messages that lie in the bytes of the data that came. */
  get isLentOut(): boolean {
    return this.lent.some(({ receive }) => receive.isLentOut)
  }

  /**
   * The bytes of the data that came are about to be overwritten: copies what waits for a consumer. True: one has messages
   * that lie there, and they must stay as they are.
   */
  own(): boolean {
    const { isLentOut } = this
    for (const channel of this.lent) {
      channel.isLent = false
      if (isLentOut) channel.receive.keep()
      else channel.receive.own()
    }
    if (this.lent.length > 0) this.lent = []
    return isLentOut
  }

  /** Something was taken on the channel. */
  took(channel: Channel): void {
    if (!this.isThere(channel)) return
    this.consuming = Rare.add(this.consuming, channel)
    this.received(channel)
  }

  /** Something has changed in the other direction. */
  received(channel: Channel): void {
    const isMain = channel === this.main
    if (channel.isNews && (isMain || this.openings.isTold(channel.id))) {
      if (!isMain) this.newsy = Rare.add(this.newsy, channel)
      if (channel.isUrgent) this.isAnyUrgent = true
    }
    this.credit.received(channel)
  }

  /** A round trip has passed: windows grow and shrink with what was taken meanwhile. */
  tune(): void {
    for (const channel of this.consuming) {
      channel.tune(this.limits.windowBytesMax)
      this.received(channel)
    }
    Rare.clear(this.consuming)
  }

  /** News should not wait: of one channel, or because the other side keeps so much for all of them. */
  get isUrgent(): boolean {
    return this.isAnyUrgent || (this.newsy.size > 0 && this.credit.untoldBytes >= untoldBytesMax)
  }

  /** There are messages to write now. */
  get hasData(): boolean {
    const { credit, main, turns } = this
    return !turns.isEmpty || credit.isRoomy || (main.send.isReady && credit.roomOf(main) > 0)
  }

  /** Appends where the channels stand of which there is news, and in any case channel 0 if `isDue`. */
  tell(isDue: boolean, into: Array<Uint8Array>): void {
    if (isDue || this.main.isNews) this.announce(this.main, into)
    this.isAnyUrgent = false
    if (this.newsy.size === 0) return
    for (const channel of this.newsy) {
      this.announce(channel, into)
      if (channel.isFinished) this.finish(channel)
    }
    Rare.clear(this.newsy)
  }

  /** Appends data, at most `bytesMax`, by turns. Returns how much. */
  write(bytesMax: number, into: Array<Uint8Array>): number {
    const { credit, turns } = this
    let bytes = 0
    this.room()
    this.ready(this.main)
    for (let channel = turns.next; channel !== undefined && bytes < bytesMax; channel = turns.next) {
      const { id, send } = channel
      const frameBytesMax = this.limits.frameBytesMax - dataHeaderBytesMax
      send.feed(turns.isAlone ? bytesMax - bytes : channel.deficitBytes)
      // Parts of records are not left alone if so much is written anyway, or the other side would hold one for every channel.
      const { recordBytesLeft } = send
      const isWhole = recordBytesLeft <= Math.min(bytesMax, wholeBytesMax)
      if (!isWhole && channel.deficitBytes <= 0) {
        turns.spend(channel, 0, false) // it was begun when more was written at once
        continue
      }
      const turnBytes = Math.max(channel.deficitBytes, isWhole ? recordBytesLeft : 0)
      const wanted = Math.min(bytesMax - bytes, turns.isAlone ? bytesMax : turnBytes)
      const possible = Math.min(wanted, send.sendableBytes, credit.roomOf(channel), frameBytesMax)
      if (possible > 0) {
        // Only what we cut ourselves: up to a limit of the other side everything goes.
        const length = possible === wanted || possible === frameBytesMax ? send.whole(possible) : possible
        into.push(Frame.dataHeader(id, send.sent, length))
        for (const view of send.next(length)) into.push(view)
        bytes += length
        credit.sent(channel)
        Rare.remove(credit.awaiting, channel)
        turns.spend(channel, length, isWhole && length < recordBytesLeft)
      }
      this.ready(channel)
    }
    return bytes
  }

  /** The link is gone. */
  cut(): void {
    this.isAnyUrgent = false
    this.openings.cut()
    for (const channel of this.all.values()) {
      channel.announced = undefined
      channel.isListed = false
      channel.send.cut()
      this.credit.sent(channel)
      this.turns.leave(channel)
    }
  }

  /** A new link: everything is told again. */
  resume(): void {
    this.openings.resume()
    for (const channel of this.all.values()) if (channel !== this.main) this.newsy = Rare.add(this.newsy, channel)
  }

  /** Whoever waits for room that is there again gets a turn. */
  private room(): void {
    for (const channel of this.credit.roomFor()) {
      if (channel.send.isReady && this.isUsable(channel)) this.turns.join(channel)
    }
  }

  /** What its application took by itself counts from here on. */
  private announce(channel: Channel, into: Array<Uint8Array>): void {
    into.push(Frame.encode(channel.announce()))
    this.credit.received(channel)
  }

  private isThere(channel: Channel): boolean {
    return this.all.get(channel.id) === channel
  }
}

/** A record up to this is sent in one turn, if so much is written at once. */
const wholeBytesMax = 131_072
/** So much that was taken on all channels together is told at once. */
const untoldBytesMax = 1_048_576
/** The header of a record must fit. */
const windowBytesMin = 8
/** Channel and offset, at their longest. */
const dataHeaderBytesMax = 16

/** Nobody has opened it. */
export const unknown = (channel: number): Violation => violation("channel", `there is no channel ${channel}`)

/** It comes too soon on a new link. */
export const early = (channel: number): Violation =>
  violation("channels", `channel ${channel} is used before it was told which channels there are`)
