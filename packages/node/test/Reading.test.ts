import { NodeLink, NodeListener } from "@holdfast/node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, type Scope } from "effect"
import type * as Socket from "effect/socket/Socket"
import type { Link } from "holdfast"
import { mkdtempSync } from "node:fs"
import * as Net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Plain from "./Plain.ts"

/** A link that reads, and the plain socket that writes to it. */
interface Pair {
  readonly reader: Link.Reader
  readonly writer: Net.Socket
}

const dialled = (listen: typeof Plain.listenTcp, dial: (port: number) => Effect.Effect<NodeLink.NodeLink>) =>
  Effect.gen(function* () {
    const peer = yield* listen
    const reader: Link.Reader = yield* (yield* dial(peer.port)).reader
    yield* Plain.until(() => peer.connections.length === 1)
    return { reader, writer: peer.connections[0]!.socket }
  })

const accepted = Effect.gen(function* () {
  const server = yield* NodeListener.makeTcp({ port: 0 })
  const reading = Deferred.makeUnsafe<Link.Reader>()
  const handler = server.run((socket) =>
    Effect.andThen(
      Effect.tap(socket.reader, (reader) => Deferred.succeed(reading, reader)),
      Effect.never
    )
  )
  yield* Effect.forkScoped(handler)
  const { socket } = yield* Plain.connect(Plain.portOf(server))
  return { reader: yield* Deferred.await(reading), writer: socket }
})

