/**
 * A receiver whose disk stalls for 10 s at a time and that goes on sending heartbeats is slow, not dead. Two terminals:
 *
 *   node --conditions=source examples/02-variable-receive-rate/main.ts server
 *   node --conditions=source examples/02-variable-receive-rate/main.ts client --debug
 *
 * `--port N` (default 8888) chooses where, `--debug` prints every heartbeat that is sent and received and every deadline
 * that is renewed. The client prints once a second how much was accepted and taken, and for how long it has waited.
 *
 * After zrepl's program of the same name, whose write deadline used to kill this connection.
 */
import { NodeRuntime } from "@effect/platform-node"
import { NodeLink, NodeListener } from "@holdfast/node"
import { Console, Effect, Layer } from "effect"
import * as SocketServer from "effect/socket/SocketServer"
import { receive, send, Variable } from "./rates.ts"
import { traced } from "./trace.ts"

const [role, ...options] = process.argv.slice(2)
const debug = options.includes("--debug")
const port = options.includes("--port") ? Number(options[options.indexOf("--port") + 1]) : 8888

const policy = { heartbeat: "1 second", silence: "10 seconds", stall: "10 seconds" } as const

const trace = debug ? traced(policy, Console.log) : Effect.succeed

const Server = Variable.serve((session) => receive(session, Console.log), { policy }).pipe(
  Layer.provide(
    Layer.effect(
      SocketServer.SocketServer,
      Effect.map(NodeListener.makeTcp({ port }), ({ address, run }) => ({
        address,
        run: (handler) => run((socket) => Effect.flatMap(trace(socket), handler))
      }))
    )
  )
)

const client = Effect.scoped(
  Effect.gen(function* () {
    const session = yield* Variable.make({ link: Effect.flatMap(NodeLink.tcp({ port }), trace), policy })
    yield* Effect.raceFirst(send(session, Console.log), session.join)
  })
)

if (role === "server") NodeRuntime.runMain(Layer.launch(Server))
else if (role === "client") NodeRuntime.runMain(client)
else {
  console.error("say `server` or `client`; --port N, --debug")
  process.exitCode = 2
}
