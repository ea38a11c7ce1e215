/**
 * The sending half of a connection: what was written and not acknowledged, when it is sent again, and when that is given
 * up. It goes back to the first unacknowledged byte after a timeout, sends one segment, and goes on when an answer comes.
 */
import { ByteQueue } from "./ByteQueue.ts"
import type { HostTime } from "./HostTime.ts"
import type { Segment } from "./Path.ts"
import type { Micros } from "./World.ts"

/** The constants in microseconds and bytes. */
export interface SenderOptions {
  readonly retransmitTimeout: Micros
  readonly retransmitTimeoutMax: Micros
  readonly retriesMax: number
  readonly orphanRetriesMax: number
  readonly sendBufferBytes: number
  readonly sendBufferBytesMax: number
  readonly userTimeout: Micros
}

/** What the sender asks of its connection. */
export interface Outlet {
  readonly time: HostTime
  readonly segmentBytesMax: () => number
  readonly isOrphan: () => boolean
  /** False: the link is busy, and `pump` is called when it no longer is. */
  readonly hasRoom: () => boolean
  readonly sendData: (seq: number, chunks: ReadonlyArray<Uint8Array>, bytes: number) => void
  readonly sendEnd: (seq: number) => void
  readonly sendProbe: (seq: number) => void
  /** Arms the connection's timer. */
  readonly wakeAt: (at: Micros) => void
}

export class Sender {
  readonly queue = new ByteQueue()
  /** Everything below is acknowledged. */
  una = 0
  private next = 0
  private limit = 0
  private isEnding = false
  private capacity: number
  private wasFull = false
  /** What Linux would let be under way at once. It sizes the buffer here, and holds nothing back. */
  private congestion = 10 * ethernetSegment
  private readonly options: SenderOptions
  private readonly outlet: Outlet

  private backoff = 0
  private unanswered = 0
  private isProbing = false
  private recoverTo = 0
  private wasBlocked = false
  /** When the oldest bytes were sent for the second time. */
  private retriedSince: Micros | undefined
  private waitingSince: Micros = 0
  /** The timer counts from the last try, or from when waiting began. */
  private lastTry: Micros = 0
  private persistSince: Micros | undefined
  private roundTrip: Micros = 0
  private variation: Micros = 0
  private sentUpTo = 0

  constructor(options: SenderOptions, outlet: Outlet) {
    this.options = options
    this.outlet = outlet
    this.capacity = options.sendBufferBytes
  }

  /** The other side has answered for the first time. */
  begin({ echo, limit }: Segment): void {
    this.limit = limit
    this.measure(this.now - echo)
  }

  /** Bytes that the buffer took: piece by piece for as long as there is any room, so that the last one may exceed it. */
  write(chunk: Uint8Array): number {
    const room = Math.max(0, this.capacity - (this.queue.end - this.una))
    const bytes = Math.min(chunk.length, Math.ceil(room / pieceBytes) * pieceBytes)
    if (bytes < chunk.length) this.wasFull = true
    this.queue.append(bytes === chunk.length ? chunk : chunk.subarray(0, bytes))
    this.pump()
    return bytes
  }

  end(): void {
    this.isEnding = true
    this.pump()
  }

  /** Bytes that were written and not acknowledged. */
  get outstanding(): number {
    return this.queue.end - Math.min(this.una, this.queue.end)
  }

  get isEndAcknowledged(): boolean {
    return this.isEnding && this.una > this.queue.end
  }

  get hasEnded(): boolean {
    return this.isEnding
  }

  get isInFlight(): boolean {
    return this.next > this.una
  }

  /** Sends what may be sent, and arms the timer. */
  pump(): void {
    const { outlet, queue } = this
    const total = this.total
    while (this.next < total && !this.isProbing) {
      if (this.next === queue.end) {
        this.startWaiting()
        outlet.sendEnd(this.next)
        this.next = total
        break
      }
      const rest = queue.end - this.next
      const bytes = Math.min(outlet.segmentBytesMax(), rest, this.limit - this.next)
      if (bytes <= 0) break
      const isSilly = bytes < rest && bytes < outlet.segmentBytesMax() && this.isInFlight
      if (isSilly || !outlet.hasRoom()) break
      this.startWaiting()
      this.transmit(bytes)
    }
    if (this.isBlocked && !this.wasBlocked) this.startCounting()
    this.wasBlocked = this.isBlocked
    this.arm()
  }

  /** The other side tells what it has, and up to where it takes. Returns whether that is news for the writer. */
  acknowledged({ ack, echo, gap, limit }: Segment): boolean {
    const now = this.now
    this.unanswered = 0
    if (limit > this.limit) {
      this.limit = limit
      if (!this.isInFlight) this.backoff = 0
      this.persistSince = undefined
    }
    const hasGrown = this.wasFull
    if (ack > this.una) {
      if (2 * (this.next - this.una) >= this.congestion) this.congestion += ack - this.una
      this.measure(now - echo)
      if (echo < this.lastTry) this.next = Math.max(this.next, this.sentUpTo) // what seemed lost was late
      this.una = ack
      this.next = Math.max(this.next, ack)
      this.queue.release(ack)
      this.retriedSince = undefined
      this.backoff = 0
      this.isProbing = false
      this.waitingSince = now
      this.grow()
      this.pump()
      return true
    }
    this.grow()
    if (gap && this.isInFlight && !this.isProbing && this.una >= this.recoverTo) {
      this.recoverTo = this.next
      this.next = this.una
    }
    this.pump()
    return hasGrown
  }

