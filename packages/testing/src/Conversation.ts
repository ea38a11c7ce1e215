/**
 * The workload of a scenario as a value: clients that hold sessions with a server, numbered messages both ways, and an
 * account of what was sent and taken. It says nothing about faults, and nothing about where it runs.
 *
 * Machines are `server` and `client`, or `client-1`, `client-2` and so on. What is accepted and what is taken is told by
 * the programs, not by the library. A session that the other side has lost goes on as a fresh one, and what came back is
 * entered as such; a machine that restarts begins with a memory of its own.
 */
import { Cause, Deferred, Duration, Effect, Exit, Latch, Layer, Option, Scope } from "effect"
import { Policy, Session } from "holdfast"
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

/** Who talks how much, under which policies. */
export interface Conversation {
  /** Default 1. */
  readonly clients?: number | undefined
  readonly toServer?: Flow | undefined
  readonly toClient?: Flow | undefined
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

/** Starts a conversation on the machines of a simulation. */
export const start = Effect.fnUntraced(function* (
  network: SimNetwork,
  ledger: Ledger,
  conversation: Conversation
): Effect.fn.Return<Talk, Policy.PolicyError> {
  const policy = yield* Policy.make(conversation.policy)
  const talk: Talking = {
    network,
    ledger,
    conversation,
    policy,
    violations: [],
    busy: new Set(clientsOf(conversation)),
    allDone: Latch.makeUnsafe(false)
  }
  yield* serverOf(talk)
  for (const name of clientsOf(conversation)) yield* clientOf(talk, name)
  return {
    done: talk.allDone.await,
    violations: talk.violations
  }
})

/** The machines on which clients run. */
export const clientsOf = ({ clients = 1 }: Conversation): ReadonlyArray<string> =>
  clients === 1 ? ["client"] : Array.from({ length: clients }, (_, n) => `client-${n + 1}`)

class Plain extends Session.Service<Plain>()("holdfast/testing/Conversation") {}

type PlainSession = Session.Session<Uint8Array, Uint8Array>

interface Talking {
  readonly network: SimNetwork
  readonly ledger: Ledger
  readonly conversation: Conversation
  readonly policy: Policy.Policy
  readonly violations: Array<Violation>
  /** Clients that are not done; one that starts again is not done again. */
  readonly busy: Set<string>
  readonly allDone: Latch.Latch
}

const port = 7000

const serverOf = Effect.fnUntraced(function* ({ conversation, ledger, network, policy, violations }: Talking) {
  const { limits, serverPolicy, toClient = nothing, toServer = nothing } = conversation
  let lives = 0
  let streams: Array<string> = []
  const program = Effect.gen(function* () {
    for (const stream of streams) ledger.forgotten(stream)
    streams = []
    const life = ++lives
    const scope = yield* Effect.scope
    let sessions = 0
    const server = Plain.serve(
      Effect.fnUntraced(function* (session: PlainSession) {
        const stream = `server/${life}.${++sessions}`
        streams.push(stream)
        yield* Scope.provide(SimHost.observe(stream, session), scope) // it outlives the handler
        yield* Effect.forkScoped(watchMemory(stream, session, policy, violations))
        yield* Effect.forkScoped(Effect.ignore(taking(ledger, session, toServer)))
        yield* sending(ledger, stream, session, toClient).pipe(
          Effect.andThen(session.join), // the clients close
          Effect.ensuring(returned(ledger, stream, session))
        )
      }),
      { policy: serverPolicy ?? conversation.policy, limits }
    )
    yield* Layer.build(server.pipe(Layer.provide(SimHost.layerListener({ port }))))
  })
  yield* network.host("server").boot(Effect.orDie(program))
})

const clientOf = Effect.fnUntraced(function* (talking: Talking, name: string) {
  const { allDone, busy, conversation, ledger, network, policy, violations } = talking
  const { toClient = nothing, toServer = nothing } = conversation
  const done = Effect.sync(() => {
    busy.delete(name)
    if (busy.size === 0) allDone.openUnsafe()
  })
  let lives = 0
  const program = Effect.gen(function* () {
    busy.add(name)
    allDone.closeUnsafe()
    if (lives > 0) ledger.forgotten(`${name}/${lives}`)
    const stream = `${name}/${++lives}`
    const isAnew = Latch.makeUnsafe(false)
    const hasEnded = Deferred.makeUnsafe<void>()
    const session = yield* Plain.make({
      link: SimHost.dial({ host: "server", port }),
      policy: conversation.policy,
      onLost: ({ fateUnknown, notSent }) =>
        Effect.sync(() => {
          ledger.returned(stream, fateUnknown.map(numberOf), notSent.map(numberOf))
          isAnew.openUnsafe()
          return []
        })
    })
    yield* SimHost.observe(stream, session)
    yield* Effect.forkScoped(watchMemory(stream, session, policy, violations))
    // The other side may have lost the session after its end was heard: then it says everything anew.
    const listening = taking(ledger, session, toClient).pipe(
      Effect.andThen(Deferred.succeed(hasEnded, undefined)),
      Effect.andThen(isAnew.await),
      Effect.andThen(isAnew.close)
    )
    yield* Effect.forkScoped(Effect.ignore(Effect.forever(listening)))
    const talking = Effect.gen(function* () {
      yield* sending(ledger, stream, session, toServer)
      yield* Effect.raceFirst(Deferred.await(hasEnded), session.join)
      yield* Effect.retry(session.flush, { while: ({ reason }) => reason._tag === "SessionLost", times: lossesMax })
    })
    yield* Effect.onError(talking, () => returned(ledger, stream, session))
    const exit = yield* Effect.exit(session.close)
    if (Exit.isSuccess(exit)) return ledger.closed(stream)
    yield* returned(ledger, stream, session)
    // Everything was taken already, so only the good-byes are in doubt, and that is told by type.
    const reason = Option.getOrUndefined(Exit.findErrorOption(exit))?.reason._tag
    if (reason === "CloseTimedOut" || reason === "SessionLost") return
    violations.push({ rule: "close", text: `${stream}: ${String(exit)}` })
  }).pipe(
    Effect.catchCause((cause) =>
      Effect.sync(() => {
        if (Cause.hasInterruptsOnly(cause)) return
        violations.push({ rule: "settles", text: `${name}: its program failed: ${Cause.pretty(cause)}` })
      })
    ),
    Effect.andThen(done)
  )
  yield* network.host(name).boot(program)
})

/** Sends everything, and says so. */
const sending = Effect.fnUntraced(function* (ledger: Ledger, stream: string, session: PlainSession, flow: Flow) {
  for (let number = 0; number < flow.messages; number++) {
    ledger.sent(stream)
    yield* session.send(messageOf(stream, number, flow.bytes ?? bytesDefault)).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => {
          if (Exit.isFailure(exit)) ledger.returned(stream, [], [number])
        })
      )
    )
    if (flow.every !== undefined) yield* Effect.sleep(flow.every)
  }
  yield* session.end
})

