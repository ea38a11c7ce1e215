/**
 * Secrets and proofs: `SecureRandom` and `Mac` from the context if they are there, else those of Web Crypto.
 */
import { Context, Effect, Layer, Option } from "effect"
import { Mac, SecureRandom } from "effect/crypto"

export interface Authentication {
  readonly randomBytes: (size: number) => Effect.Effect<Uint8Array>
  readonly sign: (secret: Uint8Array, data: Uint8Array) => Effect.Effect<Uint8Array>
  readonly verify: (secret: Uint8Array, tag: Uint8Array, data: Uint8Array) => Effect.Effect<boolean>
}

export const make = Effect.gen(function* () {
  const given = {
    random: yield* Effect.serviceOption(SecureRandom.SecureRandom),
    mac: yield* Effect.serviceOption(Mac.Mac)
  }
  const webCrypto = yield* Layer.build(Mac.layerWebCrypto.pipe(Layer.provideMerge(SecureRandom.layerWebCrypto)))
  const random = Option.getOrElse(given.random, () => Context.get(webCrypto, SecureRandom.SecureRandom))
  const mac = Option.getOrElse(given.mac, () => Context.get(webCrypto, Mac.Mac))
  const withKey = <A>(secret: Uint8Array, use: (key: Mac.Key) => Effect.Effect<A, unknown>): Effect.Effect<A> =>
    Effect.orDie(Effect.flatMap(Mac.key(Mac.hmacSha256, secret), use))
  const authentication: Authentication = {
    randomBytes: random.randomBytes,
    sign: (secret, data) => withKey(secret, (key) => mac.sign(key, data)),
    verify: (secret, tag, data) => withKey(secret, (key) => mac.verify(key, tag, data))
  }
  return authentication
})
