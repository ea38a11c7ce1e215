/**
 * What session tests share: a definition of plain bytes, a client and a server over a network in memory, and HMACs that
 * need no promise, so that virtual time has nothing to wait for.
 */
import { Effect, Fiber, Layer, Queue, Stream } from "effect"
import type { Duration } from "effect"
import { Mac, SecureRandom } from "effect/crypto"
import * as TestClock from "effect/testing/TestClock"
import { Session } from "holdfast"
import { createHmac, randomBytes } from "node:crypto"
import type * as MemoryLink from "./MemoryLink.ts"

export class Plain extends Session.Service<Plain>()("test/Plain") {}

/** Proofs without promises. */
export const crypto: Layer.Layer<Mac.Mac | SecureRandom.SecureRandom> = Mac.layerWebCryptoWith({
  hmac: (_hash, key, data) => createHmac("sha256", key).update(data).digest()
}).pipe(Layer.provideMerge(Layer.sync(SecureRandom.SecureRandom, () => SecureRandom.make((size) => randomBytes(size)))))

/** Lets all fibers run that can run without time passing. */
export const settle: Effect.Effect<void> = Effect.yieldNow.pipe(Effect.repeat({ times: 60 }), Effect.asVoid)

/** Lets time pass while an effect runs: what waits for timers goes on, and nothing waits for ever. */
export const flowing = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  step: Duration.Input = "5 millis"
): Effect.Effect<A, E, R> => Effect.raceFirst(effect, Effect.forever(Effect.andThen(settle, TestClock.adjust(step))))

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
export const text = (message: Uint8Array): string => new TextDecoder().decode(message)

type ServerSession = Session.Session<Uint8Array, Uint8Array>

/** A server whose sessions come out of a queue; each handler lasts until its session ends. */
export const serve = Effect.fnUntraced(function* (
  network: MemoryLink.Network,
  options?: Session.ServerOptions<never, never>
) {
  const sessions = yield* Queue.unbounded<ServerSession>()
  const context = yield* Layer.build(
    Plain.serve((session) => Effect.andThen(Queue.offer(sessions, session), Effect.exit(session.join)), options).pipe(
      Layer.provide(network.serverLayer),
      Layer.provide(crypto)
    )
  )
  void context
  return { next: Queue.take(sessions) }
})

/** A client in the scope of the test. */
export const connect = (
  network: MemoryLink.Network,
  options?: Partial<Session.ClientOptions<Uint8Array, never, never, never>>
) => Effect.provide(Plain.make({ link: Effect.succeed(network.link), ...options }), crypto)

/** Everything that a session receives, as text, until it ends. */
export const collect = Effect.fnUntraced(function* (session: Session.Session<Uint8Array, Uint8Array>) {
  const received: Array<string> = []
  const fiber = yield* session.messages.pipe(
    Stream.runForEach((message) => Effect.sync(() => received.push(text(message)))),
    Effect.forkChild
  )
  return { received, join: Fiber.join(fiber) }
})
