// A receiver and a sender in processes of their own, and what must be true of every conversation between them.
import { assert } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { type Child, spawn } from "./Child.ts"
import type { Namespace } from "./Namespace.ts"
import type * as Receiver from "./roles/receiver.ts"
import type * as Sender from "./roles/sender.ts"

export interface Conversation {
  readonly receiver: Child<Receiver.Fact>
  readonly sender: Child<Sender.Fact>
  readonly port: number
}

/** Where the two run; without it both run here, over loopback. */
export interface Places {
  readonly receiver: Namespace
  readonly sender: Namespace
}

export const start = Effect.fnUntraced(function* (options: {
  readonly sends: Omit<Sender.Argument, "host" | "port">
  readonly takeMillis?: number | undefined
  readonly places?: Places | undefined
}): Effect.fn.Return<Conversation, never, Scope.Scope> {
  const { places, sends, takeMillis } = options
  const host = places?.receiver.address ?? "127.0.0.1"
  const receiver = yield* listen({ host, port: 0, takeMillis }, places?.receiver)
  const { port } = yield* receiver.fact("Listening")
  const sender = yield* spawn<Sender.Fact>("sender", { ...sends, host, port } satisfies Sender.Argument, places?.sender)
  return { receiver, sender, port }
})

export const listen = (argument: Receiver.Argument, inside?: Namespace | undefined) =>
  spawn<Receiver.Fact>("receiver", argument, inside)

/** Waits until the receiver's application has taken the number. */
export const taken = ({ receiver }: Conversation, n: number) => receiver.fact("Taken", (fact) => fact.n === n)

/** Waits until the sender was told that everything was taken, and checks that it was: each number once, in order. */
export const complete = Effect.fnUntraced(function* ({ receiver, sender }: Conversation, count: number) {
  yield* flushed(sender, receiver, count - 1)
  assert.deepStrictEqual(
    numbersTaken(receiver),
    Array.from({ length: count }, (_, n) => n)
  )
})

/**
 * Waits until the sender was told that everything was taken, and checks that this one was taken before. What two processes
 * report is read in any order, so only their clock tells which came first.
 */
export const flushed = Effect.fnUntraced(function* (
  sender: Child<Sender.Fact>,
  receiver: Child<Receiver.Fact>,
  last: number
) {
  const failed = Effect.flatMap(sender.fact("Failed"), ({ message }) => Effect.die(new Error(message)))
  const { at } = yield* Effect.raceFirst(sender.fact("Flushed"), failed)
  const taken = yield* Effect.timeout(
    receiver.fact("Taken", ({ n }) => n === last),
    "10 seconds"
  )
  assert.isAtMost(taken.at, at)
})

export const numbersTaken = ({ facts }: Child<Receiver.Fact>): ReadonlyArray<number> =>
  facts.flatMap((fact) => (fact._tag === "Taken" ? [fact.n] : []))

export const openings = ({ facts }: Child<Sender.Fact>): ReadonlyArray<string> =>
  facts.flatMap((fact) => (fact._tag === "Opened" ? [fact.opened] : []))

/** Waits for the end of the incarnation that was up at `since`. */
export const verdict = ({ sender }: Conversation, since: number) => sender.fact("Ended", ({ at }) => at >= since)

/** Checks that a dead peer was noticed within the bound, by a detector and not by luck. */
export const noticedInTime = (since: number, at: number, withinMillis: number): void => {
  assert.isAtMost(at - since, withinMillis)
  // Half of the patience: whoever gives up sooner has not waited for the answer to its question.
  assert.isAtLeast(at - since, 500)
}
