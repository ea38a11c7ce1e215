/**
 * A program's socket over a connection of the simulated kernel, with the manners of Node's: it holds what the kernel does
 * not take, a write waits for `drain`, nothing is read until it is pulled, and an end that was read is answered by one.
 */
import { Duration, Effect } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Latch from "effect/Latch"
import * as Socket from "effect/socket/Socket"
import type { Link } from "holdfast"
import type { Endpoint } from "./Endpoint.ts"
import type { Machine } from "./Machine.ts"
import type { Process } from "./Process.ts"

/** What the program holds: the kernel's end, and what the kernel has not taken. */
export class Stream {
  readonly endpoint: Endpoint
  readonly machine: Machine
  queuedBytes = 0
  /** The program has closed it, with this code. */
  closedAs: number | undefined
  private readonly process: Process
  private readonly queue: Array<Uint8Array> = []
  private isEnding = false
  private isPosted = false
  private readonly changed = Latch.makeUnsafe(false)

  constructor(endpoint: Endpoint, machine: Machine, process: Process) {
    this.endpoint = endpoint
    this.machine = machine
    this.process = process
    endpoint.onChange = () => this.notify()
    machine.streams.add(this)
  }

  /** Lets the program look again in its next turn. */
  notify(): void {
    if (this.isPosted) return
    this.isPosted = true
    this.process.post(() => {
      this.isPosted = false
      this.flush()
      this.changed.openUnsafe()
    })
  }

  get error(): Socket.SocketError | undefined {
    if (this.closedAs !== undefined) return closed(this.closedAs)
    return this.endpoint.failure === undefined ? undefined : failed("read", this.endpoint.failure)
  }

  /** Waits until `look` finds something; it looks whenever something has changed. */
  until<A, E>(look: () => Effect.Effect<A, E> | undefined): Effect.Effect<A, E> {
    return Effect.suspend(() => {
      const found = look()
      if (found !== undefined) return found
      this.changed.closeUnsafe()
      return Effect.andThen(this.changed.await, this.until(look))
    })
  }

  get pull(): Effect.Effect<NonEmptyReadonlyArray<Uint8Array>, Socket.SocketError> {
    return this.until(() => {
      if (this.closedAs !== undefined) return Effect.fail(closed(this.closedAs))
      const [first, ...rest] = this.endpoint.read(Math.min(highWaterMark, this.readable()))
      if (first !== undefined) return Effect.succeed([first, ...rest])
      if (this.error !== undefined) return Effect.fail(this.error)
      if (!this.endpoint.isAtEnd) return undefined
      this.end()
      return Effect.fail(closed(1000))
    })
  }

  write(chunks: ReadonlyArray<Uint8Array>): Effect.Effect<void, Socket.SocketError> {
    return Effect.suspend(() => {
      if (this.error !== undefined || this.isEnding)
        return Effect.fail(failed("write", this.endpoint.failure ?? "EPIPE"))
      for (const chunk of chunks) {
        this.queue.push(chunk)
        this.queuedBytes += chunk.length
      }
      const needsDrain = this.queuedBytes >= highWaterMark
      this.flush()
      if (!needsDrain) return Effect.void
      return this.until(() => {
        if (this.error !== undefined) return Effect.fail(failed("write", this.endpoint.failure ?? "ECANCELED"))
        return this.queuedBytes === 0 ? Effect.void : undefined
      })
    })
  }

  /** Ends our direction once the kernel has what was written. */
  end(): void {
    this.isEnding = true
    this.flush()
  }

