/**
 * Both ends of a link prove that they know the secret, on every link and before anything else is said.
 *
 * ```
 *   dialling end                                   listening end
 *                 <---------------- tag, nonce L
 *   tag, nonce D, HMAC("dialling", L, D) -------->
 *                 <---------------- 1, HMAC("listening", L, D)        or 0 and the end
 * ```
 *
 * The secret itself never leaves a process, a recording proves nothing on the next link, and an answer of one end is
 * never one of the other. What is learned from listening is enough to try secrets at leisure, so a secret must be
 * long: `secret.ts` refuses short ones. The proof does not encrypt; that is what TLS is for.
 */
import { Effect, Layer, Option, Redacted, Schema, Semaphore } from "effect"
import { Mac, SecureRandom } from "effect/crypto"
import * as Socket from "effect/socket/Socket"
import * as SocketServer from "effect/socket/SocketServer"
import type { Link } from "holdfast"

/** The other end does not know the secret, or does not speak this protocol. Trying again cannot help. */
export class ProofRefused extends Schema.TaggedError<ProofRefused>()("ProofRefused", {
  message: Schema.String
}) {
  readonly retryable = false
}

/** The link, dialled, once both ends have proved the secret: it fails with a {@link ProofRefused} if they do not. */
export const dialling = (link: Link.Link, secret: Redacted.Redacted<Uint8Array>): Link.Link =>
  withReader(link, opening(link, diallingEnd(secret)))

/** The same server, handing out links whose ends have proved the secret, and no others. */
export const listening = (
  server: SocketServer.SocketServer["Service"],
  options: {
    readonly secret: Redacted.Redacted<Uint8Array>
    /** Told of every link that has not proved the secret, with the reason. */
    readonly onRefused: (peer: string | undefined, reason: string) => Effect.Effect<void>
  }
): SocketServer.SocketServer["Service"] => {
  const provers = Semaphore.makeUnsafe(proversMax)
  const end = listeningEnd(options.secret)
  return {
    address: server.address,
    run: (handler) =>
      server.run((socket) => {
        const link: Link.Link = socket
        // The proof is done here and not when the session opens the link, so that nothing counts it as a session's before.
        return Effect.gen(function* () {
          const opened = yield* provers
            .withPermitsIfAvailable(1)(Effect.timeoutOption(opening(link, end), proofTimeout))
            .pipe(Effect.map(Option.flatten))
          if (Option.isNone(opened)) {
            yield* link.destroy ?? Effect.void
            return yield* options.onRefused(link.peer, "no proof in time, or too many at once")
          }
          return yield* handler(withReader(link, Effect.succeed(opened.value)))
        }).pipe(
          Effect.scoped,
          Effect.catchIf(Socket.isSocketError, (error) => options.onRefused(link.peer, causeOf(error)))
        )
      })
  }
}

/** How long a link may take to prove the secret to the listening end. */
export const proofTimeout = "5 seconds"

/** Links that may be about to prove the secret at once; further ones are cut. */
export const proversMax = 256

/** What one end says and hears. */
type End = (
  say: (bytes: Uint8Array) => Effect.Effect<void, Socket.SocketError>,
  hear: (bytes: number) => Effect.Effect<Uint8Array, Socket.SocketError>
) => Effect.Effect<void, Socket.SocketError>

const diallingEnd =
  (secret: Redacted.Redacted<Uint8Array>): End =>
  (say, hear) =>
    Effect.gen(function* () {
      if (!isTag(yield* hear(tag.length))) {
        return yield* refused("whoever answers there is not the listening end of a tunnel")
      }
      const theirs = yield* hear(nonceBytes)
      const random = yield* SecureRandom.SecureRandom
      const ours = yield* random.randomBytes(nonceBytes)
      yield* say(concat(tag, ours, yield* sign(secret, "dialling", theirs, ours)))
      const verdict = yield* hear(1)
      if (verdict[0] !== accepted) return yield* refused("the listening end says that our secret is not its own")
      const isGenuine = yield* verify(secret, yield* hear(macBytes), "listening", theirs, ours)
      if (!isGenuine) return yield* refused("whoever listens there does not know the secret")
    }).pipe(Effect.provide(cryptography))

