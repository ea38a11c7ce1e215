import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { Dialect } from "holdfast"

const utf8 = new TextEncoder()

/** Cuts bytes into chunks: the lengths are taken in turn, and again from the first. */
const chunksOf = (bytes: Uint8Array, lengths: ReadonlyArray<number>): Array<Uint8Array> => {
  const chunks: Array<Uint8Array> = []
  let at = 0
  for (let n = 0; at < bytes.length; n++) {
    const length = lengths.length === 0 ? bytes.length : (lengths[n % lengths.length] ?? 1)
    chunks.push(bytes.slice(at, at + length))
    at += length
  }
  return chunks
}

interface Outcome<In> {
  readonly messages: Array<In>
  pongs: number
  readonly answers: Array<Uint8Array>
  violation: Dialect.Violation | undefined
}

/** What a dialect makes of chunks. Each chunk is overwritten afterwards, as a transport may do. */
const hear = <In>(dialect: Dialect.Dialect<In, never>, chunks: ReadonlyArray<Uint8Array>): Outcome<In> => {
  const outcome: Outcome<In> = { messages: [], pongs: 0, answers: [], violation: undefined }
  const speech = dialect.begin()
  for (const chunk of chunks) {
    outcome.violation = speech.hear(chunk, {
      message: (message) => outcome.messages.push(message),
      pong: () => outcome.pongs++,
      answer: (bytes) => outcome.answers.push(bytes)
    })
    chunk.fill(0xff)
    if (outcome.violation !== undefined) break
  }
  return outcome
}

const encoded = (bytes: Uint8Array | Dialect.Violation): Uint8Array => {
  if (bytes instanceof Uint8Array) return bytes
  throw new Error(`does not encode: ${bytes._tag}`)
}

const join = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

const Lengths = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 })))
const properties = { arbitrary: { runs: 200, seed: 7 } }

class Reading extends Schema.Class<Reading>("Reading")({ sensor: Schema.String, celsius: Schema.Int }) {}
const readings = { receive: Reading, send: Reading }

describe("lines", () => {
  it.prop(
    "come out as they went in, however the stream is cut",
    { texts: Schema.Array(Schema.String), lengths: Lengths },
    ({ lengths, texts }) => {
      const whole = texts.map((text) => text.replaceAll(/[\r\n]|\p{Surrogate}/gu, ""))
      for (const end of ["\n", "\r\n"] as const) {
        const dialect = Dialect.lines({ end })
        const stream = join(whole.map((text) => encoded(dialect.encode(text))))
        assert.deepStrictEqual(hear(dialect, chunksOf(stream, lengths)), hear(dialect, [stream.slice()]))
        assert.deepStrictEqual(hear(dialect, chunksOf(stream, lengths)).messages, whole)
      }
    },
    properties
  )

  it.prop(
    "are what splitting the whole text gives",
    { octets: Schema.Array(Schema.Literals(["a", "\r", "\n", "é"])), lengths: Lengths },
    ({ lengths, octets }) => {
      const text = octets.join("")
      const slow = text
        .split("\n")
        .slice(0, -1)
        .map((line) => line.replace(/\r$/, ""))
      assert.deepStrictEqual(hear(Dialect.lines(), chunksOf(utf8.encode(text), lengths)).messages, slow)
    },
    properties
  )

  it("of exactly the bound pass, and one byte more is a violation, ended or not, in one chunk or in many", () => {
    const dialect = Dialect.lines({ messageBytesMax: 5 })
    for (const lengths of [[], [1], [2, 3]]) {
      assert.deepStrictEqual(hear(dialect, chunksOf(utf8.encode("12345\n12345\r\n"), lengths)).messages, [
        "12345",
        "12345"
      ])
      for (const tooLong of ["123456\n", "1234567"]) {
        const { messages, violation } = hear(dialect, chunksOf(utf8.encode("ok\n" + tooLong), lengths))
        assert.deepStrictEqual([messages, violation?._tag], [["ok"], "TooLarge"])
      }
    }
    assert.deepStrictEqual(dialect.encode("123456"), { _tag: "TooLarge", bytes: 6, bytesMax: 5 })
  })

  it("with a break inside do not encode: nobody can smuggle in a second one", () => {
    for (const text of ["a\nb", "a\rb", "\n"]) {
      const violation = Dialect.lines().encode(text)
      assert.isTrue(!(violation instanceof Uint8Array) && violation._tag === "Malformed")
    }
  })

  it("that are not UTF-8 are a violation, and those before are heard", () => {
    const { messages, violation } = hear(Dialect.lines(), [join([utf8.encode("ok\n"), Uint8Array.of(0xff, 10)])])
    assert.deepStrictEqual([messages, violation?._tag], [["ok"], "Malformed"])
  })
})

