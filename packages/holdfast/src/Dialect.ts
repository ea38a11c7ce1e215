/**
 * A dialect: how a protocol frames its messages, and how it says ping and pong, if it can. Pure code: bytes go in and
 * messages come out, with no clock, no I/O and no chance, so a recorded stream decodes the same way every time.
 *
 * Take one that is ready (`lines`, `lengthPrefixed`, `ndjson`, `schemaBinary`), or make one:
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
export const withPing = <In, Out>(options: Ping<In, Out>) =>
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
  (self: Dialect<In, Out>): Dialect<A, B> =>
    build<A, B>({
      encode: (message) => {
        const sent = send(message)
        return Result.isSuccess(sent) ? self.encode(sent.success) : sent.failure
      },
      begin: () => {
        const { hear, ping, said } = self.begin()
        return {
          ping,
          hear: (chunk, heard) => {
            let refused: Violation | undefined
            const violated = hear(chunk, {
              ...heard,
              message: (message) => {
                if (refused !== undefined) return
                const received = receive(message)
                if (Result.isSuccess(received)) heard.message(received.success)
                else refused = received.failure
              }
            })
            return refused ?? violated
          },
          said:
            said &&
            ((message) => {
              const sent = send(message)
              if (Result.isSuccess(sent)) said(sent.success)
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

// ---- ready

/** Bounds of the ready dialects. */
export interface Limits {
  /** The longest message, without its framing. Default 1 MiB. */
  readonly messageBytesMax?: number | undefined
}

/**
 * Text in UTF-8, one message a line. Receives lines that end with `\n` or `\r\n`; sends `end`, by default `\n`. A message
 * with a line break in it does not encode.
 */
export const lines = (options: Limits & { readonly end?: "\n" | "\r\n" | undefined } = {}): Dialect<string, string> => {
  const { end = "\n", messageBytesMax = messageBytesMaxDefault } = options
  return make<Uint8Array, Uint8Array>({
    decoder: Framing.delimited(messageBytesMax),
    encode: (line) => concat(line, utf8.encode(end))
  }).pipe(
    translate({
      receive: (line) =>
        Result.try({
          try: () => strictUtf8.decode(line),
          catch: (cause) => malformedBy("a line is not UTF-8", cause)
        }),
      send: (text) => {
        if (/[\r\n]/.test(text)) return Result.fail(malformedBy("a line contains a line break"))
        return within(utf8.encode(text), messageBytesMax)
      }
    })
  )
}

/** Bytes with their length in front: `lengthBytes` of it (default 4), in network order unless `littleEndian`. */
export const lengthPrefixed = (
  options: Limits & {
    readonly lengthBytes?: 1 | 2 | 4 | undefined
    readonly littleEndian?: boolean | undefined
    /** Whether the length counts itself. Default false. */
    readonly countsItself?: boolean | undefined
  } = {}
): Dialect<Uint8Array, Uint8Array> => {
  const { countsItself = false, lengthBytes = 4, littleEndian = false } = options
  const extra = countsItself ? lengthBytes : 0
  const messageBytesMax = Math.min(options.messageBytesMax ?? messageBytesMaxDefault, 256 ** lengthBytes - 1 - extra)
  const shiftOf = (at: number) => 256 ** (littleEndian ? at : lengthBytes - 1 - at)
  return make({
    decoder: Framing.measured(
      (bytes, from, to) => {
        if (to - from < lengthBytes) return undefined
        let length = -extra
        for (let at = 0; at < lengthBytes; at++) length += bytes[from + at]! * shiftOf(at)
        return length < 0
          ? malformedBy(`a length of ${length + extra} does not count itself`)
          : { headerBytes: lengthBytes, bodyBytes: length }
      },
      messageBytesMax,
      false
    ),
    encode: (message) => {
      const length = message.length + extra
      const header = Uint8Array.from({ length: lengthBytes }, (_, at) => Math.floor(length / shiftOf(at)) % 256)
      return message.length > messageBytesMax
        ? { _tag: "TooLarge", bytes: message.length, bytesMax: messageBytesMax }
        : concat(header, message)
    }
  })
}

/** One JSON value a line, in the JSON form of the Schemas (`Schema.toCodecJson`). Empty lines are passed over. */
export const ndjson = <S extends PlainSchema, C extends PlainSchema>(
  options: Limits & MessageSchemas<S, C>
): Dialect<S["Type"], C["Type"]> => {
  const decode = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.toCodecJson(options.receive)))
  const encode = Schema.encodeUnknownResult(Schema.fromJsonString(Schema.toCodecJson(options.send)))
  return lines(options).pipe(
    onlyIf((line) => line !== ""),
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
    decoder: Framing.measured(measureVarint, messageBytesMax, true),
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

/** Passes over what the application need not see. */
const onlyIf =
  <In>(isMessage: (message: In) => boolean) =>
  <Out>(self: Dialect<In, Out>): Dialect<In, Out> =>
    build({
      encode: self.encode,
      begin: () => {
        const speech = self.begin()
        return {
          ...speech,
          hear: (chunk, heard) =>
            speech.hear(chunk, { ...heard, message: (message) => isMessage(message) && heard.message(message) })
        }
      }
    })

const both = <Out>(first: Speech<never, Out>["said"], second: Speech<never, Out>["said"]): Speech<never, Out>["said"] =>
  first === undefined || second === undefined
    ? (first ?? second)
    : (message) => {
        first(message)
        second(message)
      }

const orThrow = (encoded: Uint8Array | Violation): Uint8Array => {
  if (encoded instanceof Uint8Array) return encoded
  throw new Error(`a ping or pong does not encode: ${encoded._tag === "Malformed" ? encoded.detail : encoded._tag}`)
}

const malformed = (cause: Schema.SchemaError): Violation => malformedBy(cause.message, cause)

const malformedBy = (detail: string, cause?: unknown): Violation => ({ _tag: "Malformed", detail, cause })

const within = (message: Uint8Array, bytesMax: number): Result.Result<Uint8Array, Violation> =>
  message.length > bytesMax
    ? Result.fail({ _tag: "TooLarge", bytes: message.length, bytesMax })
    : Result.succeed(message)

/** The length in front of a binary frame: seven bits a byte, the lowest first. */
const measureVarint: Framing.Measure = (bytes, from, to) => {
  let length = 0
  for (let at = from; at < to; at++) {
    const byte = bytes[at]!
    length += (byte & 0x7f) * 128 ** (at - from)
    if (byte < 0x80) return { headerBytes: at - from + 1, bodyBytes: length }
    if (at - from === varintBytesMax) return malformedBy("a length has no end")
  }
  return undefined
}

const concat = (first: Uint8Array, second: Uint8Array): Uint8Array => {
  const whole = new Uint8Array(first.length + second.length)
  whole.set(first)
  whole.set(second, first.length)
  return whole
}

const utf8 = new TextEncoder()
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const varintBytesMax = 7
const messageBytesMaxDefault = 1024 * 1024
