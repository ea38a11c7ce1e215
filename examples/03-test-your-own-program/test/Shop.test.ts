// What becomes of an ordinary RPC program when the network fails, asserted as it happens. Not one line of it is changed for
// this; its sockets are those of simulated machines.
import { Fault, SimHost, type SimNetwork } from "@holdfast/testing"
import { simulation } from "@holdfast/testing/vitest"
import { Effect, Exit, Layer, Option } from "effect"
import * as Socket from "effect/socket/Socket"
import { RpcClient } from "effect/rpc"
import { assert, describe } from "vitest"
import { client, order, orders, Server, Shop } from "../shop.ts"

const port = 7000

/** Boots the shop, and gives a customer on another machine. */
const opening = Effect.fnUntraced(function* (network: SimNetwork.SimNetwork) {
  orders.length = 0
  yield* network
    .host("server")
    .boot(Effect.orDie(Layer.build(Server.pipe(Layer.provide(SimHost.layerListener({ port }))))))
  const customer = network.host("client")
  let givenUp = 0
  const context = yield* customer.run(
    Layer.build(
      client(Effect.sync(() => void givenUp++)).pipe(
        Layer.provide(Layer.effect(Socket.Socket, SimHost.dial({ host: "server", port })))
      )
    )
  )
  const buy = (item: string) => customer.run(Effect.provideContext(order(item), context))
  yield* buy("a kettle")
  return { buy, context, customer, givenUp: () => givenUp }
})

const dials = (network: SimNetwork.SimNetwork) =>
  network.transcript.flatMap((entry) => (entry._tag === "Dialed" ? [entry.at] : []))

describe("an ordinary RPC program", () => {
  simulation("takes orders when all is well, over one connection for an hour", (network) =>
    Effect.gen(function* () {
      const { buy, givenUp } = yield* opening(network)
      yield* Effect.sleep("1 hour")
      assert.strictEqual(yield* buy("a cup"), 2)
      assert.strictEqual(givenUp(), 0)
      assert.strictEqual(dials(network).length, 1)
    })
  )

  simulation("gives up an idle server that is frozen within 15 s", (network) =>
    Effect.gen(function* () {
      const { givenUp } = yield* opening(network)
      yield* network.inflict(Fault.freeze("server"))
      yield* Effect.sleep("15 seconds")
      assert.strictEqual(givenUp(), 1)
    })
  )

  simulation("never gives it up while one large request is on its way: the write disables the watchdog", (network) =>
    Effect.gen(function* () {
      const { buy, givenUp } = yield* opening(network)
      yield* network.inflict(Fault.freeze("server"))
      const answer = yield* Effect.timeoutOption(Effect.exit(buy("x".repeat(8 << 20))), "10 minutes")
      assert.isTrue(Option.isNone(answer))
      assert.strictEqual(givenUp(), 0)
    })
  )

  simulation("does not know what became of a call that was cut, and buys twice when it tries again", (network) =>
    Effect.gen(function* () {
      const { buy } = yield* opening(network)
      // Cut while the answer is on its way: the order was taken.
      network.link("client", "server", { latency: "20 millis" })
      yield* network.play([Fault.at("130 millis", Fault.cut("client", "server"))])
      const first = yield* Effect.exit(buy("a teapot"))
      assert.isTrue(Exit.isFailure(first))
      yield* Effect.sleep("2 seconds")
      yield* buy("a teapot")
      assert.deepStrictEqual(orders, ["a kettle", "a teapot", "a teapot"])
    })
  )

  simulation("backs off ever longer, although every connection was well for an hour, and without jitter", (network) =>
    Effect.gen(function* () {
      yield* opening(network)
      const gaps: Array<number> = []
      for (let n = 0; n < 8; n++) {
        yield* Effect.sleep("1 hour")
        const cutAt = network.now()
        yield* network.play([Fault.at(0, Fault.cut("client", "server"))])
        yield* Effect.sleep("10 seconds")
        gaps.push(Math.round(dials(network).at(-1)! - cutAt))
      }
      assert.deepStrictEqual(gaps, [500, 750, 1125, 1688, 2531, 3797, 5000, 5000])
    })
  )

  simulation("keeps on the server, for an hour and more, a client that is gone: the server never asks", (network) =>
    Effect.gen(function* () {
      yield* opening(network)
      yield* network.inflict(Fault.crash("client"))
      yield* Effect.sleep("1 hour")
      assert.strictEqual(network.host("server").connections().length, 1)
    })
  )

  simulation("fails at once whatever is asked while it has no connection", (network) =>
    Effect.gen(function* () {
      const { context, customer } = yield* opening(network)
      yield* network.play([Fault.at(0, Fault.kill("server"))])
      yield* Effect.sleep("1 second")
      const since = network.now()
      const shop = RpcClient.make(Shop).pipe(Effect.flatMap((shop) => shop.Order({ item: "a spoon" })))
      const exit = yield* Effect.exit(customer.run(Effect.scoped(Effect.provideContext(shop, context))))
      assert.isTrue(Exit.isFailure(exit))
      assert.isBelow(network.now() - since, 1)
    })
  )
})

describe("an ordinary socket", () => {
  simulation(
    "says what was meant for its last connection at the head of the next one, before the greeting",
    (network) =>
      Effect.gen(function* () {
        const said: Array<string> = []
        yield* network.host("server").run(
          Effect.gen(function* () {
            const listener = yield* SimHost.listen({ port })
            const reading = Effect.fnUntraced(function* (socket: Socket.Socket) {
              const pull = yield* Socket.readerString(socket)
              const nth = said.push("") - 1
              yield* Effect.ignore(
                Effect.forever(Effect.tap(pull, (parts) => Effect.sync(() => (said[nth] += parts.join("")))))
              )
            }, Effect.scoped)
            yield* Effect.forkScoped(listener.run((socket) => Effect.orDie(reading(socket))))
          })
        )
        yield* network.host("client").run(
          Effect.gen(function* () {
            const socket = yield* SimHost.dial({ host: "server", port })
            const { write } = yield* socket.writer
            const connection = Effect.scoped(
              Effect.gen(function* () {
                yield* socket.reader
                yield* write("[hello]")
                yield* Effect.sleep("1 second")
              })
            )
            yield* connection
            yield* Effect.forkScoped(write("[the end of a conversation that is over]"))
            yield* Effect.sleep("1 second")
            yield* connection
          })
        )
        assert.deepStrictEqual(said, ["[hello]", "[the end of a conversation that is over][hello]"])
      })
  )
})
