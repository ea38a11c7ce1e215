/**
 * MQTT 3.1.1, with the packets of `mqtt-packet`. Each link connects and subscribes again. `publish` succeeds when the
 * broker has acknowledged (QoS 1), and is repeated on the next link until it has. What arrives is acknowledged when this
 * process has it. PINGREQ goes out when we have said nothing for the keepalive. Take this file, and change what you need.
 */
import { NodeLink } from "@holdfast/node"
import { Context, Effect, Layer, Stream } from "effect"
import { Answers, Connection, ConnectionError, Dialect } from "holdfast"
import * as Packets from "mqtt-packet"

const packetBytesMax = 1024 * 1024

const malformed = (cause: Error): Dialect.Violation => ({ _tag: "Malformed", detail: cause.message, cause })

export const dialect = Dialect.make<Packets.Packet, Packets.Packet>({
  decoder: () => {
    const packets: Array<Packets.Packet> = []
    let failed: Error | undefined
    const parser = Packets.parser({ protocolVersion: 4 })
    parser.on("packet", (packet) => packets.push(packet))
    parser.on("error", (error) => (failed = error))
    return (chunk, emit) => {
      const bytes = parser.parse(Buffer.from(chunk)) // what waits for the rest of its packet
      for (const packet of packets.splice(0)) emit(packet)
      if (failed !== undefined) return malformed(failed)
      return bytes > packetBytesMax ? { _tag: "TooLarge", bytes, bytesMax: packetBytesMax } : undefined
    }
  },
  encode: (packet) => {
    try {
      return Packets.generate(packet)
    } catch (cause) {
      return malformed(cause as Error)
    }
  }
}).pipe(
  Dialect.withPing({ ping: { cmd: "pingreq" }, isPong: ({ cmd }) => cmd === "pingresp" }),
  Dialect.withReceipt<Packets.Packet, Packets.Packet>((packet) =>
    packet.cmd === "publish" && packet.qos === 1 ? { cmd: "puback", messageId: packet.messageId! } : undefined
  )
)

class Wire extends Connection.Service<Wire>()("examples/Mqtt/Wire", { dialect }) {}

export interface Options extends NodeLink.TcpOptions {
  readonly clientId: string
  readonly topics: ReadonlyArray<string>
  /** Default 5: the broker gives us up after half as much again. */
  readonly keepaliveSeconds?: number | undefined
  readonly policy?: Connection.PolicyOptions | undefined
}

const make = Effect.fnUntraced(function* ({ clientId, keepaliveSeconds = 5, policy, topics, ...broker }: Options) {
  const connection = yield* Wire.make({
    link: NodeLink.tcp(broker),
    fateUnknown: "sendAgain",
    policy: { heartbeat: `${keepaliveSeconds} seconds`, backlog: { messagesMax: 1000 }, ...policy },
    onUp: Effect.fnUntraced(function* ({ receive, send }) {
      yield* send({ cmd: "connect", clientId, clean: true, keepalive: keepaliveSeconds })
      const answer = yield* receive
      if (answer.cmd !== "connack" || answer.returnCode !== 0) {
        const detail = `CONNACK ${JSON.stringify(answer)}`
        return yield* new ConnectionError.Refused({ code: "Unauthorized", detail })
      }
      const subscriptions = topics.map((topic) => ({ topic, qos: 1 as const }))
      if (topics.length > 0) yield* send({ cmd: "subscribe", messageId: 65_535, subscriptions })
    })
  })
  const { request } = yield* Answers.byId(connection, {
    patience: "10 seconds",
    idOf: ({ messageId }) => messageId,
    answersTo: ({ cmd, messageId }) => (cmd === "puback" ? messageId : undefined)
  })
  let lastId = 0
  return {
    connection,
    publish: (topic: string, payload: string) =>
      Effect.suspend(() => {
        const messageId = (lastId = (lastId % 65_534) + 1)
        return request({ cmd: "publish", messageId, topic, payload, qos: 1, dup: false, retain: false })
      }),
    published: Stream.filter(connection.messages, (packet) => packet.cmd === "publish")
  }
})

export class Mqtt extends Context.Service<Mqtt, Effect.Success<ReturnType<typeof make>>>()("examples/Mqtt") {
  static readonly layer = (options: Options) => Layer.effect(Mqtt, make(options))
}
