// A client that speaks a protocol without any ping through a guard, and reports what the kernel knows and how it ends.
import { NodeRuntime } from "@effect/platform-node"
import { NodeLink } from "@holdfast/node"
import { Duration, Effect, Schedule } from "effect"
import { ConnectionError, Guard, type Link } from "holdfast"
import * as Role from "../Role.ts"

export interface Argument {
  readonly host: string
  readonly port: number
  /** The patience of `stall`: three steps of so many milliseconds. */
  readonly stepMillis: number
  /** Writes so many bytes each time; every 0 ms: as fast as it can. Without it the client stays idle. */
  readonly writes?: { readonly bytes: number; readonly everyMillis: number } | undefined
  /** Begins to write only then. */
  readonly writesAfterMillis?: number | undefined
  /** Lets the guard see only what Node knows, as without koffi. */
  readonly withoutKernel?: boolean | undefined
  readonly keepAlive?: boolean | undefined
}

export type Fact =
  | { readonly _tag: "Connected"; readonly source: string }
  | { readonly _tag: "Writing" }
  /** What the link tells, every 50 ms, and what it has received so far. */
  | {
      readonly _tag: "Figures"
      readonly queuedBytes: number
      readonly unacknowledgedBytes: number
      readonly unsentBytes: number
      readonly acknowledgedBytes: number
      readonly unanswered: number
      readonly backoff: number
      readonly receivedBytes: number
    }
  /** `reason` is the verdict's tag, or the system's code, or `end`. */
  | {
      readonly _tag: "Ended"
      readonly reason: string
      readonly missingForMillis: number
      readonly unanswered: number | undefined
      readonly receivedBytes: number
    }

const { host, keepAlive, port, stepMillis, withoutKernel, writes, writesAfterMillis = 0 } = Role.argument as Argument

const report = (fact: Fact) => Effect.sync(() => Role.report(fact))

const nodeOnly = (link: NodeLink.NodeLink): Link.Link => ({
  ...link,
  progress: () => ({ source: "node", queuedBytes: link.progress().queuedBytes })
})

const ended = (cause: unknown): Omit<Fact & { readonly _tag: "Ended" }, "receivedBytes"> => {
  if (ConnectionError.isConnectionError(cause)) {
    const { reason } = cause
    const stuck = reason._tag === "WriteStuck" ? reason : undefined
    const missingForMillis = stuck === undefined ? 0 : Duration.toMillis(stuck.missingFor)
    return { _tag: "Ended", reason: reason._tag, missingForMillis, unanswered: stuck?.unanswered }
  }
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "end"
  return { _tag: "Ended", reason: code, missingForMillis: 0, unanswered: undefined }
}

const program = Effect.gen(function* () {
  const link = yield* NodeLink.tcp({
    host,
    port,
    plaintext: true,
    ...(keepAlive === true && { kernel: { keepAlive: { idle: "1 second", interval: "1 second", count: 2 } } })
  })
  const guard = yield* Guard.make(withoutKernel === true ? nodeOnly(link) : link, {
    policy: { stall: Schedule.spaced(stepMillis).pipe(Schedule.upTo({ times: 3 })) }
  })
  let receivedBytes = 0
  const { pull } = yield* guard.reader
  const { write } = yield* guard.writer
  // The first look begins to load koffi.
  yield* Effect.repeat(Effect.sleep("10 millis"), { until: () => link.progress().source === "kernel" })
  yield* report({ _tag: "Connected", source: link.progress().source })
  const read = Effect.map(pull, (batch) => {
    for (const chunk of batch) receivedBytes += chunk.length
  })
  const watch = Effect.suspend(() => {
    const figures = link.progress()
    if (figures.source === "node") return Effect.void
    const { acknowledgedBytes, backoff, queuedBytes, unacknowledgedBytes, unanswered, unsentBytes } = figures
    const queues = { queuedBytes, unacknowledgedBytes, unsentBytes }
    return report({ _tag: "Figures", ...queues, acknowledgedBytes, unanswered, backoff, receivedBytes })
  })
  const chunk = new Uint8Array(writes?.bytes ?? 0).fill(1)
  const writing = Effect.gen(function* () {
    if (writes === undefined) return yield* Effect.never
    yield* Effect.sleep(writesAfterMillis)
    yield* report({ _tag: "Writing" })
    while (true) {
      yield* write(chunk)
      if (writes.everyMillis > 0) yield* Effect.sleep(writes.everyMillis)
    }
  })
  const { reason } = yield* Effect.flip(
    Effect.raceAllFirst([
      Effect.forever(read),
      Effect.andThen(writing.pipe(Effect.ignore), Effect.never),
      Effect.andThen(Effect.repeat(watch, Schedule.spaced("50 millis")), Effect.never)
    ])
  )
  yield* report({ ...ended("cause" in reason ? reason.cause : undefined), receivedBytes })
})

Effect.scoped(program).pipe(Effect.andThen(Effect.never), NodeRuntime.runMain)
