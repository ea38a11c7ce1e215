import { assert, describe, it } from "@effect/vitest"
import { generate, type Packet } from "mqtt-packet"
import { dialect } from "../mqtt.ts"

const publish = (messageId: number, payload: string): Packet => ({
  cmd: "publish",
  topic: "a/b",
  payload,
  messageId,
  qos: messageId > 0 ? 1 : 0,
  dup: false,
  retain: false
})

/** What is heard of a stream that is cut at one place. */
const hear = (stream: Uint8Array, cut: number) => {
  const messages: Array<string> = []
  const answers: Array<Uint8Array> = []
  let pongs = 0
  const speech = dialect.begin()
  const violations = [stream.slice(0, cut), stream.slice(cut)].map((chunk) => {
    const violation = speech.hear(chunk, {
      message: (packet) => messages.push(packet.cmd === "publish" ? packet.payload.toString() : packet.cmd),
      pong: () => pongs++,
      answer: (bytes) => answers.push(bytes)
    })
    chunk.fill(0xff) // as a transport may do
    return violation
  })
  return { messages, answers, pongs, violation: violations.find((violation) => violation !== undefined) }
}

describe("MQTT", () => {
  it("is heard alike wherever the stream is cut, and what wants a receipt gets it", () => {
    const packets: ReadonlyArray<Packet> = [
      { cmd: "connack", returnCode: 0, sessionPresent: false },
      publish(0, "once"),
      publish(7, "at least once"),
      { cmd: "pingresp" },
      { cmd: "puback", messageId: 3 }
    ]
    const stream = Uint8Array.from(Buffer.concat(packets.map((packet) => generate(packet))))
    const receipt = Uint8Array.from(generate({ cmd: "puback", messageId: 7 }))
    for (let cut = 0; cut <= stream.length; cut++) {
      const { answers, messages, pongs, violation } = hear(stream, cut)
      assert.deepStrictEqual(messages, ["connack", "once", "at least once", "puback"])
      assert.deepStrictEqual([answers.map((bytes) => Uint8Array.from(bytes)), pongs], [[receipt], 1])
      assert.isUndefined(violation)
    }
  })

  it("is refused where a broker says what no broker says, or more than fits", () => {
    assert.propertyVal(hear(Buffer.from("HTTP/1.1 400 Bad Request\r\n"), 3).violation, "_tag", "Malformed")
    const huge = generate(publish(1, "x".repeat(3 * 1024 * 1024)))
    assert.propertyVal(hear(huge, 2 * 1024 * 1024).violation, "_tag", "TooLarge")
  })

  it("costs only that send where a packet cannot be", () => {
    assert.propertyVal(
      dialect.encode({ ...publish(1, ""), messageId: "one" } as unknown as Packet),
      "_tag",
      "Malformed"
    )
  })
})
