/** Plays a row on a stage, which is a simulated network or two namespaces of a real kernel. */
import { Effect, type Scope } from "effect"
import type { Fault } from "@holdfast/testing"
import type * as Ends from "./Ends.ts"
import { type Outcome, outcomeOf, type Queues, type Row, type Seen } from "./Row.ts"

/** Where a row is played. Instants are milliseconds of the stage's own clock. */
export interface Stage {
  readonly now: () => number
  readonly facts: ReadonlyArray<Ends.Fact & { readonly at: number }>
  readonly startServer: Effect.Effect<void, never, Scope.Scope>
  readonly startClient: Effect.Effect<void, never, Scope.Scope>
  readonly inflict: (fault: Fault.Fault) => Effect.Effect<void>
  readonly heal: (fault: Fault.Fault) => Effect.Effect<void>
  readonly queues: () => Queues
}

export const play = Effect.fnUntraced(function* (
  row: Row,
  stage: Stage,
  /** Between two looks. */
  lookMillis: number
): Effect.fn.Return<Outcome, never, Scope.Scope> {
  const { before, timeline = [] } = row
  const first = (tag: Ends.Fact["_tag"]) =>
    Effect.sleep("5 millis").pipe(
      Effect.repeat({ until: () => stage.facts.some(({ _tag }) => _tag === tag) }),
      Effect.as(0)
    )
  yield* stage.startServer
  yield* first("Listening")
  if (before !== undefined) yield* stage.inflict(before.fault)
  yield* stage.startClient
  yield* first("Dialing")
  const dialedAt = stage.facts.find(({ _tag }) => _tag === "Dialing")?.at ?? 0
  const at = (millis: number) => Effect.suspend(() => Effect.sleep(Math.max(0, dialedAt + millis - stage.now())))

  const all = before === undefined ? timeline : [{ ...before, atMillis: undefined }, ...timeline]
  for (const { atMillis, fault, untilMillis } of all) {
    const begin = atMillis === undefined ? Effect.void : Effect.andThen(at(atMillis), stage.inflict(fault))
    const end = untilMillis === undefined ? Effect.void : Effect.andThen(at(untilMillis), stage.heal(fault))
    yield* Effect.forkScoped(Effect.andThen(begin, end))
  }
  const queues: Array<Queues & { readonly at: number }> = []
  const seen = (): Seen => ({ facts: stage.facts.map((fact) => ({ ...fact, at: fact.at - dialedAt })), queues })
  const { lastsMillis, queuesFromMillis = Infinity } = row
  for (let now = 0; now < lastsMillis && row.isOver?.(seen()) !== true;) {
    yield* Effect.sleep(lookMillis)
    now = stage.now() - dialedAt
    if (now >= queuesFromMillis) queues.push({ ...stage.queues(), at: now })
  }
  return outcomeOf(row, seen())
})
