/**
 * The secret that both ends share: the bytes of a file, without the line end that editors add.
 */
import { Effect, FileSystem, Redacted, Schema } from "effect"

/** The file holds no usable secret. */
export class SecretUnusable extends Schema.TaggedError<SecretUnusable>()("SecretUnusable", {
  message: Schema.String
}) {}

/** Whoever listens to a proof can try secrets at leisure, so short ones are refused. */
export const secretBytesMin = 16

export const read = Effect.fnUntraced(function* (path: string) {
  const files = yield* FileSystem.FileSystem
  const content = yield* Effect.mapError(
    files.readFile(path),
    ({ message }) => new SecretUnusable({ message: `--secret-file: ${path} cannot be read: ${message}` })
  )
  const secret = withoutLineEnd(content)
  if (secret.length >= secretBytesMin) return Redacted.make(secret, { label: "secret" })
  return yield* new SecretUnusable({
    message:
      `--secret-file: ${path} holds ${secret.length} bytes, and a secret needs at least ${secretBytesMin}; ` +
      `make one with: head -c 32 /dev/urandom | base64 > ${path}`
  })
})

const withoutLineEnd = (bytes: Uint8Array): Uint8Array => {
  let length = bytes.length
  if (bytes[length - 1] === newline) length--
  if (bytes[length - 1] === carriageReturn) length--
  return bytes.subarray(0, length)
}

const newline = 0x0a
const carriageReturn = 0x0d
