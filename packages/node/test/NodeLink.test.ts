import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import type * as Socket from "effect/socket/Socket"
import { mkdtempSync } from "node:fs"
import * as Net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { isDeepStrictEqual } from "node:util"
import { NodeLink, type Plaintext } from "@holdfast/node"
import * as Plain from "./Plain.ts"
import * as Relay from "./Relay.ts"

const chunk = Plain.chunk

const refusal = (link: Effect.Effect<NodeLink.NodeLink>) =>
  link.pipe(
    Effect.flatMap((link) => link.reader),
    Effect.scoped,
    Effect.flip,
    Effect.map(({ reason }) => (reason as Socket.SocketOpenError).cause as Plaintext.PlaintextRefused)
  )

/** A name service in which every name leads to these addresses. */
const names =
  (...addresses: ReadonlyArray<string>): Net.LookupFunction =>
  (_host, _options, callback) =>
    callback(
      null,
      addresses.map((address) => ({ address, family: Net.isIP(address) }))
    )

describe("destroy", () => {
  for (const [name, listen, dial] of [
    ["TCP", Plain.listenTcp, (port: number) => NodeLink.tcp({ host: "127.0.0.1", port })],
    ["TLS", Plain.listenTls, (port: number) => NodeLink.tls({ host: "127.0.0.1", port, ca: Plain.identity.cert })]
  ] as const) {
    it.live(`resets ${name} at once although 10 MB are queued to a peer that does not read`, () =>
      Effect.gen(function* () {
        const peer = yield* listen
        const link = yield* dial(peer.port)
        yield* link.reader
        const writtenBytes = yield* Plain.fill(link)
        const { queuedBytes } = link.progress()
        assert.isAtLeast(queuedBytes, 10_000_000)
        yield* link.destroy
        const seen = peer.connections[0]!
        seen.socket.resume()
        yield* Plain.until(() => seen.ended !== undefined)
        assert.include(Plain.reset, seen.ended)
        assert.isAtMost(seen.receivedBytes, writtenBytes - queuedBytes + chunk.length)
      })
    )
  }

  it.live("leaves no handle behind in the very turn in which the writer was released", () =>
    Effect.gen(function* () {
      const peer = yield* Plain.listenTcp
      const sockets = () => process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length
      const before = sockets()
      const link = yield* NodeLink.tcp({ port: peer.port })
      const scope = yield* Scope.make()
      yield* Scope.provide(link.reader, scope)
      const writing = yield* Scope.make()
      const { write } = yield* Scope.provide(link.writer, writing)
      yield* write(chunk.subarray(0, 100))
      yield* Scope.close(writing, Exit.void) // the FIN is on its way
      yield* link.destroy
      yield* Scope.close(scope, Exit.void)
      yield* Plain.until(() => peer.connections.length === 1)
      peer.connections[0]!.socket.resume()
      yield* Plain.until(() => peer.connections[0]!.ended !== undefined && sockets() <= before)
    })
  )

  it.live("settles a write that waits for room, and the pull", () =>
    Effect.gen(function* () {
      const peer = yield* Plain.listenTcp
      const link = yield* NodeLink.tcp({ port: peer.port })
      const { pull } = yield* link.reader
      const { write } = yield* link.writer
      const pulling = yield* Effect.forkChild(Effect.flip(pull))
      const writing = yield* Effect.forkChild(Effect.flip(Effect.forever(write(chunk))))
      yield* Plain.until(() => link.progress().queuedBytes > 0)
      yield* link.destroy
      assert.strictEqual((yield* Fiber.join(writing)).reason._tag, "SocketWriteError")
      assert.strictEqual((yield* Fiber.join(pulling)).reason._tag, "SocketCloseError")
    })
  )

  it.live("ends a dial whose TLS handshake is not answered", () =>
    Effect.gen(function* () {
      const peer = yield* Plain.listenTcp
      const link = yield* NodeLink.tls({ host: "127.0.0.1", port: peer.port })
      const dialling = yield* Effect.forkChild(Effect.flip(Effect.scoped(link.reader)))
      yield* Plain.until(() => peer.connections.length === 1)
      yield* link.destroy
      assert.strictEqual((yield* Fiber.join(dialling)).reason._tag, "SocketOpenError")
    })
  )

  it.live("before the dial does nothing", () =>
    Effect.gen(function* () {
      const link = yield* NodeLink.tcp({ port: 9 })
      yield* link.destroy
      assert.deepStrictEqual(link.progress(), { source: "node", queuedBytes: 0 })
    })
  )
})

