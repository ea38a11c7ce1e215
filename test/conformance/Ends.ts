/**
 * The two ends of a plain connection, as values and as programs over whatever sockets there are, simulated or real. What a
 * program sees it tells; nothing here knows where it runs.
 */
import { Cause, Clock, type Duration, Effect, Exit, Scope } from "effect"
import * as SocketServer from "effect/socket/SocketServer"
import { type ConnectionError, Link } from "holdfast"

/** What the server's program does with each connection. */
export interface Server {
  /** `"once"`: takes what there is after 100 ms, and no more. */
  readonly reads: "all" | "nothing" | "once"
  /** Does not read from then on, counted from its accept, for so long. */
  readonly stalls?: { readonly atMillis: number; readonly forMillis: number } | undefined
  /** Says three bytes so often. */
  readonly beatEveryMillis?: number | undefined
  /** One after the other. */
  readonly departs?:
    | ReadonlyArray<{ readonly does: "ends" | "closes" | "resets"; readonly afterMillis: number }>
    | undefined
}

/** What the client's program does. */
export interface Client {
  /** Once, or every so often; every 0 ms is as fast as they are taken. */
  readonly writes?: { readonly bytes: number; readonly everyMillis?: number; readonly afterMillis?: number } | undefined
  /** After its writes. */
  readonly departs?: "waits" | "ends" | "closes" | "resets" | undefined
  /** How many connections, one after the other. Default 1. */
  readonly dials?: { readonly count: number; readonly everyMillis: number } | undefined
}

/** What the programs tell. `nth` is the connection. */
export type Fact =
  | { readonly _tag: "Listening" }
  | { readonly _tag: "Accepted" }
  /** Bytes that the server's program has taken of a connection so far, up to a megabyte. */
  | { readonly _tag: "Got"; readonly bytes: number }
  | { readonly _tag: "Dialing"; readonly nth: number }
  | { readonly _tag: "Connected"; readonly nth: number }
  /** A write has not come back for half a second. */
  | { readonly _tag: "Waits"; readonly nth: number }
  /** It has come back, or failed. */
  | { readonly _tag: "GoesOn"; readonly nth: number }
  /** The dial has failed, or the connection is over, and this is all that the program is told of it. */
  | { readonly _tag: "Told"; readonly nth: number; readonly how: string }

export type Tell = (fact: Fact) => void

/** Serves for ever. */
export const server = Effect.fnUntraced(function* (part: Server, tell: Tell) {
  const { run } = yield* SocketServer.SocketServer
  const serve = Effect.fnUntraced(function* (socket: Link.Link) {
    tell({ _tag: "Accepted" })
    const scope = yield* Scope.make()
    const opened = yield* Scope.provide(Link.open(socket), scope)
    const acts = [
      Effect.ignore(reading(part, opened, tell)),
      beating(part, opened),
      leaving(part, socket, opened, scope)
    ]
    yield* Effect.all(acts, { concurrency: "unbounded", discard: true })
    return yield* Effect.never
  })
  yield* Effect.forkScoped(run((socket) => Effect.ignore(serve(socket))))
  tell({ _tag: "Listening" })
})

const reading = Effect.fnUntraced(function* ({ reads, stalls }: Server, { pull }: Link.Opened, tell: Tell) {
  if (reads === "nothing") return
  if (reads === "once") yield* Effect.sleep("100 millis")
  const from = yield* Clock.currentTimeMillis
  let bytes = 0
  let isStalled = false
  do {
    if (stalls !== undefined && !isStalled && (yield* Clock.currentTimeMillis) >= from + stalls.atMillis) {
      isStalled = true
      yield* Effect.sleep(stalls.forMillis)
    }
    for (const chunk of yield* pull) bytes += chunk.length
    if (bytes <= toldBytesMax) tell({ _tag: "Got", bytes })
  } while (reads === "all")
})

const beating = ({ beatEveryMillis }: Server, { write }: Link.Opened) =>
  beatEveryMillis === undefined
    ? Effect.void
    : Effect.ignore(Effect.forever(Effect.andThen(Effect.sleep(beatEveryMillis), write([new Uint8Array(3)]))))

