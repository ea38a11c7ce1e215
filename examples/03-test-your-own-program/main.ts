/**
 * The shop over real TCP: `node --conditions=source examples/03-test-your-own-program/main.ts`. What it does when the
 * network does not, its tests show: the same program on simulated machines.
 */
import { NodeRuntime, NodeSocket, NodeSocketServer } from "@effect/platform-node"
import { Console, Effect, Layer } from "effect"
import { client, order, Server } from "./shop.ts"

const at = { host: "127.0.0.1", port: 8890 }

const program = Effect.gen(function* () {
  yield* Layer.build(Server.pipe(Layer.provide(NodeSocketServer.layer(at))))
  const number = yield* order("a kettle").pipe(Effect.provide(client().pipe(Layer.provide(NodeSocket.layerNet(at)))))
  yield* Console.log(`order ${number} is accepted`)
})

NodeRuntime.runMain(Effect.scoped(program))
