/**
 * Memory for all sessions together: to collect fresh memory costs more the more a program keeps alive, so large pieces
 * serve again, and small ones lie side by side. What is in them is always overwritten before it is sent or handed on.
 */

/** The size of the pieces that hold what is sent. */
export const pieceBytes = 131_072

/** The size of the largest pieces, for lists of very many small messages. */
export const pieceBytesMax = pieceBytes * 32

/** Small pieces are for whoever keeps little, one of them for a message of 64 KiB with its header, as there are many. */
const sizes: ReadonlyArray<number> = [
  pieceBytesMax,
  pieceBytes * 8,
  pieceBytes,
  65_536 + 1024,
  pieceBytes / 4,
  pieceBytes / 16,
  pieceBytes / 64
]

/** How much is kept of each size for later: 32 MiB, whatever was under way before. */
const spareBytesMax = 32 * 1024 * 1024

const spare = sizes.map((): Array<Uint8Array> => [])

/** A piece that nobody else uses, with room for so many bytes: of the smallest size that has it. */
export const take = (bytes = pieceBytes): Uint8Array => {
  let place = sizes.length - 1
  while (place > 0 && sizes[place]! < bytes) place--
  return spare[place]!.pop() ?? new Uint8Array(sizes[place]!)
}

/** Takes back what nobody reads any more. Memory of another size is left to the collector. */
export const give = (memory: Uint8Array): void => {
  const place = sizes.indexOf(memory.length)
  if (place >= 0 && spare[place]!.length * memory.length < spareBytesMax) spare[place]!.push(memory)
}

/** Memory that nobody has written to, and that does not serve again. */
export const small = (bytes: number): Uint8Array => {
  if (bytes > sharedBytes / 8) return new Uint8Array(bytes)
  if (used + bytes > sharedBytes) {
    shared = new ArrayBuffer(sharedBytes)
    used = 0
  }
  const piece = new Uint8Array(shared, used, bytes)
  used += bytes
  return piece
}

const sharedBytes = 65_536
let shared = new ArrayBuffer(sharedBytes)
let used = 0
