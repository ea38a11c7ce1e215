// What a busy connection reads lies in memory that is read into again, and so does what a session keeps for sending again. Here
// consumers take their time with it, and every byte is looked at.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schedule, Stream } from "effect"
import * as SocketServer from "effect/socket/SocketServer"
import { type Link, Session } from "holdfast"
import { kinds } from "./Links.ts"

class Kept extends Session.Service<Kept>()("test/Lends") {}
class Borrowed extends Session.Service<Borrowed>()("test/Lends", { borrow: true }) {}

const policy = { reconnect: Schedule.spaced("20 millis"), close: "20 seconds" } as const

/** Of any size around those of the memory that serves again; each byte tells the message and the place. */
const sizes = [10, 64, 700, 1024, 5000, 40_000, 65_536, 131_073, 300_000]
const messageOf = (number: number): Uint8Array =>
  new Uint8Array(sizes[number % sizes.length]!).map((_, i) => number * 31 + i * 7 + (i >> 8))
const messages = Array.from({ length: 450 }, (_, number) => messageOf(number))

const isWhole = (bytes: Uint8Array, number: number): boolean => Buffer.compare(bytes, messages[number]!) === 0

/** Some turns of the event loop, sometimes more time. */
const dawdle = (number: number) =>
  Effect.andThen(
    Effect.replicateEffect(Effect.yieldNow, number % 40, { discard: true }),
    number % 7 === 0 ? Effect.sleep("2 millis") : Effect.void
  )

const consumers = {
  "by batches that are kept": Effect.fnUntraced(function* (session: Session.Session<Uint8Array, Uint8Array>) {
    const kept: Array<Uint8Array> = []
    yield* Stream.runForEachArray(session.messages, (batch) => {
      for (const message of batch) kept.push(message)
      return dawdle(kept.length)
    })
    return kept.map(isWhole)
  }),
  "by batches that are borrowed": Effect.fnUntraced(function* (session: Session.Session<Uint8Array, Uint8Array>) {
    const seen: Array<boolean> = []
    yield* Stream.runForEachArray(session.messages, (batch) =>
      Effect.andThen(
        dawdle(seen.length),
        Effect.sync(() => {
          for (const message of batch) seen.push(isWhole(message, seen.length))
        })
      )
    )
    return seen
  }),
  "one by one, borrowed until each is handled": Effect.fnUntraced(function* (
    session: Session.Session<Uint8Array, Uint8Array>
  ) {
    const seen: Array<boolean> = []
    yield* session.handle((message) =>
      Effect.andThen(
        dawdle(seen.length),
        Effect.sync(() => seen.push(isWhole(message, seen.length)))
      )
    )
    return seen
  })
}

describe("messages that lie in memory which serves again are what was sent", () => {
  const tcp = kinds.find(({ name }) => name === "TCP")!
  for (const [name, consume] of Object.entries(consumers)) {
    it.live(`${name}, also across a cut`, () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { link, server } = yield* tcp.stage
          const { make, serve } = name.endsWith("kept") ? Kept : Borrowed
          let seen: ReadonlyArray<boolean> = []
          yield* Layer.build(
            serve((session) => Effect.map(consume(session), (all) => void (seen = all)), { policy }).pipe(
              Layer.provide(Layer.succeed(SocketServer.SocketServer, server))
            )
          )
          const links: Array<Link.Link> = []
          const client = yield* make({
            link: Effect.tap(link, (made) => Effect.sync(() => links.push(made))),
            policy
          })
          for (let from = 0; from < messages.length; from += 9) {
            yield* client.sendAll(messages.slice(from, from + 9))
            if (from === 225) yield* links.at(-1)!.destroy!
          }
          yield* client.close
          assert.strictEqual(seen.length, messages.length)
          assert.deepStrictEqual(
            seen.flatMap((whole, number) => (whole ? [] : [number])),
            []
          )
          assert.isAbove(links.length, 1)
        })
      )
    )
  }
})
