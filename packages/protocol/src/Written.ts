/**
 * Bytes for the link, as they are put together.
 */
import * as Memory from "./Memory.ts"

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
  const joined = Memory.small(bytes)
  let at = 0
  for (const chunk of chunks) {
    joined.set(chunk, at)
    at += chunk.length
  }
  return joined
}

/** Up to here one copy is cheaper than several pieces for the kernel. */
const joinBytesMax = 16_384
