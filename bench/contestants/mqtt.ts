/**
 * `mqtt` publishing with QoS 1 to an `aedes` broker, which hands the messages to a subscription in its own process: the
 * way with the fewest steps that an acknowledged message can take.
 */
import { Aedes } from "aedes"
import { connectAsync, type MqttClient } from "mqtt"
import { once } from "node:events"
import { type AddressInfo, createServer } from "node:net"
import type { Contestant } from "../contestant.ts"
import { acknowledged } from "../peers.ts"
import { interview } from "../sockets.ts"

const listening = async (onMessage: (message: Buffer, broker: Aedes) => void): Promise<number> => {
  const broker = await Aedes.createBroker()
  await new Promise<void>((resolve) =>
    broker.subscribe(
      "in",
      ({ payload }, done) => {
        onMessage(payload as Buffer, broker)
        done()
      },
      resolve
    )
  )
  const server = createServer({ noDelay: true }, (socket) => broker.handle(socket))
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return (server.address() as AddressInfo).port
}

const connected = (port: number): Promise<MqttClient> => connectAsync(`mqtt://127.0.0.1:${port}`)

const fail = (error: Error | null | undefined) => {
  if (error != null) throw error
}

/** QoS 1. */
export const contestant: Contestant = {
  receive: (check) => listening((message) => check.message(message)),
  send: async (port, source) => {
    const client = await connected(port)
    await acknowledged(source, (message, acknowledge) =>
      client.publish("in", message, { qos: 1 }, (error) => {
        fail(error)
        acknowledge()
      })
    )
  },
  answer: () =>
    listening((payload, broker) =>
      broker.publish({ cmd: "publish", topic: "out", payload, qos: 1, dup: false, retain: false }, fail)
    ),
  ask: async (port, asker) => {
    const client = await connected(port)
    await client.subscribeAsync("out", { qos: 1 })
    const talk = interview(asker, () => client.publish("in", asker.fresh(), { qos: 1 }, fail))
    client.on("message", (_, answer) => talk.answered(answer))
    talk.begin()
    await talk.done
  }
}
