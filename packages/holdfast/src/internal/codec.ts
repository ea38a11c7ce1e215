/**
 * Messages to bytes and back: identity for bytes, JSON in UTF-8 for every other Schema.
 */
import { Effect, Schema } from "effect"
import type { Context } from "effect"
import * as ConnectionError from "../ConnectionError.ts"
import type { Messages } from "../Session.ts"

export interface Codec<A, R> {
  /** Messages are bytes and go as they are. */
  readonly isBytes: boolean
  /** What it decodes, or whoever uses it, keeps none of the bytes. */
  readonly isBorrowing: boolean
  readonly encode: (
    messages: ReadonlyArray<A>
  ) => Effect.Effect<ReadonlyArray<Uint8Array>, ConnectionError.ConnectionError, R>
  readonly decode: (
    batch: ReadonlyArray<Uint8Array>
  ) => Effect.Effect<ReadonlyArray<A>, ConnectionError.ConnectionError, R>
}

export interface Definition<ToServer, ToClient, R> {
  readonly id: string
  readonly messageBytesMax: number
  readonly toServer: Codec<ToServer, R>
  readonly toClient: Codec<ToClient, R>
}

export const definition = <S extends Schema.Constraint, C extends Schema.Constraint, R>(
  id: string,
  messages: Messages<S, C>
): Definition<S["Type"], C["Type"], R> => ({
  id,
  messageBytesMax: messages.messageBytesMax ?? 16 * 1024 * 1024,
  toServer: make(messages.toServer, messages.borrow) as Codec<S["Type"], R>,
  toClient: make(messages.toClient, messages.borrow) as Codec<C["Type"], R>
})

/** A codec that has its services. */
export const provide = <A, R>(codec: Codec<A, R>, services: Context.Context<R>): Codec<A, never> => {
  if (codec.isBytes) return codec as Codec<A, never>
  const { decode, encode } = codec
  return {
    ...codec,
    encode: (messages) => Effect.provideContext(encode(messages), services),
    decode: (batch) => Effect.provideContext(decode(batch), services)
  }
}

/** The codec of a Schema, or of bytes. */
export const make = (schema: Schema.Constraint | undefined, isBorrowing = false): Codec<unknown, unknown> => {
  if (schema === undefined) return { ...bytes, isBorrowing }
  const json = Schema.fromJsonString(Schema.toCodecJson(schema))
  const encodeOne = Schema.encodeUnknownEffect(json)
  const decodeOne = Schema.decodeUnknownEffect(json)
  const utf8 = new TextEncoder()
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
  return {
    isBytes: false,
    isBorrowing: true,
    encode: (messages) =>
      Effect.forEach(messages, (message) => Effect.map(encodeOne(message), (string) => utf8.encode(string))).pipe(
        Effect.mapError((cause) => invalid("send", cause))
      ),
    decode: (batch) =>
      Effect.forEach(batch, (message) =>
        Effect.try({ try: () => text.decode(message), catch: (cause) => invalid("receive", cause) }).pipe(
          Effect.flatMap((string) => Effect.mapError(decodeOne(string), (cause) => invalid("receive", cause)))
        )
      )
  }
}

const bytes: Omit<Codec<unknown, never>, "isBorrowing"> = {
  isBytes: true,
  encode: (messages) =>
    messages.every((message) => message instanceof Uint8Array)
      ? Effect.succeed(messages)
      : Effect.fail(invalid("send", new TypeError("the message is not a Uint8Array"))),
  decode: (batch) => Effect.succeed(batch)
}

const invalid = (direction: "send" | "receive", cause: unknown) =>
  ConnectionError.make(new ConnectionError.MessageInvalid({ direction, cause }))