  /** Hands over what was written, then closes; a peer that does not read gets a second, then a reset. */
  get finish(): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.closedAs !== undefined || this.endpoint.failure !== undefined) return Effect.void
      this.end()
      const handedOver = this.until(() =>
        this.queuedBytes === 0 || this.error !== undefined ? Effect.sync(() => this.close(1006)) : undefined
      )
      const given = Effect.timeoutOrElse(handedOver, { duration: lingerMax, orElse: () => this.destroy })
      return this.queuedBytes === 0 ? handedOver : Effect.interruptible(given)
    })
  }

  close(code: number): void {
    if (this.closedAs !== undefined) return
    this.closedAs = code
    this.machine.streams.delete(this)
    this.endpoint.close()
    this.changed.openUnsafe()
  }

  get destroy(): Effect.Effect<void> {
    return Effect.sync(() => {
      if (this.closedAs !== undefined) return
      this.closedAs = 1006
      this.machine.streams.delete(this)
      this.endpoint.onChange = () => undefined
      this.endpoint.abort()
      this.notify()
    })
  }

  private flush(): void {
    while (this.queue.length > 0) {
      const chunk = this.queue[0]!
      const bytes = this.endpoint.write(chunk)
      if (bytes < chunk.length) {
        if (bytes > 0) this.queue[0] = chunk.subarray(bytes)
        this.queuedBytes -= bytes
        return
      }
      this.queue.shift()
      this.queuedBytes -= bytes
    }
    if (this.isEnding) this.endpoint.shutdown()
  }

  /** How many bytes the program may take now: a slow reader gets its share for each step of time. */
  private readable(): number {
    const { slowness, time } = this.machine
    if (slowness === undefined) return Infinity
    const { bytesPerSecond } = slowness
    const now = time.monotonic()
    if (bytesPerSecond === 0 || now < slowness.notBefore) return 0
    const bytes = Math.min(this.endpoint.unreadBytes, Math.max(1, Math.floor(bytesPerSecond * readStepSeconds)))
    if (bytes > 0) {
      const pause = Math.ceil((bytes / bytesPerSecond) * 1e6)
      slowness.notBefore = now + pause
      time.after(pause, () => this.machine.nudge())
    }
    return bytes
  }
}

/** A link over a stream that `open` makes: by a dial, or one that was accepted. */
export const linkOf = (
  open: Effect.Effect<Stream, Socket.SocketError>,
  address: (stream: Stream) => string,
  accepted?: Stream
): Link.Link => {
  let current = accepted
  const connected = Latch.makeUnsafe(false)
  const reader: Socket.Socket["reader"] = Effect.gen(function* () {
    const stream = yield* Effect.acquireRelease(
      open,
      (stream) => {
        if (current === stream) current = undefined
        connected.closeUnsafe()
        return stream.finish
      },
      { interruptible: true }
    )
    current = stream
    connected.openUnsafe()
    return { pull: stream.pull, upgrade: Socket.SocketUpgradeError.unsupported }
  })
  // Like the sockets of Effect: what is written while there is no connection waits for the next one.
  const whenConnected = <A, E>(use: (stream: Stream) => Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => (current === undefined ? Effect.andThen(connected.await, whenConnected(use)) : use(current)))
  const writer: Socket.Socket["writer"] = Effect.gen(function* () {
    yield* Effect.addFinalizer(() => Effect.sync(() => current?.end()))
    return {
      write: (chunk) =>
        whenConnected((stream) =>
          Socket.isCloseEvent(chunk) ? Effect.sync(() => stream.close(chunk.code)) : stream.write([bytesOf(chunk)])
        ),
      writeAll: (chunks) => whenConnected((stream) => stream.write(chunks.map(bytesOf)))
    }
  })
  return {
    ...Socket.make({ reader, writer }),
    destroy: Effect.suspend(() => current?.destroy ?? Effect.void),
    progress: () => ({
      queuedBytes: current?.queuedBytes ?? 0,
      unacknowledgedBytes: current?.endpoint.unacknowledgedBytes ?? 0
    }),
    get peer() {
      return current === undefined ? undefined : address(current)
    }
  }
}

export const openFailed = (code: string) =>
  new Socket.SocketError({
    reason: new Socket.SocketOpenError({ kind: "Unknown", cause: systemError("connect", code) })
  })

const closed = (code: number) => new Socket.SocketError({ reason: new Socket.SocketCloseError({ code }) })

const failed = (during: "read" | "write", code: string) => {
  const cause = systemError(during, code)
  return new Socket.SocketError({
    reason: during === "read" ? new Socket.SocketReadError({ cause }) : new Socket.SocketWriteError({ cause })
  })
}

const systemError = (during: string, code: string) => Object.assign(new Error(`${during} ${code}`), { code })

const encoder = new TextEncoder()
const bytesOf = (chunk: Uint8Array | string): Uint8Array => (typeof chunk === "string" ? encoder.encode(chunk) : chunk)

/** Node's. */
const highWaterMark = 65_536
const lingerMax = Duration.seconds(1)
const readStepSeconds = 0.1
