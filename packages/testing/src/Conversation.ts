/**
 * The workload of a scenario as a value: clients that hold sessions with a server, numbered messages both ways, and an
 * account of what was sent and taken. It says nothing about faults, and nothing about where it runs.
 *
 * Machines are `server` and `client`, or `client-1`, `client-2` and so on. What is accepted and what is taken is told by
 * the programs, not by the library. A session that the other side has lost goes on as a fresh one, and what came back is
 * entered as such; a machine that restarts begins with a memory of its own.
 */
import { Cause, Deferred, Duration, Effect, Exit, Fiber, Latch, Layer, Option, Scope, Stream } from "effect"
import * as SocketServer from "effect/socket/SocketServer"
import { type Link, Policy, Session, type SessionChannel } from "holdfast"
import type { Ledger, Violation } from "./Ledger.ts"
import * as SimHost from "./SimHost.ts"
import type { SimNetwork } from "./SimNetwork.ts"

/** Messages of one direction. */
export interface Flow {
  readonly messages: number
  /** Bytes of each. Default 100. */
  readonly bytes?: number | undefined
  /** Between two messages. Default: as fast as they are accepted. */
  readonly every?: Duration.Input | undefined
  /** How long the other application takes for each. Default no time. */
  readonly taking?: Duration.Input | undefined
}

/** Channels that each client opens, beside its session's own messages. What goes on one is counted apart. */
export interface Channels {
  readonly count: number
  readonly toServer?: Flow | undefined
  readonly toClient?: Flow | undefined
  /** Only so many messages wait for a link; older ones are skipped, and both sides have to count the same. */
  readonly latest?: number | undefined
}

/** Who talks how much, under which policies. */
export interface Conversation {
  /** Default 1. */
  readonly clients?: number | undefined
  readonly toServer?: Flow | undefined
  readonly toClient?: Flow | undefined
  readonly channels?: Channels | undefined
  /** Of the clients. */
  readonly policy?: Policy.Options | undefined
  /** Default: as the clients. */
  readonly serverPolicy?: Policy.Options | undefined
  readonly limits?: Session.ServerLimits | undefined
}

/** A conversation that is going on. */
export interface Talk {
  /** Succeeds when all clients have closed in good order. */
  readonly done: Effect.Effect<void>
  /** What the programs found wrong while it went on. */
  readonly violations: ReadonlyArray<Violation>
}

/** To whom the programs of a conversation tell what they do, wherever they run. All but `observe` are plain calls. */
export interface Witness extends Pick<Ledger, "sent" | "taken" | "returned" | "closed" | "skipped"> {
  readonly violated: (violation: Violation) => void
  /** Is shown each session, under the name of its stream. */
  readonly observe: (stream: string, session: PlainSession) => Effect.Effect<void, never, Scope.Scope>
}

/** Starts a conversation on the machines of a simulation. */
export const start = Effect.fnUntraced(function* (
  network: SimNetwork,
  ledger: Ledger,
  conversation: Conversation
): Effect.fn.Return<Talk, Policy.PolicyError> {
  yield* Policy.make(conversation.policy) // a policy that cannot work fails here, not on a machine
  yield* Policy.make(conversation.serverPolicy)
  const violations: Array<Violation> = []
  const witness = {
    sent: (stream: string) => ledger.sent(stream),
    taken: (stream: string, number: number) => ledger.taken(stream, number),
    returned: (stream: string, unsure: ReadonlyArray<number>, unsent: ReadonlyArray<number>) =>
      ledger.returned(stream, unsure, unsent),
    closed: (stream: string) => ledger.closed(stream),
    skipped: (stream: string, end: "sender" | "receiver", count: number) => ledger.skipped(stream, end, count),
    violated: (violation: Violation) => void violations.push(violation)
  }
  const clients = clientsOf(conversation)
  const busy = new Set(clients)
  const allDone = Latch.makeUnsafe(false)

  let serverLives = 0
  const server = Effect.gen(function* () {
    const host = yield* SimHost.CurrentHost
    const observe = (stream: string, session: PlainSession) =>
      Effect.provideService(SimHost.observe(stream, session), SimHost.CurrentHost, host)
    for (const stream of ledger.streams) if (stream.startsWith(`server/${serverLives}.`)) ledger.forgotten(stream)
    const program = serverProgram(conversation, { ...witness, observe }, ++serverLives)
    yield* Effect.provideService(program, SocketServer.SocketServer, yield* SimHost.listen({ port }))
  })
  yield* network.host("server").boot(Effect.orDie(server))

  for (const name of clients) {
    let lives = 0
    const client = Effect.gen(function* () {
      // One that starts again is not done again.
      busy.add(name)
      allDone.closeUnsafe()
      const before = `${name}/${lives}`
      for (const stream of ledger.streams) {
        if (stream === before || stream.startsWith(`${before}~`)) ledger.forgotten(stream)
      }
      const host = yield* SimHost.CurrentHost
      const observe = (stream: string, session: PlainSession) =>
        Effect.provideService(SimHost.observe(stream, session), SimHost.CurrentHost, host)
      yield* clientProgram(
        conversation,
        { ...witness, observe },
        `${name}/${++lives}`,
        SimHost.dial({ host: "server", port })
      )
      busy.delete(name)
      if (busy.size === 0) allDone.openUnsafe()
    })
    yield* network.host(name).boot(client)
  }
  return { done: allDone.await, violations }
})

