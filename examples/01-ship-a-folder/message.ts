/**
 * What the two programs say to each other, as bytes.
 *
 * Every message begins with a number that the *program* counts up, from 1 in each direction. The ledger is made from
 * these numbers, so it would notice whatever the library's own bookkeeping did not.
 *
 * ```
 * to the receiver   number u32 · kind u8 · Round: round u32 | File: name | Bytes: bytes | FileEnd: sha-256
 * to the sender     number u32 · kind u8 · answers u32 · Taken: nothing | Written: matched u8, sha-256
 * ```
 */
import { Data, Result } from "effect"

/** Begins a fresh copy of the folder. */
export interface Round {
  readonly _tag: "Round"
  readonly number: number
  readonly round: number
}
/** Begins a file. Names are bytes, `/` between folders: no file system promises that they are text. */
export interface File {
  readonly _tag: "File"
  readonly number: number
  readonly name: Uint8Array
}
export interface Bytes {
  readonly _tag: "Bytes"
  readonly number: number
  readonly bytes: Uint8Array
}
export interface FileEnd {
  readonly _tag: "FileEnd"
  readonly number: number
  readonly sha256: Uint8Array
}
export type Cargo = Round | File | Bytes | FileEnd

/** Answers a message. */
export interface Taken {
  readonly _tag: "Taken"
  readonly number: number
  readonly answers: number
}
/** Answers a `FileEnd`: what is now on the receiver's disk. */
export interface Written {
  readonly _tag: "Written"
  readonly number: number
  readonly answers: number
  readonly matched: boolean
  readonly sha256: Uint8Array
}
export type Receipt = Taken | Written

export class MessageError extends Data.TaggedError("MessageError")<{ readonly message: string }> {}

export const encodeCargo = (cargo: Cargo): Uint8Array => {
  switch (cargo._tag) {
    case "Round":
      return concat(cargo.number, 0, u32(cargo.round))
    case "File":
      return concat(cargo.number, 1, cargo.name)
    case "Bytes":
      return concat(cargo.number, 2, cargo.bytes)
    case "FileEnd":
      return concat(cargo.number, 3, cargo.sha256)
  }
}

export const decodeCargo = (message: Uint8Array): Result.Result<Cargo, MessageError> => {
  if (message.length < headBytes) return malformed("a cargo message is shorter than its head")
  const number = readU32(message, 0)
  const body = message.subarray(headBytes)
  switch (message[4]) {
    case 0:
      return body.length === 4
        ? Result.succeed({ _tag: "Round", number, round: readU32(body, 0) })
        : malformed("a Round has four bytes")
    case 1:
      return Result.succeed({ _tag: "File", number, name: body })
    case 2:
      return Result.succeed({ _tag: "Bytes", number, bytes: body })
    case 3:
      return body.length === sha256Bytes
        ? Result.succeed({ _tag: "FileEnd", number, sha256: body })
        : malformed("a FileEnd has one SHA-256")
    default:
      return malformed(`there is no cargo of kind ${message[4]}`)
  }
}

export const encodeReceipt = (receipt: Receipt): Uint8Array =>
  receipt._tag === "Taken"
    ? concat(receipt.number, 0, u32(receipt.answers))
    : concat(receipt.number, 1, u32(receipt.answers), Uint8Array.of(receipt.matched ? 1 : 0), receipt.sha256)

export const decodeReceipt = (message: Uint8Array): Result.Result<Receipt, MessageError> => {
  if (message.length < headBytes + 4) return malformed("a receipt is shorter than its head")
  const number = readU32(message, 0)
  const answers = readU32(message, headBytes)
  const body = message.subarray(headBytes + 4)
  switch (message[4]) {
    case 0:
      return body.length === 0
        ? Result.succeed({ _tag: "Taken", number, answers })
        : malformed("a Taken has no more than its head")
    case 1:
      return body.length === 1 + sha256Bytes
        ? Result.succeed({ _tag: "Written", number, answers, matched: body[0] === 1, sha256: body.subarray(1) })
        : malformed("a Written has a verdict and one SHA-256")
    default:
      return malformed(`there is no receipt of kind ${message[4]}`)
  }
}

const headBytes = 5
const sha256Bytes = 32

const malformed = (message: string) => Result.fail(new MessageError({ message }))

const concat = (number: number, kind: number, ...parts: ReadonlyArray<Uint8Array>): Uint8Array =>
  Buffer.concat([u32(number), Uint8Array.of(kind), ...parts])

const u32 = (value: number): Uint8Array => {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(value)
  return bytes
}

const readU32 = (bytes: Uint8Array, offset: number): number =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(offset)
