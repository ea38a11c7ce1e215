/**
 * One end of a TCP connection, in the kernel: it lives on while its program is frozen, and after its program is gone. It
 * acknowledges, sends again, and ends by the rules of Linux: a program that closes with unread input resets its peer, and
 * so does input that comes after it closed.
 */
import { Duration } from "effect"
import type { SocketOptions } from "../Kernel.ts"
import type { Kernel } from "./Kernel.ts"
import type { Path, Segment } from "./Path.ts"
import { Receiver } from "./Receiver.ts"
import { Sender } from "./Sender.ts"
import type { Timer } from "./HostTime.ts"
import type { Micros } from "./World.ts"

export interface EndpointOptions {
  readonly kernel: Kernel
  readonly path: Path
  readonly connection: string
  readonly localPort: number
  readonly remote: string
  readonly remotePort: number
  readonly socket: SocketOptions
  /** Accepted, not dialled: asks whether there is room for one more. */
  readonly admit: ((endpoint: Endpoint) => boolean) | undefined
}

export class Endpoint {
  /** What the program's socket is told: something changed. */
  onChange: () => void = () => undefined
  /** The error that the program gets, as the system names it. */
  failure: string | undefined
  readonly options: EndpointOptions
  private life: "dialing" | "greeting" | "open" | "closing" | "gone"
  private readonly sender: Sender
  private readonly receiver: Receiver
  private isOrphan = false
  private isSevered = false
  private tries = 0
  private heardAt: Micros
  private readonly dialDeadline: Micros
  private keepAliveProbes = 0
  private awaitsRoom = false
  /** A router has said that the other machine cannot be reached. */
  private isUnreachable = false
  private acknowledges = false
  private echo: Micros = 0
  private timer: { readonly due: Micros; readonly timer: Timer } | undefined

  constructor(options: EndpointOptions) {
    const { kernel, path, socket } = options
    const { times } = kernel
    this.options = options
    this.life = options.admit === undefined ? "dialing" : "greeting"
    this.receiver = new Receiver(kernel.options.receiveBufferBytes, kernel.options.receiveBufferBytesMax)
    const userTimeout = socket.userTimeout === undefined ? Infinity : micros(socket.userTimeout)
    this.sender = new Sender(
      { ...kernel.options, ...times, userTimeout },
      {
        time: kernel.time,
        segmentBytesMax: () => path.shape.segmentBytesMax,
        isOrphan: () => this.isOrphan,
        hasRoom: () => this.awaitRoom(),
        sendData: (seq, chunks, bytes) => this.send("data", seq, bytes, chunks),
        sendEnd: (seq) => this.send("fin", seq),
        sendProbe: (seq) => this.send("probe", seq),
        wakeAt: (at) => this.wakeAt(at)
      }
    )
    this.heardAt = this.now
    this.dialDeadline = this.life === "dialing" ? this.now + userTimeout : Infinity
  }

  // ---- what the program does

  /** Sends the first packet of a dial, or the answer to one. */
  open(dial?: Segment): void {
    if (dial !== undefined) this.echo = dial.stamp
    this.send(this.life === "dialing" ? "syn" : "syn-ack", 0)
    this.wakeAt(Math.min(this.now + this.openTimeout(), this.dialDeadline))
  }

  get isOpen(): boolean {
    return this.life === "open" || this.life === "closing"
  }

  get isGreeting(): boolean {
    return this.life === "greeting"
  }

  get unreadBytes(): number {
    return this.receiver.unreadBytes
  }

  /** The other side has ended, and everything before that was read. */
  get isAtEnd(): boolean {
    return this.receiver.isEnded && this.receiver.unreadBytes === 0
  }

  /** Bytes written and not acknowledged by the other machine: `SIOCOUTQ`. */
  get unacknowledgedBytes(): number {
    return this.sender.outstanding
  }

  /** Bytes that the kernel took. */
  write(chunk: Uint8Array): number {
    if (this.life !== "open" && this.life !== "closing") return 0
    if (this.isSevered) {
      this.answerReset()
      return chunk.length
    }
    return this.sender.write(chunk)
  }

