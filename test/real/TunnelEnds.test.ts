// The two ends of the tunnel as a user starts them: what passes through, who is let in, and how they end.
import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Effect, Layer, type Scope } from "effect"
import { randomBytes } from "node:crypto"
import * as Net from "node:net"
import * as Path from "node:path"
import { root } from "../Tool.ts"
import * as Plain from "./harness/Plain.ts"
import * as Program from "./harness/Program.ts"
import * as Tunnel from "./harness/TunnelEnd.ts"

/** A tunnel to one target that treats its connections as told. */
const tunnel = Effect.fnUntraced(function* (treat: (socket: Net.Socket) => void, ...flags: ReadonlyArray<string>) {
  const target = yield* Plain.listen(treat)
  const secretFile = yield* Tunnel.secretFile
  const serving = yield* Tunnel.serve(secretFile, { default: target.port }, ...flags)
  const dialling = yield* Tunnel.dial(secretFile, Tunnel.portOf(serving), ["default"], ...flags)
  return { serving, dialling, port: Tunnel.portOf(dialling) }
})

/** A tunnel to all kinds of targets. */
class Targets extends Context.Service<Targets>()("test/Targets", {
  make: Effect.gen(function* () {
    const seen = { error: undefined as string | undefined, lazy: undefined as Net.Socket | undefined }
    const answering = yield* Plain.listen((socket) => {
      socket.on("end", () => socket.end("only now"))
      socket.resume()
    })
    const sink = yield* Plain.listen((socket) => {
      socket.on("error", (error: NodeJS.ErrnoException) => (seen.error = error.code))
      socket.resume()
    })
    const resetting = yield* Plain.listen((socket) => {
      socket.once("data", () => socket.resetAndDestroy())
      socket.resume()
    })
    const lazy = yield* Plain.listen((socket) => {
      seen.lazy = socket
    })
    const echoing = yield* Plain.listen(echo)
    const secretFile = yield* Tunnel.secretFile
    const ports = {
      answering: answering.port,
      sink: sink.port,
      resetting: resetting.port,
      lazy: lazy.port,
      echoing: echoing.port,
      gone: 9 // below all that a kernel gives away
    }
    const serving = yield* Tunnel.serve(secretFile, ports)
    const dialling = yield* Tunnel.dial(secretFile, Tunnel.portOf(serving), [...Object.keys(ports), "other"])
    return { seen, sink, lazy, serving, dialling, port: (name: string) => Tunnel.portOf(dialling, name) }
  })
}) {
  static readonly layer = Layer.effect(Targets, Targets.make)
}

/** A program that connects. Everything that it receives is kept. */
const connect = (port: number): Effect.Effect<Client, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const socket = Net.connect({ port, host: "127.0.0.1", allowHalfOpen: true })
      const client: Client = { socket, received: [], ended: false, error: undefined }
      socket.on("data", (chunk) => client.received.push(chunk))
      socket.on("end", () => (client.ended = true))
      socket.on("error", (error: NodeJS.ErrnoException) => (client.error = error.code))
      return client
    }),
    ({ socket }) => Effect.sync(() => socket.destroy())
  )

interface Client {
  readonly socket: Net.Socket
  readonly received: Array<Buffer>
  ended: boolean
  error: string | undefined
}

const text = ({ received }: Client) => Buffer.concat(received).toString()

const echo = (socket: Net.Socket) => void socket.pipe(socket)

