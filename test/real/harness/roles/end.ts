// One end of a plain connection of the conformance table, over real sockets.
import { NodeRuntime } from "@effect/platform-node"
import { NodeLink, NodeListener } from "@holdfast/node"
import type { Kernel } from "@holdfast/testing"
import { Effect } from "effect"
import * as SocketServer from "effect/socket/SocketServer"
import * as Ends from "../../../conformance/Ends.ts"
import * as Role from "../Role.ts"

interface At {
  /** The server's. */
  readonly host: string
  readonly port: number
}

export type Argument = At &
  (
    | { readonly part: "server"; readonly server: Ends.Server; readonly backlog: number | undefined }
    | { readonly part: "client"; readonly client: Ends.Client; readonly socket: Kernel.SocketOptions | undefined }
  )

const argument = Role.argument as Argument
const { host, port } = argument

const program = Effect.gen(function* () {
  if (argument.part === "server") {
    const listener = yield* NodeListener.makeTcp({ host, port, plaintext: true, backlog: argument.backlog })
    yield* Effect.provideService(Ends.server(argument.server, Role.report), SocketServer.SocketServer, listener)
    return yield* Effect.never
  }
  const link = NodeLink.tcp({ host, port, plaintext: true, kernel: argument.socket })
  return yield* Ends.client(argument.client, link, Role.report)
})

Effect.scoped(program).pipe(NodeRuntime.runMain)
