/** The naive way: programs over plain sockets, with the beliefs that people have of them. */
import { SimHost, type SimNetwork } from "@holdfast/testing"
import { Effect, type Scope } from "effect"
import { Link } from "holdfast"
import { port } from "./Sessions.ts"

export interface PlainServer {
  receivedBytes: number
  /** How many bytes each connection brought, in the order of their acceptance. */
  readonly connections: Array<number>
  readonly links: Array<Link.Link>
}

/** Reads whatever comes. With `beatMillis` it says something so often. */
export const plainServer = Effect.fnUntraced(function* (
  network: SimNetwork.SimNetwork,
  options: {
    readonly beatMillis?: number | undefined
    readonly listen?: Partial<SimHost.ListenOptions> | undefined
    readonly received?: ((bytes: Uint8Array, link: Link.Opened) => Effect.Effect<void, unknown>) | undefined
  } = {}
): Effect.fn.Return<PlainServer> {
  const server: PlainServer = { receivedBytes: 0, connections: [], links: [] }
  const reading = ({ pull, ...link }: Link.Opened, nth: number) =>
    Effect.gen(function* () {
      while (true) {
        for (const chunk of yield* pull) {
          server.receivedBytes += chunk.length
          server.connections[nth]! += chunk.length
          yield* options.received?.(chunk, { pull, ...link }) ?? Effect.void
        }
      }
    })
  const beating = ({ write }: Link.Opened) =>
    Effect.gen(function* () {
      while (true) {
        yield* Effect.sleep(options.beatMillis ?? "1 second")
        yield* write([new Uint8Array(3)])
      }
    })
  const program = Effect.gen(function* () {
    const listener = yield* SimHost.listen({ port, ...options.listen })
    yield* Effect.forkScoped(
      listener.run(
        Effect.fnUntraced(function* (socket) {
          server.links.push(socket)
          const nth = server.connections.push(0) - 1
          const opened = yield* Link.open(socket)
          if (options.beatMillis !== undefined) yield* Effect.forkScoped(Effect.ignore(beating(opened)))
          yield* Effect.ignore(reading(opened, nth))
        }, Effect.scoped)
      )
    )
  })
  yield* network.host("server").boot(Effect.orDie(program))
  return server
})

/** What plain code knows of its connection. */
export interface PlainClient {
  readonly link: Link.Link
  readonly opened: Link.Opened
  readonly received: Array<Uint8Array>
  receivedAt: number
  /** When it was told that the connection is over, and how. */
  ended: { readonly at: number; readonly how: string } | undefined
}

/** Dials and reads, in the scope of whoever asks; over another link than the dialled one if need be. */
export const plainClient = Effect.fnUntraced(function* (
  network: SimNetwork.SimNetwork,
  watched: (link: Link.Link) => Effect.Effect<Link.Link, unknown> = Effect.succeed
): Effect.fn.Return<PlainClient, unknown, Scope.Scope | SimHost.CurrentHost> {
  const link = yield* Effect.flatMap(SimHost.dial({ host: "server", port }), watched)
  const opened = yield* Link.open(link)
  const client: PlainClient = { link, opened, received: [], receivedAt: network.now(), ended: undefined }
  const reading = Effect.gen(function* () {
    while (true) {
      client.received.push(...(yield* opened.pull))
      client.receivedAt = network.now()
    }
  })
  yield* Effect.forkScoped(
    Effect.catch(reading, ({ reason }) =>
      Effect.sync(() => {
        client.ended = {
          at: network.now(),
          how: reason._tag === "LinkFailed" ? (reason.code ?? "LinkFailed") : reason._tag
        }
      })
    ),
    { startImmediately: true }
  )
  return client
})

/** Ends our direction: what a plain program calls a close. */
export const end = (link: Link.Link): Effect.Effect<void> => Effect.scoped(Effect.asVoid(link.writer))