layer(Targets.layer, { excludeTestServices: true, timeout: "60 seconds" })("through a tunnel", (it) => {
  it.effect("a half-close passes, and the other direction goes on", () =>
    Effect.gen(function* () {
      const client = yield* connect((yield* Targets).port("answering"))
      client.socket.end("all I have to say")
      yield* Plain.until(() => client.ended)
      assert.strictEqual(text(client), "only now")
      assert.isUndefined(client.error)
    })
  )

  it.effect("a reset of the program reaches the target as a reset", () =>
    Effect.gen(function* () {
      const { port, seen, sink } = yield* Targets
      const client = yield* connect(port("sink"))
      client.socket.write("x")
      yield* Plain.until(() => sink.receivedBytes() === 1)
      client.socket.resetAndDestroy()
      yield* Plain.until(() => seen.error !== undefined)
      assert.strictEqual(seen.error, "ECONNRESET")
    })
  )

  it.effect("a reset of the target reaches the program as a reset", () =>
    Effect.gen(function* () {
      const client = yield* connect((yield* Targets).port("resetting"))
      client.socket.write("x")
      yield* Plain.until(() => client.error !== undefined)
      assert.strictEqual(client.error, "ECONNRESET")
      assert.isFalse(client.ended)
    })
  )

  it.effect("a target that does not read stops its program after a bounded number of bytes, and nobody else", () =>
    Effect.gen(function* () {
      const { lazy, port, seen } = yield* Targets
      const [slow, quick] = [yield* connect(port("lazy")), yield* connect(port("echoing"))]
      const piece = randomBytes(65_536)
      let sentBytes = 0
      const more = () => {
        while (sentBytes < totalBytes && slow.socket.writableLength < piece.length) {
          sentBytes += piece.length
          slow.socket.write(piece, more)
        }
      }
      more()
      let before = -1
      yield* Effect.repeat(Effect.sleep("1 second"), {
        until: () => {
          const isStill = sentBytes === before
          before = sentBytes
          return isStill
        }
      })
      // Its window, its backlog, and what the kernels on the way hold.
      assert.isBelow(sentBytes, totalBytes / 2)
      quick.socket.end("still here")
      yield* Plain.until(() => quick.ended)
      assert.strictEqual(text(quick), "still here")
      seen.lazy!.resume()
      yield* Plain.until(() => lazy.receivedBytes() >= totalBytes)
    })
  )

  for (const [name, why] of [
    ["gone", /ECONNREFUSED/],
    ["other", /there is no target called other, only answering, /]
  ] as const) {
    it.effect(`what nobody serves is reset: ${name}`, () =>
      Effect.gen(function* () {
        const { dialling, port } = yield* Targets
        const client = yield* connect(port(name))
        yield* Plain.until(() => client.error !== undefined)
        assert.strictEqual(client.error, "ECONNRESET")
        yield* Plain.until(() => Tunnel.closed(dialling, name) !== undefined)
        assert.strictEqual(Tunnel.closed(dialling, name)?.how, "refused")
        assert.match(Tunnel.closed(dialling, name)?.detail ?? "", why)
      })
    )
  }

  it.effect("nothing passes for whoever has not proved the secret", () =>
    Effect.gen(function* () {
      const { serving } = yield* Targets
      const stranger = yield* connect(Tunnel.portOf(serving))
      stranger.socket.write("GET / HTTP/1.1\r\n\r\n and more than a tag")
      yield* Plain.until(() => stranger.socket.closed || stranger.ended)
      assert.isAtMost(Buffer.concat(stranger.received).length, 50)
      yield* serving.program.prints(/"linkRefused".*not the dialling end/)
    })
  )

  it.effect("nothing passes with another secret: the dialling end ends with a sentence", () =>
    Effect.gen(function* () {
      const { serving } = yield* Targets
      const program = yield* Tunnel.start("dial", yield* Tunnel.secretFile, [
        ...["--connect", `127.0.0.1:${Tunnel.portOf(serving)}`, "--listen", "127.0.0.1:0"]
      ])
      assert.strictEqual(yield* program.code, 1)
      assert.match(program.output(), /our secret is not its own\n$/)
    })
  )
})

const totalBytes = 64 * 1024 * 1024

