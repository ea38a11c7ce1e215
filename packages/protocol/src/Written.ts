/**
 * Bytes for the link, as they are put together.
 */

/** Bytes for the link. */
export interface Written {
  readonly chunks: ReadonlyArray<Uint8Array>
  readonly bytes: number
  /** How many of them are messages of the application. */
  readonly dataBytes: number
  /** Nothing but a heartbeat and positions. */
  readonly isHeartbeat: boolean
}

/** What is written of these pieces, `undefined` if there are none. Small ones are joined. */
export const written = (
  chunks: ReadonlyArray<Uint8Array>,
  dataBytes: number,
  isHeartbeat: boolean
): Written | undefined => {
  if (chunks.length === 0) return undefined
  let bytes = 0
  for (const chunk of chunks) bytes += chunk.length
  const pieces = bytes <= joinBytesMax ? [join(chunks, bytes)] : chunks
  return { chunks: pieces, bytes, dataBytes, isHeartbeat: isHeartbeat && dataBytes === 0 }
}

const join = (chunks: ReadonlyArray<Uint8Array>, bytes: number): Uint8Array => {
  if (chunks.length === 1) return chunks[0]!
  const joined = memory(bytes)
  let at = 0
  for (const chunk of chunks) {
    joined.set(chunk, at)
    at += chunk.length
  }
  return joined
}

/** Memory that nobody has written to. Small pieces lie side by side: fresh memory for each would be dear to collect. */
const memory = (bytes: number): Uint8Array => {
  if (bytes > sharedBytes / 8) return new Uint8Array(bytes)
  if (used + bytes > sharedBytes) {
    shared = new Uint8Array(sharedBytes)
    used = 0
  }
  const piece = new Uint8Array(shared.buffer, used, bytes)
  used += bytes
  return piece
}

const sharedBytes = 65_536
let shared = new Uint8Array(sharedBytes)
let used = 0

/** Up to here one copy is cheaper than several pieces for the kernel. */
const joinBytesMax = 16_384