const taking = (ledger: Ledger, session: PlainSession, { taking = 0 }: Flow) =>
  session.handle((message) =>
    Effect.andThen(
      Duration.toMillis(Duration.fromInputUnsafe(taking)) === 0 ? Effect.void : Effect.sleep(taking),
      Effect.sync(() => ledger.taken(streamOf(message), numberOf(message)))
    )
  )

const returned = (ledger: Ledger, stream: string, session: PlainSession) =>
  Effect.ignore(
    Effect.map(session.leftovers, ({ fateUnknown, notSent }) =>
      ledger.returned(stream, fateUnknown.map(numberOf), notSent.map(numberOf))
    )
  )

/** What is kept for resending stays within the policy's limits. */
const watchMemory = (stream: string, session: PlainSession, policy: Policy.Policy, violations: Array<Violation>) =>
  Effect.gen(function* () {
    const { bytesMax, messagesMax } = policy.backlog
    while (true) {
      yield* Effect.sleep(memoryInterval)
      const { fateUnknown, notSent } = yield* session.leftovers
      const kept = [...fateUnknown, ...notSent]
      const bytes = kept.reduce((sum, message) => sum + message.length, 0)
      if (kept.length <= messagesMax && bytes <= bytesMax) continue
      const text = `${stream}: ${kept.length} messages (${messagesMax}) and ${bytes} bytes (${bytesMax}) are kept`
      violations.push({ rule: "memory", text })
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
