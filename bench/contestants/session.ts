/**
 * The best session written by hand for this benchmark: exactly once across connections by sequence numbers, cumulative
 * acknowledgements and a replay ring that keeps what was written, batch by batch. No timeouts, no typed errors, no
 * security, one channel: what a session costs when it does nothing else.
 */
import type { Socket } from "node:net"
import type { Contestant } from "../contestant.ts"
import { connect, drain, interview, listen, pump, reading } from "../sockets.ts"

export const contestant: Contestant = {
  receive: (check) => serve(() => (message) => check.message(message)),

  send: async (port, source) => {
    const session = new Session(() => undefined)
    const socket = await dial(session, port)
    const send = () => {
      const messages = source.nextBatch()
      for (let i = 0; i < messages.length; i++) session.send(messages[i]!)
      return session.hasRoom && !socket.writableNeedDrain
    }
    const drained = async () => {
      if (socket.writableNeedDrain) await drain(socket)
      await session.room()
    }
    await pump(source, send, drained)
    session.flush()
  },

  answer: () => serve((session) => (message) => session.send(message)),

  ask: async (port, asker) => {
    const session = new Session((message) => talk.answered(message))
    const talk = interview(asker, () => session.send(asker.question()))
    await dial(session, port)
    talk.begin()
    await talk.done
  }
}

/** What was written, until it is acknowledged: `count` messages from number `first` on. */
interface Batch {
  readonly first: number
  readonly count: number
  readonly bytes: Uint8Array
  /** The last one in its buffer, which serves again when this is acknowledged. */
  isLast: boolean
}

export class Session {
  /** Something has arrived since somebody last looked. */
  isHeard = true
  /** One of both sides has ended it. */
  isOver = false
  private readonly onMessage: (message: Uint8Array) => void
  private readonly ringBytesMax: number
  private socket: Socket | undefined
  private batch: Uint8Array<ArrayBuffer> = empty
  private length = 0
  private batchFirst = 0
  private isFlushing = false
  private sent = 0
  private ring: Array<Batch> = []
  private ringBytes = 0
  private onRoom: (() => void) | undefined
  private received = 0
  private acknowledged = 0
  private unacknowledgedBytes = 0
  private isAcknowledging = false
  private partial: Uint8Array<ArrayBuffer> = empty
  private have = 0

  constructor(onMessage: (message: Uint8Array) => void, ringBytesMax = 16 * 1024 * 1024) {
    this.onMessage = onMessage
    this.ringBytesMax = ringBytesMax
  }

  /** Goes on over a connection whose other end has received so many messages of ours. */
  attach(socket: Socket, theirs: number): void {
    this.have = 0
    this.socket = socket
    this.release(theirs)
    for (const batch of this.ring) socket.write(batch.first < theirs ? after(batch, theirs) : batch.bytes)
  }

  /** Says that we live. */
  beat(): void {
    this.socket?.write(beatRecord)
  }

  /** Ends the present connection. */
  destroy(): void {
    this.socket?.destroy()
  }

  /** Ends the session, whose messages must have been answered; settles when the other side has ended it too. */
  async close(): Promise<void> {
    this.isOver = true
    const { socket } = this
    if (socket === undefined) return
    await new Promise<void>((resolve) => {
      socket.once("close", () => resolve())
      socket.end(farewellRecord)
    })
  }

  /** How many messages have arrived; half a message that came before a cut comes again. */
  get position(): number {
    return this.received
  }

  get hasRoom(): boolean {
    return this.ringBytes < this.ringBytesMax
  }

  async room(): Promise<void> {
    if (this.hasRoom) return
    await new Promise<void>((resolve) => {
      this.onRoom = resolve
    })
  }

  send(message: Uint8Array): void {
    const { length } = message
    if (this.length + 4 + length > this.batch.length) this.turnOver(4 + length)
    const { batch } = this
    const at = this.length
    batch[at] = length
    batch[at + 1] = length >> 8
    batch[at + 2] = length >> 16
    batch[at + 3] = length >> 24
    batch.set(message, at + 4)
    this.length = at + 4 + length
    this.sent++
    if (this.isFlushing) return
    this.isFlushing = true
    process.nextTick(() => this.flush())
  }

  flush(): void {
    this.isFlushing = false
    const count = this.sent - this.batchFirst
    if (count === 0) return
    const bytes = this.batch.subarray(0, this.length)
    this.ring.push({ first: this.batchFirst, count, bytes, isLast: false })
    this.ringBytes += bytes.length
    this.batchFirst = this.sent
    // The rest of the buffer serves the next batch.
    this.batch = this.batch.subarray(this.length)
    this.length = 0
    this.socket?.write(bytes)
  }

  /** The next bytes of the connection; a view of them is valid during the call. */
  read(buffer: Uint8Array<ArrayBuffer>, length: number): void {
    this.isHeard = true
    let at = this.have > 0 ? this.complete(buffer, length) : 0
    if (at < 0) return
    while (at + 4 <= length) {
      const size = lengthAt(buffer, at)
      const end = at + 4 + (size < beat ? size : bodyBytes(size))
      if (end > length) break
      if (size >= beat) this.control(size, buffer, at)
      else {
        this.received++
        this.onMessage(new Uint8Array(buffer.buffer, at + 4, size))
      }
      at = end
    }
    this.have = length - at
    if (this.have > 0) {
      if (this.have > this.partial.length) this.partial = new Uint8Array(65_536 + 4)
      this.partial.set(buffer.subarray(at, length))
    }
    this.unacknowledgedBytes += length
    if (this.received === this.acknowledged) return
    if (this.unacknowledgedBytes >= acknowledgeBytes) this.acknowledge()
    else if (!this.isAcknowledging) {
      this.isAcknowledging = true
      setTimeout(() => this.acknowledge(), acknowledgeMillis)
    }
  }

