/**
 * What goes over a channel of requests: one byte for the kind, four for the slot (big-endian), and the payload. A slot
 * belongs to a request until its one reply has come; then it serves the next request.
 */

/** From whoever asks. What comes of a request that was cancelled is replied like anything else. */
export type QuestionKind = "Request" | "Cancel"

/**
 * From whoever answers, one for each request: its response, its typed failure, or why there is neither. `Died`: a defect.
 * `Interrupted`: whoever answers was interrupted. `Invalid`: the request did not decode.
 */
export type ReplyKind = "Success" | "Failure" | "Died" | "Interrupted" | "Invalid"

export type Kind = QuestionKind | ReplyKind

/** What stands in front of the payload. It serves again: its bytes hold until the next call. */
export const head = (kind: Kind, slot: number): Uint8Array => {
  header[0] = codes[kind]
  header[1] = slot >>> 24
  header[2] = slot >>> 16
  header[3] = slot >>> 8
  header[4] = slot
  return header
}

export const encode = (kind: Kind, slot: number, payload: Uint8Array = nothing): Uint8Array => {
  const bytes = new Uint8Array(headerBytes + payload.length)
  bytes.set(head(kind, slot))
  bytes.set(payload, headerBytes)
  return bytes
}

/** Nothing where the bytes are no record; then they have no slot either. */
export const kindOf = (bytes: Uint8Array): Kind | undefined =>
  bytes.length < headerBytes ? undefined : kinds[bytes[0]!]

export const slotOf = (bytes: Uint8Array): number =>
  ((bytes[1]! << 24) | (bytes[2]! << 16) | (bytes[3]! << 8) | bytes[4]!) >>> 0

/** A view. */
export const payloadOf = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(bytes.buffer, bytes.byteOffset + headerBytes, bytes.length - headerBytes)

const codes: Record<Kind, number> = {
  Request: 0,
  Cancel: 1,
  Success: 2,
  Failure: 3,
  Died: 4,
  Interrupted: 5,
  Invalid: 6
}

const kinds = Object.keys(codes) as ReadonlyArray<Kind>

const headerBytes = 5

const header = new Uint8Array(headerBytes)

/** No payload. */
export const nothing = new Uint8Array(0)
