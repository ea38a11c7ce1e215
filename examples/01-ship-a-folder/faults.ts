/**
 * Which harm is done, where, and for how long: a plan that follows from the seed alone.
 *
 * Places are distances in bytes and not in time, so that a fault always finds something under way to strike.
 */
import { Effect, Random } from "effect"

export const faultKinds = [
  /** both sides of the link are reset */
  "reset",
  /** both sides are closed in good order, and what was under way is never read */
  "closeWithoutReading",
  /** nothing from the sender arrives any more; nobody is told */
  "blackholeToServer",
  /** nothing from the receiver arrives any more; nobody is told */
  "blackholeToClient",
  /** nothing passes, and links dialled meanwhile are taken and never answered */
  "blackholeBoth",
  /** bytes for the receiver trickle, its heartbeats keep coming: slow, and not to be killed for it */
  "slowReader",
  /** the receiver's side is reset; the sender's stays open and is told nothing */
  "halfOpenAtSender",
  /** the sender's side is reset; the receiver's stays open and is told nothing */
  "halfOpenAtReceiver",
  /** the receiver's process is stopped, its kernel goes on accepting */
  "frozenReceiver"
] as const

export type FaultKind = (typeof faultKinds)[number]

export interface Fault {
  readonly kind: FaultKind
  /** How many bytes pass to the receiver, after the last fault was over, before this one strikes. */
  readonly afterBytes: number
  /** How long it goes on; 0 for what is over when it has struck. */
  readonly lastsMs: number
}

/** Does this kind end the incarnation that it strikes? */
export const isLethal = (kind: FaultKind): boolean => kind !== "slowReader"

/**
 * One pass of the plan: every kind once and three quick ones more, shuffled. A pass is enough for eleven incarnations.
 * The plan of a run is pass 0, pass 1, ... for as long as faults go on.
 */
export const planPass = (seed: number, pass: number, spacingBytes: number): Effect.Effect<ReadonlyArray<Fault>> =>
  Effect.gen(function* () {
    const more: ReadonlyArray<FaultKind> = ["reset", "closeWithoutReading", "reset"]
    const kinds = yield* Random.shuffle([...faultKinds, ...more])
    return yield* Effect.forEach(kinds, (kind) =>
      Effect.gen(function* () {
        const afterBytes = yield* Random.nextIntBetween(spacingBytes / 2, spacingBytes * 1.5)
        const [shortest, longest] = lasts[kind] ?? [0, 0]
        return { kind, afterBytes, lastsMs: yield* Random.nextIntBetween(shortest, longest) }
      })
    )
  }).pipe(Random.withSeed(`${seed}/${pass}`))

/** A small folder is struck closer together, or it would have to be shipped thousands of times. */
export const spacingBytesFor = (folderBytes: number): number =>
  Math.round(Math.min(250_000, Math.max(2_000, folderBytes / 60)))

const lasts: { readonly [Kind in FaultKind]?: readonly [number, number] } = {
  blackholeBoth: [1_000, 2_000],
  slowReader: [2_500, 3_500],
  frozenReceiver: [1_500, 2_500]
}
