/**
 * One side of one session: the real `Peer`, and an application that sends letters, one after the other, and takes what
 * arrives, one at a time.
 */
import { type Openings, type Peer, SendWindow } from "@holdfast/protocol"
import { type Core, type Extent, limits } from "./Core.ts"
import { fieldsOf } from "./Snapshot.ts"
import { framesOf } from "./Wire.ts"

/** The messages of one application: the letters from `first` on, `bytes[i]` long in turn. */
export interface Application {
  readonly first: string
  readonly bytes: ReadonlyArray<number>
  readonly extent: Extent
}

/** One side of one session. Messages are spelled as one letter each. */
export class Party {
  readonly peer: Peer.Peer
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

  constructor(core: Core, side: Openings.Side, application: Application) {
    this.peer = core.peer(limits, side)
    this.application = application
  }

  get canSend(): boolean {
    return this.sentCount < this.application.extent.messages
  }

  get canEnd(): boolean {
    return this.application.extent.ends && !this.canSend && !this.peer.send.ended
  }

  get canTake(): boolean {
    return this.peer.receive.waitingCount > 0
  }

  get canDecline(): boolean {
    return this.canTake && this.adopted === "" && this.taken.length < this.application.extent.declines
  }

  /** The application sends its next message. */
  send(): void {
    const { bytes, first } = this.application
    const code = first.charCodeAt(0) + this.sentCount
    this.accept(new Uint8Array(bytes[this.sentCount % bytes.length]!).fill(code))
    this.sentCount++
  }

  accept(message: Uint8Array): void {
    this.peer.send.accept(message)
    this.sent += letterOf(message)
  }

  /** A consumer takes, or declines, one message and stops. What is wrong with the message, if anything. */
  take(isDeclined: boolean): string | undefined {
    const { receive } = this.peer
    const letter = letterOf(receive.hand()![0]!)
    if (isDeclined) {
      this.declined += this.taken.length
      receive.reject()
    } else receive.take(1)
    receive.giveBack()
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

  /** Messages of ours that are known to be taken; the end of our direction is none. */
  get takenCount(): number {
    const { end, ended, released, takenCount } = this.peer.send
    return ended && released === end ? takenCount - 1 : takenCount
  }

  /** Reads the facts, as whoever has called `receive` does. */
  digest(): void {
    for (const { ordinal } of this.peer.facts().rejected) this.told += ordinal
  }

  /** Everything that there is to write now, as frames. */
  write(): Array<Uint8Array> {
    const frames: Array<Uint8Array> = []
    while (this.peer.hasWork) {
      const written = this.peer.write(Number.MAX_SAFE_INTEGER)
      if (written === undefined) break
      frames.push(...framesOf(Buffer.concat(written.chunks)))
    }
    return frames
  }

  /** What has arrived of this session, in the order in which it will be handed out. */
  get arrived(): string {
    const waiting = fieldsOf(this.peer.receive)["waiting"] as ReadonlyArray<Uint8Array>
    return this.taken + waiting.slice(this.adopted.length).map(letterOf).join("")
  }

  /** What the replay buffer holds. */
  get kept(): { readonly fateUnknown: string; readonly notSent: string } {
    const { fateUnknown, notSent } = this.peer.send.outstanding()
    return { fateUnknown: fateUnknown.map(letterOf).join(""), notSent: notSent.map(letterOf).join("") }
  }
}

/** Stands for a message that nobody can have sent. */
export const garbled = "?"

/** A message's letter, if it is as it was sent. */
export const letterOf = (message: Uint8Array): string =>
  message.length > 0 && message.every((byte) => byte === message[0]) ? String.fromCharCode(message[0]!) : garbled

/** The widest record that there is. */
export const recordBytesMax = SendWindow.SendWindow.recordBytes(limits.messageBytesMax)