describe("lines with a body", () => {
  const nats = Dialect.linesWithBody({
    end: "\r\n",
    messageBytesMax: 300,
    bodyBytes: (line) => (line.startsWith("PUB ") ? Number(line.slice(line.lastIndexOf(" "))) : undefined)
  })
  const pub = (body: Uint8Array, line = `PUB news ${body.length}`): Dialect.Block => ({ line, body })

  it.prop(
    "come out as they went in, however the stream is cut, whatever their bodies hold",
    { bodies: Schema.Array(Schema.Array(Schema.Literals([0, 10, 13, 65, 255]))), lengths: Lengths },
    ({ bodies, lengths }) => {
      const blocks = bodies.flatMap((octets) => [{ line: "PING" }, pub(Uint8Array.from(octets)), { line: "" }])
      const stream = join(blocks.map((block) => encoded(nats.encode(block))))
      const outcome = hear(nats, chunksOf(stream, lengths))
      assert.deepStrictEqual(outcome, hear(nats, [stream.slice()]))
      assert.deepStrictEqual([outcome.messages, outcome.violation], [blocks, undefined])
    },
    properties
  )

  it("of exactly the bound pass, and one byte more is a violation, before the body has come", () => {
    const longest = pub(new Uint8Array(300))
    for (const lengths of [[], [1], [7]]) {
      assert.deepStrictEqual(hear(nats, chunksOf(encoded(nats.encode(longest)), lengths)).messages, [longest])
      const { violation } = hear(nats, chunksOf(utf8.encode("PUB news 301\r\n"), lengths))
      assert.deepStrictEqual(violation, { _tag: "TooLarge", bytes: 301, bytesMax: 300 })
      const { violation: endless } = hear(nats, chunksOf(new Uint8Array(302).fill(65), lengths))
      assert.strictEqual(endless?._tag, "TooLarge")
    }
    assert.deepStrictEqual(nats.encode(pub(new Uint8Array(301))), { _tag: "TooLarge", bytes: 301, bytesMax: 300 })
  })

  for (const [what, text] of [
    ["longer than it was announced", "PUB news 2\r\nabc\r\n"],
    ["announced by no number", "PUB news x\r\n"],
    ["announced as less than nothing", "PUB news -1\r\n"]
  ] as const) {
    it(`whose body is ${what} are a violation, and those before are heard`, () => {
      for (const lengths of [[], [1]]) {
        const { messages, violation } = hear(nats, chunksOf(utf8.encode("ok\r\n" + text), lengths))
        assert.deepStrictEqual([messages, violation?._tag], [[{ line: "ok" }], "Malformed"])
      }
    })
  }

  it("do not encode with a body of another length, with one that no line announces, or without one", () => {
    for (const block of [pub(utf8.encode("abc"), "PUB news 2"), { line: "PING", body: utf8.encode("a") }]) {
      assert.propertyVal(nats.encode(block), "_tag", "Malformed")
    }
    assert.propertyVal(nats.encode({ line: "PUB news 2" }), "_tag", "Malformed")
    assert.propertyVal(nats.encode({ line: "PING\r\nPING" }), "_tag", "Malformed")
  })
})

describe("a dialect that is made of another", () => {
  /** Lines until an empty one. */
  const paragraphs = Dialect.lines().pipe(
    Dialect.assemble(() => {
      const lines: Array<string> = []
      return (line: string, emit: (lines: ReadonlyArray<string>) => void) => {
        if (line === "bad") return { _tag: "Malformed", detail: "bad" }
        if (line !== "") lines.push(line)
        else emit(lines.splice(0))
        return undefined
      }
    })
  )

  it("assembles messages of several, with a memory for each link", () => {
    const { messages } = hear(paragraphs, [utf8.encode("a\nb\n\nc\n\nleft over")])
    assert.deepStrictEqual(messages, [["a", "b"], ["c"]])
    assert.deepStrictEqual(hear(paragraphs, [utf8.encode("d\n\n")]).messages, [["d"]])
  })

  it("may refuse one of them, and hears nothing behind it", () => {
    const { messages, violation } = hear(paragraphs, [utf8.encode("a\n\nbad\nb\n\n")])
    assert.deepStrictEqual([messages, violation], [[["a"]], { _tag: "Malformed", detail: "bad" }])
  })

  it("may send in another form than it receives", () => {
    const commands = Dialect.lines().pipe(
      Dialect.encodeWith((words: ReadonlyArray<string>) => utf8.encode(words.join(" ") + ";")),
      Dialect.withPing({ ping: ["PING"], isPong: (line) => line === "PONG" })
    )
    assert.deepStrictEqual(commands.encode(["GET", "a"]), utf8.encode("GET a;"))
    assert.deepStrictEqual(commands.begin().ping?.(), utf8.encode("PING;"))
    const { messages, pongs } = hear(commands, [utf8.encode("1\nPONG\n")])
    assert.deepStrictEqual([messages, pongs], [["1"], 1])
  })

  it("gives a receipt for a message as soon as it arrives, and the message as well", () => {
    const receipted = Dialect.lines().pipe(
      Dialect.withReceipt((line: string) => (line.startsWith("!") ? `got ${line.slice(1)}` : undefined))
    )
    const { answers, messages } = hear(receipted, [utf8.encode("!1\nplain\n!2\n")])
    assert.deepStrictEqual(messages, ["!1", "plain", "!2"])
    assert.deepStrictEqual(answers, [utf8.encode("got 1\n"), utf8.encode("got 2\n")])
  })
})

