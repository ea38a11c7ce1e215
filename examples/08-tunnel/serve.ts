/**
 * The listening end: connections come out of the tunnel here and go to the targets.
 */
import { NodeListener } from "@holdfast/node"
import type { Redacted } from "effect"
import { Effect, Exit, FileSystem, Layer, Option, Stream } from "effect"
import type { Duration } from "effect"
import * as SocketServer from "effect/socket/SocketServer"
import type { Session, SessionChannel } from "holdfast"
import { type Address, type Named, namedText, text } from "./address.ts"
import { Connections, Refused } from "./connections.ts"
import { type Happening, Journal } from "./journal.ts"
import * as Proof from "./proof.ts"
import { splice } from "./splice.ts"
import { Status } from "./status.ts"
import * as Tcp from "./tcp.ts"
import { backlog, policyOf, Tunnel } from "./tunnel.ts"

export interface ServeOptions {
  readonly listen: Address
  readonly targets: ReadonlyArray<Named>
  readonly secret: Redacted.Redacted<Uint8Array>
  readonly tls: Option.Option<{ readonly certFile: string; readonly keyFile: string }>
  readonly plaintext: boolean
  /** Of each tunnel; the bound of all is that of `Connections`. */
  readonly connectionsMax: number
  readonly patience: Duration.Duration
  /** How long the connections of a tunnel without a link are kept. */
  readonly keep: Duration.Duration
  readonly drain: Duration.Duration
}

/** Runs until it is interrupted, and drains then. */
export const serve = Effect.fn("tunnel.serve")(function* (options: ServeOptions) {
  const journal = yield* Journal
  const connections = yield* Connections
  const status = yield* Status
  const counts = { sessions: 0, links: 0 }
  const targets = new Map(options.targets.map(({ address, name }) => [name, address]))
  const known = [...targets.keys()].join(", ")

  const refuse = (incoming: SessionChannel.Incoming, detail: string) =>
    Effect.andThen(incoming.refuse(detail), Effect.fail(new Refused({ message: detail })))

  const carry = (incoming: SessionChannel.Incoming) =>
    connections.carry(incoming.name, "the tunnel", (carried) =>
      Effect.gen(function* () {
        const target = targets.get(incoming.name)
        if (target === undefined) {
          return yield* refuse(incoming, `there is no target called ${incoming.name}, only ${known}`)
        }
        const tcp = yield* Effect.catch(Tcp.connect(target), ({ message }) => refuse(incoming, message))
        const channel = yield* incoming.accept({ backlog })
        yield* splice(tcp, channel, carried)
      }).pipe(Effect.scoped)
    )

  /** Once for each session: it lives as long as the tunnel to one dialling end, whatever becomes of its links. */
  const handler = (session: Session.Session<Uint8Array, Uint8Array>) =>
    Stream.runForEach(session.channels, (incoming) => {
      const full = connections.full()
      return full === undefined ? Effect.forkScoped(carry(incoming)) : incoming.refuse(full)
    })

  const server = Proof.listening(yield* listener(options), {
    secret: options.secret,
    onRefused: (peer, detail) => journal.tell({ event: "linkRefused", from: peer ?? "?", detail })
  })
  yield* Tunnel.serve(handler, {
    policy: policyOf(options.patience),
    limits: { channelsMax: options.connectionsMax, resumeWindow: options.keep },
    onEvent: (event) =>
      Effect.suspend(() => {
        status.links = `${counted(event, counts)} links of ${counts.sessions} tunnels`
        return journal.tell(happeningOf(event))
      })
  }).pipe(Layer.provide(Layer.succeed(SocketServer.SocketServer, server)), Layer.build)
  yield* Effect.addFinalizer((exit) => connections.drain(options.drain, exit))

  yield* journal.tell({
    event: "ready",
    listen: [text(boundTo(options.listen, server.address))],
    to: options.targets.map(namedText)
  })
  return yield* Effect.never
}, Effect.scoped)

const listener = Effect.fnUntraced(function* ({ listen, plaintext, tls }: ServeOptions) {
  if (Option.isNone(tls)) return yield* NodeListener.makeTcp({ ...listen, plaintext })
  const { certFile, keyFile } = tls.value
  const files = yield* FileSystem.FileSystem
  const [cert, key] = [yield* files.readFileString(certFile), yield* files.readFileString(keyFile)]
  return yield* NodeListener.makeTls({ ...listen, cert, key })
})

/** With the port that the kernel chose. */
const boundTo = (listen: Address, bound: SocketServer.SocketServer["Service"]["address"]): Address =>
  "port" in bound ? { host: listen.host, port: bound.port } : listen

/** Follows how many links and tunnels there are; gives the number of links. */
const counted = (event: Session.ServerEvent, counts: { sessions: number; links: number }): number => {
  if (event._tag === "SessionOpened") counts.sessions++
  if (event._tag === "SessionEnded") counts.sessions--
  if (event._tag === "SessionOpened" || event._tag === "SessionResumed") counts.links++
  if (event._tag === "LinkEnded") counts.links--
  return counts.links
}

const happeningOf = (event: Session.ServerEvent): Happening => {
  switch (event._tag) {
    case "LinkRefused":
      return {
        event: "linkRefused",
        from: Option.getOrElse(event.address, () => "?"),
        detail: event.error.message
      }
    case "SessionOpened":
      return { event: "sessionOpened", session: event.session }
    case "SessionResumed":
      return { event: "linkUp", incarnation: event.incarnation, opened: "Resumed" }
    case "LinkEnded":
      return { event: "linkLost", reason: event.error.reason._tag, detail: event.error.message }
    case "SessionEnded":
      return { event: "sessionEnded", session: event.session, detail: endOf(event.exit) }
  }
}

const endOf = (exit: Exit.Exit<void, Error>): string =>
  Option.match(Exit.findErrorOption(exit), { onNone: () => "in good order", onSome: ({ message }) => message })
