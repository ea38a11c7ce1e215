/**
 * One side's end of one channel: an application that sends letters, one after the other, and takes what arrives, one at a
 * time.
 */
import type { Channel, Peer } from "@holdfast/protocol"
import type { Extent } from "./Core.ts"

/** What an application does with a channel: it sends the letters from `first` on, `bytes[i]` long in turn. */
export interface Application {
  readonly first: string
  readonly bytes: ReadonlyArray<number>
  readonly messages: number
  readonly ends: boolean
  readonly extent: Extent
}

/** What has become of a channel. */
export type Fate = "open" | "finished" | "reset"

/** One end of one channel. Messages are spelled as one letter each, skipped ones as `-`. */
export class Line {
  readonly peer: Peer.Peer
  readonly channel: Channel.Channel
  fate: Fate = "open"
  /** What was accepted in this session, and how often the application has sent, in this session or an earlier one. */
  sent = ""
  sentCount = 0
  /** What the application is done with, of what arrived in this session. */
  taken = ""
  /** What arrived in an earlier session and comes first. */
  adopted = ""
  /** Ordinals of messages that the application declined, and of those that the other one is known to have declined. */
  declined = ""
  told = ""
  private readonly application: Application

  constructor(peer: Peer.Peer, channel: Channel.Channel, application: Application) {
    this.peer = peer
    this.channel = channel
    this.application = application
  }

  get isOpen(): boolean {
    return this.fate === "open"
  }

  get canSend(): boolean {
    return this.isOpen && !this.channel.send.ended && this.sentCount < this.application.messages
  }

  get canEnd(): boolean {
    return this.isOpen && this.application.ends && !this.canSend && !this.channel.send.ended
  }

  get canTake(): boolean {
    return this.isOpen && this.channel.receive.waitingCount > 0
  }

  get canDecline(): boolean {
    return this.canTake && this.adopted === "" && this.taken.length < this.application.extent.declines
  }

  get canSkip(): boolean {
    const { queuedCount, skippedCount } = this.channel.send
    return this.isOpen && queuedCount > 0 && skippedCount < this.application.extent.skips
  }

  get canReset(): boolean {
    return this.isOpen && this.channel.id !== 0 && this.application.extent.resets
  }

  /** The application sends its next message. */
  send(): void {
    const { bytes, extent, first } = this.application
    const code = first.charCodeAt(0) + this.sentCount
    const message = new Uint8Array(bytes[this.sentCount % bytes.length]!).fill(code)
    if (this.channel.id !== 0 && extent.skips > 0) {
      this.channel.send.enqueue(message)
      this.sent += letterOf(message)
      this.peer.ready(this.channel)
    } else this.accept(message)
    this.sentCount++
  }

  accept(message: Uint8Array): void {
    this.channel.send.accept(message)
    this.sent += letterOf(message)
    this.peer.ready(this.channel)
  }

  end(): void {
    this.channel.send.acceptEnd()
    this.peer.ready(this.channel)
  }

  /** The application skips the oldest message that no link was handed. */
  skip(): void {
    const ordinal = this.channel.send.skipOldest()
    this.sent = `${this.sent.slice(0, ordinal)}-${this.sent.slice(ordinal + 1)}`
    this.peer.ready(this.channel)
  }

  reset(): void {
    this.peer.reset(this.channel, "Abandoned", "")
    this.fate = "reset"
  }

  /** A consumer takes, or declines, one message and stops. What is wrong with the message, if anything. */
  take(isDeclined: boolean): string | undefined {
    const { receive } = this.channel
    const letter = letterOf(receive.hand()![0]!)
    if (isDeclined) {
      this.declined += this.taken.length
      receive.reject()
    } else receive.take(1)
    receive.giveBack()
    this.peer.took(this.channel)
    if (this.adopted === "") {
      this.taken += letter
      return letter === garbled ? "the application was handed a garbled message" : undefined
    }
    const expected = this.adopted[0]
    this.adopted = this.adopted.slice(1)
    return letter === expected
      ? undefined
      : `"${letter}" was handed on from the earlier session instead of "${expected}"`
  }

  /** Messages of ours that are known to be taken, or were skipped before those; the end of our direction is none. */
  get takenCount(): number {
    const { isFinished, takenCount } = this.channel.send
    return isFinished ? takenCount - 1 : takenCount
  }

  /** What has arrived of this session, in the order in which it will be handed out. */
  get arrived(): string {
    const { waiting } = this.channel.receive as unknown as { readonly waiting: ReadonlyArray<Uint8Array> }
    return this.taken + waiting.slice(this.adopted.length).map(letterOf).join("")
  }

  /** What the replay buffer holds. */
  get kept(): { readonly fateUnknown: string; readonly notSent: string } {
    const { fateUnknown, notSent } = this.channel.send.outstanding()
    return { fateUnknown: fateUnknown.map(letterOf).join(""), notSent: notSent.map(letterOf).join("") }
  }
}

/** Stands for a message that nobody can have sent. */
export const garbled = "?"

/** A message's letter, if it is as it was sent. */
export const letterOf = (message: Uint8Array): string =>
  message.length > 0 && message.every((byte) => byte === message[0]) ? String.fromCharCode(message[0]!) : garbled
