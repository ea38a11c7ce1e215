// The program of a page. It sends numbers, keeps what comes back, and goes on with whatever its server may have lost.
import { Effect, Layer, Schedule, Stream } from "effect"
import * as Socket from "effect/socket/Socket"
import { type Session, WebSocketLink } from "holdfast"
import { Notes } from "./Notes.ts"

export interface Argument {
  readonly url: string
  readonly count: number
  readonly everyMillis: number
  readonly reconnectMillis: number
}

/** What the test reads. */
export interface Report {
  readonly returned: Array<number>
  readonly openings: Array<string>
  state: Session.State["_tag"] | undefined
  ended: string | undefined
}

const report: Report = { returned: [], openings: [], state: undefined, ended: undefined }

const conversing = Effect.fnUntraced(function* ({ count, everyMillis }: Argument) {
  const notes = yield* Notes
  const watch = <A>(stream: Stream.Stream<A, unknown>, seen: (value: A) => void) =>
    Effect.forkChild(
      Stream.runForEach(stream, (value) => Effect.sync(() => seen(value))),
      { startImmediately: true }
    )
  yield* watch(notes.changes, ({ _tag }) => void (report.state = _tag))
  yield* watch(notes.events, (event) => event._tag === "Opened" && report.openings.push(event.opened))
  yield* Effect.forkChild(notes.handle((n) => Effect.sync(() => report.returned.push(n))))
  for (let n = 0; n < count; n++) {
    yield* notes.send(n)
    yield* Effect.sleep(everyMillis)
  }
  yield* notes.close
})

const start = (argument: Argument): void => {
  const link = WebSocketLink.make({ url: argument.url })
  const client = Notes.layer({
    link,
    policy: { reconnect: Schedule.spaced(argument.reconnectMillis), open: "2 seconds" },
    onLost: ({ fateUnknown, notSent }) => Effect.succeed([...fateUnknown, ...notSent])
  }).pipe(Layer.provide(Socket.layerWebSocketConstructorGlobal))
  Effect.runFork(
    conversing(argument).pipe(
      Effect.provide(client),
      Effect.exit,
      Effect.map((exit) => void (report.ended = exit._tag === "Success" ? "closed" : String(exit.cause)))
    )
  )
}

Object.assign(globalThis, { start, report })
