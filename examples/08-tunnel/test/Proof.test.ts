import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Queue, Redacted } from "effect"
import * as Socket from "effect/socket/Socket"
import type * as SocketServer from "effect/socket/SocketServer"
import { TestClock } from "effect/testing"
import * as Proof from "../proof.ts"

const secretOf = (text: string) => Redacted.make(new TextEncoder().encode(text))
const right = secretOf("the secret of both ends")
const wrong = secretOf("another secret entirely")

/** Two ends of a link; what one writes the other pulls. */
const pair = Effect.gen(function* () {
  const [one, other] = [yield* Queue.unbounded<Uint8Array | string>(), yield* Queue.unbounded<Uint8Array | string>()]
  return [end(one, other), end(other, one)] as const
})

const end = (input: Queue.Queue<Uint8Array | string>, output: Queue.Queue<Uint8Array | string>) =>
  Socket.make({
    reader: Effect.succeed({ pull: Queue.takeAll(input), upgrade: () => Effect.die("not here") }),
    writer: Effect.succeed({
      write: (chunk) => (Socket.isCloseEvent(chunk) ? Effect.void : Effect.asVoid(Queue.offer(output, chunk))),
      writeAll: (chunks) => Effect.asVoid(Queue.offerAll(output, chunks))
    })
  })

/** A server with one link, which counts what it hands out and remembers what it refuses. */
const listening = Effect.fnUntraced(function* (link: Socket.Socket, secret = right) {
  const refused: Array<string> = []
  const handed = Deferred.makeUnsafe<ReadonlyArray<Uint8Array | string>>()
  const server: SocketServer.SocketServer["Service"] = {
    address: { _tag: "UnixPathAddress", path: "/memory" } as SocketServer.SocketServer["Service"]["address"],
    run: (handler) => Effect.andThen(Effect.ignore(handler(link)), Effect.never)
  }
  const proven = Proof.listening(server, {
    secret,
    onRefused: (_peer, reason) => Effect.sync(() => void refused.push(reason))
  })
  const running = yield* Effect.forkChild(
    proven.run((socket) =>
      Effect.scoped(
        Effect.gen(function* () {
          const { pull } = yield* socket.reader
          Deferred.doneUnsafe(handed, Exit.succeed(yield* pull))
        })
      )
    )
  )
  return { refused, handed, running }
})

/** Opens the dialling end and says hello. */
const dial = (link: Socket.Socket, secret = right) =>
  Effect.gen(function* () {
    const socket = Proof.dialling(link, secret)
    yield* socket.reader
    const writer = yield* socket.writer
    yield* writer.write("hello")
  })

describe("a link", () => {
  it.effect("goes on where the proof stopped, when both ends know the secret", () =>
    Effect.gen(function* () {
      const [near, far] = yield* pair
      const { handed, refused } = yield* listening(far)
      yield* dial(near)
      assert.deepStrictEqual(yield* Deferred.await(handed), ["hello"])
      assert.deepStrictEqual(refused, [])
    }).pipe(Effect.scoped)
  )

  it.effect("is refused at both ends when they do not know the same secret, and is never handed out", () =>
    Effect.gen(function* () {
      const [near, far] = yield* pair
      const { handed, refused } = yield* listening(far)
      const error = yield* Effect.flip(dial(near, wrong))
      assert.strictEqual(reasonOf(error), "the listening end says that our secret is not its own")
      assert.isFalse(Deferred.isDoneUnsafe(handed))
      assert.deepStrictEqual(refused, ["it does not know the secret"])
    }).pipe(Effect.scoped)
  )

  it.effect("is refused by the dialling end when the listening one only pretends", () =>
    Effect.gen(function* () {
      const [near, far] = yield* pair
      yield* Effect.forkChild(
        Effect.scoped(
          Effect.gen(function* () {
            const { pull } = yield* far.reader
            const { write } = yield* far.writer
            yield* write(new TextEncoder().encode(`holdfast-tunnel/1\n${"n".repeat(32)}`))
            const answer = Buffer.from((yield* pull)[0] as Uint8Array)
            // The proof of the dialling end is all it has; said back, it proves nothing.
            yield* write(Buffer.concat([Uint8Array.of(1), answer.subarray(-32)]))
            yield* pull
          })
        )
      )
      assert.strictEqual(reasonOf(yield* Effect.flip(dial(near))), "whoever listens there does not know the secret")
    }).pipe(Effect.scoped)
  )

  it.effect("is refused when something else answers", () =>
    Effect.gen(function* () {
      const [near, far] = yield* pair
      const { write } = yield* far.writer
      yield* far.reader
      yield* write(new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"))
      assert.strictEqual(
        reasonOf(yield* Effect.flip(dial(near))),
        "whoever answers there is not the listening end of a tunnel"
      )
    }).pipe(Effect.scoped)
  )

  it.effect("is cut after 5 s when no proof comes, and not a millisecond before", () =>
    Effect.gen(function* () {
      const [near, far] = yield* pair
      const { refused } = yield* listening(far)
      yield* near.reader
      yield* TestClock.adjust("4999 millis")
      assert.deepStrictEqual(refused, [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(refused, ["no proof in time, or too many at once"])
    }).pipe(Effect.scoped)
  )

  it.effect("is refused when the dialling end says more than its proof", () =>
    Effect.gen(function* () {
      const [near, far] = yield* pair
      const { refused, running } = yield* listening(far)
      yield* near.reader
      const { write } = yield* near.writer
      yield* write(new Uint8Array(5000))
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(refused, ["it says more than a proof"])
      yield* Fiber.interrupt(running)
    }).pipe(Effect.scoped)
  )

  it.effect("never carries the secret, and no two proofs are alike", () =>
    Effect.gen(function* () {
      const said: Array<Uint8Array> = []
      for (let n = 0; n < 2; n++) {
        const [near, far] = yield* pair
        const { handed } = yield* listening(far)
        yield* dial(overheard(near, said))
        yield* Deferred.await(handed)
      }
      assert.strictEqual(said.length, 4)
      const [first, , second] = said.map((bytes) => Buffer.from(bytes))
      assert.notDeepEqual(first, second)
      for (const bytes of said) assert.strictEqual(Buffer.from(bytes).indexOf(Redacted.value(right)), -1)
    }).pipe(Effect.scoped)
  )
})

/** Remembers what is written. */
const overheard = (socket: Socket.Socket, said: Array<Uint8Array>): Socket.Socket =>
  Socket.make({
    reader: socket.reader,
    writer: Effect.map(socket.writer, (writer) => ({
      ...writer,
      write: (chunk) => {
        said.push(typeof chunk === "string" ? new TextEncoder().encode(chunk) : (chunk as Uint8Array))
        return writer.write(chunk)
      }
    }))
  })

const reasonOf = (error: unknown): string => {
  assert.isTrue(Socket.isSocketError(error))
  const { reason } = error as Socket.SocketError
  const cause = "cause" in reason ? reason.cause : undefined
  assert.isTrue(cause instanceof Proof.ProofRefused && !cause.retryable)
  return (cause as Proof.ProofRefused).message
}
