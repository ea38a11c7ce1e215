/**
 * Nonces, ids and secrets that are told apart by who made them, so that equal runs make equal bytes, and a keyed hash that
 * stands for HMAC: what it covers is what the real one covers.
 */
import { Handshake } from "@holdfast/protocol"
import { hash } from "node:crypto"

/** A nonce of this maker. */
export const nonceOf = (who: "client" | "server", life: number, link: number): Uint8Array =>
  filled(Handshake.nonceBytes, [who === "client" ? 1 : 2, life, link])

/** The id of the session that a server's life makes for a client's dial. */
export const sessionOf = (serverLife: number, hello: Handshake.Hello): Uint8Array =>
  filled(Handshake.sessionIdBytes, [3, serverLife, hello.epoch, ...hello.nonce.subarray(0, 3)])

/** The secret of that session. */
export const secretOf = (session: Uint8Array): Uint8Array => filled(Handshake.secretBytes, [4, ...session])

/** The code of a transcript under a secret. */
export const authenticate = (secret: Uint8Array, transcript: Uint8Array): Uint8Array =>
  hash("sha256", Buffer.concat([secret, transcript]), "buffer")

const filled = (length: number, start: ReadonlyArray<number>): Uint8Array => {
  const bytes = new Uint8Array(length)
  bytes.set(start)
  return bytes
}
