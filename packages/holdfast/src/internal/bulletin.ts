/**
 * What is published about a session or a connection: its state, and what happened. Published, never read to decide.
 */
import { Clock, Effect, PubSub, Stream } from "effect"
import type { Happening, State } from "../Session.ts"

/** How many events a slow subscriber may be behind before it loses the oldest. */
const eventsMax = 256

interface Tagged {
  readonly _tag: string
}

/** A subscriber was too slow for so many events. */
export interface Dropped {
  readonly _tag: "Dropped"
  readonly count: number
}

/** A fact and when it was, in wall time (milliseconds). */
export type Dated<H> = (H | Dropped) & { readonly at: number }

/** Ends with a state and an event whose tag is `Closed`. */
export interface Bulletin<S extends Tagged = State, H extends Tagged = Happening> {
  /** Publishes a state. */
  readonly state: (state: S) => void
  /** Publishes an event. */
  readonly event: (happening: H) => void
  readonly current: () => S
  readonly changes: Stream.Stream<S>
  readonly events: Stream.Stream<Dated<H>>
}

export const make = Effect.fnUntraced(function* <S extends Tagged = State, H extends Tagged = Happening>(
  initial: NoInfer<S>
) {
  const clock = yield* Clock.Clock
  const states = yield* PubSub.sliding<S>({ capacity: 1, replay: 1 })
  const happened = yield* PubSub.sliding<{ readonly number: number; readonly event: Dated<H> }>(eventsMax)
  let current: S = initial
  let number = 0
  Effect.runSync(PubSub.publish(states, initial))

  const bulletin: Bulletin<S, H> = {
    state: (state) => {
      current = state
      Effect.runSync(PubSub.publish(states, state))
    },
    event: (happening) => {
      const event: Dated<H> = { ...happening, at: clock.currentTimeMillisUnsafe() }
      Effect.runSync(PubSub.publish(happened, { number: number++, event }))
    },
    current: () => current,
    changes: Stream.takeUntil(Stream.fromPubSub(states), ({ _tag }) => _tag === "Closed"),
    // A subscriber that was too slow sees a gap in the numbers, and is told how many events it missed.
    events: Stream.unwrap(
      Effect.map(PubSub.subscribe(happened), (subscription) => {
        if (current._tag === "Closed") return Stream.empty
        let next = number
        return Stream.fromSubscription(subscription).pipe(
          Stream.mapArray((batch) => {
            const out: Array<Dated<H>> = []
            for (const { event, number } of batch) {
              if (number > next) out.push({ _tag: "Dropped", count: number - next, at: event.at })
              next = number + 1
              out.push(event)
            }
            return out as [Dated<H>, ...Array<Dated<H>>]
          }),
          Stream.takeUntil(({ _tag }) => _tag === "Closed")
        )
      })
    )
  }
  return bulletin
})
