// The server of a session: takes numbers one by one and reports each, and what happens to its links.
import { NodeRuntime } from "@effect/platform-node"
import { NodeListener } from "@holdfast/node"
import { Duration, Effect, Layer } from "effect"
import * as NetAddress from "effect/net/NetAddress"
import * as SocketServer from "effect/socket/SocketServer"
import { Numbers, policy } from "../Numbers.ts"
import * as Role from "../Role.ts"

export interface Argument {
  readonly host: string
  readonly port: number
  /** How long each number takes. */
  readonly takeMillis?: number | undefined
}

export type Fact =
  | { readonly _tag: "Listening"; readonly port: number }
  | { readonly _tag: "Taken"; readonly n: number }
  | { readonly _tag: "LinkEnded"; readonly reason: string }
  | { readonly _tag: "SessionOpened" | "SessionResumed" | "SessionEnded" | "LinkRefused" }

const { host, port, takeMillis = 0 } = Role.argument as Argument

const report = (fact: Fact) => Effect.sync(() => Role.report(fact))

const Listening = Layer.effectDiscard(
  Effect.flatMap(SocketServer.SocketServer, ({ address }) =>
    report({ _tag: "Listening", port: NetAddress.isInetAddress(address) ? address.port : 0 })
  )
)

const Serving = Numbers.serve(
  (session) =>
    session.handle(({ n }) => Effect.andThen(Effect.sleep(Duration.millis(takeMillis)), report({ _tag: "Taken", n }))),
  {
    policy,
    limits: { resumeWindow: "1 minute" },
    onEvent: (event) =>
      report(event._tag === "LinkEnded" ? { _tag: "LinkEnded", reason: event.error.reason._tag } : { _tag: event._tag })
  }
)

Layer.launch(
  Layer.mergeAll(Serving, Listening).pipe(Layer.provide(NodeListener.layerTcp({ host, port, plaintext: true })))
).pipe(NodeRuntime.runMain)