/** The machines on which clients run. */
export const clientsOf = ({ clients = 1 }: Conversation): ReadonlyArray<string> =>
  clients === 1 ? ["client"] : Array.from({ length: clients }, (_, n) => `client-${n + 1}`)

class Plain extends Session.Service<Plain>()("holdfast/testing/Conversation") {}

type PlainSession = Session.Session<Uint8Array, Uint8Array>

/** A session, or a channel of it. */
type Talking = Session.Messaging<Uint8Array, Uint8Array>

const port = 7000

/** The server's part, on any `SocketServer`; its streams are `server/1.1` and so on: its life, and which session. */
export const serverProgram = Effect.fnUntraced(function* (
  conversation: Conversation,
  witness: Witness,
  life: number
): Effect.fn.Return<void, Policy.PolicyError, SocketServer.SocketServer | Scope.Scope> {
  const { limits, serverPolicy = conversation.policy, toClient = nothing, toServer = nothing } = conversation
  const { backlog } = yield* Policy.make(serverPolicy)
  const scope = yield* Effect.scope
  let sessions = 0
  const handler = Effect.fnUntraced(function* (session: PlainSession) {
    const stream = `server/${life}.${++sessions}`
    yield* Scope.provide(witness.observe(stream, session), scope) // it outlives the handler
    yield* Effect.forkScoped(watchMemory(witness, stream, session, backlog))
    yield* Effect.forkScoped(Effect.ignore(taking(witness, session, toServer)))
    yield* Effect.forkScoped(Effect.ignore(accepting(conversation, witness, stream, session)))
    yield* sending(witness, stream, session, toClient).pipe(
      Effect.andThen(session.join), // the clients close
      Effect.onExit((exit) => returned(witness, stream, session, exit))
    )
  })
  yield* Layer.build(Plain.serve(handler, { policy: serverPolicy, limits }))
})

/** A client's part, on any link: says its part, hears the other one, closes. Its one stream has this name. */
export const clientProgram = <R>(
  conversation: Conversation,
  witness: Witness,
  stream: string,
  link: Effect.Effect<Link.Link, unknown, R>
): Effect.Effect<void, never, R | Scope.Scope> => {
  const { policy, toClient = nothing, toServer = nothing } = conversation
  const program = Effect.gen(function* () {
    const isAnew = Latch.makeUnsafe(false)
    const hasEnded = Deferred.makeUnsafe<void>()
    const { backlog } = yield* Policy.make(policy)
    const session = yield* Plain.make({
      link,
      policy,
      onLost: ({ fateUnknown, notSent }) =>
        Effect.sync(() => {
          witness.returned(stream, fateUnknown.map(numberOf), notSent.map(numberOf))
          isAnew.openUnsafe()
          return []
        })
    })
    yield* witness.observe(stream, session)
    yield* Effect.forkScoped(watchMemory(witness, stream, session, backlog))
    // The other side may have lost the session after its end was heard: then it says everything anew.
    const listening = taking(witness, session, toClient).pipe(
      Effect.andThen(Deferred.succeed(hasEnded, undefined)),
      Effect.andThen(isAnew.await),
      Effect.andThen(isAnew.close)
    )
    yield* Effect.forkScoped(Effect.ignore(Effect.forever(listening)))
    const opening = yield* Effect.forkScoped(open(conversation, witness, stream, session))
    const talking = Effect.gen(function* () {
      yield* sending(witness, stream, session, toServer)
      yield* Fiber.await(opening)
      yield* Effect.raceFirst(Deferred.await(hasEnded), session.join)
      yield* Effect.retry(session.flush, { while: ({ reason }) => reason._tag === "SessionLost", times: lossesMax })
    })
    yield* Effect.onError(talking, (cause) => returned(witness, stream, session, Exit.failCause(cause)))
    const exit = yield* Effect.exit(session.close)
    if (Exit.isSuccess(exit)) return witness.closed(stream)
    yield* returned(witness, stream, session, exit)
    // Everything was taken already, so only the good-byes are in doubt, and that is told by type.
    const reason = Option.getOrUndefined(Exit.findErrorOption(exit))?.reason._tag
    if (reason === "CloseTimedOut" || reason === "SessionLost") return
    witness.violated({ rule: "close", text: `${stream}: ${String(exit)}` })
  })
  return Effect.catchCause(program, (cause) =>
    Effect.sync(() => {
      if (Cause.hasInterruptsOnly(cause)) return
      witness.violated({ rule: "settles", text: `${stream}: its program failed: ${Cause.pretty(cause)}` })
    })
  )
}