  read(bytesMax: number): ReadonlyArray<Uint8Array> {
    const chunks = this.receiver.read(bytesMax, this.now)
    if (this.life === "open" && this.receiver.isWindowOpened && !this.isSevered) this.acknowledge(false, true)
    return chunks
  }

  /** Ends our direction; the other one goes on. */
  shutdown(): void {
    if (this.life === "gone" || this.sender.hasEnded) return
    if (this.isSevered) return this.sender.settle()
    this.sender.end()
  }

  /** The program is done with it: what is unread is lost, and then the peer is reset. */
  close(): void {
    if (this.life === "gone" || this.isOrphan) return
    this.isOrphan = true
    this.onChange = () => undefined
    if (this.life === "dialing" || this.isSevered) return this.vanish()
    if (this.receiver.unreadBytes > 0) return this.abort()
    this.options.kernel.record("Closed", this.options.connection)
    this.shutdown()
    this.settle()
  }

  /** Resets the connection: what was not sent is forgotten. */
  abort(): void {
    if (this.life === "gone") return
    if (this.life !== "dialing" && !this.isSevered) this.send("reset", 0)
    this.options.kernel.record("Aborted", this.options.connection)
    this.vanish()
  }

  // ---- what the network does

  receive(segment: Segment): void {
    if (this.life === "gone") return
    this.heardAt = this.now
    this.keepAliveProbes = 0
    if (segment.seq <= this.receiver.next) this.echo = segment.stamp
    switch (segment.kind) {
      case "syn":
        if (this.life === "greeting") this.send("syn-ack", 0)
        return
      case "syn-ack":
        if (this.life === "dialing") this.opened(segment)
        this.acknowledge()
        if (this.life === "open") this.sender.pump()
        return
      case "reset":
        return this.fail(this.life === "dialing" ? "ECONNREFUSED" : "ECONNRESET")
      default:
        if (this.life !== "dialing") this.take(segment)
    }
  }

  private take(segment: Segment): void {
    if (this.life === "greeting") {
      if (this.options.admit?.(this) !== true) return // as if it had never arrived
      this.opened(segment)
    }
    this.isUnreachable = false
    if (this.sender.acknowledged(segment)) this.onChange()
    if (segment.kind === "probe") this.acknowledge()
    else if (segment.kind !== "ack") this.arrived(segment)
    this.settle()
  }

  /** A dial is over then; whoever is connected takes it for a hint. */
  unreachable(): void {
    if (this.life === "dialing") this.fail("EHOSTUNREACH")
    else this.isUnreachable = true
  }

  /** The connection is over without a word from the other side: something in between says so. */
  fail(code: string): void {
    if (this.life === "gone") return
    this.failure = code
    if (!this.isOrphan) this.options.kernel.fail(this.options.connection, code)
    const { onChange } = this
    this.vanish()
    onChange()
  }

  /** Something in between has taken what was under way, and ends the connection in good order. */
  sever(): void {
    if (this.life === "dialing" || this.life === "greeting") return this.fail("ECONNRESET")
    if (this.life === "gone") return
    this.isSevered = true
    this.sender.settle()
    this.receiver.endNow()
    this.onChange()
    if (this.isOrphan) this.vanish()
  }

  /** Ends without a packet, as with a power cut. */
  vanish(): void {
    if (this.life === "gone") return
    this.life = "gone"
    if (this.timer !== undefined) this.timer.timer.cancelled = true
    this.options.kernel.forget(this)
  }

  private arrived(segment: Segment): void {
    const what = this.receiver.accept(segment)
    if (what !== "new") return this.acknowledge(what === "gap")
    if (this.isOrphan && segment.kind === "data") return this.abort() // nobody will ever read it
    if (!this.acknowledges) {
      this.acknowledges = true
      this.options.kernel.world.schedule(this.options.kernel.world.now, () => {
        if (this.acknowledges && this.life !== "gone") this.acknowledge()
      })
    }
    this.onChange()
  }

  private opened(segment: Segment): void {
    this.life = "open"
    this.sender.begin(segment)
    this.options.kernel.record("Connected", this.options.connection)
    this.onChange()
    this.keepAlive()
  }