const unix = Effect.gen(function* () {
  const path = join(mkdtempSync(join(tmpdir(), "holdfast-")), "link")
  const connected = Deferred.makeUnsafe<Net.Socket>()
  yield* Effect.acquireRelease(
    Effect.callback<Net.Server>((resume) => {
      const server = Net.createServer((socket) =>
        Deferred.doneUnsafe(connected, Exit.succeed(Plain.watch(socket).socket))
      )
      server.listen(path, () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  )
  const reader: Link.Reader = yield* (yield* NodeLink.unix({ path })).reader
  return { reader, writer: yield* Deferred.await(connected) }
})

const tcp = (port: number) => NodeLink.tcp({ host: "127.0.0.1", port })
const tls = (port: number) => NodeLink.tls({ host: "127.0.0.1", port, ca: Plain.identity.cert })

const pairs: Record<string, Effect.Effect<Pair, unknown, Scope.Scope>> = {
  "a TCP link that dialled": dialled(Plain.listenTcp, tcp),
  "a TCP link that was accepted": accepted,
  "a TLS link": dialled(Plain.listenTls, tls),
  "a unix link": unix
}

const valueAt = (position: number): number => (position * 31 + (position >> 9)) & 0xff

const pattern = (from: number, length: number) => Uint8Array.from({ length }, (_, i) => valueAt(from + i))

const total = 3_000_000

/** Writes that many bytes in pieces of many sizes, and ends. */
const writeAll = Effect.fnUntraced(function* (writer: Net.Socket) {
  for (let at = 0, n = 1; at < total; n = (n * 7 + 3) % 200_000) {
    const length = Math.min(n, total - at)
    writer.write(pattern(at, length))
    at += length
    if (n % 3 === 0) yield* Effect.yieldNow
    if (writer.writableNeedDrain) yield* Plain.until(() => !writer.writableNeedDrain)
  }
  writer.end()
})

const checker = () => {
  let position = 0
  return {
    position: () => position,
    check: (bytes: Uint8Array | string) => {
      for (const byte of bytes as Uint8Array) {
        if (byte !== valueAt(position++)) assert.fail(`byte ${position - 1} is ${byte}`)
      }
    }
  }
}

describe("reading", () => {
  for (const [name, pair] of Object.entries(pairs)) {
    it.live(`gives ${name} every byte once and in order, borrowed or not, also when a pull is interrupted`, () =>
      Effect.gen(function* () {
        const { reader, writer } = yield* pair
        yield* Effect.forkScoped(writeAll(writer))
        const { check, position } = checker()
        for (let n = 0; position() < total; n++) {
          if (n % 11 === 0) {
            const pulling = yield* Effect.forkChild(reader.borrow, { startImmediately: true })
            yield* Fiber.interrupt(pulling)
            const exit = yield* Fiber.await(pulling)
            if (Exit.isSuccess(exit)) check(exit.value[0])
          }
          if (n % 7 === 0) yield* Effect.sleep(1)
          const [bytes] = yield* n % 2 === 0 ? reader.pull : reader.borrow!
          if (n % 5 === 0) yield* Effect.yieldNow // a borrowed batch stays as it is until the next pull
          check(bytes)
        }
        assert.strictEqual(position(), total)
        const { reason } = yield* Effect.flip(reader.pull)
        assert.isTrue(reason._tag === "SocketCloseError" && reason.code === 1000)
      }).pipe(Effect.scoped)
    )

    it.live(`hands over to a subscriber of ${name} every byte once and in order, also one that pauses or leaves`, () =>
      Effect.gen(function* () {
        const { reader, writer } = yield* pair
        const { check, position } = checker()
        let ended: Socket.SocketError | undefined
        let batches = 0
        let cancelled = 0
        let held: Uint8Array | undefined
        let subscription: Link.Subscription
        const subscriber: Link.Subscriber<Socket.SocketError> = {
          received: ([bytes]) => {
            assert.isUndefined(ended)
            assert.isUndefined(held)
            const n = batches++
            if (n % 5 === 3) {
              held = bytes // it stays as it is until it reads on
              setTimeout(() => {
                check(held!)
                held = undefined
                subscription.readOn()
              }, n % 2)
              return false
            }
            check(bytes)
            if (n % 4 !== 1) return true
            cancelled++
            subscription.cancel()
            Effect.runFork(pulling)
            return false
          },
          ended: (error) => {
            ended = error
          }
        }
        /** Pulls once, and then subscribes again. */
        const pulling = Effect.match(reader.pull, {
          onFailure: (error) => {
            ended = error
          },
          onSuccess: ([bytes]) => {
            check(bytes)
            subscription = reader.subscribe!(subscriber)
            subscription.readOn()
          }
        })
        subscription = reader.subscribe!(subscriber)
        yield* Effect.forkScoped(writeAll(writer))
        yield* Effect.sleep(5)
        assert.strictEqual(batches, 0) // before it is told to begin
        subscription.readOn()
        yield* Plain.until(() => ended !== undefined)
        assert.strictEqual(position(), total)
        assert.isAbove(cancelled, 0)
        const reason = ended?.reason
        assert.isTrue(reason?._tag === "SocketCloseError" && reason.code === 1000)
      }).pipe(Effect.scoped)
    )
  }

  for (const name of ["a TCP link that dialled", "a TCP link that was accepted", "a unix link"]) {
    it.live(`lends ${name} the same memory again while it is busy, and only what is pulled can be kept`, () =>
      Effect.gen(function* () {
        const { reader, writer } = yield* pairs[name]!
        const length = 16_000_000
        writer.write(new Uint8Array(length * 2))
        const lent = new Set<ArrayBufferLike>()
        let reads = 0
        for (let at = 0; at < length; reads++) {
          const [bytes] = yield* reader.borrow!
          lent.add(bytes.buffer)
          at += bytes.length
        }
        assert.isAbove(reads, 20)
        assert.isAtMost(lent.size, reads / 4)
        const [stays] = yield* reader.borrow!
        reader.keep!()
        const [other] = yield* reader.borrow!
        assert.notStrictEqual(stays.buffer, other.buffer)
        const kept: Array<Uint8Array> = []
        const [first] = yield* reader.pull
        for (let more = 0; more < 500_000; more += kept.at(-1)!.length) kept.push((yield* reader.pull)[0] as Uint8Array)
        assert.strictEqual(new Set(kept.map(({ buffer }) => buffer)).size, kept.length)
        assert.isFalse(lent.has((first as Uint8Array).buffer))
      }).pipe(Effect.scoped)
    )

    it.live(`gives ${name} memory of its own for the little that it reads while it is not busy`, () =>
      Effect.gen(function* () {
        const { reader, writer } = yield* pairs[name]!
        const first = yield* exchange(reader, writer, "hello")
        const second = yield* exchange(reader, writer, "again")
        assert.deepStrictEqual([text(first), text(second)], ["hello", "again"])
      }).pipe(Effect.scoped)
    )
  }

  it.live("reads nothing that nobody asks for: the peer is held back by its kernel", () =>
    Effect.gen(function* () {
      const { reader, writer } = yield* pairs["a TCP link that was accepted"]!
      yield* exchange(reader, writer, "hello")
      const chunk = new Uint8Array(1_000_000)
      for (let i = 0; i < 40; i++) writer.write(chunk)
      yield* Effect.sleep(300)
      assert.isAbove(writer.writableLength, 10_000_000)
      for (let rest = 40_000_000; rest > 0;) rest -= (yield* reader.borrow!)[0].length
      assert.strictEqual(writer.writableLength, 0)
    }).pipe(Effect.scoped)
  )

  it.live("tells a subscriber that has paused of a reset when it reads on, and not before", () =>
    Effect.gen(function* () {
      const { reader, writer } = yield* pairs["a TCP link that was accepted"]!
      let received = 0
      let ended: Socket.SocketError | undefined
      const subscription = reader.subscribe!({
        received: () => {
          received++
          return false
        },
        ended: (error) => {
          ended = error
        }
      })
      subscription.readOn()
      writer.write("hello")
      yield* Plain.until(() => received === 1)
      writer.resetAndDestroy()
      yield* Effect.sleep(50)
      assert.isUndefined(ended)
      subscription.readOn()
      yield* Plain.until(() => ended !== undefined)
      assert.strictEqual(received, 1)
    }).pipe(Effect.scoped)
  )
})

const exchange = (reader: Link.Reader, writer: Net.Socket, message: string) =>
  Effect.suspend(() => {
    writer.write(message)
    return Effect.map(reader.borrow!, ([bytes]) => bytes)
  })

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
