/**
 * Which channels each side has opened, and how many more it may: numbers that only grow, so that a resume finds out what
 * the other side has never seen. Channels have the odd numbers if the client opens them, and the even ones if the server
 * does, in the order in which they are opened. A reset is said on every link until it is confirmed.
 */
import type { Channel } from "./Channel.ts"
import type * as Frame from "./Frame.ts"
import * as Rare from "./Rare.ts"
import { type Violation, violation } from "./Violation.ts"

/** Who dials, and who is dialled. */
export type Side = "client" | "server"

/** What is said about channels as such. */
export type Opening = Frame.Open | Frame.Channels | Frame.Reset | Frame.ResetDone

/** A channel that we have reset, until the other side confirms it. */
interface Grave {
  readonly name: string
  readonly frame: Frame.Reset
  /** It was said on the present link. */
  isSaid: boolean
}

/** The channels of one side of a session, by their numbers. */
export class Openings {
  /** It is known of every channel where the other side stands: channels other than 0 may be used on the present link. */
  isUp = false
  private readonly side: Side
  private readonly channelsMax: number

  private openedCount = 0
  private openLimit = 0
  /** How many resets the other side may have unconfirmed. */
  private resetsMax = 0
  /** How many of ours the other side has seen. */
  private theirSeenCount = 0
  /** How many of ours it has seen or was told of on the present link. */
  private toldCount = 0
  private openDue: Array<Frame.Open> = []

  private seenCount = 0
  /** Of theirs, those that are over. */
  private doneCount = 0
  private saidLimit: number

  private graves: ReadonlyMap<number, Grave> = noGraves
  private resetDue: ReadonlySet<number> = Rare.nobody
  private resetDoneDue: ReadonlySet<number> = Rare.nobody
  /** The present link was not told yet which channels there are. */
  private isListing = false

  constructor(side: Side, channelsMax: number) {
    this.side = side
    this.channelsMax = channelsMax
    this.saidLimit = channelsMax
  }

  /** How many channels we may open now: none while so many resets are not confirmed that memory could run out. */
  get openable(): number {
    return this.graves.size < gravesMax ? this.openLimit - this.openedCount : 0
  }

  /** Begins one more channel of ours and returns its number. */
  begin(name: string): number | undefined {
    if (this.openable <= 0) return undefined
    const channel = this.idOf(++this.openedCount)
    if (this.isUp) this.openDue.push({ _tag: "Open", channel, name })
    return channel
  }

  /** A fresh session, in which we may open so many. */
  permit(limit: number): void {
    this.openLimit = limit
    this.resetsMax = limit + this.channelsMax + gravesMax
    this.isUp = true
  }

  /** A new link of an earlier session: both sides tell which channels they have. */
  resume(): void {
    this.isListing = true
  }

  /** The link is gone. */
  cut(): void {
    this.isUp = false
    this.isListing = false
    this.toldCount = this.theirSeenCount
    this.openDue = []
    Rare.clear(this.resetDue)
    Rare.clear(this.resetDoneDue)
    for (const grave of this.graves.values()) grave.isSaid = false
  }

  /** It can be said where the channel stands: the other side knows it, or does not mind in the list of all channels. */
  isTold(id: number): boolean {
    return !this.isOurs(id) || countOf(id) <= this.toldCount || (this.isListing && !this.isUp)
  }

  /** The channel was there once, as far as this side knows. */
  isPast(id: number): boolean {
    return countOf(id) <= (this.isOurs(id) ? this.openedCount : this.seenCount)
  }

  /** It is one of ours, and the other side has never seen it. */
  isUnseen(id: number): boolean {
    return this.isOurs(id) && countOf(id) > this.theirSeenCount
  }

  /** The other side has opened a channel; false if that was known. */
  see(id: number): boolean | Violation {
    const count = countOf(id)
    if (id === 0 || this.isOurs(id)) return violation("channel", `${id} is not a channel that the other side can open`)
    if (count <= this.seenCount) return false
    if (count > this.seenCount + 1) return violation("channel-order", `channel ${id} before ${this.seenCount + 1}`)
    if (count > this.saidLimit) return violation("channel-limit", `${count} channels, more than ${this.saidLimit}`)
    this.seenCount = count
    return true
  }

