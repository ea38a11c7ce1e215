/**
 * A dialect: how a protocol frames its messages, and how it says ping and pong, if it can. Pure code: bytes go in and
 * messages come out, with no clock, no I/O and no chance, so a recorded stream decodes the same way every time.
 *
 * Take one that is ready (`lines`, `linesWithBody`, `lengthPrefixed`, `ndjson`, `schemaBinary`), or make one:
 *
 * ```ts
 * import { Dialect } from "holdfast"
 *
 * const octets = Dialect.make<number, number>({
 *   decoder: () => (chunk, emit) => {
 *     for (const octet of chunk) emit(octet)
 *     return undefined
 *   },
 *   encode: (octet) => Uint8Array.of(octet)
 * }).pipe(Dialect.withPing({ ping: 0, isPong: (octet) => octet === 1, isPing: (octet) => octet === 0, pong: 1 }))
 * ```
 *
 * Guarantees of what is ready: every chunking of the same bytes gives the same messages; a message that is not complete
 * costs at most twice `messageBytesMax` of memory; a longer one, and whatever does not decode, is a {@link Violation}.
 */
import * as SchemaBinary from "effect/encoding/SchemaBinary"
import { type Pipeable, Prototype } from "effect/Pipeable"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Framing from "./internal/framing.ts"

/** What is wrong with bytes that arrived, or with a message that is to be sent. Returned, never thrown. */
export type Violation =
  | { readonly _tag: "TooLarge"; readonly bytes: number; readonly bytesMax: number }
  | { readonly _tag: "Malformed"; readonly detail: string; readonly cause?: unknown }

/**
 * Takes the next chunk and emits the messages that it completes; what is left over is kept, as a copy, for the next
 * chunk. After a violation it is not called again; what it emitted before counts.
 */
export type Decoder<out In> = (chunk: Uint8Array, emit: (message: In) => void) => Violation | undefined

/** What is heard on a link. */
export interface Heard<in In> {
  /** A message for the application. */
  readonly message: (message: In) => void
  /** The answer to the oldest open ping. */
  readonly pong: () => void
  /** A question of the peer's, which these bytes answer. */
  readonly answer: (bytes: Uint8Array) => void
}

/** A dialect as it is spoken on one link; it may remember what was said. */
export interface Speech<out In, in Out> {
  readonly hear: (chunk: Uint8Array, heard: Heard<In>) => Violation | undefined
  /**
   * The bytes of a question. The peer must answer it after all that was written before it, as it does where it handles
   * what arrives in order: the answer then says that it has handled all that. Without it nobody can be asked.
   */
  readonly ping: (() => Uint8Array) | undefined
  /** Told of each message of ours that is handed to the link, in order. */
  readonly said: ((message: Out) => void) | undefined
}

/** How a protocol frames messages, and how it says ping and pong. `In` is what we receive, `Out` what we send. */
export interface Dialect<out In, in Out> extends Pipeable {
  /** Begins to speak on a new link: nothing of one link reaches the next. */
  readonly begin: () => Speech<In, Out>
  /** The bytes of a message. They are the same on every link, since a message may be written again on another one. */
  readonly encode: (message: Out) => Uint8Array | Violation
}

/** Makes a dialect without ping from how it decodes and encodes. `decoder` is called for each link. */
export const make = <In, Out>(options: {
  readonly decoder: () => Decoder<In>
  readonly encode: (message: Out) => Uint8Array | Violation
}): Dialect<In, Out> =>
  build({
    encode: options.encode,
    begin: () => {
      const decode = options.decoder()
      return { hear: (chunk, heard) => decode(chunk, heard.message), ping: undefined, said: undefined }
    }
  })

/** What `withPing` is told. */
export interface Ping<in In, out Out> {
  /** Our question. */
  readonly ping: Out
  /** Whether a message is the answer to our question. */
  readonly isPong: (message: In) => boolean
  /** Whether a message is the peer's question, which `pong` answers. */
  readonly isPing?: ((message: In) => boolean) | undefined
  readonly pong?: Out | undefined
}

