/**
 * One channel of a session: both directions, and what the other side was last told of it on the present link.
 */
import type { Positions } from "./Positions.ts"
import type { ReceiveWindow } from "./ReceiveWindow.ts"
import type { SendWindow } from "./SendWindow.ts"

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

  /** What `Peer` has counted of it. */
  outstandingBytes = 0
  untakenBytes = 0
  sendGrowthBytes = 0
  receiveGrowthBytes = 0
  tunedAt = 0
  hasArrived = false
  hasTaken = false
  isListed = false

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

  /** There is so much more credit to give that the other side may be waiting for it. */
  get isUrgent(): boolean {
    const { announced, receive } = this
    return receive.grantable - (announced?.limit ?? 0) >= receive.windowBytes / 4
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
}
