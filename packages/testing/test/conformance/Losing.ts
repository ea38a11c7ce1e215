/** S1: what is lost when a connection is closed, and who is told. The client writes 100,000 bytes. */
import { Fault, SimHost } from "@holdfast/testing"
import { Effect, Exit, Scope } from "effect"
import type * as Socket from "effect/socket/Socket"
import { Link } from "holdfast"
import { accepting, believing, port } from "../Programs.ts"
import { inflict, loopback, type Row, row, simulate } from "./Row.ts"

const bytesWritten = 100_000

interface Way {
  readonly fault: string
  /** What befalls the server before the client dials. */
  readonly during?: Fault.Fault
  /** What the server's program does with what it accepts. */
  readonly serve: (socket: Socket.Socket, got: (bytes: number) => void) => Effect.Effect<void, unknown, Scope.Scope>
  /** What the client does after its write. */
  readonly client: "waits" | "ends and waits" | "closes" | "resets"
  /** What befalls the server afterwards, and when. */
  readonly after?: Fault.Timed
  readonly told: string
  readonly got: number
}

const lose = ({ after, during, serve, client: does }: Way) =>
  simulate(
    Effect.fnUntraced(function* (network, client, server) {
      const accepted = yield* accepting(server)
      let got = 0
      if (during !== undefined) yield* inflict(network, during)
      yield* server
        .run(Effect.asVoid(Effect.forkScoped(serveFirst(accepted, serve, (bytes) => void (got += bytes)))))
        .pipe(Effect.forkChild({ startImmediately: true }))
      const told = yield* client.run(
        Effect.gen(function* () {
          const scope = yield* Scope.make()
          const mine = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) => Scope.provide(effect, scope)
          const link = yield* SimHost.dial({ host: "server", port })
          const believer = yield* mine(believing(network, link))
          yield* believer.opened.write([new Uint8Array(bytesWritten)])
          if (after !== undefined) yield* network.play([after])
          if (does === "ends and waits") yield* Effect.scoped(link.writer)
          if (does === "resets") yield* believer.opened.destroy
          if (does === "closes" || does === "resets") yield* Scope.close(scope, Exit.void)
          else yield* Effect.sleep("3 seconds")
          yield* Effect.sleep("3 seconds")
          const how = believer.ended?.how
          return how === undefined || how === "LinkClosed" ? "no error" : how
        })
      )
      return { told, got }
    }),
    loopback
  )

const serveFirst = (accepted: ReadonlyArray<Socket.Socket>, serve: Way["serve"], got: (bytes: number) => void) =>
  Effect.gen(function* () {
    while (accepted[0] === undefined) yield* Effect.sleep("1 millis")
    yield* serve(accepted[0], got)
  }).pipe(Effect.ignore)

/** Says good-bye and never reads. */
const endUnread: Way["serve"] = (socket) => Effect.asVoid(Effect.scoped(socket.writer))

const hold: Way["serve"] = () => Effect.void

/** Closes, by closing the scope of its reader, after a while. */
const closeAfter =
  (delay: string, how: "close" | "reset"): Way["serve"] =>
  (socket) =>
    Effect.gen(function* () {
      const { destroy } = yield* Link.open(socket)
      yield* Effect.sleep(delay as "200 millis")
      if (how === "reset") yield* destroy
    }).pipe(Effect.scoped)

const readSome: Way["serve"] = (socket, got) =>
  Effect.gen(function* () {
    const { pull } = yield* socket.reader
    yield* Effect.sleep("100 millis")
    got((yield* pull).reduce((sum, chunk) => sum + chunk.length, 0))
    yield* endUnread(socket, got)
  })

const killed = (millis: number) => Fault.at(millis, Fault.kill("server"))

const ways: ReadonlyArray<Way> = [
  {
    fault: "A1: the server ends at once and never reads; the client only writes",
    serve: endUnread,
    client: "waits",
    told: "no error",
    got: 0
  },
  {
    fault: "A2: the same, and the client ends, too",
    serve: endUnread,
    client: "ends and waits",
    told: "no error",
    got: 0
  },
  {
    fault: "A3: the server ends, and closes with unread input 300 ms later",
    serve: (socket, got) => Effect.andThen(endUnread(socket, got), closeAfter("300 millis", "close")(socket, got)),
    client: "ends and waits",
    told: "no error",
    got: 0
  },
  {
    fault: "A4: the server reads 10,000 bytes and ends",
    during: Fault.slowReader("server", 100_000),
    serve: readSome,
    client: "waits",
    told: "no error",
    got: 10_000
  },
  {
    fault: "B1: the server is frozen before it accepts; the client closes; SIGKILL",
    during: Fault.freeze("server"),
    serve: hold,
    client: "closes",
    after: killed(1000),
    told: "no error",
    got: 0
  },
  {
    fault: "B3: accepted and not read; the client closes; SIGKILL",
    serve: hold,
    client: "closes",
    after: killed(1000),
    told: "no error",
    got: 0
  },
  {
    fault: "B4: as B1, but the client ends and waits",
    during: Fault.freeze("server"),
    serve: hold,
    client: "ends and waits",
    after: killed(1000),
    told: "ECONNRESET",
    got: 0
  },
  {
    fault: "C1: the server closes with unread input; the client waits",
    serve: closeAfter("200 millis", "close"),
    client: "waits",
    told: "ECONNRESET",
    got: 0
  },
  {
    fault: "C2: the same, and the client closes at once",
    serve: closeAfter("200 millis", "close"),
    client: "closes",
    told: "no error",
    got: 0
  },
  {
    fault: "C3: the server resets; the client ends and waits",
    serve: closeAfter("200 millis", "reset"),
    client: "ends and waits",
    told: "ECONNRESET",
    got: 0
  },
  { fault: "D1: the client resets after its write", serve: hold, client: "resets", told: "no error", got: 0 }
]

export const losing: ReadonlyArray<Row> = ways.map((way) =>
  row({
    fault: way.fault,
    simulate: lose(way),
    figures: {
      told: { measured: way.told, accepts: way.told },
      got: { measured: String(way.got), accepts: way.got }
    }
  })
)