/** Teaches a dialect ping and pong that look the same each time. Neither reaches the application. */
export const withPing = <In, Out>(options: Ping<In, NoInfer<Out>>) =>
  withLiveness<In, Out>((encode) => {
    const ping = encode(options.ping)
    const pong = options.pong === undefined ? undefined : encode(options.pong)
    return {
      ping: () => ping,
      classify: (message) => {
        if (options.isPong(message)) return "pong"
        return pong !== undefined && options.isPing?.(message) === true ? pong : "message"
      }
    }
  })

/** Ping and pong on one link. */
export interface Liveness<in In, in Out> {
  readonly ping?: (() => Uint8Array) | undefined
  /** `"message"`: for the application. `"pong"`: answers the oldest open ping. Bytes: the answer to the peer's question. */
  readonly classify: (message: In) => "message" | "pong" | Uint8Array
  readonly said?: ((message: Out) => void) | undefined
}

/**
 * Teaches a dialect ping and pong that need a memory, such as a protocol that answers everything in order and pings like
 * everything else: `begin` is called for each link. `encode` throws for a message that does not encode.
 */
export const withLiveness =
  <In, Out>(begin: (encode: (message: Out) => Uint8Array) => Liveness<In, Out>) =>
  (self: Dialect<In, Out>): Dialect<In, Out> =>
    build({
      encode: self.encode,
      begin: () => {
        const below = self.begin()
        const { classify, ping = below.ping, said } = begin((message) => orThrow(self.encode(message)))
        return {
          ping,
          hear: (chunk, heard) =>
            below.hear(chunk, {
              ...heard,
              message: (message) => {
                const kind = classify(message)
                if (kind === "message") heard.message(message)
                else if (kind === "pong") heard.pong()
                else heard.answer(kind)
              }
            }),
          said: both(below.said, said)
        }
      }
    })

/** Two directions of a translation, each of which may refuse. */
export interface Translation<in In, in B, out A, out Out> {
  readonly receive: (message: In) => Result.Result<A, Violation>
  readonly send: (message: B) => Result.Result<Out, Violation>
}

/** Translates the messages of a dialect. Ping and pong are below it, and stay as they are. */
export const translate =
  <In, Out, A, B>({ receive, send }: Translation<In, B, A, Out>) =>
  (self: Dialect<In, Out>): Dialect<A, B> => {
    const received = self.pipe(
      assemble<In, A>(() => (message, emit) => {
        const result = receive(message)
        if (Result.isFailure(result)) return result.failure
        emit(result.success)
        return undefined
      })
    )
    return build<A, B>({
      encode: (message) => {
        const sent = send(message)
        return Result.isSuccess(sent) ? self.encode(sent.success) : sent.failure
      },
      begin: () => {
        const speech = received.begin()
        const { said } = speech
        return {
          ...speech,
          said:
            said &&
            ((message) => {
              const sent = send(message)
              if (Result.isSuccess(sent)) said(sent.success)
            })
        }
      }
    })
  }

/**
 * Makes messages of what a dialect receives: one of several, such as a reply of many lines, or none of what nobody needs.
 * `begin` is called for each link, and what it returns for each message; what it keeps is its own to bound.
 *
 * ```ts
 * import { Dialect } from "holdfast"
 *
 * // FTP: every line of a reply but the last one has a hyphen behind its code.
 * const replies = Dialect.assemble<string, string>(() => {
 *   let reply = ""
 *   return (line, emit) => {
 *     reply += line + "\n"
 *     if (reply.length > 65_536) return { _tag: "TooLarge", bytes: reply.length, bytesMax: 65_536 }
 *     if (!/^\d{3} /.test(line)) return undefined
 *     emit(reply)
 *     reply = ""
 *     return undefined
 *   }
 * })
 *
 * const ftp = Dialect.lines({ end: "\r\n" }).pipe(replies)
 * ```
 */
