/** A connection over a network in memory, and a peer that is told what to say. Messages are lines. */
import { Effect, Fiber, Schedule, Stream } from "effect"
import type { Scope } from "effect"
import type * as Socket from "effect/socket/Socket"
import { Connection, type ConnectionError, Dialect, type Link } from "holdfast"
import * as MemoryLink from "./MemoryLink.ts"
import { settle } from "./TestTime.ts"

export const spoken = Dialect.lines().pipe(
  Dialect.withPing({ ping: "PING", pong: "PONG", isPing: (line) => line === "PING", isPong: (line) => line === "PONG" })
)

/** Can be asked for a sign of life. */
export class Spoken extends Connection.Service<Spoken>()("test/Spoken", { dialect: spoken }) {}

/** Cannot. */
export class Mute extends Connection.Service<Mute>()("test/Mute", { dialect: Dialect.lines() }) {}

export type Line = Connection.Connection<string, string>

/** Dials again every second, so that instants can be told. */
export const steady: Connection.PolicyOptions = { reconnect: Schedule.spaced("1 second") }

/** The other side of one link. */
export interface Peer {
  /** Every line that it has read, pings included. */
  readonly heard: Array<string>
  /** The same without pings. */
  readonly messages: () => Array<string>
  readonly say: (...lines: ReadonlyArray<string>) => Effect.Effect<void, Socket.SocketError>
  /** Reads from now on. */
  readonly read: Effect.Effect<void>
  /** Reads no more. */
  readonly freeze: Effect.Effect<void>
}

/** Takes a connection. It reads, and answers pings, unless told otherwise. */
export const peerOf = (
  link: Link.Link,
  { answers = true, reads = true }: { readonly answers?: boolean; readonly reads?: boolean } = {}
): Effect.Effect<Peer, Socket.SocketError, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const { pull } = yield* link.reader
    const writer = yield* link.writer
    const heard: Array<string> = []
    const speech = Dialect.lines().begin()
    const say: Peer["say"] = (...lines) => writer.write(lines.map((line) => `${line}\n`).join(""))
    const reading = Effect.gen(function* () {
      while (true) {
        for (const chunk of yield* pull) {
          const answered: Array<string> = []
          speech.hear(chunk as Uint8Array, {
            message: (line) => {
              heard.push(line)
              if (answers && line === "PING") answered.push("PONG")
            },
            pong: () => undefined,
            answer: () => undefined
          })
          if (answered.length > 0) yield* say(...answered)
        }
      }
    })
    let fiber: Fiber.Fiber<unknown, Socket.SocketError> | undefined
    const read = Effect.map(Effect.forkIn(reading, scope, { startImmediately: true }), (started) => {
      fiber = started
    })
    if (reads) yield* read
    return {
      heard,
      messages: () => heard.filter((line) => line !== "PING" && line !== "PONG"),
      say,
      read,
      freeze: Effect.suspend(() => (fiber === undefined ? Effect.void : Fiber.interrupt(fiber)))
    }
  })

type Extra = Omit<Partial<Connection.Options<string, string, never, never>>, "link"> & {
  readonly network?: MemoryLink.Options
  readonly mute?: boolean
  /** What the links can tell. */
  readonly progress?: Link.Link["progress"]
}

/** A connection that dials; who answers is up to the test. */
export const dialling = Effect.fnUntraced(function* ({
  mute = false,
  network: wires,
  progress,
  ...options
}: Extra = {}) {
  const network = yield* MemoryLink.make(wires)
  const make = mute ? Mute.make : Spoken.make
  const connection = yield* make({
    link: Effect.succeed(progress === undefined ? network.link : { ...network.link, progress }),
    fateUnknown: "sendAgain",
    ...options,
    policy: { ...steady, ...options.policy }
  })
  return { network, connection }
})

/** The same with a peer that has taken the first link. */
export const connected = Effect.fnUntraced(function* (
  options: Extra & { readonly peer?: Parameters<typeof peerOf>[1] } = {}
) {
  const { peer: how, ...rest } = options
  const { connection, network } = yield* dialling(rest)
  const peer = yield* peerOf(yield* network.accept, how)
  yield* settle
  return { network, connection, peer, nextPeer: Effect.flatMap(network.accept, (link) => peerOf(link, how)) }
})

/** Everything that comes out of a stream, in the background. */
export const collected = Effect.fnUntraced(function* <A>(stream: Stream.Stream<A, ConnectionError.ConnectionError>) {
  const all: Array<A> = []
  const fiber = yield* stream.pipe(
    Stream.runForEach((one) => Effect.sync(() => void all.push(one))),
    Effect.forkScoped({ startImmediately: true })
  )
  yield* settle
  return { all, fiber }
})

/** The tags of the events so far. */
export const eventsOf = (connection: Line) =>
  Effect.gen(function* () {
    const { all } = yield* collected(connection.events)
    return all
  })

/** The picture of a connection that is up. */
export const upOf = (connection: Line): Effect.Effect<Connection.Up> =>
  Effect.map(connection.state, (state) => {
    if (state._tag !== "Up") throw new Error(`the connection is ${state._tag}`)
    return state
  })

/** How an operation ends: its reason's tag, or "succeeded". */
export const tagOf = (operation: Effect.Effect<unknown, ConnectionError.ConnectionError>): Effect.Effect<string> =>
  Effect.match(operation, { onFailure: ({ reason }) => reason._tag, onSuccess: () => "succeeded" })

/** Begins an operation and tells, whenever asked, how it ended so far. */
export const begin = Effect.fnUntraced(function* (operation: Effect.Effect<unknown, ConnectionError.ConnectionError>) {
  const fiber = yield* Effect.forkScoped(tagOf(operation), { startImmediately: true })
  return {
    fiber,
    outcome: () => {
      const exit = fiber.pollUnsafe()
      if (exit === undefined) return "pending"
      return exit._tag === "Success" ? exit.value : "died"
    }
  }
})

export const numbered = (count: number, from = 0): Array<string> =>
  Array.from({ length: count }, (_, i) => `m${from + i}`)
