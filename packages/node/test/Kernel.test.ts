import { assert, describe, it } from "@effect/vitest"
import { Kernel, NodeLink } from "@holdfast/node"
import { Effect } from "effect"
import { mkdtempSync } from "node:fs"
import * as Net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { vi } from "vitest"
import * as Plain from "./Plain.ts"

/** Only there the kernel can be asked; elsewhere these tests have nothing to ask. */
const onLinux = it.live.skipIf(process.platform !== "linux")

/** A link that is up, with its peer, which does not read unless told. */
const connected = Effect.gen(function* () {
  yield* Kernel.source
  const peer = yield* Plain.listenTcp
  const link = yield* NodeLink.tcp({ port: peer.port })
  yield* link.reader
  yield* Plain.until(() => peer.connections.length === 1)
  return { link, peer: peer.connections[0]! }
})

const kernelReport = (link: NodeLink.NodeLink): Kernel.KernelReport => {
  const report = link.progress()
  assert(report.source === "kernel")
  return report
}

describe("a report", () => {
  onLinux("comes from the kernel: what the peer's machine has acknowledged, and nothing outstanding", () =>
    Effect.gen(function* () {
      const { link } = yield* connected
      const before = kernelReport(link)
      const { write } = yield* link.writer
      yield* write(new Uint8Array(5000))
      yield* Plain.until(() => kernelReport(link).unacknowledgedBytes === 0)
      const { acknowledgedAgoMillis, acknowledgedBytes, ...report } = kernelReport(link)
      assert.strictEqual(acknowledgedBytes - before.acknowledgedBytes, 5000)
      assert.isBelow(acknowledgedAgoMillis, 10_000)
      assert.deepInclude(report, { state: "ESTABLISHED", queuedBytes: 0, unsentBytes: 0, unanswered: 0, probes: 0 })
      assert.isAbove(report.roundTripMillis, 0)
    })
  )

  onLinux("tells what is stuck behind a closed window, in the kernel and in Node", () =>
    Effect.gen(function* () {
      const { link, peer } = yield* connected
      yield* Plain.fill(link)
      const { queuedBytes, unacknowledgedBytes, unsentBytes } = kernelReport(link)
      assert.isAtLeast(queuedBytes, 10_000_000)
      assert.isAbove(unsentBytes, 0)
      assert.isAtLeast(unacknowledgedBytes, unsentBytes)
      const { acknowledgedBytes } = kernelReport(link)
      peer.socket.resume()
      yield* Plain.until(() => kernelReport(link).acknowledgedBytes > acknowledgedBytes)
    })
  )

  onLinux("tells that the peer has ended its direction, and how long it has been silent", () =>
    Effect.gen(function* () {
      const { link, peer } = yield* connected
      peer.socket.write("x")
      yield* Effect.sleep("50 millis")
      assert.isAtLeast(kernelReport(link).receivedAgoMillis, 20)
      peer.socket.end()
      yield* Plain.until(() => kernelReport(link).state === "CLOSE_WAIT")
    })
  )

  onLinux("comes from the kernel for TLS and for accepted connections, too", () =>
    Effect.gen(function* () {
      yield* Kernel.source
      const peer = yield* Plain.listenTls
      const link = yield* NodeLink.tls({ host: "localhost", port: peer.port, ca: Plain.identity.cert })
      yield* link.reader
      yield* Plain.until(() => peer.connections.length === 1)
      assert.strictEqual(link.progress().source, "kernel")
      assert.strictEqual(Kernel.report(peer.connections[0]!.socket).source, "kernel")
    })
  )

  it.live("holds what Node knows before the dial, after the end, and for unix sockets", () =>
    Effect.gen(function* () {
      const { link } = yield* connected
      yield* link.destroy
      assert.deepStrictEqual(link.progress(), { source: "node", queuedBytes: 0 })
      assert.deepStrictEqual(Kernel.report(new Net.Socket()), { source: "node", queuedBytes: 0 })

      const path = join(mkdtempSync(join(tmpdir(), "holdfast-")), "link")
      yield* Effect.acquireRelease(
        Effect.callback<Net.Server>((resume) => {
          const server = Net.createServer((socket) => void socket.resume())
          server.listen(path, () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const local = yield* NodeLink.unix({ path })
      assert.strictEqual(local.progress().source, "node")
      yield* local.reader
      assert.deepStrictEqual(local.progress(), { source: "node", queuedBytes: 0 })
    })
  )

  onLinux("is about the connection of now, not about one whose descriptor was closed and given away", () =>
    Effect.gen(function* () {
      const first = yield* connected
      yield* first.link.destroy
      const second = yield* connected
      assert.strictEqual(first.link.progress().source, "node")
      assert.strictEqual(second.link.progress().source, "kernel")
    })
  )
})

/** This package as a process loads it for which `import("koffi")` does what is told. */
const withKoffi = (imported: () => object) =>
  Effect.acquireRelease(
    Effect.promise(() => {
      vi.resetModules()
      vi.doMock("koffi", imported)
      return import("@holdfast/node")
    }),
    () =>
      Effect.sync(() => {
        vi.doUnmock("koffi")
        vi.resetModules()
      })
  )

describe("a kernel's answer", () => {
  /** A `tcp_info` in which every field that is read has a number of its own. */
  const sample = () => {
    const info = new DataView(new ArrayBuffer(256))
    info.setUint8(0, 8)
    info.setUint8(2, 3)
    info.setUint8(3, 4)
    info.setUint8(4, 5)
    info.setUint32(52, 52_000, true)
    info.setUint32(56, 56_000, true)
    info.setUint32(68, 68_500, true)
    info.setUint32(100, 100, true)
    info.setBigUint64(120, 0x1_0000_0002n, true)
    info.setUint32(144, 144, true)
    return new Uint8Array(info.buffer)
  }

  /** A koffi whose library answers TCP_INFO with the sample, as far as this kernel knows it, and SIOCOUTQ with 5,000. */
  const answering = (infoBytes: number, outcome = { getsockopt: 0, ioctl: 0 }) => {
    const calls: Record<string, (...args: ReadonlyArray<never>) => number> = {
      getsockopt(fd: number, level: number, name: number, value: Uint8Array, length: Uint32Array) {
        assert.deepStrictEqual([fd, level, name], [77, 6, 11])
        value.set(sample().subarray(0, infoBytes))
        length[0] = infoBytes
        return outcome.getsockopt
      },
      ioctl(fd: number, request: number, value: Uint8Array) {
        assert.deepStrictEqual([fd, request], [77, 0x5411])
        new DataView(value.buffer).setInt32(0, 5000, true)
        return outcome.ioctl
      }
    }
    const func = (declaration: string) => calls[/^int (\w+)/.exec(declaration)?.[1] ?? ""]
    return { default: { load: () => ({ func }) } }
  }

  const socket = Object.assign(new Net.Socket(), { _handle: { fd: 77 } })

  onLinux("is read at the offsets of its header", () =>
    Effect.gen(function* () {
      const { Kernel } = yield* withKoffi(() => answering(256))
      assert.strictEqual(Kernel.report(socket).source, "node")
      yield* Kernel.source
      assert.deepStrictEqual(Kernel.report(socket), {
        source: "kernel",
        state: "CLOSE_WAIT",
        queuedBytes: 0,
        unacknowledgedBytes: 5000,
        unsentBytes: 144,
        acknowledgedBytes: 4_294_967_298,
        acknowledgedAgoMillis: 56_000,
        receivedAgoMillis: 52_000,
        retransmissions: 3,
        probes: 4,
        unanswered: 4,
        backoff: 5,
        retransmissionsTotal: 100,
        roundTripMillis: 68.5
      })
    })
  )

  onLinux("counts only if it is complete: 148 bytes of it are, 147 are not, nor is a refusal", () =>
    Effect.gen(function* () {
      for (const [answer, source] of [
        [answering(148), "kernel"],
        [answering(147), "node"],
        [answering(256, { getsockopt: -1, ioctl: 0 }), "node"],
        [answering(256, { getsockopt: 0, ioctl: -1 }), "node"]
      ] as const) {
        const { Kernel } = yield* withKoffi(() => answer)
        yield* Kernel.source
        assert.strictEqual(Kernel.report(socket).source, source)
      }
    })
  )

  it.live("is not even asked for where the numbers of its calls would be others", () =>
    Effect.gen(function* () {
      for (const [property, value] of [
        ["platform", "darwin"],
        ["arch", "mips"]
      ] as const) {
        const imported = vi.fn<() => object>(() => answering(256))
        const { Kernel } = yield* withKoffi(imported)
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            const own = Object.getOwnPropertyDescriptor(process, property)!
            Object.defineProperty(process, property, { ...own, value })
            return own
          }),
          (own) => Effect.sync(() => Object.defineProperty(process, property, own))
        ).pipe(Effect.andThen(Kernel.source), Effect.scoped)
        assert.deepStrictEqual(Kernel.report(socket), { source: "node", queuedBytes: 0 })
        assert.strictEqual(imported.mock.calls.length, 0)
      }
    })
  )
})

describe("without koffi", () => {
  const withoutKoffi = withKoffi(() => {
    throw new Error("Cannot find the native Koffi module")
  })

  it.live("a link reports what Node knows, and says so", () =>
    Effect.gen(function* () {
      const { Kernel, NodeLink } = yield* withoutKoffi
      assert.strictEqual(yield* Kernel.source, "node")
      const peer = yield* Plain.listenTcp
      const link = yield* NodeLink.tcp({ port: peer.port })
      yield* link.reader
      assert.deepStrictEqual(link.progress(), { source: "node", queuedBytes: 0 })
      yield* Plain.fill(link)
      const { queuedBytes, source } = link.progress()
      assert.isAtLeast(queuedBytes, 10_000_000)
      assert.strictEqual(source, "node")
    })
  )

  it.live("an option that only the kernel has refuses the dial, and it is not tried again", () =>
    Effect.gen(function* () {
      const { KernelOptions } = yield* withoutKoffi
      const refused = yield* Effect.flip(KernelOptions.check({ userTimeout: "5 seconds" }))
      assert.deepInclude(refused, { _tag: "OptionRefused", option: "userTimeout", retryable: false })
      assert.include(refused.message, "koffi")
    })
  )

  it.live("keepAlive is set by Node from 24 on, and refused before", () =>
    Effect.gen(function* () {
      const { KernelOptions } = yield* withoutKoffi
      const socket = new Net.Socket()
      const asked: Array<ReadonlyArray<unknown>> = []
      socket.setKeepAlive = (...args: ReadonlyArray<unknown>) => {
        asked.push(args)
        return socket
      }
      const keepAlive = { idle: "5 seconds", interval: "2 seconds", count: 3 } as const
      const set = KernelOptions.set(socket, { keepAlive })
      if (Number.parseInt(process.versions.node) >= 24) {
        yield* set
        assert.deepStrictEqual(asked, [[true, 5000, 2000, 3]])
      } else {
        assert.include((yield* Effect.flip(set)).message, "Node 24")
      }
    })
  )
})
