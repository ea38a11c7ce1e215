/**
 * A guard: `Socket -> Socket`, the same interface, watched. For code that already talks to a `Socket`, such as Effect's
 * `RpcClient`, and is to fail fast instead of waiting for a peer that is gone.
 *
 * ```ts
 * import { NodeSocket } from "@effect/platform-node"
 * import { Layer } from "effect"
 * import { RpcClient } from "effect/rpc"
 * import { Guard } from "holdfast"
 *
 * const Protocol = RpcClient.layerProtocolSocket().pipe(
 *   Layer.provide(Guard.layer({ policy: { open: "5 seconds", stall: "20 seconds" } })),
 *   Layer.provide(NodeSocket.layerNet({ host: "127.0.0.1", port: 7000 }))
 * )
 * ```
 *
 * Guarantees: a verdict destroys the link first. Then the `pull` of that connection fails with the `SocketError` that its
 * reader expects, and the typed `ConnectionError` is that error's `cause`; then its writes fail likewise, a turn of
 * the event loop later, because many programs take a failed write for a defect unless their reader has told them why. A
 * write settles with the connection in which it began; one that finds none waits for the next, as Effect's contract says.
 * All errors of the socket itself pass through as they are, and so does text.
 *
 * A guard cannot ask: `silence` is off unless set, and then its delays only add up. It counts only while somebody pulls,
 * since bytes that nobody reads are no silence. To `stall`, one chunk has moved when the link has taken all of it, unless
 * the link tells more (`progress`); so write large things in pieces.
 */
import { Clock, Deferred, Effect, Exit, Fiber, Latch, Layer, Scope } from "effect"
import * as Socket from "effect/socket/Socket"
import * as ConnectionError from "./ConnectionError.ts"
import { destroyOf } from "./internal/destroy.ts"
import { type Gate, makeGate } from "./internal/gate.ts"
import type { Link } from "./Link.ts"
import * as Patience from "./Patience.ts"
import * as Policy from "./Policy.ts"
import * as Presets from "./Presets.ts"
import * as Watchdog from "./Watchdog.ts"

/** The part of a policy that a guard can keep: it neither asks nor reconnects. */
export type PolicyOptions = Pick<Policy.Options, "open" | "silence" | "stall" | "stalledLimit" | "backlog">

/** What a guard may be given. */
export interface Options {
  /**
   * Default: `open` 10 s, `silence` off, `stall` 30 s, and a `backlog` of 65,536 writes or 16 MiB that began or wait; a
   * write that comes alone is let through whatever its size. Where a failed write is a defect, as in Effect's
   * `RpcClient`, leave `whenFull` at `"wait"`.
   */
  readonly policy?: PolicyOptions | undefined
  /** Race inside each connection, beside the built-in detectors. */
  readonly detectors?: ReadonlyArray<Watchdog.Detector> | undefined
}

/** Watches a socket. Use the result in its place; whoever goes on using the original is not watched. */
export const make = Effect.fnUntraced(function* (
  socket: Link,
  options: Options = {}
): Effect.fn.Return<Link, Policy.PolicyError> {
  const policy = yield* Policy.make(options.policy, {
    ...Policy.defaults,
    ...Presets.withoutPing,
    heartbeat: "Infinity"
  })
  return new Guard(socket, policy, options.detectors ?? []).link
})

/** The same as a layer: takes the `Socket` of the context and provides the watched one. */
export const layer = (options?: Options): Layer.Layer<Socket.Socket, Policy.PolicyError, Socket.Socket> =>
  Layer.effect(
    Socket.Socket,
    Effect.flatMap(Socket.Socket, (socket) => make(socket, options))
  )

/** One connection of the socket that is guarded. */
interface Up {
  readonly writer: Socket.Writer
  /** Releasing it says that we will write no more. */
  readonly writerScope: Scope.Closeable
  readonly watchdog: Watchdog.Watchdog
  readonly destroy: Effect.Effect<void>
  /** Fails when the writes of this connection are to be told of its end. */
  readonly over: Deferred.Deferred<never, Socket.SocketError>
  readonly writes: Scope.Closeable
  verdict: ConnectionError.ConnectionError | undefined
  /** It has ended, so every failure of a write waits until the reader has been told. */
  isOver: boolean
}

class Guard {
  readonly link: Link
  private readonly socket: Link
  private readonly policy: Policy.Policy
  private readonly detectors: ReadonlyArray<Watchdog.Detector>
  private readonly gate: Gate
  private readonly connected = Latch.makeUnsafe(false)
  private current: Up | undefined

  constructor(socket: Link, policy: Policy.Policy, detectors: ReadonlyArray<Watchdog.Detector>) {
    this.socket = socket
    this.policy = policy
    this.detectors = detectors
    this.gate = makeGate(policy.backlog)
    this.link = {
      ...Socket.make({ reader: this.reader, writer: this.writer }),
      destroy: Effect.suspend(() => this.current?.destroy ?? socket.destroy ?? Effect.void),
      progress: socket.progress,
      get peer() {
        return socket.peer
      }
    }
  }

  // ---- reading

  private get reader(): Socket.Socket["reader"] {
    return Effect.gen({ self: this }, function* () {
      const outer = yield* Effect.scope
      const inner = yield* Scope.fork(outer)
      const reader = yield* Scope.provide(this.dial, inner)
      const up = yield* this.rise(inner)
      yield* Effect.addFinalizer(() => this.end(up, ConnectionError.make(new ConnectionError.Closed())))
      yield* up.watchdog.run.pipe(
        Effect.catch((error) => this.judge(up, error)),
        Effect.andThen(Effect.forkIn(Scope.close(inner, Exit.void), outer)),
        Effect.forkIn(outer, { startImmediately: true })
      )
      return { pull: this.watched(up, reader.pull), upgrade: reader.upgrade }
    })
  }

