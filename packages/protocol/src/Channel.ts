/**
 * One channel of a session: both directions, and what the other side was last told of it on the present link.
 */
import type { Positions } from "./Positions.ts"
import type { ReceiveWindow } from "./ReceiveWindow.ts"
import type { SendWindow } from "./SendWindow.ts"
import { type Violation, violation } from "./Violation.ts"

/** One of many independent, ordered flows of messages. Channel 0 is there from the beginning. */
export class Channel {
  readonly id: number
  readonly name: string
  readonly isOurs: boolean
  readonly send: SendWindow
  readonly receive: ReceiveWindow
  /** Its share of the link among channels that have something to send. */
  weight = 1
  announced: Positions | undefined
  /** The other side waits to hear that we know which messages it declined. */
  confirmDue = false
  private tunedAt = 0

  /** What `Peer` knows of it. */
  hasArrived = false
  hasTaken = false
  isLent = false
  isListed = false

  /** What `Credit` has counted of it. */
  outstandingBytes = 0
  untakenBytes = 0
  untoldBytes = 0
  sendGrowthBytes = 0
  receiveGrowthBytes = 0

  /** What `Turns` knows of it. */
  isWaiting = false
  round = -1
  deficitBytes = 0

  constructor(id: number, name: string, isOurs: boolean, send: SendWindow, receive: ReceiveWindow) {
    this.id = id
    this.name = name
    this.isOurs = isOurs
    this.send = send
    this.receive = receive
  }

  /** Nothing more will happen in either direction, and the other side is known to know what was declined. */
  get isFinished(): boolean {
    return this.send.isFinished && this.receive.isFinished && this.receive.rejected.length === 0
  }

  /** The other side may have nothing more to do with it: all was sent, and all of its own was taken. */
  get isForgettable(): boolean {
    const { receive, send } = this
    return send.ended && send.queuedCount === 0 && send.sentMax === send.end && receive.isFinished
  }

  /** The other side does not know yet how far we are. */
  get isNews(): boolean {
    const { announced, confirmDue, receive } = this
    return (
      confirmDue ||
      announced === undefined ||
      announced.received !== receive.received ||
      announced.taken !== receive.taken ||
      announced.limit !== receive.grantable
    )
  }

  /** There is so much more credit to give that the other side may be waiting for it, or for the memory. */
  get isUrgent(): boolean {
    const { announced, receive } = this
    return receive.grantable - (announced?.limit ?? 0) >= Math.min(receive.windowBytes / 4, creditBytes)
  }

  /** What there is to say of it. Whoever hears the limit may use it, so it binds from here on. */
  standing(): Positions {
    const { id, receive, send } = this
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

  /** Tells it: from here on it is known. */
  announce(): Positions {
    this.announced = this.standing()
    this.confirmDue = false
    return this.announced
  }

  /** The other side says where it stands. Returns the ordinals of messages that it declined, each once. */
  hear(positions: Positions, isResume: boolean): ReadonlyArray<number> | Violation {
    const { receive, send } = this
    const declined = this.declined(positions)
    if ("rule" in declined) return declined
    const { limit, received, rejected, released, taken } = positions
    const failed = isResume ? send.resume(received, taken, limit) : send.acknowledge(received, taken, limit)
    if (failed !== undefined) return failed
    if (rejected.length > 0) this.confirmDue = true
    return receive.confirm(released) ?? declined
  }

  /**
   * A round trip has passed: a window of which more than half was taken meanwhile limits its channel, and grows (as in
   * yamux); one of which next to nothing was taken shrinks.
   */
  tune(windowBytesMax: number): void {
    const { receive } = this
    const { windowBytes } = receive
    const taken = receive.taken - this.tunedAt
    this.tunedAt = receive.taken
    if (taken > windowBytes / 2) receive.resize(Math.min(windowBytes * 2, windowBytesMax))
    else if (taken < windowBytes / 16) receive.resize(windowBytes / 2)
  }

  /** The ordinals of what was declined. Messages that are released were told before and are not yet confirmed. */
  private declined({ rejected, taken }: Positions): ReadonlyArray<number> | Violation {
    const { send } = this
    if (rejected.length === 0) return none
    const ordinals: Array<number> = []
    let last = 0
    for (const end of rejected) {
      if (end <= last || end > taken)
        return violation("rejected", `rejected ${end} is not within ${last + 1} to ${taken}`)
      last = end
      if (end <= send.released) continue
      const index = send.keptIndexOf(end)
      if (index < 0) return violation("rejected", `rejected ${end} is not the end of a message`)
      ordinals.push(send.takenCount + index)
    }
    return ordinals
  }
}

const none: ReadonlyArray<number> = []

/** So much new credit is never kept back. */
const creditBytes = 262_144