describe("messages with their length in front", () => {
  const forms = [
    {},
    { lengthBytes: 1, countsItself: true },
    { lengthBytes: 2, littleEndian: true },
    { lengthBytes: 4, littleEndian: true, countsItself: true }
  ] as const

  it.prop(
    "come out as they went in, however the stream is cut",
    { messages: Schema.Array(Schema.Uint8Array), lengths: Lengths },
    ({ lengths, messages }) => {
      for (const form of forms) {
        const dialect = Dialect.lengthPrefixed(form)
        const stream = join(messages.map((message) => encoded(dialect.encode(message))))
        assert.deepStrictEqual(hear(dialect, chunksOf(stream, lengths)).messages, messages as Array<Uint8Array>)
      }
    },
    properties
  )

  it("are laid out as their options say", () => {
    const layouts = forms.map((form) => Array.from(encoded(Dialect.lengthPrefixed(form).encode(Uint8Array.of(7, 8)))))
    assert.deepStrictEqual(layouts, [
      [0, 0, 0, 2, 7, 8],
      [3, 7, 8],
      [2, 0, 7, 8],
      [6, 0, 0, 0, 7, 8]
    ])
  })

  it("beyond the bound are refused as soon as the length is known, before anything is kept", () => {
    const dialect = Dialect.lengthPrefixed({ messageBytesMax: 1000 })
    for (const lengths of [[], [1]]) {
      const { violation } = hear(dialect, chunksOf(Uint8Array.of(0, 0, 3, 233), lengths))
      assert.deepStrictEqual(violation, { _tag: "TooLarge", bytes: 1001, bytesMax: 1000 })
    }
    assert.strictEqual(encoded(dialect.encode(new Uint8Array(1000))).length, 1004)
    assert.deepStrictEqual(dialect.encode(new Uint8Array(1001)), { _tag: "TooLarge", bytes: 1001, bytesMax: 1000 })
  })

  it("never exceed what the length can say", () => {
    const dialect = Dialect.lengthPrefixed({ lengthBytes: 1, countsItself: true })
    assert.strictEqual(encoded(dialect.encode(new Uint8Array(254)))[0], 255)
    assert.deepStrictEqual(dialect.encode(new Uint8Array(255)), { _tag: "TooLarge", bytes: 255, bytesMax: 254 })
  })

  it("whose length does not count itself although it should are a violation", () => {
    const { violation } = hear(Dialect.lengthPrefixed({ lengthBytes: 2, countsItself: true }), [Uint8Array.of(0, 1)])
    assert.strictEqual(violation?._tag, "Malformed")
  })
})

