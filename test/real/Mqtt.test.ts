// The MQTT example against a real broker: publishing until it is acknowledged, subscribing again, and the keepalive.
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Schedule } from "effect"
import { Mqtt, type Options } from "../../examples/06-mqtt/mqtt.ts"
import { collected, eventually, lives, policy, running, survivesCut } from "./harness/Example.ts"
import * as Namespace from "./harness/Namespace.ts"
import * as Server from "./harness/Server.ts"

const missing = Server.missingOf("mosquitto")
const without = missing ?? Namespace.missing
if (without !== undefined && process.env["CI"] !== undefined) throw new Error(without)

const onBroker = it.live.skipIf(missing !== undefined)
const onCable = it.live.skipIf(without !== undefined)

const topic = "numbers"

/** A broker, and the example. */
const start = Effect.fnUntraced(function* (options: Partial<Options> = {}) {
  const broker = yield* Server.start("mosquitto")
  const { host, port } = broker
  const context = yield* Layer.build(
    Mqtt.layer({ host, port, clientId: "example", topics: [topic], policy, ...options })
  )
  const { connection, publish, published } = Context.get(context, Mqtt)
  const told = yield* lives(connection.events)
  const heard = yield* collected(published)
  yield* eventually(() => told.opened >= 1)
  return {
    broker,
    told,
    publish: (n: number) => publish(topic, String(n)),
    numbers: () => heard.map(({ payload }) => Number(payload.toString()))
  }
})

describe.concurrent(`MQTT${without === undefined ? "" : `: ${without}`}`, () => {
  onBroker("publishes each number until the broker has acknowledged it, whatever happens to the broker", () =>
    Effect.gen(function* () {
      const { broker, numbers, publish, told } = yield* start()
      const acknowledged: Array<number> = []
      let asked = 0
      const ask = Effect.suspend(() => {
        const n = asked++
        return Effect.forkScoped(
          Effect.andThen(
            publish(n),
            Effect.sync(() => acknowledged.push(n))
          )
        )
      })
      yield* Effect.forkScoped(Effect.repeat(ask, Schedule.spaced("10 millis")))
      const flows = Effect.suspend(() => {
        const from = asked
        return eventually(() => acknowledged.includes(from + 10) && numbers().some((n) => n > from))
      })
      yield* flows
      yield* broker.kill
      yield* Effect.sleep("500 millis")
      yield* broker.start
      yield* flows
      const before = told.ends.length
      yield* broker.freeze
      yield* eventually(() => told.ends.length > before)
      yield* broker.thaw
      yield* flows
      yield* broker.stop
      yield* broker.start
      yield* flows
      const asFarAs = asked
      yield* eventually(() => acknowledged.filter((n) => n < asFarAs).length === asFarAs)
    })
  )

  onCable("publishes again when a cable that was cut is healed", () =>
    Effect.gen(function* () {
      assert.include(["PeerSilent", "WriteStuck"], yield* survivesCut("mqtt", "mosquitto"))
    })
  )

  onBroker("counts as its program says", () =>
    Effect.gen(function* () {
      const { port } = yield* Server.start("mosquitto")
      const { printed } = yield* running("06-mqtt", String(port))
      yield* eventually(() => printed().includes("demo/count: 2"))
    })
  )

  onBroker("asks at the keepalive while it has nothing to say, and an idle link lives", () =>
    Effect.gen(function* () {
      const { broker, told } = yield* start({ keepaliveSeconds: 2, policy: { silence: "Infinity" } })
      yield* Effect.sleep("7 seconds")
      assert.deepStrictEqual([told.opened, told.ends], [1, []])
      const asked = broker.log().match(/Received PINGREQ from example/g) ?? []
      assert.isAtLeast(asked.length, 2)
      assert.isAtMost(asked.length, 4)
    })
  )

  onBroker("is thrown out by the broker where it does not: the broker counts", () =>
    Effect.gen(function* () {
      const { broker, told } = yield* start({
        keepaliveSeconds: 1,
        policy: { ...policy, heartbeat: "Infinity", silence: "Infinity" }
      })
      yield* eventually(() => told.ends.length > 0)
      yield* eventually(() => /Client example has exceeded timeout/.test(broker.log()))
    })
  )

  onBroker("acknowledges what arrives: the broker repeats nothing, and does not wait", () =>
    Effect.gen(function* () {
      const { broker, numbers, publish } = yield* start()
      // More than the 20 that mosquitto lets be under way to one client.
      yield* Effect.forEach(
        Array.from({ length: 200 }, (_, n) => n),
        publish,
        { concurrency: "unbounded" }
      )
      const acknowledgements = () => broker.log().match(/Received PUBACK from example/g)?.length ?? 0
      yield* eventually(() => numbers().length >= 200 && acknowledgements() >= 200)
      yield* Effect.sleep("200 millis")
      assert.deepStrictEqual(
        numbers(),
        Array.from({ length: 200 }, (_, n) => n)
      )
      assert.strictEqual(acknowledgements(), 200)
    })
  )
})