export const assemble =
  <In, A>(begin: () => (message: In, emit: (message: A) => void) => Violation | undefined) =>
  <Out>(self: Dialect<In, Out>): Dialect<A, Out> =>
    build<A, Out>({
      encode: self.encode,
      begin: () => {
        const { hear, ping, said } = self.begin()
        const receive = begin()
        return {
          ping,
          said,
          hear: (chunk, heard) => {
            let refused: Violation | undefined
            const violated = hear(chunk, {
              ...heard,
              message: (message) => {
                refused ??= receive(message, heard.message)
              }
            })
            return refused ?? violated
          }
        }
      }
    })

/** Sends in another form than it receives, as protocols do that ask in one and answer in another. Ping comes after it. */
export const encodeWith =
  <B>(encode: (message: B) => Uint8Array | Violation) =>
  <In>(self: Dialect<In, never>): Dialect<In, B> =>
    build<In, B>({ encode, begin: () => ({ hear: self.begin().hear, ping: undefined, said: undefined }) })

/**
 * Answers some messages as soon as they have arrived, on the link on which they came, and gives them to the application
 * as well. For receipts that a protocol asks for, such as MQTT's PUBACK: from then on the peer counts on this process, and
 * the message is kept across incarnations until the application takes it.
 */
export const withReceipt =
  <In, Out>(receiptOf: (message: In) => Out | undefined) =>
  (self: Dialect<In, Out>): Dialect<In, Out> =>
    build<In, Out>({
      encode: self.encode,
      begin: () => {
        const speech = self.begin()
        return {
          ...speech,
          hear: (chunk, heard) =>
            speech.hear(chunk, {
              ...heard,
              message: (message) => {
                const receipt = receiptOf(message)
                if (receipt !== undefined) heard.answer(orThrow(self.encode(receipt)))
                heard.message(message)
              }
            })
        }
      }
    })

/** The Schemas of both directions. They are run synchronously and without services. */
export interface Schemas<A, B, In, Out> {
  readonly receive: Schema.ConstraintCodec<A, In, never, unknown>
  readonly send: Schema.ConstraintCodec<B, Out, unknown>
}

/** Types the messages of a dialect: what does not decode is the peer's violation, what does not encode costs that send. */
export const typed = <A, B, In, Out>(schemas: Schemas<A, B, In, Out>) => {
  const decode = Schema.decodeUnknownResult(schemas.receive)
  const encode = Schema.encodeUnknownResult(schemas.send)
  return translate<In, Out, A, B>({
    receive: (message) => Result.mapError(decode(message), malformed),
    send: (message) => Result.mapError(encode(message), malformed)
  })
}

/** Bounds of the ready dialects. */
export interface Limits {
  /** The longest message, without its framing. Default 1 MiB. */
  readonly messageBytesMax?: number | undefined
}

/**
 * Text in UTF-8, one message a line. Receives lines that end with `\n` or `\r\n`; sends `end`, by default `\n`. A message
 * with a line break in it does not encode.
 */
export const lines = (options: Limits & { readonly end?: "\n" | "\r\n" | undefined } = {}): Dialect<string, string> =>
  make(Framing.lines(options.end ?? "\n", options.messageBytesMax ?? messageBytesMaxDefault))

/** A line and, where it announces one, a body. */
export interface Block {
  readonly line: string
  readonly body?: Uint8Array | undefined
}

/**
 * Lines, some of which say how many bytes follow them, as in NATS, Redis, memcached and beanstalkd: `PUB news 5`, then five
 * bytes and the end of a line. `bodyBytes` reads that from a line, ours or the peer's; `undefined` means that nothing
 * follows. `messageBytesMax` bounds line and body, each. A block whose body is not as long as its line says does not encode.
 */
export const linesWithBody = (
  options: Limits & {
    readonly bodyBytes: (line: string) => number | undefined
    readonly end?: "\n" | "\r\n" | undefined
  }
): Dialect<Block, Block> =>
  make(Framing.linesWithBody(options.end ?? "\n", options.messageBytesMax ?? messageBytesMaxDefault, options.bodyBytes))

