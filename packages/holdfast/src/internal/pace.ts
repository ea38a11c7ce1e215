/**
 * How much may be under way to the other side at once: what waits in queues below us delays a heartbeat, and a small
 * message on another channel. Measured from what the other side says that it has received: the rate at which it receives
 * and the shortest round trip, as BBR does (Cardwell et al., ACM Queue 2016), above TCP and without the kernel. Plain
 * calls; times are monotonic milliseconds.
 */

/** Bytes that were handed over, and what was known to have arrived then. Totals run over the life of the session. */
interface Sample {
  readonly handedBytes: number
  readonly handedAt: number
  /** When the bytes were handed over that had arrived last. */
  readonly ackedHandedAt: number
  readonly arrivedBytes: number
  readonly arrivedAt: number
  /** There was nothing else to send, so it tells nothing of how much more the link could carry. */
  readonly isAlone: boolean
}

export class Pace {
  private samples: Array<Sample> = []
  private arrivedBytes: number
  private arrivedAt: number
  private ackedHandedAt: number
  private readonly rate = new Extreme(Math.max, rateMillis)
  /** The shortest since it was measured anew. */
  private roundTrip = Infinity
  private measuredAt = 0
  /** It is to be measured anew: so little may be under way that it waits in no queue of ours. */
  private isDraining = true
  /** What it is measured with. */
  private probe: { readonly handedBytes: number; readonly handedAt: number } | undefined

  /** Whoever receives keeps an acknowledgement back for so long, at most: the shortest round trip knows nothing of that. */
  private readonly acknowledgeMillis: number

  constructor(arrivedBytes: number, now: number, acknowledgeMillis: number) {
    this.arrivedBytes = arrivedBytes
    this.acknowledgeMillis = acknowledgeMillis
    this.arrivedAt = now
    this.ackedHandedAt = now
  }

  /** How many bytes may be under way. */
  get bytesMax(): number {
    if (this.isDraining) return bytesDrained
    const { rate, roundTrip } = this
    if (rate.value === undefined) return bytesMin
    return Math.max(bytesMin, Math.floor(gain * rate.value * (roundTrip + this.acknowledgeMillis)))
  }

  /** How much is handed over at once: what the link carries in a millisecond, so that nothing waits long behind it. */
  get batchBytes(): number {
    return Math.max(batchBytesMin, Math.min(Math.floor(this.rate.value ?? 0), batchBytesMax))
  }

  /** More was handed over: so many bytes in all. `isAlone`: there was nothing else to send. */
  handed(handedBytes: number, now: number, isAlone: boolean): void {
    if (now - this.measuredAt >= roundTripMillis && !isAlone) this.isDraining = true
    if (this.isDraining && this.probe === undefined && handedBytes - this.arrivedBytes <= bytesDrained) {
      this.probe = { handedBytes, handedAt: now }
    }
    const last = this.samples.at(-1)
    if (last !== undefined && now - last.handedAt < sampleMillis && last.handedBytes < handedBytes) return
    if (last === undefined) {
      this.arrivedAt = now
      this.ackedHandedAt = now
    } else if (last.handedBytes >= handedBytes) {
      this.samples = [] // what was reset never arrives
      this.probe = undefined
    }
    const { ackedHandedAt, arrivedAt, arrivedBytes } = this
    this.samples.push({ handedBytes, handedAt: now, ackedHandedAt, arrivedBytes, arrivedAt, isAlone })
  }

  /** So many bytes are known to have arrived, in all. */
  arrived(arrivedBytes: number, now: number): void {
    if (arrivedBytes <= this.arrivedBytes) return
    this.arrivedBytes = arrivedBytes
    this.arrivedAt = now
    const { probe } = this
    if (probe !== undefined && probe.handedBytes <= arrivedBytes) {
      this.roundTrip = now - probe.handedAt
      this.measuredAt = now
      this.isDraining = false
      this.probe = undefined
    }
    let done = 0
    while (done < this.samples.length && this.samples[done]!.handedBytes <= arrivedBytes) done++
    if (done === 0) return
    const sample = this.samples[done - 1]!
    this.samples.splice(0, done)
    this.ackedHandedAt = sample.handedAt
    this.roundTrip = Math.min(this.roundTrip, now - sample.handedAt)
    const millis = Math.max(now - sample.arrivedAt, sample.handedAt - sample.ackedHandedAt)
    if (millis <= 0) return
    const rate = (arrivedBytes - sample.arrivedBytes) / millis
    if (!sample.isAlone || rate > (this.rate.value ?? 0)) this.rate.see(rate, now, !sample.isAlone)
  }
}

/** The largest or the smallest of late: of the present period and the one before it. */
class Extreme {
  value: number | undefined
  private readonly better: (a: number, b: number) => number
  private readonly periodMillis: number
  private before: number | undefined
  private present: number | undefined
  private since = 0

  constructor(better: (a: number, b: number) => number, periodMillis: number) {
    this.better = better
    this.periodMillis = periodMillis
  }

  see(value: number, now: number, mayEndPeriod: boolean): void {
    if (mayEndPeriod && now - this.since >= this.periodMillis) {
      this.before = this.present
      this.present = undefined
      this.since = now
    }
    this.present = this.present === undefined ? value : this.better(this.present, value)
    this.value = this.before === undefined ? this.present : this.better(this.before, this.present)
  }
}

/** Twice what fits on the way, so that it never runs dry between two acknowledgements. */
const gain = 2
/** Two frames, however slow the link is. */
const bytesMin = 32_768
/** A few segments: what is under way while the round trip is measured. */
const bytesDrained = 4096
const batchBytesMin = 131_072
const batchBytesMax = 1_048_576
const sampleMillis = 1
const rateMillis = 2000
const roundTripMillis = 10_000
