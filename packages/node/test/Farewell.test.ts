import { assert, describe, it } from "@effect/vitest"
import { NodeListener } from "@holdfast/node"
import { Decoder, type Frame } from "@holdfast/protocol"
import { Effect, Layer } from "effect"
import * as SocketServer from "effect/socket/SocketServer"
import { Session } from "holdfast"
import * as Net from "node:net"
import * as Plain from "./Plain.ts"

class Bytes extends Session.Service<Bytes>()("test/Bytes") {}

/**
 * Sends more than was asked for, and goes on for a while. A server that closed at once would have reset the connection,
 * and the answer with it where the kernel forgets what came before a reset.
 */
const flood = Effect.fnUntraced(function* (port: number) {
  const said: Array<Frame.Control> = []
  const errors: Array<Error> = []
  const control = (frame: Frame.Control) => void said.push(frame)
  const decoder = new Decoder.Decoder(65_536, { data: () => undefined, control })
  const socket = Net.connect({ port, host: "127.0.0.1" })
  yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
  socket.on("data", (chunk) => decoder.push(chunk))
  socket.on("error", (error) => errors.push(error))
  for (let i = 0; i < 10; i++) {
    socket.write(new Uint8Array(65_536))
    yield* Effect.sleep("20 millis")
  }
  return { said, errors, isOpen: socket.readyState === "open" }
})

const serving = (options: Session.ServerOptions<never, never>) =>
  Effect.gen(function* () {
    const listener = yield* NodeListener.makeTcp({ port: 0 })
    const server = Layer.succeed(SocketServer.SocketServer, listener)
    yield* Layer.build(
      Layer.provide(
        Bytes.serve(({ join }) => join, options),
        server
      )
    )
    return Plain.portOf(listener)
  })

describe("The last word of a server, over TCP", () => {
  it.live("arrives although the client had more to say", () =>
    Effect.gen(function* () {
      const port = yield* serving({})
      const { errors, isOpen, said } = yield* flood(port)
      assert.deepStrictEqual(errors, [])
      assert.isTrue(isOpen)
      assert.deepInclude(said[0], { _tag: "Refused", code: "Malformed" })
    })
  )

  it.live("also where there are too many handshakes to listen to one more", () =>
    Effect.gen(function* () {
      const port = yield* serving({ limits: { handshakesMax: 1, retryAfter: "3 seconds" } })
      const silent = Net.connect({ port, host: "127.0.0.1" })
      yield* Effect.addFinalizer(() => Effect.sync(() => silent.destroy()))
      const { errors, isOpen, said } = yield* flood(port)
      assert.deepStrictEqual(errors, [])
      assert.isTrue(isOpen)
      assert.deepInclude(said[0], { _tag: "Refused", code: "Full", retryAfterMillis: 3000 })
    })
  )
})