const listeningEnd =
  (secret: Redacted.Redacted<Uint8Array>): End =>
  (say, hear) =>
    Effect.gen(function* () {
      const random = yield* SecureRandom.SecureRandom
      const ours = yield* random.randomBytes(nonceBytes)
      yield* say(concat(tag, ours))
      if (!isTag(yield* hear(tag.length))) return yield* refused("it is not the dialling end of a tunnel")
      const theirs = yield* hear(nonceBytes)
      const isGenuine = yield* verify(secret, yield* hear(macBytes), "dialling", ours, theirs)
      if (!isGenuine) {
        yield* say(Uint8Array.of(0))
        return yield* refused("it does not know the secret")
      }
      yield* say(concat(Uint8Array.of(accepted), yield* sign(secret, "listening", ours, theirs)))
    }).pipe(Effect.provide(cryptography))

/** Opens a link and lets its end do the proof; from there on the reader goes on where the proof stopped. */
const opening = (link: Link.Link, end: End) =>
  Effect.gen(function* () {
    const reader = yield* link.reader
    const { write } = yield* link.writer
    let heard: Uint8Array = new Uint8Array(0)
    const hear = (bytes: number) =>
      Effect.gen(function* () {
        while (heard.length < bytes) {
          for (const chunk of yield* reader.pull) {
            if (typeof chunk === "string") return yield* refused("it says text where a proof is due")
            heard = concat(heard, chunk)
          }
          if (heard.length > proofBytesMax) return yield* refused("it says more than a proof")
        }
        const wanted = heard.subarray(0, bytes)
        heard = heard.subarray(bytes)
        return wanted
      })
    yield* end(write, hear)
    // Either end waits for the other's last word, so nothing may have come behind it.
    if (heard.length > 0) return yield* refused("it says more than a proof")
    return reader
  })

/** The link with another reader; all else is its own. */
const withReader = (link: Link.Link, reader: Link.Link["reader"]): Link.Link => ({
  ...Socket.make({ reader, writer: link.writer }),
  destroy: link.destroy,
  progress: link.progress,
  get peer() {
    return link.peer
  }
})

const refused = (message: string) =>
  Effect.fail(
    new Socket.SocketError({
      reason: new Socket.SocketOpenError({ kind: "Unknown", cause: new ProofRefused({ message }) })
    })
  )

const causeOf = ({ reason }: Socket.SocketError): string => {
  const cause: unknown = "cause" in reason ? reason.cause : undefined
  return cause instanceof Error ? cause.message : "it closed before it had proved the secret"
}

const sign = Effect.fnUntraced(function* (secret: Redacted.Redacted<Uint8Array>, ...said: Transcript) {
  const mac = yield* Mac.Mac
  return yield* Effect.orDie(Effect.flatMap(keyOf(secret), (key) => mac.sign(key, transcript(...said))))
})

const verify = Effect.fnUntraced(function* (
  secret: Redacted.Redacted<Uint8Array>,
  proof: Uint8Array,
  ...said: Transcript
) {
  const mac = yield* Mac.Mac
  return yield* Effect.orDie(Effect.flatMap(keyOf(secret), (key) => mac.verify(key, proof, transcript(...said))))
})

type Transcript = [end: "dialling" | "listening", ofListening: Uint8Array, ofDialling: Uint8Array]

const transcript = (...[end, ofListening, ofDialling]: Transcript): Uint8Array =>
  concat(tag, new TextEncoder().encode(end), ofListening, ofDialling)

const keyOf = (secret: Redacted.Redacted<Uint8Array>) => Mac.key(Mac.hmacSha256, Redacted.value(secret))

const concat = (...parts: ReadonlyArray<Uint8Array>): Uint8Array => Buffer.concat(parts)

const isTag = (bytes: Uint8Array): boolean => Buffer.compare(bytes, tag) === 0

const cryptography = Mac.layerWebCrypto.pipe(Layer.provideMerge(SecureRandom.layerWebCrypto))

/** Says what is spoken, and in which version. */
const tag = new TextEncoder().encode("holdfast-tunnel/1\n")
const nonceBytes = 32
const macBytes = 32
const accepted = 1
const proofBytesMax = 4096
