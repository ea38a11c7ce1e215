/**
 * The secret of the sessions in the test vectors, and the real code that it makes.
 */
import { createHmac } from "node:crypto"

export const secret = Uint8Array.from({ length: 32 }, (_, i) => 0x40 + i)

export const mac = (key: Uint8Array, data: Uint8Array): Uint8Array =>
  new Uint8Array(createHmac("sha256", key).update(data).digest())
