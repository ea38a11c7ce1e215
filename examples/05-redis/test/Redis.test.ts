import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { type Command, dialect, Push, RedisError, type Reply } from "../redis.ts"

const bytesOf = (text: string) => new TextEncoder().encode(text)

/** What is heard of a stream in chunks of so many bytes, after such commands and pings of ours. */
const hear = (stream: Uint8Array, chunkBytes: number, said: ReadonlyArray<Command | "ping"> = []) => {
  const messages: Array<Reply> = []
  let pongs = 0
  const speech = dialect.begin()
  for (const command of said) {
    if (command === "ping") speech.ping?.()
    else speech.said?.(command)
  }
  for (let at = 0; at < stream.length; at += chunkBytes) {
    const violation = speech.hear(stream.subarray(at, at + chunkBytes), {
      message: (message) => messages.push(message),
      pong: () => pongs++,
      answer: () => assert.fail("Redis never asks")
    })
    if (violation !== undefined) return { messages, pongs, violation }
  }
  return { messages, pongs, violation: undefined }
}

/** RESP3, slow and obvious. */
const said = (reply: Reply): string => {
  if (reply === null) return "_\r\n"
  if (typeof reply === "number") return `:${reply}\r\n`
  if (typeof reply === "string") return `$${bytesOf(reply).length}\r\n${reply}\r\n`
  if (reply instanceof RedisError) return `-${reply.message}\r\n`
  if (reply instanceof Push) return `>${reply.parts.length}\r\n${reply.parts.map(said).join("")}`
  return `*${reply.length}\r\n${reply.map(said).join("")}`
}

const Scalar = Schema.Union([Schema.Int, Schema.Null, Schema.Literals(["", "OK", "é", "\r\n*1\r\n"])])
const List = Schema.Array(Schema.Union([Scalar, Schema.Array(Schema.Union([Scalar, Schema.Array(Scalar)]))]))

describe("Redis", () => {
  it.prop(
    "is heard as it was said, however deep and however the stream is cut",
    { replies: List, chunkBytes: Schema.Literals([1, 2, 7, 1000]) },
    ({ chunkBytes, replies }) => {
      const { messages, violation } = hear(bytesOf(replies.map(said).join("")), chunkBytes)
      assert.deepStrictEqual([messages, violation], [replies, undefined])
    },
    { arbitrary: { runs: 200, seed: 7 } }
  )

  it("knows simple strings, errors, pushes, maps, and both kinds of nothing", () => {
    const { messages } = hear(bytesOf("+OK\r\n-ERR no\r\n>2\r\n+a\r\n:1\r\n%1\r\n+k\r\n*0\r\n$-1\r\n*-1\r\n"), 3)
    assert.deepStrictEqual(messages, [
      "OK",
      new RedisError({ message: "ERR no" }),
      new Push({ parts: ["a", 1] }),
      ["k", []],
      null,
      null
    ])
  })

  it("tells the answer to a ping from other replies by their order, whatever is pushed meanwhile", () => {
    const commands = [["GET", "a"], "ping", ["SUBSCRIBE", "b"], ["GET", "c"], "ping"] as const
    const { messages, pongs } = hear(bytesOf("+1\r\n>1\r\n+pushed\r\n+PONG\r\n+2\r\n+PONG\r\n"), 100, commands)
    assert.deepStrictEqual(messages, ["1", new Push({ parts: ["pushed"] }), "2"])
    assert.strictEqual(pongs, 2)
  })

  it("is said with lengths in bytes, whatever is in a word", () => {
    assert.deepStrictEqual(
      dialect.encode(["SET", "é", "\r\n"]),
      bytesOf("*3\r\n$3\r\nSET\r\n$2\r\né\r\n$2\r\n\r\n\r\n")
    )
  })

  it("is refused where a server says what no server says, or more than fits", () => {
    assert.propertyVal(hear(bytesOf("HTTP/1.1 400 Bad Request\r\n"), 3).violation, "_tag", "Malformed")
    assert.propertyVal(hear(bytesOf("$999999999\r\n"), 3).violation, "_tag", "TooLarge")
    const endless = `*9\r\n${said("x".repeat(10 * 1024 * 1024)).repeat(7)}`
    assert.propertyVal(hear(bytesOf(endless), 1024 * 1024).violation, "_tag", "TooLarge")
  })
})