const leaving = Effect.fnUntraced(function* (
  { departs = [] }: Server,
  socket: Link.Link,
  { destroy }: Link.Opened,
  scope: Scope.Closeable
) {
  for (const { afterMillis, does } of departs) {
    yield* Effect.sleep(afterMillis)
    if (does === "ends") yield* end(socket)
    else if (does === "resets") yield* destroy
    else yield* Scope.close(scope, Exit.void)
  }
})

/** Makes its connections, does its part, and lives on. */
export const client = <R>(
  part: Client,
  link: Effect.Effect<Link.Link, never, R>,
  tell: Tell
): Effect.Effect<void, never, R> => {
  const { count, everyMillis } = part.dials ?? { count: 1, everyMillis: 0 }
  const connections = Array.from({ length: count }, (_, nth) =>
    Effect.andThen(Effect.sleep(nth * everyMillis), connection(part, nth, link, tell))
  )
  return Effect.all(connections, { concurrency: "unbounded", discard: true })
}

const connection = Effect.fnUntraced(function* <R>(
  { departs = "waits", writes }: Client,
  nth: number,
  dial: Effect.Effect<Link.Link, never, R>,
  tell: Tell
) {
  const scope = yield* Scope.make()
  const socket = yield* dial
  tell({ _tag: "Dialing", nth })
  const exit = yield* Effect.exit(Scope.provide(Link.open(socket), scope))
  if (Exit.isFailure(exit)) return tell({ _tag: "Told", nth, how: howOf(exit.cause) })
  const opened = exit.value
  tell({ _tag: "Connected", nth })
  const hearing = Effect.forever(opened.pull).pipe(
    Effect.catchCause((cause) =>
      Effect.sync(() => {
        if (!Cause.hasInterrupts(cause)) tell({ _tag: "Told", nth, how: howOf(cause) })
      })
    )
  )
  yield* Effect.forkIn(hearing, scope, { startImmediately: true })
  if (writes !== undefined) yield* Effect.ignore(writing(writes, nth, opened, scope, tell))
  if (departs === "ends") yield* end(socket)
  if (departs === "resets") yield* opened.destroy
  if (departs === "closes" || departs === "resets") yield* Scope.close(scope, Exit.void)
  return yield* Effect.never
})

const writing = Effect.fnUntraced(function* (
  { afterMillis = 0, bytes, everyMillis }: NonNullable<Client["writes"]>,
  nth: number,
  { write }: Link.Opened,
  scope: Scope.Scope,
  tell: Tell
) {
  yield* Effect.sleep(afterMillis)
  const chunk = new Uint8Array(bytes).fill(1)
  let writingSince: number | undefined
  let isTold = false
  const watching = Effect.gen(function* () {
    while (true) {
      yield* Effect.sleep(watchInterval)
      if (writingSince === undefined || isTold) continue
      if ((yield* Clock.currentTimeMillis) - writingSince < waitsMillis) continue
      isTold = true
      tell({ _tag: "Waits", nth })
    }
  })
  yield* Effect.forkIn(watching, scope)
  do {
    writingSince = yield* Clock.currentTimeMillis
    yield* Effect.ensuring(
      write([chunk]),
      Effect.sync(() => {
        if (isTold) tell({ _tag: "GoesOn", nth })
        isTold = false
        writingSince = undefined
      })
    )
    if (everyMillis !== undefined) yield* everyMillis === 0 ? Effect.yieldNow : Effect.sleep(everyMillis)
  } while (everyMillis !== undefined)
})

/** Ends our direction: what a plain program calls a close. */
const end = (socket: Link.Link): Effect.Effect<void> => Effect.scoped(Effect.asVoid(socket.writer))

/** As the system names it, or `end`. */
const howOf = (cause: Cause.Cause<ConnectionError.ConnectionError>): string => {
  const { error } = cause.reasons.find(Cause.isFailReason) ?? {}
  if (error?.reason._tag === "LinkClosed") return "end"
  return error?.reason._tag === "LinkFailed" ? (error.reason.code ?? "?") : Cause.pretty(cause)
}

const toldBytesMax = 1_000_000
const waitsMillis = 500
const watchInterval: Duration.Input = "50 millis"
