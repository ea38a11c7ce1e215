import { assert, describe, it } from "@effect/vitest"
import { NodeSocket } from "@effect/platform-node"
import { KernelOptions, NodeLink, NodeListener } from "@holdfast/node"
import { Effect, Queue } from "effect"
import type * as SocketServer from "effect/socket/SocketServer"
import type * as Net from "node:net"
import koffi from "koffi"
import * as Plain from "./Plain.ts"

/** Only there they can be set; elsewhere they are refused, which Kernel.test.ts shows without koffi. */
const onLinux = it.live.skipIf(process.platform !== "linux")

const options: KernelOptions.KernelOptions = {
  userTimeout: "12345 millis",
  unsentBytesMax: 16_384,
  keepAlive: { idle: "7 seconds", interval: "3 seconds", count: 5 }
}

/** What the kernel says of the same options; level, name. */
const names = {
  userTimeout: [6, 18],
  unsentBytesMax: [6, 25],
  repetitionIntervalMax: [6, 44],
  keepAlive: [1, 9],
  idle: [6, 4],
  interval: [6, 5],
  count: [6, 6]
} as const

const read = (socket: Net.Socket, option: keyof typeof names) =>
  Effect.sync(() => {
    const getsockopt = koffi.load(null).func("int getsockopt(int fd, int level, int name, void *value, void *length)")
    const value = new Uint8Array(4)
    const { fd } = Reflect.get(socket, "_handle") as { readonly fd: number }
    assert.strictEqual(getsockopt(fd, ...names[option], value, new Uint32Array([4])), 0)
    return new DataView(value.buffer).getInt32(0, true)
  })

const areSet = Effect.fnUntraced(function* (socket: Net.Socket) {
  assert.strictEqual(yield* read(socket, "userTimeout"), 12_345)
  assert.strictEqual(yield* read(socket, "unsentBytesMax"), 16_384)
  assert.strictEqual(yield* read(socket, "keepAlive"), 1)
  assert.strictEqual(yield* read(socket, "idle"), 7)
  assert.strictEqual(yield* read(socket, "interval"), 3)
  assert.strictEqual(yield* read(socket, "count"), 5)
})

/** A plain connection to set options on. */
const plain = Effect.gen(function* () {
  const peer = yield* Plain.listenTcp
  const { socket } = yield* Plain.connect(peer.port)
  return socket
})

