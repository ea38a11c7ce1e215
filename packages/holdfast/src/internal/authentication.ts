/**
 * Secrets and proofs: `SecureRandom` and `Mac` from the context if they are there, else those of the platform.
 */
import { Context, Effect, Layer, Option } from "effect"
import { Mac, SecureRandom, WebCrypto } from "effect/crypto"

export interface Authentication {
  readonly randomBytes: (size: number) => Effect.Effect<Uint8Array>
  /** What signs and verifies with a secret; good for the proofs of one handshake. */
  readonly withSecret: (secret: Uint8Array) => Effect.Effect<Proofs>
}

export interface Proofs {
  readonly sign: (data: Uint8Array) => Effect.Effect<Uint8Array>
  readonly verify: (tag: Uint8Array, data: Uint8Array) => Effect.Effect<boolean>
}

export const make: Effect.Effect<Authentication> = Effect.gen(function* () {
  const given = {
    random: yield* Effect.serviceOption(SecureRandom.SecureRandom),
    mac: yield* Effect.serviceOption(Mac.Mac)
  }
  const platform = yield* ofPlatform
  const random = Option.getOrElse(given.random, () => Context.get(platform, SecureRandom.SecureRandom))
  const mac = Option.getOrElse(given.mac, () => Context.get(platform, Mac.Mac))
  return {
    randomBytes: random.randomBytes,
    withSecret: (secret) =>
      Effect.map(Effect.orDie(Mac.key(Mac.hmacSha256, secret)), (key) => ({
        sign: (data) => Effect.orDie(mac.sign(key, data)),
        verify: (tag, data) => Effect.orDie(mac.verify(key, tag, data))
      }))
  }
})

/** Found once for each platform: layers cost more than all else that a client is made of. */
const ofPlatform = WebCrypto.WebCrypto.use((crypto) => {
  const known = platforms.get(crypto)
  if (known !== undefined) return Effect.succeed(known)
  const mac = Mac.layerWebCryptoWith({ hmac: crypto === globalThis.crypto ? hmacOfNode() : undefined })
  return mac.pipe(
    Layer.provideMerge(SecureRandom.layerWebCrypto),
    Layer.build,
    Effect.scoped,
    Effect.tap((context) => Effect.sync(() => void platforms.set(crypto, context)))
  )
})

const platforms = new WeakMap<object, Context.Context<Mac.Mac | SecureRandom.SecureRandom>>()

/** Web Crypto hands each proof to another thread and waits; where Node's own module is there, it is done on the spot. */
const hmacOfNode = () => {
  const { process } = globalThis as Platform
  const crypto = process?.getBuiltinModule?.("node:crypto")
  if (crypto === undefined) return undefined
  return (hash: string, key: Uint8Array, data: Uint8Array): Uint8Array =>
    new Uint8Array(crypto.createHmac(hash, key).update(data).digest())
}

interface Platform {
  readonly process?: { readonly getBuiltinModule?: (id: "node:crypto") => NodeCrypto | undefined } | undefined
}

interface NodeCrypto {
  readonly createHmac: (hash: string, key: Uint8Array) => Hmac
}

interface Hmac {
  readonly update: (data: Uint8Array) => Hmac
  readonly digest: () => Uint8Array
}
