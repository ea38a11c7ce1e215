import { assert, describe, it } from "@effect/vitest"
import { dialect, type FromServer } from "../nats.ts"

const bytesOf = (text: string) => new TextEncoder().encode(text)

/** What is heard of a stream that is cut at one place. */
const hear = (stream: Uint8Array, cut: number) => {
  const messages: Array<FromServer> = []
  const answers: Array<string> = []
  let pongs = 0
  const speech = dialect.begin()
  const violations = [stream.subarray(0, cut), stream.subarray(cut)].map((chunk) =>
    speech.hear(chunk, {
      message: (message) => messages.push(message),
      pong: () => pongs++,
      answer: (bytes) => answers.push(new TextDecoder().decode(bytes))
    })
  )
  return { messages, answers, pongs, violation: violations.find((violation) => violation !== undefined) }
}

describe("NATS", () => {
  it("is heard alike wherever the stream is cut: messages, pings of the server, answers to ours", () => {
    const stream = bytesOf(
      "INFO {}\r\nMSG a.b 1 5\r\nPING\n\r\nPING\r\nMSG a 2 reply.to 0\r\n\r\nPONG\r\n+OK\r\n-ERR 'no'\r\n"
    )
    for (let cut = 0; cut <= stream.length; cut++) {
      const { answers, messages, pongs, violation } = hear(stream, cut)
      assert.deepStrictEqual(messages, [
        { _tag: "Info", options: "{}" },
        { _tag: "Message", subject: "a.b", text: "PING\n" },
        { _tag: "Message", subject: "a", text: "" },
        { _tag: "Ok" },
        { _tag: "Error", detail: "'no'" }
      ])
      assert.deepStrictEqual([answers, pongs, violation], [["PONG\r\n"], 1, undefined])
    }
  })

  it("is said with lengths in bytes, and a subject cannot smuggle anything in", () => {
    assert.deepStrictEqual(
      dialect.encode({ _tag: "Publish", subject: "a", text: "é\r\n" }),
      bytesOf("PUB a 4\r\né\r\n\r\n")
    )
    for (const subject of ["", "a b", "a\r\nPUB b 0\r\n"]) {
      assert.propertyVal(dialect.encode({ _tag: "Publish", subject, text: "" }), "_tag", "Malformed")
    }
  })

  it("is refused where a server says what no server says", () => {
    assert.propertyVal(hear(bytesOf("HTTP/1.1 400 Bad Request\r\n"), 3).violation, "_tag", "Malformed")
  })
})