describe("typed dialects", () => {
  const dialects = {
    ndjson: Dialect.ndjson(readings),
    schemaBinary: Dialect.schemaBinary(readings),
    "schemaBinary with fingerprints": Dialect.schemaBinary({ ...readings, fingerprint: true })
  }

  for (const [name, dialect] of Object.entries(dialects)) {
    it.prop(
      `${name}: values come out as they went in, however the stream is cut`,
      { values: Schema.Array(Reading), lengths: Lengths },
      ({ lengths, values }) => {
        const sound = values.map(
          ({ celsius, sensor }) =>
            new Reading({ sensor: sensor.replaceAll(/\p{Surrogate}/gu, ""), celsius: celsius + 0 })
        )
        const stream = join(sound.map((value) => encoded(dialect.encode(value))))
        assert.deepStrictEqual(hear(dialect, chunksOf(stream, lengths)).messages, sound)
      },
      properties
    )

    it(`${name}: bounds what is received and what is sent`, () => {
      const make = name === "ndjson" ? Dialect.ndjson : Dialect.schemaBinary
      const bounded = make({ ...readings, messageBytesMax: 40 })
      const long = new Reading({ sensor: "x".repeat(100), celsius: 1 })
      const refused = bounded.encode(long)
      assert.isTrue(!(refused instanceof Uint8Array) && refused._tag === "TooLarge")
      const stream = encoded(make(readings).encode(long))
      for (const lengths of [[], [1]])
        assert.strictEqual(hear(bounded, chunksOf(stream, lengths)).violation?._tag, "TooLarge")
    })
  }

  it("ndjson: passes over empty lines, and what does not decode is a violation after what did", () => {
    const good = `{"sensor":"roof","celsius":21}\n`
    const { messages, violation } = hear(dialects.ndjson, [utf8.encode(`\n${good}\r\n{"sensor":1}\n${good}`)])
    assert.deepStrictEqual(messages, [new Reading({ sensor: "roof", celsius: 21 })])
    assert.strictEqual(violation?._tag, "Malformed")
  })

  it("schemaBinary: bytes that are none of its frames are a violation", () => {
    for (const rubbish of [Uint8Array.of(3, 255, 255, 255), new Uint8Array(20).fill(0xff)]) {
      assert.strictEqual(hear(dialects.schemaBinary, [rubbish]).violation?._tag, "Malformed")
    }
  })

  it("are any dialect with Schemas on top, and a value that does not encode is told, not thrown", () => {
    const numbers = Dialect.lines().pipe(
      Dialect.typed({ receive: Schema.FiniteFromString, send: Schema.FiniteFromString })
    )
    assert.deepStrictEqual(hear(numbers, [utf8.encode("1\n2.5\n")]).messages, [1, 2.5])
    assert.strictEqual(hear(numbers, [utf8.encode("one\n")]).violation?._tag, "Malformed")
    const violation = numbers.encode(Number.NaN)
    assert.isTrue(!(violation instanceof Uint8Array) && violation._tag === "Malformed")
  })
})

describe("ping and pong", () => {
  const nats = Dialect.lines({ end: "\r\n" }).pipe(
    Dialect.withPing({
      ping: "PING",
      pong: "PONG",
      isPing: (line) => line === "PING",
      isPong: (line) => line === "PONG"
    })
  )

  it("are heard beside the messages and never among them", () => {
    const { answers, messages, pongs } = hear(nats, [utf8.encode("a\r\nPONG\r\nPING\r\nb\r\n")])
    assert.deepStrictEqual([messages, pongs], [["a", "b"], 1])
    assert.deepStrictEqual(
      answers.map((bytes) => new TextDecoder().decode(bytes)),
      ["PONG\r\n"]
    )
    assert.deepStrictEqual(nats.begin().ping?.(), utf8.encode("PING\r\n"))
  })

  it("stay below what is translated", () => {
    const upper = nats.pipe(
      Dialect.translate({
        receive: (line) => Result.succeed(line.toUpperCase()),
        send: (text: string) => Result.succeed(text.toLowerCase())
      })
    )
    const { messages, pongs } = hear(upper, [utf8.encode("pong\r\nPONG\r\n")])
    assert.deepStrictEqual([messages, pongs], [["PONG"], 1])
    assert.deepStrictEqual(upper.begin().ping?.(), utf8.encode("PING\r\n"))
  })

  it("may need to know what was said, afresh on each link", () => {
    // Everything is answered in order and in the same way, also a ping.
    const inOrder = Dialect.lines().pipe(
      Dialect.withLiveness<string, string>((encode) => {
        const asked: Array<"said" | "ping"> = []
        return {
          said: () => asked.push("said"),
          ping: () => {
            asked.push("ping")
            return encode("PING")
          },
          classify: () => (asked.shift() === "ping" ? "pong" : "message")
        }
      }),
      Dialect.typed({ receive: Schema.String, send: Schema.FiniteFromString })
    )
    const messages: Array<string> = []
    let pongs = 0
    const speech = inOrder.begin()
    speech.said?.(1)
    speech.ping?.()
    speech.said?.(2)
    speech.hear(utf8.encode("+OK\n+OK\n+OK\n"), {
      message: (message) => messages.push(message),
      pong: () => pongs++,
      answer: () => assert.fail("nobody asked")
    })
    assert.deepStrictEqual([messages.length, pongs], [2, 1])
    assert.strictEqual(hear(inOrder, [utf8.encode("+OK\n")]).messages.length, 1)
  })
})
