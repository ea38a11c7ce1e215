/** What the two roles do, over whatever link. */
import { Clock, Duration, Effect, Option, Schedule } from "effect"
import { Session } from "holdfast"

/** Pieces of a backup; the server only receives. */
export class Variable extends Session.Service<Variable>()("examples/VariableReceiveRate") {}

type Bytes = Session.Session<Uint8Array, Uint8Array>
type Log = (line: string) => Effect.Effect<void>

const pieceBytes = 65_536

/** A disk of 6.5 MB/s that works for `busy` and then stalls for `stall`. A piece is acknowledged when it is written. */
export const disk = { piece: "10 millis", busy: "2 seconds", stall: "10 seconds" } as const

/** Writes each piece to the disk. */
export const receive = Effect.fnUntraced(function* (session: Bytes, log: Log) {
  let pieces = 0
  let busyUntil = (yield* Clock.currentTimeMillis) + Duration.toMillis(disk.busy)
  yield* log("the disk is fast")
  yield* session.handle(
    Effect.fnUntraced(function* () {
      yield* Effect.sleep(disk.piece)
      pieces++
      if ((yield* Clock.currentTimeMillis) < busyUntil) return
      yield* log(`the disk stalls at ${megabytes(pieces)} MB`)
      yield* Effect.sleep(disk.stall)
      yield* log("the disk is fast")
      busyUntil = (yield* Clock.currentTimeMillis) + Duration.toMillis(disk.busy)
    })
  )
})

/** Sends as fast as the server takes, and says once a second what it sees. */
export const send = Effect.fnUntraced(function* (session: Bytes, log: Log) {
  let accepted = 0
  const sending = Effect.forever(
    Effect.andThen(
      Effect.suspend(() => session.send(new Uint8Array(pieceBytes).fill(++accepted))),
      Effect.yieldNow
    )
  )
  const telling = Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    yield* log(`accepted ${megabytes(accepted)} MB; ${describe(yield* session.state, now)}`)
  })
  yield* Effect.raceFirst(sending, Effect.repeat(telling, Schedule.spaced("1 second")))
})

/** A state in words: slow is shown, and what would be a failure is another word. */
const describe = (state: Session.State, now: number): string => {
  if (state._tag !== "Up") return state._tag.toLowerCase()
  const since = (what: string, at: Option.Option<number>) =>
    Option.match(at, { onNone: () => [], onSome: (at) => [`${what} for ${((now - at) / 1000).toFixed(1)} s`] })
  return [
    `link ${state.incarnation} is up`,
    ...since("nothing moves", state.stalledSince),
    ...since("the server's disk is slow", state.creditAwaitedSince)
  ].join(", ")
}

const megabytes = (pieces: number) => ((pieces * pieceBytes) / 1e6).toFixed(1)