  /** The other side tells how many it has seen, and how many there may be. */
  count({ limit, seen }: Frame.Channels, find: (id: number) => Channel | undefined): Violation | undefined {
    if (seen < this.theirSeenCount || seen > this.openedCount) {
      return violation("channels", `seen ${seen} is not within ${this.theirSeenCount} to ${this.openedCount}`)
    }
    if (limit < this.openLimit) return violation("channels", `the limit ${this.openLimit} was withdrawn to ${limit}`)
    this.theirSeenCount = seen
    this.openLimit = limit
    if (this.isUp) return undefined
    this.isUp = true
    this.toldCount = seen
    for (let count = seen + 1; count <= this.openedCount; count++) {
      const channel = this.idOf(count)
      const unseen = find(channel) ?? this.graves.get(channel)
      if (unseen === undefined)
        return violation("channels", `channel ${channel} is over, and was said never to be seen`)
      this.openDue.push({ _tag: "Open", channel, name: unseen.name })
    }
    for (const [id, { isSaid }] of this.graves) {
      if (this.isUnseen(id) || (!isSaid && !this.isListing)) this.resetDue = Rare.add(this.resetDue, id)
    }
    return undefined
  }

  /** We have reset a channel. */
  reset(frame: Frame.Reset, { name }: Channel): void {
    if (this.graves === noGraves) this.graves = new Map()
    ;(this.graves as Map<number, Grave>).set(frame.channel, { name, frame, isSaid: false })
    if (this.isUp) this.resetDue = Rare.add(this.resetDue, frame.channel)
  }

  /** The other side has reset a channel, which was open here or not. */
  wasReset(id: number, wasOpen: boolean): Violation | undefined {
    if (wasOpen) this.done(id)
    this.resetDoneDue = Rare.add(this.resetDoneDue, id)
    return this.resetDoneDue.size <= this.resetsMax
      ? undefined
      : violation("channels", `${this.resetDoneDue.size} resets at once, more than ${this.resetsMax}`)
  }

  /** The other side has confirmed a reset. */
  forget(id: number): void {
    Rare.remove(this.resetDue, id)
    if (this.graves.has(id) && (this.graves as Map<number, Grave>).delete(id)) this.done(id)
  }

  /** A channel is over on both sides. */
  done(id: number): void {
    if (!this.isOurs(id)) this.doneCount++
  }

  /** The other side does not know yet how many channels there may be. */
  get isNews(): boolean {
    return this.isUp && this.limit > this.saidLimit
  }

  /** There is something to say now. That there may be more channels can wait, unless few are left. */
  get hasWork(): boolean {
    return this.isDue || (this.isNews && (this.saidLimit - this.seenCount) * 4 <= this.channelsMax)
  }

  private get isDue(): boolean {
    return this.isListing || this.openDue.length > 0 || this.resetDue.size > 0 || this.resetDoneDue.size > 0
  }

  /** Everything there is to say, behind the positions of all channels. */
  write(): ReadonlyArray<Opening> {
    if (!this.isDue && !this.isNews) return none
    const frames: Array<Opening> = []
    if (this.isListing) {
      for (const id of this.graves.keys()) if (!this.resetDue.has(id)) this.sayReset(id, frames)
    }
    if (this.isListing || this.isNews) {
      this.saidLimit = this.limit
      frames.push({ _tag: "Channels", seen: this.seenCount, limit: this.limit })
    }
    this.isListing = false
    for (const open of this.openDue) frames.push(open)
    for (const id of this.resetDue) this.sayReset(id, frames)
    for (const channel of this.resetDoneDue) frames.push({ _tag: "ResetDone", channel })
    if (this.isUp) this.toldCount = this.openedCount
    this.openDue = []
    Rare.clear(this.resetDue)
    Rare.clear(this.resetDoneDue)
    return frames
  }

  private sayReset(id: number, into: Array<Opening>): void {
    const grave = this.graves.get(id)!
    grave.isSaid = true
    into.push(grave.frame)
  }

  private get limit(): number {
    return this.doneCount + this.channelsMax
  }

  private isOurs(id: number): boolean {
    return (id % 2 === 1) === (this.side === "client")
  }

  private idOf(count: number): number {
    return this.side === "client" ? count * 2 - 1 : count * 2
  }
}

const none: ReadonlyArray<Opening> = []

/** Of all that have never reset a channel. */
const noGraves: ReadonlyMap<number, Grave> = Object.freeze(new Map())

/** How many channels of its side there are up to this one. */
const countOf = (id: number): number => Math.ceil(id / 2)

/** How many resets may be unconfirmed before no more channels are opened. */
const gravesMax = 1024
