/**
 * Memory that serves again, for all sessions together: to collect fresh memory costs more the more a program keeps alive.
 * What is in it is always overwritten before it is sent or handed on.
 */

/** The size of the pieces. */
export const pieceBytes = 131_072

/** How many are kept for later: 16 MiB, whatever was under way before. */
const sparePiecesMax = 128

const spare: Array<Uint8Array> = []

/** A piece that nobody else uses. */
export const take = (): Uint8Array => spare.pop() ?? new Uint8Array(pieceBytes)

/** Takes back what nobody reads any more. Memory of another size is left to the collector. */
export const give = (memory: Uint8Array): void => {
  if (memory.length === pieceBytes && spare.length < sparePiecesMax) spare.push(memory)
}