  /** Both sides have ended: what is left waits for late packets, and goes. */
  private settle(): void {
    if (this.life !== "open" || !this.sender.isEndAcknowledged) return
    if (!this.receiver.isEnded && !this.isOrphan) return
    this.life = "closing"
    this.options.kernel.time.after(this.options.kernel.times.endTimeout, () => this.vanish())
  }

  private send(
    kind: Segment["kind"],
    seq: number,
    bytes = 0,
    chunks: Segment["chunks"] = [],
    gap = false,
    windowUpdate = false
  ): void {
    const { connection, localPort, path, remotePort } = this.options
    this.acknowledges = false
    const limit = this.receiver.limit
    this.receiver.advertised = limit
    const ack = this.receiver.next
    path.send({
      connection,
      fromPort: localPort,
      toPort: remotePort,
      kind,
      seq,
      bytes,
      chunks,
      ack,
      limit,
      stamp: this.now,
      echo: this.echo,
      gap,
      windowUpdate
    })
  }

  private acknowledge(gap = false, windowUpdate = false): void {
    this.send("ack", this.sender.una, 0, [], gap, windowUpdate)
  }

  private awaitRoom(): boolean {
    const { path } = this.options
    if (path.hasRoom) return true
    if (this.awaitsRoom) return false
    this.awaitsRoom = true
    path.whenRoom(() => {
      this.awaitsRoom = false
      if (this.isOpen) this.sender.pump()
    })
    return false
  }

  /** Nobody is there any more behind what is in between. */
  private answerReset(): void {
    const { kernel, path } = this.options
    kernel.time.after(2 * path.shape.latency, () => this.fail("ECONNRESET"))
  }

  // ---- time

  private wakeAt(due: Micros): void {
    if (this.timer !== undefined) {
      if (this.timer.due <= due) return // it looks again then
      this.timer.timer.cancelled = true
    }
    const timer = this.options.kernel.time.after(Math.max(0, due - this.now), () => {
      this.timer = undefined
      this.tick()
    })
    this.timer = { due, timer }
  }

  private tick(): void {
    if (this.life === "gone") return
    if (!this.isOpen) return this.tryAgain()
    if (!this.sender.overdue()) return this.giveUp()
    this.keepAlive()
  }

  /** A packet of the handshake has not been answered. */
  private tryAgain(): void {
    const { acceptRetriesMax, dialLinearRetriesMax, dialRetriesMax } = this.options.kernel.options
    const triesMax = this.life === "dialing" ? dialLinearRetriesMax + dialRetriesMax : acceptRetriesMax
    if (this.tries >= triesMax || this.now >= this.dialDeadline)
      return this.life === "dialing" ? this.giveUp() : this.vanish()
    this.tries++
    this.open()
  }

  private giveUp(): void {
    this.fail(this.isUnreachable ? "EHOSTUNREACH" : "ETIMEDOUT")
  }

  private openTimeout(): Micros {
    const { options, times } = this.options.kernel
    const linear = this.life === "dialing" ? options.dialLinearRetriesMax : 0
    return times.dialTimeout * 2 ** Math.max(0, this.tries - linear)
  }

  private keepAlive(): void {
    const { keepAlive, userTimeout } = this.options.socket
    if (keepAlive === undefined || this.isOrphan || !this.isOpen) return
    const [idle, interval] = [micros(keepAlive.idle), micros(keepAlive.interval)]
    const due = this.heardAt + idle + this.keepAliveProbes * interval
    if (this.sender.isInFlight) return this.wakeAt(this.now + idle)
    if (due > this.now) return this.wakeAt(due)
    const limit = userTimeout === undefined ? Infinity : micros(userTimeout)
    const isOver =
      this.keepAliveProbes >= keepAlive.count || (this.keepAliveProbes > 0 && this.now - this.heardAt >= limit)
    if (isOver) return this.giveUp()
    this.keepAliveProbes++
    this.send("probe", this.sender.una - 1)
    this.wakeAt(this.now + interval)
  }

  private get now(): Micros {
    return this.options.kernel.time.monotonic()
  }
}

export const micros = (input: Duration.Input): Micros =>
  Math.round(Duration.toMillis(Duration.fromInputUnsafe(input)) * 1000)
