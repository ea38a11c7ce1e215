/**
 * The connections that the tunnel carries: counted, bounded, told of, and waited for when it drains.
 */
import { Cause, Clock, Context, Duration, Effect, Exit, Fiber, Latch, Layer, Option, Schema } from "effect"
import { type Closed, Journal } from "./journal.ts"

/** One connection, for as long as it is carried. */
export interface Carried {
  readonly connection: number
  readonly name: string
  readonly from: string
  /** from the local program into the tunnel */
  bytesIn: number
  /** out of the tunnel to the local program */
  bytesOut: number
}

/** A connection never reached a program at the other end. */
export class Refused extends Schema.TaggedError<Refused>()("Refused", { message: Schema.String }) {}

export class Connections extends Context.Service<
  Connections,
  {
    readonly open: ReadonlySet<Carried>
    /** Of all connections so far. */
    readonly totals: { readonly opened: number; readonly bytesIn: number; readonly bytesOut: number }
    /** Whether no further connection may begin, and why. */
    readonly full: () => string | undefined
    /** Carries a connection and tells of its beginning and its end, which is never a failure. */
    readonly carry: <E extends Error, R>(
      name: string,
      from: string,
      use: (carried: Carried) => Effect.Effect<void, E, R>
    ) => Effect.Effect<void, never, R>
    /**
     * For the end of a scope: when it is interrupted, no further connection begins, and the last one is waited for, at
     * most for so long. After a failure there is nothing to wait for.
     */
    readonly drain: (limit: Duration.Duration, exit: Exit.Exit<unknown, unknown>) => Effect.Effect<void>
  }
>()("tunnel/Connections") {
  static readonly layer = (connectionsMax: number): Layer.Layer<Connections, never, Journal> =>
    Layer.effect(
      Connections,
      Effect.gen(function* () {
        const journal = yield* Journal
        const open = new Set<Carried>()
        const ended = { bytesIn: 0, bytesOut: 0 }
        const idle = Latch.makeUnsafe(true)
        let opened = 0
        let isDraining = false

        const carry = <E extends Error, R>(
          name: string,
          from: string,
          use: (carried: Carried) => Effect.Effect<void, E, R>
        ) =>
          Effect.acquireUseRelease(
            Effect.gen(function* () {
              const carried: Carried = { connection: ++opened, name, from, bytesIn: 0, bytesOut: 0 }
              open.add(carried)
              idle.closeUnsafe()
              yield* journal.tell({ event: "opened", connection: carried.connection, name, from })
              return { carried, startedAt: yield* Clock.currentTimeMillis }
            }),
            ({ carried }) => use(carried),
            ({ carried, startedAt }, exit) =>
              Effect.gen(function* () {
                const { bytesIn, bytesOut, connection } = carried
                open.delete(carried)
                ended.bytesIn += bytesIn
                ended.bytesOut += bytesOut
                const millis = (yield* Clock.currentTimeMillis) - startedAt
                yield* journal.tell({ event: "closed", connection, name, ...outcome(exit), bytesIn, bytesOut, millis })
                if (open.size === 0) idle.openUnsafe()
              })
          ).pipe(Effect.ignoreCause)

        return {
          open,
          totals: {
            get opened() {
              return opened
            },
            get bytesIn() {
              return sum(open, ({ bytesIn }) => bytesIn) + ended.bytesIn
            },
            get bytesOut() {
              return sum(open, ({ bytesOut }) => bytesOut) + ended.bytesOut
            }
          },
          full: () => {
            if (isDraining) return "this end of the tunnel is going away"
            return open.size >= connectionsMax
              ? `${connectionsMax} connections are open (--connections-max)`
              : undefined
          },
          carry,
          drain: Effect.fnUntraced(function* (limit, exit) {
            if (!Exit.hasInterrupts(exit)) return
            isDraining = true
            yield* journal.tell({ event: "draining", connections: open.size })
            // In a fiber of its own: this one has been interrupted, which is why it drains.
            const waiting = Effect.timeoutOption(Effect.raceFirst(idle.await, signalled), limit)
            yield* Fiber.await(yield* Effect.forkDetach(waiting))
            yield* journal.tell({ event: "stopped", reset: open.size })
          })
        }
      })
    )
}

/** Waits for a signal: the next one after the one that began the draining ends it. */
const signalled = Effect.callback<void>((resume) => {
  const onSignal = () => resume(Effect.void)
  process.once("SIGINT", onSignal).once("SIGTERM", onSignal)
  return Effect.sync(() => process.off("SIGINT", onSignal).off("SIGTERM", onSignal))
})

const outcome = (exit: Exit.Exit<void, Error>): Pick<Closed, "how" | "detail"> => {
  if (Exit.isSuccess(exit)) return { how: "ended", detail: "" }
  const error = Option.getOrUndefined(Exit.findErrorOption(exit))
  if (error === undefined)
    return { how: "reset", detail: Exit.hasInterrupts(exit) ? "the tunnel ended" : Cause.pretty(exit.cause) }
  return { how: error instanceof Refused ? "refused" : "reset", detail: error.message }
}

const sum = (all: Iterable<Carried>, of: (one: Carried) => number): number => {
  let total = 0
  for (const one of all) total += of(one)
  return total
}
