/**
 * When the other side is told where we stand: at once, and then not too often.
 */
import type { Peer } from "@holdfast/protocol"
import type { Alarm, Alarms } from "./alarms.ts"

/** Acknowledgements go out at once, and then not more often than this. */
export const acknowledgeMillis = 10

/** The first ones come sooner: whoever sends finds out by them what the link carries (as TCP's quick acknowledgements). */
const quickAcknowledgementsMax = 32
const quickMillis = 1

export class Acknowledging implements Alarm {
  due = 0
  place = -1
  readonly soonerMillis = 0
  private readonly alarms: Alarms
  private readonly peer: Peer.Peer
  private readonly onDue: () => void
  private mayAnnounce = true
  private quickAcknowledgements = quickAcknowledgementsMax

  /** `onDue`: called when there may be something to announce again. */
  constructor(alarms: Alarms, peer: Peer.Peer, onDue: () => void) {
    this.alarms = alarms
    this.peer = peer
    this.onDue = onDue
  }

  /** Has the next write announce where we stand, if that is news and not too soon. */
  announce(): boolean {
    if (!this.mayAnnounce || !this.peer.hasNews) return false
    this.mayAnnounce = false
    this.alarms.set(this, this.alarms.now() + (this.quickAcknowledgements-- > 0 ? quickMillis : acknowledgeMillis))
    this.peer.announce()
    return true
  }

  ring(): void {
    this.mayAnnounce = true
    this.onDue()
  }

  stop(): void {
    this.alarms.clear(this)
  }
}
