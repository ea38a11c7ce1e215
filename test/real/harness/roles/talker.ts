// One end of a conversation of `@holdfast/testing` over real sockets: tells what it accepts and takes, and what its session
// tells, to the process that keeps the account.
import { NodeRuntime } from "@effect/platform-node"
import { NodeLink, NodeListener } from "@holdfast/node"
import { Conversation, type Ledger } from "@holdfast/testing"
import { Effect, Stream } from "effect"
import * as SocketServer from "effect/socket/SocketServer"
import * as Role from "../Role.ts"
import { scenarios } from "../Twofold.ts"

export interface Argument {
  readonly part: "client" | "server"
  readonly scenario: string
  readonly life: number
  /** The server's. */
  readonly host: string
  readonly port: number
}

export type Fact =
  | { readonly _tag: "Listening" }
  | { readonly _tag: "Done" }
  | { readonly _tag: "Sent"; readonly stream: string }
  | { readonly _tag: "Closed"; readonly stream: string }
  | { readonly _tag: "Taken"; readonly stream: string; readonly number: number }
  | {
      readonly _tag: "Returned"
      readonly stream: string
      readonly unsure: ReadonlyArray<number>
      readonly unsent: ReadonlyArray<number>
    }
  | { readonly _tag: "Violated"; readonly violation: Ledger.Violation }
  | { readonly _tag: "Opened"; readonly stream: string; readonly opened: string }
  | { readonly _tag: "Ended"; readonly stream: string; readonly reason: string }

const { host, life, part, port, scenario } = Role.argument as Argument
const { conversation } = scenarios[scenario]!

const report = (fact: Fact) => Role.report(fact)

const witness: Conversation.Witness = {
  sent: (stream) => report({ _tag: "Sent", stream }),
  taken: (stream, number) => report({ _tag: "Taken", stream, number }),
  returned: (stream, unsure, unsent) => report({ _tag: "Returned", stream, unsure, unsent }),
  closed: (stream) => report({ _tag: "Closed", stream }),
  violated: (violation) => report({ _tag: "Violated", violation }),
  observe: (stream, session) =>
    session.events.pipe(
      Stream.runForEach((event) =>
        Effect.sync(() => {
          if (event._tag === "Opened") report({ _tag: "Opened", stream, opened: event.opened })
          if (event._tag === "Ended") report({ _tag: "Ended", stream, reason: event.error.reason._tag })
        })
      ),
      Effect.forkScoped({ startImmediately: true }),
      Effect.asVoid
    )
}

const server = Effect.gen(function* () {
  const listener = yield* NodeListener.makeTcp({ host, port, plaintext: true })
  yield* Effect.provideService(
    Conversation.serverProgram(conversation, witness, life),
    SocketServer.SocketServer,
    listener
  )
  report({ _tag: "Listening" })
  return yield* Effect.never
})

const client = Effect.gen(function* () {
  const link = NodeLink.tcp({ host, port, plaintext: true })
  yield* Conversation.clientProgram(conversation, witness, `client/${life}`, link)
  report({ _tag: "Done" })
})

Effect.scoped(part === "server" ? server : client).pipe(NodeRuntime.runMain)