describe("an end of a tunnel", () => {
  it.live("resets connections beyond --connections-max, and takes some again when there is room", () =>
    Effect.gen(function* () {
      const { port } = yield* tunnel(echo, "--connections-max", "1")
      const first = yield* connect(port)
      first.socket.write("one")
      yield* Plain.until(() => text(first) === "one")
      const second = yield* connect(port)
      yield* Plain.until(() => second.error !== undefined)
      first.socket.end()
      yield* Plain.until(() => first.ended)
      yield* Plain.untilSucceeds(
        Effect.gen(function* () {
          const third = yield* connect(port)
          third.socket.end("three")
          yield* Plain.until(() => third.ended || third.error !== undefined)
          return text(third) === "three"
        })
      )
    }).pipe(Effect.scoped)
  )

  it.live("encrypts, and does not trust a certificate that nobody told it to", () =>
    Effect.gen(function* () {
      const fixture = (name: string) => Path.join(root, "packages/node/test/fixtures", name)
      const target = yield* Plain.listen(echo)
      const secretFile = yield* Tunnel.secretFile
      const files = ["--tls-cert", fixture("localhost.crt"), "--tls-key", fixture("localhost.key")]
      const serving = yield* Tunnel.serve(secretFile, { default: target.port }, ...files)
      const trusting = ["--tls-ca", fixture("localhost.crt"), "--tls-name", "localhost"]
      const dialling = yield* Tunnel.dial(secretFile, Tunnel.portOf(serving), ["default"], ...trusting)
      const client = yield* connect(Tunnel.portOf(dialling))
      client.socket.end("encrypted")
      yield* Plain.until(() => client.ended)
      assert.strictEqual(text(client), "encrypted")
      const distrusting = yield* Tunnel.dial(secretFile, Tunnel.portOf(serving), ["default"], "--tls")
      yield* distrusting.program.prints(/"retrying".*SELF_SIGNED/)
      assert.isFalse(distrusting.events().some(({ event }) => event === "linkUp"))
    }).pipe(Effect.scoped)
  )

  it.live.each(["serve", "dial"] as const)(
    "drains on SIGTERM: %s lets go what is open, and takes nothing new",
    (role) =>
      Effect.gen(function* () {
        const { dialling, port, serving } = yield* tunnel(echo)
        const end = { serve: serving, dial: dialling }[role]
        const open = yield* connect(port)
        open.socket.write("before ")
        yield* Plain.until(() => text(open) === "before ")
        end.program.process.kill("SIGTERM")
        yield* end.program.prints(/"draining","connections":1/)
        const late = yield* connect(port)
        yield* Plain.until(() => late.error !== undefined)
        open.socket.end("and after")
        yield* Plain.until(() => open.ended)
        assert.strictEqual(text(open), "before and after")
        assert.strictEqual(yield* end.program.code, 0)
        assert.deepInclude(
          end.events().find(({ event }) => event === "stopped"),
          { reset: 0 }
        )
      }).pipe(Effect.scoped)
  )

  it.live("resets what is still open at a second signal, and ends", () =>
    Effect.gen(function* () {
      const { dialling, port } = yield* tunnel(echo)
      const open = yield* connect(port)
      open.socket.write("x")
      yield* Plain.until(() => text(open) === "x")
      dialling.program.process.kill("SIGTERM")
      yield* dialling.program.prints(/"draining"/)
      dialling.program.process.kill("SIGTERM")
      assert.strictEqual(yield* dialling.program.code, 0)
      yield* Plain.until(() => open.error !== undefined)
      assert.strictEqual(open.error, "ECONNRESET")
    }).pipe(Effect.scoped)
  )

  it.live("that listens resets the connections of a dialling end that does not come back", () =>
    Effect.gen(function* () {
      let error: string | undefined
      const target = yield* Plain.listen((socket) => {
        socket.on("error", (cause: NodeJS.ErrnoException) => (error = cause.code))
        socket.resume()
      })
      const secretFile = yield* Tunnel.secretFile
      const serving = yield* Tunnel.serve(secretFile, { default: target.port }, "--keep", "1 second")
      const dialling = yield* Tunnel.dial(secretFile, Tunnel.portOf(serving), ["default"])
      const client = yield* connect(Tunnel.portOf(dialling))
      client.socket.write("x")
      yield* Plain.until(() => target.receivedBytes() === 1)
      dialling.program.process.kill("SIGKILL")
      yield* Plain.until(() => error !== undefined)
      assert.strictEqual(error, "ECONNRESET")
      yield* serving.program.prints(/"sessionEnded".*did not come back within the resume window/)
    }).pipe(Effect.scoped)
  )

  it.live(
    "that dials outlives a listening end that is killed: open connections are reset, new ones go to the next one",
    () =>
      Effect.gen(function* () {
        const target = yield* Plain.listen(echo)
        const secretFile = yield* Tunnel.secretFile
        const first = yield* Tunnel.serve(secretFile, { default: target.port })
        const dialling = yield* Tunnel.dial(secretFile, Tunnel.portOf(first), ["default"])
        const open = yield* connect(Tunnel.portOf(dialling))
        open.socket.write("x")
        yield* Plain.until(() => text(open) === "x")
        first.program.process.kill("SIGKILL")
        yield* first.program.code
        yield* Tunnel.start("serve", secretFile, [
          ...["--listen", `127.0.0.1:${Tunnel.portOf(first)}`, "--target", `127.0.0.1:${target.port}`]
        ])
        yield* Plain.until(() => open.error !== undefined)
        const next = yield* connect(Tunnel.portOf(dialling))
        next.socket.end("next")
        yield* Plain.until(() => next.ended)
        assert.strictEqual(text(next), "next")
      }).pipe(Effect.scoped)
  )

  it.live("answers a command line that makes no sense with a sentence and exit code 2", () =>
    Effect.gen(function* () {
      const program = yield* Program.start(process.execPath, "--conditions=source", Tunnel.main, "serve")
      assert.strictEqual(yield* program.code, 2)
      assert.strictEqual(program.output(), "Missing required flag: --listen. Try --help.\n")
    }).pipe(Effect.scoped)
  )
})
