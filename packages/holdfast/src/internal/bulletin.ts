/**
 * What is published about a session or a connection: its state, and what happened. Published, never read to decide.
 */
import { Clock, type Context, Effect, PubSub, Stream } from "effect"
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

/** Told of every event, with what is around it. A plain call: it must not wait and must not throw. */
export type Listener<H> = (event: Dated<H>, context: Context.Context<never>) => void

/** Ends with a state and an event whose tag is `Closed`. */
export interface Bulletin<S extends Tagged = State, H extends Tagged = Happening> {
  /** Publishes a state. */
  readonly state: (state: S) => void
  /** Publishes an event. */
  readonly event: (happening: H) => void
  /** Calls with every event, at once. There is one listener. */
  readonly listen: (listener: Listener<H>, context: Context.Context<never>) => void
  readonly current: () => S
  readonly changes: Stream.Stream<S>
  readonly events: Stream.Stream<Dated<H>>
}

interface Numbered<E> {
  readonly number: number
  readonly event: E
}

/** What streams need is made when somebody asks for one: of most sessions nobody does. */
class Board<S extends Tagged, H extends Tagged> implements Bulletin<S, H> {
  private readonly clock: Clock.Clock
  private present: S
  private states: PubSub.PubSub<S> | undefined
  private happened: PubSub.PubSub<Numbered<Dated<H>>> | undefined
  private listener: Listener<H> | undefined
  private context: Context.Context<never> | undefined
  private number = 0

  constructor(clock: Clock.Clock, initial: S) {
    this.clock = clock
    this.present = initial
  }

  state(state: S): void {
    this.present = state
    if (this.states !== undefined) Effect.runSync(PubSub.publish(this.states, state))
  }

  event(happening: H): void {
    const event: Dated<H> = { ...happening, at: this.clock.currentTimeMillisUnsafe() }
    const number = this.number++
    if (this.happened !== undefined) Effect.runSync(PubSub.publish(this.happened, { number, event }))
    this.listener?.(event, this.context!)
  }

  listen(listener: Listener<H>, context: Context.Context<never>): void {
    this.listener = listener
    this.context = context
  }

  current(): S {
    return this.present
  }

  get changes(): Stream.Stream<S> {
    return Stream.unwrap(
      Effect.sync(() => {
        if (this.states === undefined) {
          this.states = Effect.runSync(PubSub.sliding<S>({ capacity: 1, replay: 1 }))
          Effect.runSync(PubSub.publish(this.states, this.present))
        }
        return Stream.takeUntil(Stream.fromPubSub(this.states), ({ _tag }) => _tag === "Closed")
      })
    )
  }

  /** A subscriber that was too slow sees a gap in the numbers, and is told how many events it missed. */
  get events(): Stream.Stream<Dated<H>> {
    const subscribed = Effect.suspend(() => {
      this.happened ??= Effect.runSync(PubSub.sliding<Numbered<Dated<H>>>(eventsMax))
      return PubSub.subscribe(this.happened)
    })
    return Stream.unwrap(
      Effect.map(subscribed, (subscription) => {
        if (this.present._tag === "Closed") return Stream.empty
        let next = this.number
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
}

export const make = <S extends Tagged = State, H extends Tagged = Happening>(
  initial: NoInfer<S>
): Effect.Effect<Bulletin<S, H>> => Clock.clockWith((clock) => Effect.succeed(new Board<S, H>(clock, initial)))
