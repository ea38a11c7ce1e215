/**
 * Messages that lie in memory which will be overwritten, because a link reads into it again.
 */

/** Puts those of the messages from `from` on that lie in `lent` into memory of their own. */
export const own = (messages: Array<Uint8Array>, from: number, lent: ArrayBufferLike): void => {
  let bytes = 0
  for (let i = from; i < messages.length; i++) if (messages[i]!.buffer === lent) bytes += messages[i]!.length
  const memory = new Uint8Array(bytes)
  let at = 0
  for (let i = from; i < messages.length; i++) {
    const message = messages[i]!
    if (message.buffer !== lent) continue
    memory.set(message, at)
    messages[i] = new Uint8Array(memory.buffer, at, message.length)
    at += message.length
  }
}
