/**
 * The dialling end: programs connect here, and their connections go into the tunnel.
 */
import { NodeLink } from "@holdfast/node"
import type { Redacted } from "effect"
import { Duration, Effect, FiberSet, FileSystem, Option, Stream } from "effect"
import type { ConnectionError, Session } from "holdfast"
import type * as Net from "node:net"
import { type Address, type Named, namedText, text } from "./address.ts"
import { Connections, Refused } from "./connections.ts"
import { Journal } from "./journal.ts"
import * as Proof from "./proof.ts"
import { splice } from "./splice.ts"
import { Status } from "./status.ts"
import * as Tcp from "./tcp.ts"
import { backlog, policyOf, Tunnel } from "./tunnel.ts"

export interface DialOptions {
  readonly connect: Address
  readonly listen: ReadonlyArray<Named>
  readonly secret: Redacted.Redacted<Uint8Array>
  readonly tls: Option.Option<{ readonly caFile: Option.Option<string>; readonly serverName: Option.Option<string> }>
  readonly plaintext: boolean
  readonly patience: Duration.Duration
  readonly drain: Duration.Duration
}

/** Runs until it is interrupted, and drains then; fails when the tunnel ends for good. */
export const dial = Effect.fn("tunnel.dial")(function* (options: DialOptions) {
  const journal = yield* Journal
  const connections = yield* Connections
  const status = yield* Status
  const link = yield* linkTo(options)
  const session = yield* Tunnel.make({
    link: Effect.map(link, (link) => Proof.dialling(link, options.secret)),
    policy: policyOf(options.patience),
    limits: { channelsMax: 0 }, // connections begin at this end only
    // A listening end that was restarted knows nothing of the connections: they are reset, and new ones go on.
    onLost: () => Effect.succeed([])
  })
  yield* Effect.forkScoped(
    Stream.runForEach(session.changes, (state) => Effect.sync(() => void (status.links = wording(state))))
  )
  yield* Effect.forkScoped(
    Stream.runForEach(session.events, (event) => {
      switch (event._tag) {
        case "Opened":
          return journal.tell({ event: "linkUp", incarnation: event.incarnation, opened: event.opened })
        case "Ended":
          return journal.tell({ event: "linkLost", reason: event.error.reason._tag, detail: event.error.message })
        case "Retrying":
          return journal.tell({
            event: "retrying",
            detail: event.error.message,
            inMillis: Math.round(Duration.toMillis(event.delay))
          })
        default:
          return Effect.void
      }
    })
  )

  const carry = (name: string, socket: Net.Socket) =>
    Effect.gen(function* () {
      const tcp = yield* Tcp.accepted(socket)
      if (connections.full() !== undefined) return
      yield* connections.carry(name, tcp.peer, (carried) =>
        Effect.gen(function* () {
          const channel = yield* session.open(name, { backlog })
          yield* splice(tcp, channel, carried)
        }).pipe(Effect.scoped, Effect.catch(refusal))
      )
    }).pipe(Effect.scoped)

  const accept = yield* FiberSet.makeRuntime()
  yield* Effect.addFinalizer((exit) => connections.drain(options.drain, exit))
  const listening = yield* Effect.forEach(options.listen, ({ address, name }) =>
    Effect.map(
      Tcp.listen(address, options.plaintext, (socket) => accept(carry(name, socket))),
      (bound): Named => ({ name, address: bound })
    )
  )
  yield* journal.tell({ event: "ready", listen: listening.map(namedText), to: [text(options.connect)] })
  return yield* session.join
}, Effect.scoped)

const linkTo = Effect.fnUntraced(function* ({ connect, plaintext, tls }: DialOptions) {
  if (Option.isNone(tls)) return NodeLink.tcp({ ...connect, plaintext })
  const { caFile, serverName } = tls.value
  const files = yield* FileSystem.FileSystem
  return NodeLink.tls({
    ...connect,
    ...(Option.isSome(caFile) ? { ca: yield* files.readFileString(caFile.value) } : {}),
    ...(Option.isSome(serverName) ? { servername: serverName.value } : {})
  })
})

/** For the display. */
const wording = (state: Session.State): string => {
  switch (state._tag) {
    case "Up":
      return Option.match(state.roundTripTime, {
        onNone: () => `link ${state.incarnation} is up`,
        onSome: (time) => `link ${state.incarnation} is up, round trip ${Duration.toMillis(time).toFixed(1)} ms`
      })
    case "Waiting":
      return `down: ${Option.match(state.error, { onNone: () => "not yet up", onSome: ({ message }) => message })}`
    case "Connecting":
    case "Handshaking":
      return `dialling, attempt ${state.attempt}`
    case "Closing":
    case "Closed":
      return "ended"
  }
}

/** The other end refused the channel: the connection never reached its target. */
const refusal = (error: Tcp.TcpFailed | ConnectionError.ConnectionError) => {
  const refused =
    error._tag === "ConnectionError" && error.reason._tag === "ChannelReset" && error.reason.code === "Refused"
  return Effect.fail(refused ? new Refused({ message: error.reason.detail }) : error)
}
