/** One direction between two machines: how long a packet takes, how many bytes pass, and what takes packets away. */
import type { PacketKind } from "../Transcript.ts"
import type { Journal } from "./Journal.ts"
import type { Prng } from "./Prng.ts"
import type { Micros, World } from "./World.ts"

export interface Segment {
  readonly connection: string
  readonly fromPort: number
  readonly toPort: number
  readonly kind: PacketKind
  readonly seq: number
  readonly bytes: number
  readonly chunks: ReadonlyArray<Uint8Array>
  readonly ack: number
  /** The sender of this segment takes bytes up to this offset. */
  readonly limit: number
  /** When it was sent, by its sender's clock. */
  readonly stamp: Micros
  /** The stamp of what it answers. */
  readonly echo: Micros
  /** Something before it is missing. */
  readonly gap: boolean
  /** It says nothing but that there is room again. */
  readonly windowUpdate: boolean
}

/** Takes packets away while it is in force. */
export interface Rule {
  readonly name: string
  readonly takes: (segment: Segment) => boolean
  /** Tells the machine that has sent it, as a router on the way would. */
  readonly answers?: ((segment: Segment) => void) | undefined
}

export interface Shape {
  readonly latency: Micros
  readonly jitter: Micros
  readonly bytesPerSecond: number
  readonly segmentBytesMax: number
}

export interface PathOptions {
  readonly world: World
  readonly journal: Journal
  readonly prng: Prng
  readonly from: string
  readonly to: string
  readonly shape: Shape
  readonly deliver: (segment: Segment, from: string) => void
}

export class Path {
  /** What it is at present, with the changes that are in force. */
  shape: Shape
  readonly rules = new Set<Rule>()
  private base: Shape
  private readonly changes = new Set<Partial<Shape>>()
  private readonly options: PathOptions
  private busyUntil: Micros = 0
  private lastArrival: Micros = 0
  private waiting: Array<() => void> = []

  constructor(options: PathOptions) {
    this.options = options
    this.base = options.shape
    this.shape = options.shape
  }

  /** Gives it another shape for good. */
  reshape(shape: Partial<Shape>): void {
    this.base = { ...this.base, ...shape }
    this.reckon()
  }

  /** Changes the shape until what it returns is called. The latest change in force counts. */
  change(shape: Partial<Shape>): () => void {
    const mine = { ...shape }
    this.changes.add(mine)
    this.reckon()
    return () => {
      this.changes.delete(mine)
      this.reckon()
    }
  }

  /** Whether a sender should hand over more now: the queue before a slow link is kept short. */
  get hasRoom(): boolean {
    return this.busyUntil - this.options.world.now <= queueMax
  }

  /** Calls once there is room again. */
  whenRoom(call: () => void): void {
    this.waiting.push(call)
    if (this.waiting.length > 1) return
    this.options.world.schedule(this.busyUntil - queueMax, () => {
      const waiting = this.waiting
      this.waiting = []
      for (const one of waiting) one()
    })
  }

  send(segment: Segment): void {
    const { deliver, from, journal, prng, to, world } = this.options
    const { bytesPerSecond, jitter, latency } = this.shape
    const { ack, bytes, connection, kind, seq } = segment
    const packet = { _tag: "Packet", from, to, connection, kind, seq, bytes, ack } as const
    const transmission = bytesPerSecond === Infinity ? 0 : Math.ceil(((bytes + headerBytes) * 1e6) / bytesPerSecond)
    this.busyUntil = Math.max(this.busyUntil, world.now) + transmission
    const delay = latency + (jitter === 0 ? 0 : Math.floor(prng.next() * jitter))
    for (const rule of this.rules) {
      if (!rule.takes(segment)) continue
      journal.record({ ...packet, lostTo: rule.name })
      const { answers } = rule
      if (answers !== undefined) world.schedule(this.busyUntil + delay, () => answers(segment))
      return
    }
    const arrivesAt = Math.max(this.lastArrival, this.busyUntil + delay)
    this.lastArrival = arrivesAt
    journal.record({ ...packet, arrivesAt: arrivesAt / 1000 })
    world.schedule(arrivesAt, () => deliver(segment, from))
  }

  private reckon(): void {
    this.shape = Object.assign({}, this.base, ...this.changes)
  }
}

const headerBytes = 52
const queueMax: Micros = 20_000
