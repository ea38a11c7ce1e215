/**
 * One life of a session's link after the handshake, until something ends it; then the last word is said.
 */
import { Effect, Exit, Scope } from "effect"
import type * as ConnectionError from "../ConnectionError.ts"
import type * as Patience from "../Patience.ts"
import type { Opened } from "../Session.ts"
import type * as Watchdog from "../Watchdog.ts"
import type { Conversation } from "./conversation.ts"
import { sayLast } from "./ending.ts"
import { Life } from "./life.ts"
import { surroundings } from "./watching.ts"
import { violated, type Wire } from "./wire.ts"

export interface Options {
  readonly conversation: Conversation
  readonly wire: Wire
  readonly incarnation: number
  readonly opened: Opened
  readonly epoch: number
  readonly detectors: ReadonlyArray<Watchdog.Detector>
  readonly frame: Patience.Patience
  /** Run once, when the first bytes have arrived. */
  readonly onInput?: Effect.Effect<void> | undefined
  /** Called once, when it is decided that the link ends; the last word is yet to be said. */
  readonly onVerdict?: ((error: ConnectionError.ConnectionError) => void) | undefined
}

/** Runs until the link ends, with the reason. */
export const run = (options: Options): Effect.Effect<never, ConnectionError.ConnectionError, Scope.Scope> =>
  Effect.withSpan(live(options), "holdfast.incarnation", { captureStackTrace: false })

const live = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<never, ConnectionError.ConnectionError, Scope.Scope> {
  const { conversation, wire } = options
  const { peer } = conversation
  const dispatcher = yield* Effect.withFiber((fiber) => Effect.succeed(fiber.currentDispatcher))
  const life = new Life(options, yield* surroundings, (task) => dispatcher.scheduleTask(task, 0))
  yield* life.watchdog.listen
  const failed = wire.handTo(peer)
  if (failed !== undefined) {
    const error = violated(failed)
    life.decided(error)
    return yield* sayLast(wire, error, undefined, [], Effect.void)
  }
  if (conversation.exit !== undefined) return yield* conversation.failure()
  yield* Scope.addFinalizer(yield* Effect.scope, life.leave)
  life.attach()
  return yield* life.race.pipe(
    Effect.catchDefect((defect) => {
      conversation.finish(Exit.die(defect), { code: "Failed", epoch: 0, detail: "a defect on the other side" })
      return Effect.fail(conversation.failure())
    }),
    Effect.catch((error) => {
      life.decided(error)
      const { lastWord } = life
      const standing = lastWord?.code === "Fenced" ? [] : peer.positions()
      conversation.detach(life) // nothing of the next incarnation may reach this one
      return sayLast(wire, error, lastWord, standing, life.carrier.settled)
    })
  )
})