/** Opens all channels of a client, and talks on each until it is over. One that went down with its session is over. */
const open = ({ channels }: Conversation, witness: Witness, stream: string, session: PlainSession) =>
  Effect.forEach(
    Array.from({ length: channels?.count ?? 0 }, (_, n) => String(n + 1)),
    (name) =>
      session
        .open(name, { backlog: latestOf(channels) })
        .pipe(
          Effect.flatMap((channel) =>
            onChannel(witness, `${stream}~${name}`, channel, channels?.toServer, channels?.toClient)
          )
        ),
    { concurrency: "unbounded", discard: true }
  ).pipe(Effect.scoped, Effect.ignore)

/** Accepts all channels of a session, and talks on each. */
const accepting = ({ channels }: Conversation, witness: Witness, stream: string, session: PlainSession) =>
  Stream.runForEach(session.channels, (incoming) =>
    Effect.forkScoped(
      incoming.accept({ backlog: latestOf(channels) }).pipe(
        Effect.flatMap((channel) =>
          onChannel(witness, `${stream}~${incoming.name}`, channel, channels?.toClient, channels?.toServer)
        ),
        Effect.ignore
      )
    )
  )

/** Says its part on a channel and hears the other one, until both have ended; what was not taken comes back. */
const onChannel = Effect.fnUntraced(function* (
  witness: Witness,
  stream: string,
  channel: SessionChannel.SessionChannel<Uint8Array, Uint8Array>,
  saying: Flow = nothing,
  hearing: Flow = nothing
) {
  let from: string | undefined
  const heard = taking({ taken: (of, number) => witness.taken((from = of), number) }, channel, hearing)
  const settled = Effect.fnUntraced(function* (exit: Exit.Exit<unknown, unknown>) {
    const { skippedReceived, skippedSent } = yield* channel.state
    witness.skipped(stream, "sender", skippedSent)
    if (Exit.isSuccess(exit)) {
      witness.closed(stream)
      if (from !== undefined) witness.skipped(from, "receiver", skippedReceived)
    }
    yield* returned(witness, stream, channel, exit)
  })
  yield* Effect.all([sending(witness, stream, channel, saying), heard], { concurrency: 2 }).pipe(
    Effect.andThen(channel.join),
    Effect.onExit(settled)
  )
})

const latestOf = (channels: Channels | undefined) =>
  channels?.latest === undefined ? {} : ({ messagesMax: channels.latest, whenFull: "dropOldest" } as const)

/** Sends everything, and says so. */
const sending = Effect.fnUntraced(function* (witness: Witness, stream: string, session: Talking, flow: Flow) {
  for (let number = 0; number < flow.messages; number++) {
    witness.sent(stream)
    yield* session.send(messageOf(stream, number, flow.bytes ?? bytesDefault)).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => {
          if (Exit.isFailure(exit)) witness.returned(stream, [], [number])
        })
      )
    )
    if (flow.every !== undefined) yield* Effect.sleep(flow.every)
  }
  yield* session.end
})

const taking = (witness: Pick<Witness, "taken">, session: Talking, { taking = 0 }: Flow) =>
  session.handle((message) =>
    Effect.andThen(
      Duration.toMillis(Duration.fromInputUnsafe(taking)) === 0 ? Effect.void : Effect.sleep(taking),
      Effect.sync(() => witness.taken(streamOf(message), numberOf(message)))
    )
  )

/** What came back. A part that was interrupted leaves a session that still goes on: then nothing is surely not sent. */
const returned = (witness: Witness, stream: string, session: Talking, exit: Exit.Exit<unknown, unknown>) =>
  Effect.ignore(
    Effect.map(session.leftovers, ({ fateUnknown, notSent }) => {
      const unsent = notSent.map(numberOf)
      const unsure = fateUnknown.map(numberOf)
      if (Exit.hasInterrupts(exit)) witness.returned(stream, [...unsure, ...unsent], [])
      else witness.returned(stream, unsure, unsent)
    })
  )

/** What is kept for resending stays within the policy's limits. */
const watchMemory = (witness: Witness, stream: string, session: PlainSession, backlog: Policy.Backlog) =>
  Effect.gen(function* () {
    const { bytesMax, messagesMax } = backlog
    while (true) {
      yield* Effect.sleep(memoryInterval)
      const { fateUnknown, notSent } = yield* session.leftovers
      const kept = [...fateUnknown, ...notSent]
      const bytes = kept.reduce((sum, message) => sum + message.length, 0)
      if (kept.length <= messagesMax && bytes <= bytesMax) continue
      const text = `${stream}: ${kept.length} messages (${messagesMax}) and ${bytes} bytes (${bytesMax}) are kept`
      witness.violated({ rule: "memory", text })
    }
  }).pipe(Effect.ignore)

const messageOf = (stream: string, number: number, bytes: number): Uint8Array =>
  new TextEncoder().encode(`${stream}#${number}|`.padEnd(bytes, "."))

const headOf = (message: Uint8Array): string => {
  const head = new TextDecoder().decode(message.subarray(0, headBytesMax))
  return head.slice(0, head.indexOf("|"))
}

const streamOf = (message: Uint8Array): string => headOf(message).split("#")[0] ?? ""
const numberOf = (message: Uint8Array): number => Number(headOf(message).split("#")[1])

const nothing: Flow = { messages: 0 }
const bytesDefault = 100
const headBytesMax = 64
const lossesMax = 100
const memoryInterval = "500 millis"
