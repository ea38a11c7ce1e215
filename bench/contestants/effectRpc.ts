/**
 * Effect's own RPC over TCP in its binary format: a response that is a stream, and a request for each question.
 */
import { NodeSocket, NodeSocketServer } from "@effect/platform-node"
import { Cause, Effect, Layer, ManagedRuntime, Queue, Schema, type Scope, Stream } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import { Rpc, RpcClient, RpcGroup, RpcSerialization, RpcServer } from "effect/rpc"
import type { RpcClientError } from "effect/rpc/RpcClientError"
import * as SocketServer from "effect/socket/SocketServer"
import type { Contestant } from "../contestant.ts"
import { fromServer, turnOf } from "../peers.ts"
import type { Source } from "../workload.ts"

class Api extends RpcGroup.make(
  Rpc.make("Messages", { success: Schema.Uint8Array, stream: true }),
  Rpc.make("Echo", { payload: { question: Schema.Uint8Array }, success: Schema.Uint8Array })
) {}

type Client = RpcClient.RpcClient<RpcGroup.Rpcs<typeof Api>, RpcClientError>

/** What a handler of a stream may give. */
type Messages = Stream.Stream<Uint8Array> | Effect.Effect<Queue.Dequeue<Uint8Array, Cause.Done>, never, Scope.Scope>

/** Serves, for as long as the process lives. */
const listening = (messages: Messages): Promise<number> =>
  RpcServer.layer(Api)
    .pipe(
      Layer.provide(Api.toLayer({ Messages: () => messages, Echo: ({ question }) => Effect.succeed(question) })),
      Layer.provide(RpcServer.layerProtocolSocketServer),
      Layer.provide(RpcSerialization.layerSchemaBinary()),
      Layer.provideMerge(NodeSocketServer.layer({ host: "127.0.0.1", port: 0 })),
      ManagedRuntime.make
    )
    .runPromise(Effect.map(SocketServer.SocketServer, ({ address }) => ("port" in address ? address.port : 0)))

/** Calls, and hangs up when it is done. */
const calling = (port: number, use: (client: Client) => Effect.Effect<unknown, unknown>): Promise<unknown> =>
  RpcClient.make(Api).pipe(
    Effect.flatMap(use),
    Effect.provide(RpcClient.layerProtocolSocket()),
    Effect.provide([NodeSocket.layerNet({ host: "127.0.0.1", port }), RpcSerialization.layerSchemaBinary()]),
    Effect.scoped,
    Effect.runPromise
  )

const made = (messages: (source: Source, finish: Effect.Effect<void>) => Messages): Contestant => ({
  ...fromServer(
    async (source) => {
      const { promise: done, resolve: finish } = Promise.withResolvers<void>()
      return { port: await listening(messages(source, Effect.sync(finish))), done }
    },
    (port, check) =>
      calling(port, (client) =>
        Stream.runForEachArray(client.Messages(), (batch) => Effect.sync(() => check.messages(batch)))
      )
  ),
  answer: () => listening(Stream.never),
  ask: async (port, asker) => {
    await calling(port, (client) => {
      const one = Effect.whileLoop({
        while: () => !asker.isOver,
        body: () => client.Echo({ question: asker.fresh() }),
        step: (answer) => asker.answered(answer)
      })
      return Effect.all(
        Array.from({ length: asker.outstanding }, () => one),
        { concurrency: "unbounded", discard: true }
      )
    })
  }
})

/** Message by message into the queue that the handler gives. */
export const messages = made((source, finish) =>
  Effect.gen(function* () {
    const queue = yield* Queue.bounded<Uint8Array, Cause.Done>(turnOf(source.size))
    const offers = Effect.whileLoop({
      while: () => !source.isOver,
      body: () => Queue.offer(queue, source.fresh()),
      step: () => undefined
    })
    yield* Effect.forkScoped(Effect.andThen(offers, finish))
    return queue
  })
)

/** A stream of whole batches, made by hand. */
export const arrays = made((source, finish) =>
  Stream.fromPull(
    Effect.succeed(
      Effect.suspend(() =>
        source.isOver
          ? Effect.andThen(finish, Cause.done())
          : Effect.succeed(source.nextBatch() as NonEmptyReadonlyArray<Uint8Array>)
      )
    )
  )
)