  /** Completes the record that was split; gives where the next one begins, -1 if it is still not whole. */
  private complete(buffer: Uint8Array, length: number): number {
    let at = 0
    for (;;) {
      const size = this.have < 4 ? 0 : lengthAt(this.partial, 0)
      const needed = 4 + bodyBytes(size)
      if (this.have >= 4 && this.have === needed) break
      if (at === length) return -1
      if (needed > this.partial.length) {
        const grown = new Uint8Array(needed)
        grown.set(this.partial.subarray(0, this.have))
        this.partial = grown
      }
      const end = Math.min(length, at + needed - this.have)
      this.partial.set(buffer.subarray(at, end), this.have)
      this.have += end - at
      at = end
    }
    const size = lengthAt(this.partial, 0)
    if (size >= beat) this.control(size, this.partial, 0)
    else {
      this.received++
      this.onMessage(this.partial.subarray(4, this.have))
    }
    this.have = 0
    return at
  }

  private control(kind: number, bytes: Uint8Array, at: number): void {
    if (kind === acknowledgement) return this.release(numberAt(bytes, at + 4))
    if (kind !== farewell) return
    this.isOver = true
    this.socket?.end()
  }

  private acknowledge(): void {
    this.isAcknowledging = false
    this.unacknowledgedBytes = 0
    if (this.received === this.acknowledged) return
    this.acknowledged = this.received
    const bytes = new Uint8Array(12)
    const view = new DataView(bytes.buffer)
    view.setUint32(0, acknowledgement, true)
    view.setFloat64(4, this.received, true)
    this.socket?.write(bytes)
  }

  private release(count: number): void {
    let done = 0
    for (const { bytes, count: length, first, isLast } of this.ring) {
      if (first + length > count) break
      this.ringBytes -= bytes.length
      if (isLast && bytes.buffer.byteLength === batchBytes) spare.push(new Uint8Array(bytes.buffer as ArrayBuffer))
      done++
    }
    if (done > 0) this.ring.splice(0, done)
    if (this.onRoom === undefined || !this.hasRoom) return
    this.onRoom()
    this.onRoom = undefined
  }

  private turnOver(needed: number): void {
    this.flush()
    if (needed <= this.batch.length) return
    const last = this.ring.at(-1)
    if (last?.bytes.buffer === this.batch.buffer) last.isLast = true
    this.batch = (needed <= batchBytes ? spare.pop() : undefined) ?? new Uint8Array(Math.max(batchBytes, needed))
  }
}

/** Sessions by the numbers that their clients give them; a connection that names one goes on with it. */
export const accepting = (make: () => Session, ended: (session: Session) => void = () => undefined) => {
  const sessions = new Map<number, Session>()
  return (socket: Socket): void => {
    let session: Session | undefined
    let id = 0
    reading(socket, (buffer, length) => {
      if (session !== undefined) return session.read(buffer, length)
      id = numberAt(buffer, 0)
      session = sessions.get(id) ?? make()
      sessions.set(id, session)
      socket.write(encoded(session.position))
      session.attach(socket, numberAt(buffer, 8))
    })
    socket.on("close", () => {
      if (session?.isOver !== true) return
      sessions.delete(id)
      ended(session)
    })
  }
}

const serve = (onMessage: (session: Session) => (message: Uint8Array) => void): Promise<number> =>
  listen(
    accepting(() => {
      const session: Session = new Session((message) => handle(message))
      const handle = onMessage(session)
      return session
    })
  )

/** Goes on with a session over a new connection. */
export const dial = async (session: Session, port: number, id = 1): Promise<Socket> => {
  let isAttached = false
  let resolveUp: () => void
  const up = new Promise<void>((resolve) => {
    resolveUp = resolve
  })
  const socket = await connect(port, (buffer, length) => {
    if (isAttached) return session.read(buffer, length)
    isAttached = true
    session.attach(socket, numberAt(buffer, 0))
    resolveUp()
  })
  socket.write(encoded(id, session.position))
  await up
  return socket
}

/** What is left of a batch behind the messages that have arrived. */
const after = ({ bytes, first }: Batch, theirs: number): Uint8Array => {
  let at = 0
  for (let i = first; i < theirs; i++) at += 4 + lengthAt(bytes, at)
  return bytes.subarray(at)
}

const encoded = (...numbers: ReadonlyArray<number>): Uint8Array => new Uint8Array(new Float64Array(numbers).buffer)

const numberAt = (bytes: Uint8Array, at: number): number =>
  new DataView(bytes.buffer, bytes.byteOffset + at, 8).getFloat64(0, true)

const lengthAt = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0

/** What stands in place of a length. */
const acknowledgement = 0xffff_ffff
const farewell = 0xffff_fffe
const beat = 0xffff_fffd
/** How many bytes follow it. */
const bodyBytes = (length: number): number => (length < beat ? length : length === acknowledgement ? 8 : 0)

const recordOf = (kind: number): Uint8Array => new Uint8Array(new Uint32Array([kind]).buffer)
const beatRecord = recordOf(beat)
const farewellRecord = recordOf(farewell)

const acknowledgeBytes = 262_144
const acknowledgeMillis = 5
const batchBytes = 131_072
const empty = new Uint8Array(0)

/** Buffers that serve again: fresh ones are dear where a program keeps much alive. */
const spare: Array<Uint8Array<ArrayBuffer>> = []
