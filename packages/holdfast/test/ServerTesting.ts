/**
 * What tests of the server share: a server that can be stopped and keeps its events, and several servers behind one
 * port.
 */
import { Effect, Exit, Layer, Queue, Scope } from "effect"
import * as SocketServer from "effect/socket/SocketServer"
import type { Link, Session } from "holdfast"
import type * as MemoryLink from "./MemoryLink.ts"
import { crypto, flowing, Plain } from "./SessionTesting.ts"

export type ServerSession = Session.Session<Uint8Array, Uint8Array>

export type Server = Effect.Success<ReturnType<typeof start>>

export interface Options<P = never> extends Session.ServerOptions<P, never> {
  /** Default: hands the session to `next`, and lasts until the session ends. */
  readonly handler?: ((session: ServerSession) => Effect.Effect<unknown, unknown, P>) | undefined
}

/** A test that lets time pass while what it has made is released: servers and clients wait for each other then. */
export const scenario = <A, E, R>(body: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, Scope.Scope>> =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const exit = yield* Effect.exit(Scope.provide(body, scope))
    yield* flowing(Scope.close(scope, exit), "1 second")
    return yield* exit
  })

/** A server in the scope of the test. */
export const start = Effect.fnUntraced(function* <P = never>(
  network: { readonly server: SocketServer.SocketServer["Service"] },
  { handler, ...options }: Options<P> = {}
) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const sessions = yield* Queue.unbounded<ServerSession>()
  const events: Array<Session.ServerEvent> = []
  const lasting = (session: ServerSession) => Effect.andThen(Queue.offer(sessions, session), Effect.exit(session.join))
  yield* Plain.serve(handler ?? lasting, {
    onEvent: (event) => Effect.sync(() => events.push(event)),
    ...options
  }).pipe(
    Layer.provide(Layer.succeed(SocketServer.SocketServer, network.server)),
    Layer.provide(crypto),
    Layer.build,
    Scope.provide(scope)
  )
  return {
    events,
    /** The events in short. */
    told: () => events.map(short),
    next: Queue.take(sessions),
    /** How many sessions have begun that nobody asked for. */
    waiting: Queue.size(sessions),
    /** Releases the layer. */
    stop: Scope.close(scope, Exit.void)
  }
})

const short = (event: Session.ServerEvent): string => {
  switch (event._tag) {
    case "LinkRefused":
    case "LinkEnded": {
      const { reason } = event.error
      const detail = "code" in reason ? ` ${reason.code}` : "rule" in reason ? ` ${reason.rule.split(":")[0]}` : ""
      return `${event._tag} ${reason._tag}${detail}`
    }
    case "SessionEnded":
      return `SessionEnded ${event.exit._tag}`
    case "SessionOpened":
    case "SessionResumed":
      return event._tag
  }
}

/** A network whose connections go to whichever server is in front. */
export const port = Effect.fnUntraced(function* (network: MemoryLink.Network) {
  let front: Queue.Queue<Link.Link> | undefined
  yield* Effect.forkScoped(
    Effect.forever(
      Effect.flatMap(network.accept, (link) => (front === undefined ? Effect.void : Queue.offer(front, link)))
    )
  )
  /** What the next server listens on; from now on it is in front. */
  return Effect.map(Queue.unbounded<Link.Link>(), (queue) => {
    front = queue
    const server: SocketServer.SocketServer["Service"] = {
      ...network.server,
      run: (handler) =>
        Effect.gen(function* () {
          while (true) yield* Effect.forkScoped(Effect.ignoreCause(handler(yield* Queue.take(queue))))
        }).pipe(Effect.scoped) as Effect.Effect<never>
    }
    return { server }
  })
})

/** A network whose server sees its links changed. */
export const behind = (network: MemoryLink.Network, change: (link: Link.Link) => Link.Link) => {
  const run: typeof network.server.run = (handler) => network.server.run((socket) => handler(change(socket)))
  return { server: { ...network.server, run } }
}

/** A network that tells where each connection comes from. */
export const from = (network: MemoryLink.Network, address: () => string) =>
  behind(network, (link) => ({ ...link, peer: address() }))