describe("options of the kernel", () => {
  onLinux("are set on a connection", () =>
    Effect.gen(function* () {
      const socket = yield* plain
      yield* KernelOptions.set(socket, options)
      yield* areSet(socket)
    })
  )

  onLinux("bound the pause between two repetitions where the kernel is new enough, and are refused where not", () =>
    Effect.gen(function* () {
      const socket = yield* plain
      const set = KernelOptions.set(socket, { repetitionIntervalMax: "5 seconds" })
      const refused = yield* Effect.match(set, { onFailure: (error) => error.message, onSuccess: () => undefined })
      if (refused === undefined) assert.strictEqual(yield* read(socket, "repetitionIntervalMax"), 5000)
      else assert.include(refused, "ENOPROTOOPT")
    })
  )

  onLinux("that are not given stay as they are", () =>
    Effect.gen(function* () {
      const socket = yield* plain
      yield* KernelOptions.set(socket, {})
      assert.strictEqual(yield* read(socket, "userTimeout"), 0)
      assert.strictEqual(yield* read(socket, "keepAlive"), 0)
    })
  )

  it.live("that make no sense are refused with a sentence, and never rounded", () =>
    Effect.gen(function* () {
      const keepAlive = { idle: "7 seconds", interval: "3 seconds", count: 5 } as const
      const wrong: ReadonlyArray<readonly [KernelOptions.KernelOptions, string]> = [
        [{ userTimeout: 0 }, "userTimeout"],
        [{ userTimeout: "Infinity" }, "userTimeout"],
        [{ userTimeout: 2 ** 31 }, "userTimeout"],
        [{ userTimeout: 0.5 }, "userTimeout"],
        [{ unsentBytesMax: 0 }, "unsentBytesMax"],
        [{ unsentBytesMax: 1.5 }, "unsentBytesMax"],
        [{ repetitionIntervalMax: "999 millis" }, "repetitionIntervalMax"],
        [{ repetitionIntervalMax: 120_001 }, "repetitionIntervalMax"],
        [{ keepAlive: { ...keepAlive, idle: "500 millis" } }, "keepAlive"],
        [{ keepAlive: { ...keepAlive, interval: "1500 millis" } }, "keepAlive"],
        [{ keepAlive: { ...keepAlive, idle: "10 hours" } }, "keepAlive"],
        [{ keepAlive: { ...keepAlive, count: 0 } }, "keepAlive"],
        [{ keepAlive: { ...keepAlive, count: 128 } }, "keepAlive"]
      ]
      for (const [options, option] of wrong) {
        const refused = yield* Effect.flip(KernelOptions.check(options))
        assert.strictEqual(refused.option, option)
        assert.isFalse(refused.retryable)
      }
    })
  )

  onLinux("at their bounds are taken by the kernel", () =>
    Effect.gen(function* () {
      yield* KernelOptions.check({ userTimeout: 1, unsentBytesMax: 1 })
      yield* KernelOptions.check({ userTimeout: 2 ** 31 - 1, unsentBytesMax: 2 ** 31 - 1 })
      yield* KernelOptions.check({ keepAlive: { idle: "1 second", interval: "1 second", count: 1 } })
      yield* KernelOptions.check({ keepAlive: { idle: "32767 seconds", interval: "32767 seconds", count: 127 } })
    })
  )

  onLinux("are set on what a link dials and a listener accepts, over TCP and over TLS", () =>
    Effect.gen(function* () {
      const { cert: ca } = Plain.identity
      for (const [listen, dial] of [
        [NodeListener.makeTcp({ port: 0, kernel: options }), (port: number) => NodeLink.tcp({ port, kernel: options })],
        [
          NodeListener.makeTls({ port: 0, kernel: options, ...Plain.identity }),
          (port: number) => NodeLink.tls({ host: "localhost", port, ca, kernel: options })
        ]
      ] as const) {
        const server: SocketServer.SocketServer["Service"] = yield* listen
        const accepted = yield* Queue.unbounded<Net.Socket>()
        const accept = Effect.flatMap(NodeSocket.NetSocket, (socket) => Queue.offer(accepted, socket))
        yield* Effect.forkScoped(
          server.run(() => Effect.andThen(accept as Effect.Effect<unknown>, Effect.never)),
          { startImmediately: true }
        )
        const link = yield* dial(Plain.portOf(server))
        yield* link.reader
        yield* areSet(yield* Queue.take(accepted))
      }
    })
  )

  onLinux("that cannot be set refuse the dial, finally, and the listening", () =>
    Effect.gen(function* () {
      const peer = yield* Plain.listenTcp
      const kernel = { unsentBytesMax: -1 }
      const refusal = { _tag: "OptionRefused", option: "unsentBytesMax", retryable: false }
      for (const link of [
        yield* NodeLink.tcp({ port: peer.port, kernel }),
        yield* NodeLink.tls({ port: peer.port, kernel })
      ]) {
        const { reason } = yield* Effect.flip(Effect.scoped(link.reader))
        assert(reason._tag === "SocketOpenError")
        assert.deepInclude(reason.cause, refusal)
      }
      for (const listen of [
        NodeListener.makeTcp({ port: 0, kernel }),
        NodeListener.makeTls({ port: 0, kernel, ...Plain.identity })
      ]) {
        const refused = yield* Effect.flip(listen)
        assert(refused._tag === "SocketServerError" && refused.reason._tag === "SocketServerOpenError")
        assert.deepInclude(refused.reason.cause, refusal)
      }
    })
  )
})