/** Bytes with their length in front: `lengthBytes` of it (default 4), in network order unless `littleEndian`. */
export const lengthPrefixed = (
  options: Limits & {
    readonly lengthBytes?: 1 | 2 | 4 | undefined
    readonly littleEndian?: boolean | undefined
    /** Whether the length counts itself. Default false. */
    readonly countsItself?: boolean | undefined
  } = {}
): Dialect<Uint8Array, Uint8Array> => {
  const { countsItself = false, lengthBytes = 4, littleEndian = false, messageBytesMax } = options
  const bytesMax = messageBytesMax ?? messageBytesMaxDefault
  return make(Framing.lengthPrefixed({ countsItself, lengthBytes, littleEndian, bytesMax }))
}

/** One JSON value a line, in the JSON form of the Schemas (`Schema.toCodecJson`). Empty lines are passed over. */
export const ndjson = <S extends PlainSchema, C extends PlainSchema>(
  options: Limits & MessageSchemas<S, C>
): Dialect<S["Type"], C["Type"]> => {
  const decode = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.toCodecJson(options.receive)))
  const encode = Schema.encodeUnknownResult(Schema.fromJsonString(Schema.toCodecJson(options.send)))
  return lines(options).pipe(
    assemble<string, string>(() => (line, emit) => void (line !== "" && emit(line))),
    translate({
      receive: (line) => Result.mapError(decode(line), malformed),
      send: (message: C["Type"]) => Result.mapError(encode(message), malformed)
    })
  )
}

/**
 * Effect's compact binary form of a Schema (`effect/encoding/SchemaBinary`), whose frames say their length. By default
 * both ends may have compatible versions of the Schema; `fingerprint` makes smaller frames and demands the same one.
 */
export const schemaBinary = <S extends PlainSchema, C extends PlainSchema>(
  options: Limits & MessageSchemas<S, C> & SchemaBinary.Options
): Dialect<S["Type"], C["Type"]> => {
  const { messageBytesMax = messageBytesMaxDefault } = options
  const decode = Schema.decodeUnknownResult(SchemaBinary.toCodec(options.receive, options))
  const encode = Schema.encodeUnknownResult(SchemaBinary.toCodec(options.send, options))
  return make<Uint8Array, Uint8Array>({
    decoder: Framing.measured(Framing.measureVarint, messageBytesMax, true),
    encode: (frame) => frame
  }).pipe(
    translate({
      receive: (frame) => Result.mapError(decode(frame), malformed),
      // The result is a view of a buffer that the encoder goes on using.
      send: (message: C["Type"]) =>
        Result.flatMap(Result.mapError(encode(message), malformed), (frame) => within(frame.slice(), messageBytesMax))
    })
  )
}

/** The Schemas of a typed dialect. They need no services. */
export interface MessageSchemas<S extends PlainSchema, C extends PlainSchema> {
  readonly receive: S
  readonly send: C
}

/** Any Schema that encodes and decodes without services. */
export type PlainSchema = Schema.ConstraintCodec<unknown, unknown>

const build = <In, Out>(dialect: Omit<Dialect<In, Out>, "pipe">): Dialect<In, Out> =>
  Object.assign(Object.create(Prototype), dialect)

const both = <Out>(first: Speech<never, Out>["said"], second: Speech<never, Out>["said"]): Speech<never, Out>["said"] =>
  first === undefined || second === undefined
    ? (first ?? second)
    : (message) => {
        first(message)
        second(message)
      }

const orThrow = (encoded: Uint8Array | Violation): Uint8Array => {
  if (encoded instanceof Uint8Array) return encoded
  throw new Error(
    `a ping, pong or receipt does not encode: ${encoded._tag === "Malformed" ? encoded.detail : encoded._tag}`
  )
}

const malformed = (cause: Schema.SchemaError): Violation => malformedBy(cause.message, cause)

const malformedBy = (detail: string, cause?: unknown): Violation => ({ _tag: "Malformed", detail, cause })

const within = (message: Uint8Array, bytesMax: number): Result.Result<Uint8Array, Violation> =>
  message.length > bytesMax
    ? Result.fail({ _tag: "TooLarge", bytes: message.length, bytesMax })
    : Result.succeed(message)

const messageBytesMaxDefault = 1024 * 1024