  private get dial(): Socket.Socket["reader"] {
    return Clock.clockWith((clock) => {
      const patience = Patience.watch({ patience: this.policy.open, anchor: Patience.monotonicMillis(clock) })
      const over = Effect.flatMap(patience.run, (evidence) => {
        const cause = ConnectionError.make(
          new ConnectionError.OpenTimedOut({ asked: evidence.asked, missingFor: evidence.missingFor, stage: "dial" }),
          { openingFor: evidence.missingFor }
        )
        const error = new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Timeout", cause }) })
        return Effect.andThen(this.socket.destroy ?? Effect.void, Effect.fail(error))
      })
      return Effect.raceFirst(this.socket.reader, over)
    })
  }

  private rise(inner: Scope.Closeable): Effect.Effect<Up> {
    return Effect.gen({ self: this }, function* () {
      const writerScope = yield* Scope.fork(inner)
      const writer = yield* Scope.provide(this.socket.writer, writerScope)
      const watchdog = yield* Watchdog.make({
        policy: () => this.policy,
        probe: () => undefined,
        beat: () => undefined,
        onStalled: () => undefined,
        progress: this.socket.progress,
        detectors: this.detectors
      }).pipe(Scope.provide(inner))
      watchdog.listening(false) // nobody pulls yet
      const up: Up = {
        writer,
        writerScope,
        watchdog,
        destroy: destroyOf(this.socket, writer, inner),
        over: Deferred.makeUnsafe(),
        writes: yield* Scope.make(),
        verdict: undefined,
        isOver: false
      }
      this.current = up
      this.connected.openUnsafe()
      return up
    })
  }

  /** The verdict is known before the link ends, so that whatever fails by that fails with the verdict. */
  private judge(up: Up, error: ConnectionError.ConnectionError): Effect.Effect<void> {
    up.verdict = error
    return Effect.andThen(this.end(up, error), up.destroy)
  }

  /**
   * What is written from now on waits for the next connection; what was begun in this one fails. Its reader first: that
   * fiber runs as soon as its pull fails, so after a turn of the event loop it has told its own.
   */
  private end(up: Up, cause: Socket.SocketError | ConnectionError.ConnectionError): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (up.isOver) return Effect.void
      up.isOver = true
      if (this.current === up) {
        this.current = undefined
        this.connected.closeUnsafe()
      }
      return Effect.yieldNow.pipe(
        Effect.andThen(
          Deferred.fail(up.over, new Socket.SocketError({ reason: new Socket.SocketWriteError({ cause }) }))
        ),
        Effect.andThen(Scope.close(up.writes, Exit.void)),
        Effect.forkDetach,
        Effect.asVoid
      )
    })
  }

  private watched(up: Up, pull: Socket.Reader["pull"]): Socket.Reader["pull"] {
    const watched = pull.pipe(
      Effect.map((batch) => {
        up.watchdog.received()
        up.watchdog.listening(false)
        return batch
      }),
      Effect.catch((error) =>
        Effect.andThen(this.end(up, error), Effect.fail(up.verdict === undefined ? error : readFailed(up.verdict)))
      )
    )
    return Effect.suspend(() => {
      if (up.verdict !== undefined) return Effect.fail(readFailed(up.verdict))
      up.watchdog.listening(true)
      return watched
    })
  }

  // ---- writing

  private get writer(): Socket.Socket["writer"] {
    const write: Socket.Writer["write"] = (chunk) =>
      Socket.isCloseEvent(chunk)
        ? this.onLink(0, (writer) => writer.write(chunk))
        : this.admitted(1, chunk.length, (writer) => writer.write(chunk))
    const writeAll: Socket.Writer["writeAll"] = (chunks) =>
      this.admitted(
        chunks.length,
        chunks.reduce((bytes, chunk) => bytes + chunk.length, 0),
        (writer) => writer.writeAll(chunks)
      )
    return Effect.acquireRelease(Effect.succeed({ write, writeAll }), () =>
      Effect.suspend(() =>
        this.current === undefined ? Effect.void : Scope.close(this.current.writerScope, Exit.void)
      )
    )
  }

  private admitted(count: number, bytes: number, write: Write): Effect.Effect<void, Socket.SocketError> {
    return this.gate.within(
      count,
      bytes,
      Effect.suspend(() => this.onLink(bytes, write))
    )
  }

  /** Writes in the present connection, or else in the next, and settles with it. */
  private onLink(bytes: number, write: Write): Effect.Effect<void, Socket.SocketError> {
    const up = this.current
    if (up === undefined) {
      return Effect.andThen(
        this.connected.await,
        Effect.suspend(() => this.onLink(bytes, write))
      )
    }
    const over = Deferred.await(up.over)
    const begun = write(up.writer).pipe(
      Effect.catch((error) => (up.isOver ? over : Effect.fail(error))),
      Effect.ensuring(Effect.sync(() => up.watchdog.written(bytes)))
    )
    up.watchdog.writing(bytes)
    return Effect.flatMap(Effect.forkIn(begun, up.writes, { startImmediately: true }), (fiber) => {
      const exit = fiber.pollUnsafe()
      if (exit !== undefined) return exit
      return Effect.onInterrupt(Effect.raceFirst(Fiber.join(fiber), over), () => Fiber.interrupt(fiber))
    })
  }
}

type Write = (writer: Socket.Writer) => Effect.Effect<void, Socket.SocketError>

const readFailed = (cause: ConnectionError.ConnectionError): Socket.SocketError =>
  new Socket.SocketError({ reason: new Socket.SocketReadError({ cause }) })