describe("the reader's scope", () => {
  it.live("fails a suspended pull when it closes, and the descriptor is closed afterwards", () =>
    Effect.gen(function* () {
      const peer = yield* Plain.listenTcp
      const link = yield* NodeLink.tcp({ port: peer.port })
      const scope = yield* Scope.make()
      const { pull } = yield* Scope.provide(link.reader, scope)
      const pulling = yield* Effect.forkChild(Effect.flip(pull), { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      const { reason } = yield* Fiber.join(pulling)
      assert.isTrue(reason._tag === "SocketCloseError" && reason.code === 1006)
      const seen = peer.connections[0]!
      seen.socket.resume()
      yield* Plain.until(() => seen.ended !== undefined)
      assert.strictEqual(seen.ended, "end")
    })
  )

  it.live("hands over everything that was written before it closes", () =>
    Effect.gen(function* () {
      const peer = yield* Plain.listenTcp
      yield* Effect.scoped(
        Effect.gen(function* () {
          const link = yield* NodeLink.tcp({ port: peer.port })
          yield* link.reader
          const { writeAll } = yield* link.writer
          yield* Plain.until(() => peer.connections.length === 1)
          peer.connections[0]!.socket.resume()
          yield* writeAll([chunk, chunk, chunk, chunk])
        })
      )
      yield* Plain.until(() => peer.connections[0]!.ended !== undefined)
      const { ended, receivedBytes } = peer.connections[0]!
      assert.deepStrictEqual([ended, receivedBytes], ["end", 4 * chunk.length])
    })
  )

  it.live("resets a peer that does not take what was written within a second", () =>
    Effect.gen(function* () {
      const peer = yield* Plain.listenTcp
      yield* Effect.scoped(
        Effect.gen(function* () {
          const link = yield* NodeLink.tcp({ port: peer.port })
          yield* link.reader
          yield* Plain.fill(link)
        })
      )
      const seen = peer.connections[0]!
      seen.socket.resume()
      yield* Plain.until(() => seen.ended !== undefined)
      assert.include(Plain.reset, seen.ended)
    })
  )

  it.live("closes a connection whose dial was interrupted", () =>
    Effect.gen(function* () {
      const peer = yield* Plain.listenTcp
      const link = yield* NodeLink.tls({ host: "127.0.0.1", port: peer.port })
      const dialling = yield* Effect.forkChild(Effect.scoped(link.reader))
      yield* Plain.until(() => peer.connections.length === 1)
      yield* Fiber.interrupt(dialling)
      peer.connections[0]!.socket.resume()
      yield* Plain.until(() => peer.connections[0]!.ended !== undefined)
    })
  )

  it.live("may be acquired again after it has closed: a dial that is interrupted then is closed as well", () =>
    Effect.gen(function* () {
      const peer = yield* Plain.listenTls
      const relay = yield* Relay.listen({ port: 0, host: "127.0.0.1" }, { port: peer.port, host: "127.0.0.1" })
      const link = yield* NodeLink.tls({ host: "127.0.0.1", port: relay.port, ca: Plain.identity.cert })
      yield* Effect.scoped(link.reader)
      yield* Plain.until(() => relay.open() === 0)
      relay.ignore(1)
      const again = yield* Effect.forkChild(Effect.scoped(link.reader))
      yield* Plain.until(() => relay.dials() === 2)
      yield* Fiber.interrupt(again)
      yield* Plain.until(() => relay.open() === 0)
    })
  )

  it.live("leaves neither descriptor nor listener after 1,000 dials, half of them destroyed", () =>
    Effect.gen(function* () {
      const peer = yield* Plain.listenTcp
      peer.server.on("connection", (socket) => socket.resume())
      const dial = Effect.fnUntraced(function* (n: number) {
        const link = yield* NodeLink.tcp({ port: peer.port })
        yield* link.reader
        const { write } = yield* link.writer
        yield* write("hello")
        if (n % 2 === 0) yield* link.destroy
      }, Effect.scoped)
      const count = (kind: string) => process.getActiveResourcesInfo().filter((active) => active === kind).length
      const held = () => ({
        sockets: count("TCPSocketWrap"),
        dials: count("TCPConnectWrap"),
        listeners: process.eventNames().reduce((sum, event) => sum + process.listenerCount(event), 0)
      })
      yield* dial(0)
      yield* Plain.until(() => peer.connections.every(({ socket }) => socket.closed))
      const before = held()
      const timersBefore = count("Timeout")
      yield* Effect.forEach(
        Array.from({ length: 1000 }, (_, n) => n),
        dial,
        { concurrency: 10, discard: true }
      )
      yield* Plain.until(
        () => peer.connections.length === 1001 && peer.connections.every(({ socket }) => socket.closed)
      )
      yield* Plain.until(() => isDeepStrictEqual(held(), before) && count("Timeout") <= timersBefore)
      assert.deepStrictEqual(held(), before)
    })
  )
})

describe("what a link tells", () => {
  it.live("names the peer once the connection is up", () =>
    Effect.gen(function* () {
      const peer = yield* Plain.listenTcp
      const link = yield* NodeLink.tcp({ host: "::ffff:127.0.0.1", port: peer.port })
      assert.isUndefined(link.peer)
      yield* link.reader
      assert.strictEqual(link.peer, "127.0.0.1")
    })
  )

  it.live("queues nothing while the peer reads", () =>
    Effect.gen(function* () {
      const peer = yield* Plain.listenTcp
      const link = yield* NodeLink.tcp({ port: peer.port })
      yield* link.reader
      const { write } = yield* link.writer
      yield* Plain.until(() => peer.connections.length === 1)
      peer.connections[0]!.socket.resume()
      yield* Effect.repeat(write(chunk), { times: 99 })
      yield* Plain.until(() => peer.connections[0]!.receivedBytes === 100 * chunk.length)
      assert.strictEqual(link.progress().queuedBytes, 0)
    })
  )
})

describe("without TLS", () => {
  it.live("refuses to dial an address outside loopback", () =>
    Effect.gen(function* () {
      for (const host of ["10.77.0.1", "::ffff:10.77.0.1", "2001:db8::1", "0.0.0.0", "::"]) {
        const refused = yield* refusal(NodeLink.tcp({ host, port: 9 }))
        assert.deepInclude(refused, { _tag: "PlaintextRefused", host, address: host, retryable: false })
        assert.include(refused.message, "plaintext: true")
      }
    })
  )

  it.live("refuses a name as soon as one of its addresses is outside loopback", () =>
    Effect.gen(function* () {
      const lookup = names("127.0.0.1", "10.77.0.1")
      const refused = yield* refusal(NodeLink.tcp({ host: "berlin.example", port: 9, lookup }))
      assert.deepInclude(refused, { _tag: "PlaintextRefused", host: "berlin.example", address: "10.77.0.1" })
      assert.include(refused.message, "berlin.example (10.77.0.1)")
    })
  )

  it.live("dials names that stay on this machine", () =>
    Effect.gen(function* () {
      const peer = yield* Plain.listenTcp
      for (const options of [{ host: "localhost" }, { host: "berlin.example", lookup: names("127.0.0.1") }]) {
        const link = yield* NodeLink.tcp({ ...options, port: peer.port })
        yield* Effect.scoped(link.reader)
      }
      assert.strictEqual(peer.connections.length, 2)
    })
  )

  it.live("dials anything where the program says plaintext", () =>
    Effect.gen(function* () {
      const peer = yield* Plain.listenTcp
      const link = yield* NodeLink.tcp({ host: "0.0.0.0", port: peer.port, plaintext: true })
      yield* Effect.scoped(link.reader)
      assert.strictEqual(peer.connections.length, 1)
    })
  )
})

describe("TLS", () => {
  it.live("refuses a certificate that nobody vouches for", () =>
    Effect.gen(function* () {
      const peer = yield* Plain.listenTls
      const link = yield* NodeLink.tls({ host: "localhost", port: peer.port })
      const { reason } = yield* Effect.flip(Effect.scoped(link.reader))
      assert.strictEqual(reason._tag, "SocketOpenError")
      assert.strictEqual(
        ((reason as Socket.SocketOpenError).cause as NodeJS.ErrnoException).code,
        "DEPTH_ZERO_SELF_SIGNED_CERT"
      )
    })
  )

  it.live("checks the name that was dialled", () =>
    Effect.gen(function* () {
      const peer = yield* Plain.listenTls
      const lookup = names("127.0.0.1")
      const link = yield* NodeLink.tls({ host: "berlin.example", port: peer.port, lookup, ca: Plain.identity.cert })
      const { reason } = yield* Effect.flip(Effect.scoped(link.reader))
      const code = ((reason as Socket.SocketOpenError).cause as NodeJS.ErrnoException).code
      assert.strictEqual(code, "ERR_TLS_CERT_ALTNAME_INVALID")
    })
  )
})

describe("unix sockets", () => {
  it.live("carry bytes, and destroy closes them although the peer does not read", () =>
    Effect.gen(function* () {
      const path = join(mkdtempSync(join(tmpdir(), "holdfast-")), "link")
      const connections: Array<Plain.Seen> = []
      const server = yield* Effect.acquireRelease(
        Effect.callback<Net.Server>((resume) => {
          const server = Net.createServer((socket) => connections.push(Plain.watch(socket)))
          server.listen(path, () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      assert.isTrue(server.listening)
      const link = yield* NodeLink.unix({ path })
      yield* link.reader
      const writtenBytes = yield* Plain.fill(link)
      const { queuedBytes } = link.progress()
      yield* link.destroy
      connections[0]!.socket.resume()
      yield* Plain.until(() => connections[0]!.ended !== undefined)
      assert.isAtMost(connections[0]!.receivedBytes, writtenBytes - queuedBytes + chunk.length)
    })
  )
})

describe("small pieces that are written together", () => {
  it.live("arrive as they were, however long the kernel has no room for them", () =>
    Effect.gen(function* () {
      const peer = yield* Plain.listenTcp
      const link = yield* NodeLink.tcp({ host: "127.0.0.1", port: peer.port })
      yield* link.reader
      const { writeAll } = yield* link.writer
      const sent = Array.from({ length: 4000 }, (_, n) => new Uint8Array(3000 + (n % 500)).fill(n % 251))
      const writing = yield* Effect.forkChild(
        Effect.forEach(sent, (bytes) => writeAll([bytes.subarray(0, 1000), bytes.subarray(1000)]), { discard: true })
      )
      yield* Plain.until(() => link.progress().queuedBytes > 0) // the kernel is full, and nobody reads
      const [{ socket }] = peer.connections as [Plain.Seen]
      const received: Array<Uint8Array> = []
      socket.on("data", (bytes) => received.push(bytes))
      socket.resume()
      yield* Fiber.join(writing)
      const bytes = Buffer.concat(sent)
      yield* Plain.until(() => received.reduce((sum, { length }) => sum + length, 0) === bytes.length)
      assert.strictEqual(Buffer.compare(Buffer.concat(received), bytes), 0)
    }).pipe(Effect.scoped)
  )
})