  /** A buffer that was full gets what Linux gives it for such a path. */
  private grow(): void {
    if (!this.wasFull) return
    this.wasFull = false
    const wanted = Math.round(this.congestion * bufferForCongestion)
    this.capacity = Math.max(this.capacity, Math.min(this.options.sendBufferBytesMax, wanted))
  }

  /** The timer has fired. False: it is given up. */
  overdue(): boolean {
    const now = this.now
    if (now < this.due) {
      this.arm()
      return true
    }
    if (this.isInFlight) return this.retransmit(now)
    if (this.isBlocked) return this.persist(now)
    return true
  }

  /** Everything that was written counts as received, and nothing more is sent: something in between answers for all. */
  settle(): void {
    this.una = this.total
    this.next = this.total
    this.limit = Infinity
    this.queue.release(this.una)
  }

  private retransmit(now: Micros): boolean {
    const { orphanRetriesMax, retriesMax, userTimeout } = this.options
    const limit = this.patience(this.outlet.isOrphan() ? orphanRetriesMax : retriesMax)
    if (this.retriedSince !== undefined && now - this.retriedSince >= Math.min(limit, userTimeout)) return false
    this.retriedSince ??= now
    this.backoff++
    this.sentUpTo = Math.max(this.sentUpTo, this.next)
    this.isProbing = true
    this.recoverTo = 0
    this.lastTry = now
    if (this.una === this.queue.end) this.outlet.sendEnd(this.una)
    else {
      this.next = this.una
      this.transmit(Math.min(this.outlet.segmentBytesMax(), this.queue.end - this.una))
    }
    this.arm()
    return true
  }

  /** Linux counts no tries: it waits, from the first one, for as long as so many would take without its clock's tick. */
  private patience(retries: number): Micros {
    const { retransmitTimeout, retransmitTimeoutMax } = this.options
    let total = 0
    for (let i = 0; i <= retries; i++) total += Math.min(retransmitTimeoutMax, (retransmitTimeout - clockTick) * 2 ** i)
    return total
  }

  private persist(now: Micros): boolean {
    const { retriesMax, userTimeout } = this.options
    this.persistSince ??= now
    if (this.unanswered >= retriesMax || now - this.persistSince >= userTimeout) return false
    this.unanswered++
    this.backoff++
    this.lastTry = now
    this.outlet.sendProbe(this.una - 1)
    this.arm()
    return true
  }

  private transmit(bytes: number): void {
    const to = this.next + bytes
    this.outlet.sendData(this.next, this.queue.slice(this.next, to), bytes)
    this.next = to
  }

  /** The clock of retransmission starts when something is under way again. */
  private startWaiting(): void {
    if (!this.isInFlight) this.startCounting()
  }

  private startCounting(): void {
    this.waitingSince = this.now
    this.lastTry = 0
    this.backoff = 0
    this.retriedSince = undefined
  }

  private measure(sample: Micros): void {
    if (this.roundTrip === 0) {
      this.roundTrip = sample
      this.variation = sample >> 1
      return
    }
    this.variation = Math.round((3 * this.variation + Math.abs(sample - this.roundTrip)) / 4)
    this.roundTrip = Math.round(this.roundTrip + (sample - this.roundTrip) / 8)
  }

  private get due(): Micros {
    const { retransmitTimeout, retransmitTimeoutMax, userTimeout } = this.options
    const first = this.roundTrip + Math.max(retransmitTimeout, 4 * this.variation) // RFC 6298
    const timeout = Math.min(retransmitTimeoutMax, first * 2 ** this.backoff)
    if (this.isInFlight) {
      return Math.min(
        Math.max(this.lastTry, this.waitingSince) + timeout,
        (this.retriedSince ?? Infinity) + userTimeout
      )
    }
    if (!this.isBlocked) return Infinity
    const due = Math.max(this.lastTry, this.waitingSince) + timeout
    return this.persistSince === undefined ? due : Math.min(due, this.persistSince + userTimeout)
  }

  /** There is something to send, nothing under way, and no room on the other side. */
  private get isBlocked(): boolean {
    return !this.isInFlight && this.next < this.queue.end && this.limit <= this.next
  }

  private arm(): void {
    if (this.due < Infinity) this.outlet.wakeAt(this.due)
  }

  private get total(): number {
    return this.queue.end + (this.isEnding ? 1 : 0)
  }

  private get now(): Micros {
    return this.outlet.time.monotonic()
  }
}

const clockTick: Micros = 4000
const ethernetSegment = 1448
/** What one write becomes in the kernel: packets that the network card would cut. */
const pieceBytes = 45 * ethernetSegment
/** Three times (BBR) the 2,304 bytes that a packet of 1,448 costs. */
const bufferForCongestion = (3 * 2304) / ethernetSegment
