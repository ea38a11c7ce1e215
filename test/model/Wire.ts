/**
 * What is under way on the links. Each frame, each piece of a frame and each queue of frames has a number, so that equal
 * ones are known to be equal.
 */
import { Frame, Varint } from "@holdfast/protocol"

/** A queue that nothing can be added to: the other end of the link is gone. */
export const gone = 0

/** A queue with nothing in it. */
export const empty = 1

/** In what pieces a frame arrives. */
export type Fineness =
  /** As a whole. */
  | "frames"
  /** Data in two halves. */
  | "halves"
  /**
   * Of data, every part counts: the header of the frame, then the first byte of the payload, half, all but the last byte.
   * Of a control frame no part moves anything, so one place inside stands for all.
   */
  | "bytes"

/** What one delivery hands over: a part of one frame. */
export interface Piece {
  readonly frame: Uint8Array
  readonly from: number
  readonly to: number
}

/** Frames under way in one direction of one link; of the first one, everything below `from` has been delivered. */
interface Queue {
  readonly frames: ReadonlyArray<number>
  readonly from: number
  /** What can be delivered next, and the queue after that. */
  readonly deliveries: { [fineness in Fineness]?: Delivery }
  /** The queue with one more frame behind it, for each frame that was appended. */
  readonly longer: Map<number, number>
}

/** The next piece of a queue, and the queue without it. */
export interface Delivery {
  readonly piece: number
  readonly rest: number
}

/** Numbers for frames, pieces and queues. */
export class Wires {
  private readonly frames: Array<Uint8Array> = []
  private readonly pieces: Array<Piece> = []
  private readonly queues: Array<Queue> = [
    { frames: [], from: 0, deliveries: {}, longer: new Map() },
    { frames: [], from: 0, deliveries: {}, longer: new Map() }
  ]
  private readonly numbers = new Map<string, number>([["q0:", empty]])
  private readonly ends = new Map<number, ReadonlyArray<number | undefined>>()

  /** The number of a frame. */
  frame(bytes: Uint8Array): number {
    return this.number(`f${Buffer.from(bytes).toString("latin1")}`, () => this.frames.push(new Uint8Array(bytes)) - 1)
  }

  frameOf(number: number): Uint8Array {
    return this.frames[number]!
  }

  pieceOf(number: number): Piece {
    return this.pieces[number]!
  }

  /** The bytes of a piece. */
  bytesOf(piece: number): Uint8Array {
    const { frame, from, to } = this.pieces[piece]!
    return frame.slice(from, to)
  }

  /** The queue with this frame behind it. */
  append(queue: number, frame: number): number {
    if (queue === gone) return queue
    const { frames, from, longer } = this.queues[queue]!
    let number = longer.get(frame)
    if (number === undefined) {
      number = this.queue([...frames, frame], from)
      longer.set(frame, number)
    }
    return number
  }

  /** The next delivery from a queue that is not empty. */
  next(queue: number, fineness: Fineness): Delivery {
    const found = this.queues[queue]!
    return (found.deliveries[fineness] ??= this.deliver(found, fineness))
  }

  /**
   * What may still arrive of the first frame when a link breaks: nothing, data up to any byte, all of it. It is the last
   * thing that its receiver gets, and the link is gone before the writer's turn.
   */
  lastPieces(queue: number): ReadonlyArray<number | undefined> {
    let pieces = this.ends.get(queue)
    if (pieces === undefined) {
      const { frames, from } = this.queues[queue]!
      const first = frames[0]
      const frame = first === undefined ? undefined : this.frames[first]!
      const cuts = frame === undefined ? [] : cutsOf(frame, frame[0] === Frame.Type.Data ? "bytes" : "frames")
      pieces = [undefined, ...cuts.filter((to) => to > from).map((to) => this.piece(first!, from, to))]
      this.ends.set(queue, pieces)
    }
    return pieces
  }

  private deliver({ frames, from }: Queue, fineness: Fineness): Delivery {
    const frame = this.frames[frames[0]!]!
    const to = cutsOf(frame, fineness).find((cut) => cut > from)!
    const rest = to === frame.length ? this.queue(frames.slice(1), 0) : this.queue(frames, to)
    return { piece: this.piece(frames[0]!, from, to), rest }
  }

  private piece(frame: number, from: number, to: number): number {
    const key = `p${frame}:${from}-${to}`
    return this.number(key, () => this.pieces.push({ frame: this.frames[frame]!, from, to }) - 1)
  }

  private queue(frames: ReadonlyArray<number>, from: number): number {
    return this.number(
      `q${from}:${frames.join(",")}`,
      () => this.queues.push({ frames, from, deliveries: {}, longer: new Map() }) - 1
    )
  }

  private number(key: string, make: () => number): number {
    let number = this.numbers.get(key)
    if (number === undefined) {
      number = make()
      this.numbers.set(key, number)
    }
    return number
  }
}

/** A link that the client has given up, and what is still under way to the server. */
export interface OldLink {
  readonly link: number
  readonly up: number
}

/** Numbers for lists of old links, the oldest first. */
export class OldLinks {
  readonly none: number
  private readonly lists: Array<ReadonlyArray<OldLink>> = []
  private readonly numbers = new Map<string, number>()

  constructor() {
    this.none = this.number([])
  }

  links(list: number): ReadonlyArray<OldLink> {
    return this.lists[list]!
  }

  /** The list with this link in it. */
  with(list: number, one: OldLink): number {
    const others = this.lists[list]!.filter(({ link: other }) => other !== one.link)
    return this.number([...others, one].toSorted((a, b) => a.link - b.link))
  }

  without(list: number, link: number): number {
    return this.number(this.lists[list]!.filter((other) => other.link !== link))
  }

  private number(links: ReadonlyArray<OldLink>): number {
    const key = links.map(({ link, up }) => `${link}:${up}`).join()
    let number = this.numbers.get(key)
    if (number === undefined) {
      number = this.lists.push(links) - 1
      this.numbers.set(key, number)
    }
    return number
  }
}

/**
 * Cuts what was written into frames. If there are no channels but 0, `Channels` says nothing and stays with the frame
 * before it.
 */
export const framesOf = (bytes: Uint8Array, isPlain: boolean): Array<Uint8Array> => {
  const frames: Array<Uint8Array> = []
  for (let from = 0, at = 0; at < bytes.length;) {
    at += 1 + Varint.sizeOf(bytes[at + 1]!) + Varint.read(bytes, at + 1)
    if (isPlain && bytes[at] === Frame.Type.Channels) continue
    frames.push(bytes.slice(from, at))
    from = at
  }
  return frames
}

/** Where a frame is cut, up to its end. */
const cutsOf = (frame: Uint8Array, fineness: Fineness): ReadonlyArray<number> => {
  const end = frame.length
  if (fineness === "frames") return [end]
  if (frame[0] !== Frame.Type.Data) return fineness === "halves" ? [end] : [end >> 1, end]
  const channel = 1 + Varint.sizeOf(frame[1]!)
  const offset = channel + Varint.sizeOf(frame[channel]!)
  const payload = offset + Varint.sizeOf(frame[offset]!)
  const half = (payload + end + 1) >> 1
  if (fineness === "halves") return half < end ? [half, end] : [end]
  return [...new Set([payload, payload + 1, half, end - 1, end])]
    .filter((cut) => cut >= payload)
    .toSorted((a, b) => a - b)
}
