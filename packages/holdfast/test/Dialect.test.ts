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
