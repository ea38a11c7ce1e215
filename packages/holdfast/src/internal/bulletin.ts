/**
 * What is published about a session: its state, and what happened. Published, never read to decide.
 */
import { Clock, Effect, PubSub, Stream } from "effect"
import type { Happening, SessionEvent, State } from "../Session.ts"

/** How many events a slow subscriber may be behind before it loses the oldest. */
const eventsMax = 256

export interface Bulletin {
  /** Publishes a state. */
  readonly state: (state: State) => void
  /** Publishes an event. */
  readonly event: (happening: Happening) => void
  readonly current: () => State
  readonly changes: Stream.Stream<State>
  readonly events: Stream.Stream<SessionEvent>
}

export const make = Effect.fnUntraced(function*(initial: State) {
  const clock = yield* Clock.Clock
  const states = yield* PubSub.sliding<State>({ capacity: 1, replay: 1 })
  const happened = yield* PubSub.sliding<{ readonly number: number; readonly event: SessionEvent }>(eventsMax)
  let current = initial
  let number = 0
  Effect.runSync(PubSub.publish(states, initial))

  const bulletin: Bulletin = {
    state: (state) => {
      current = state
      Effect.runSync(PubSub.publish(states, state))
    },
    event: (happening) => {
      const event: SessionEvent = { ...happening, at: clock.currentTimeMillisUnsafe() }
      Effect.runSync(PubSub.publish(happened, { number: number++, event }))
    },
    current: () => current,
    changes: Stream.takeUntil(Stream.fromPubSub(states), ({ _tag }) => _tag === "Closed"),
    // A subscriber that was too slow sees a gap in the numbers, and is told how many events it missed.
    events: Stream.unwrap(Effect.map(PubSub.subscribe(happened), (subscription) => {
      if (current._tag === "Closed") return Stream.empty
      let next = number
      return Stream.fromSubscription(subscription).pipe(
        Stream.mapArray((batch) => {
          const out: Array<SessionEvent> = []
          for (const { event, number } of batch) {
            if (number > next) out.push({ _tag: "Dropped", count: number - next, at: event.at })
            next = number + 1
            out.push(event)
          }
          return out as [SessionEvent, ...Array<SessionEvent>]
        }),
        Stream.takeUntil(({ _tag }) => _tag === "Closed")
      )
    }))
  }
  return bulletin
})
