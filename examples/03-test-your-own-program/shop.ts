/**
 * A program that knows nothing of Holdfast: an ordinary RPC server and client, as the documentation of Effect writes them.
 * It asks for a `SocketServer` and for a `Socket`; who gives them, decides where it runs.
 */
import { Effect, Layer, Schema } from "effect"
import { Rpc, RpcClient, RpcGroup, RpcSerialization, RpcServer } from "effect/rpc"

export class Shop extends RpcGroup.make(Rpc.make("Order", { payload: { item: Schema.String }, success: Schema.Int })) {}

/** What the shop has to deliver. */
export const orders: Array<string> = []

const Handlers = Shop.toLayer({
  Order: ({ item }) =>
    Effect.delay(
      Effect.sync(() => orders.push(item.slice(0, 20))),
      "100 millis"
    )
})

export const Server = RpcServer.layer(Shop).pipe(
  Layer.provide([Handlers, RpcServer.layerProtocolSocketServer]),
  Layer.provide(RpcSerialization.layerNdjson)
)

/** Pings every 5 s and dials again by itself; `onPingTimeout` is told when the server is given up. */
export const client = (onPingTimeout: Effect.Effect<void> = Effect.void) =>
  RpcClient.layerProtocolSocket({ retryTransientErrors: true, onPingTimeout }).pipe(
    Layer.provide(RpcSerialization.layerNdjson)
  )

export const order = Effect.fnUntraced(function* (item: string) {
  const shop = yield* RpcClient.make(Shop)
  return yield* shop.Order({ item })
}, Effect.scoped)
