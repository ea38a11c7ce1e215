// One end of a conversation of `@holdfast/testing` over real sockets: tells what it accepts and takes, and what its session
// tells, to the process that keeps the account.
import { NodeRuntime } from "@effect/platform-node"
import { NodeLink, NodeListener } from "@holdfast/node"
import { Conversation, type Ledger } from "@holdfast/testing"
import { Effect, Latch, Stream } from "effect"
import * as Socket from "effect/socket/Socket"
import * as SocketServer from "effect/socket/SocketServer"
import type { Link } from "holdfast"
import { scenarios } from "../../../scenarios/Twofold.ts"
import * as Role from "../Role.ts"

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
  | { readonly _tag: "Dialing" }
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
  | {
      readonly _tag: "Skipped"
      readonly stream: string
      readonly end: "sender" | "receiver"
      readonly count: number
    }
  | { readonly _tag: "Violated"; readonly violation: Ledger.Violation }
  | {
      readonly _tag: "Happened"
      readonly what: string
      readonly opened?: string | undefined
      readonly reason?: string | undefined
    }

/** What it may be told: how many bytes a second of each connection to read; nothing is all. */
export interface Order {
  readonly bytesPerSecond?: number | undefined
}

const { host, life, part, port, scenario } = Role.argument as Argument
const { conversation } = scenarios[scenario]!

const report = (fact: Fact) => Role.report(fact)

const witness: Conversation.Witness = {
  sent: (stream) => report({ _tag: "Sent", stream }),
  taken: (stream, number) => report({ _tag: "Taken", stream, number }),
  returned: (stream, unsure, unsent) => report({ _tag: "Returned", stream, unsure, unsent }),
  closed: (stream) => report({ _tag: "Closed", stream }),
  skipped: (stream, end, count) => report({ _tag: "Skipped", stream, end, count }),
  violated: (violation) => report({ _tag: "Violated", violation }),
  observe: (_, session) =>
    session.events.pipe(
      Stream.runForEach((event) =>
        Effect.sync(() => {
          const opened = event._tag === "Opened" ? event.opened : undefined
          const reason = "error" in event ? event.error.reason._tag : undefined
          report({ _tag: "Happened", what: event._tag, opened, reason })
        })
      ),
      Effect.forkScoped({ startImmediately: true }),
      Effect.asVoid
    )
}

let bytesPerSecond: number | undefined
const isFast = Latch.makeUnsafe(true)
Role.listen((order) => {
  bytesPerSecond = (order as Order).bytesPerSecond
  if (bytesPerSecond === 0) isFast.closeUnsafe()
  else isFast.openUnsafe()
})

/** A link that reads as fast as it is told to. */
const throttled = (link: Link.Link): Link.Link => ({
  ...Socket.make({
    reader: Effect.map(link.reader, ({ pull, upgrade }) => ({
      pull: Effect.andThen(isFast.await, pull).pipe(
        Effect.tap((chunks) => {
          if (bytesPerSecond === undefined || bytesPerSecond === 0) return Effect.void
          return Effect.sleep((chunks.reduce((sum, { length }) => sum + length, 0) / bytesPerSecond) * 1000)
        })
      ),
      upgrade
    })),
    writer: link.writer
  }),
  destroy: link.destroy,
  progress: link.progress,
  get peer() {
    return link.peer
  }
})

const server = Effect.gen(function* () {
  const { address, run } = yield* NodeListener.makeTcp({ host, port, plaintext: true })
  const listener = { address, run: ((handler) => run((socket) => handler(throttled(socket)))) as typeof run }
  yield* Effect.provideService(
    Conversation.serverProgram(conversation, witness, life),
    SocketServer.SocketServer,
    listener
  )
  report({ _tag: "Listening" })
  return yield* Effect.never
})

const client = Effect.gen(function* () {
  const link = Effect.map(NodeLink.tcp({ host, port, plaintext: true }), (link) => {
    report({ _tag: "Dialing" })
    return throttled(link)
  })
  yield* Conversation.clientProgram(conversation, witness, `client/${life}`, link)
  report({ _tag: "Done" })
})

Effect.scoped(part === "server" ? server : client).pipe(NodeRuntime.runMain)
