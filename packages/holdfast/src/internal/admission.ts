/**
 * The server's side of the handshake: who may come in, to which session, and what the others are told. Nothing is kept
 * for a link before it is authorized, and no session is touched before a proof holds.
 */
import { Handshake } from "@holdfast/protocol"
import { type Context, Duration, Effect, type Exit, Option, Redacted, type Scope } from "effect"
import * as ConnectionError from "../ConnectionError.ts"
import * as Link from "../Link.ts"
import * as Policy from "../Policy.ts"
import type { Applicant, Authorized, Opened } from "../Session.ts"
import type * as Authentication from "./authentication.ts"
import type { Conversation } from "./conversation.ts"
import { idOf, type Member, type Registry } from "./registry.ts"
import * as Wire from "./wire.ts"

/** A client answers each frame before it sends the next one. */
const earlyFramesMax = 1

/** A link that has become part of a session. */
export interface Opening<P> {
  readonly member: Member
  readonly wire: Wire.Wire
  readonly opened: Opened
  /** That of its dial. */
  readonly epoch: number
  readonly services: Context.Context<P>
}

/** Why a link does not become part of a session, and how it is told so. */
export interface Declined {
  readonly error: ConnectionError.ConnectionError
  readonly farewell: Effect.Effect<void>
}

type End = Exit.Exit<void, ConnectionError.ConnectionError>

export interface Options<P> {
  readonly definition: { readonly id: string; readonly messageBytesMax: number }
  readonly policy: Policy.Policy
  readonly registry: Registry
  readonly authentication: Authentication.Authentication
  readonly authorize: (applicant: Applicant) => Effect.Effect<Authorized<P>, unknown>
  /** What a fresh session is made of. `onFinish` is for its end. */
  readonly newConversation: (onFinish: (exit: End) => void) => Effect.Effect<Conversation>
  /** A session begins. */
  readonly begun: (member: Member) => void
  /** A session has ended. */
  readonly ended: (member: Member, exit: End) => void
  /** No link carries the session at present: it lives for the resume window. */
  readonly wait: (member: Member) => Effect.Effect<void>
}

/** Whoever was let in, and has no session yet. */
interface Guest {
  readonly wire: Wire.Wire
  readonly hello: Handshake.Hello
  readonly version: number
  readonly principal: string
  readonly address: Option.Option<string>
}

/** Opens links by the handshake. */
export const make = <P>(options: Options<P>) => {
  const { authentication, definition, policy, registry } = options

  /** Checks what needs no session, and says who it is. */
  const admit = Effect.fnUntraced(function* (hello: Handshake.Hello, address: Option.Option<string>) {
    const version = Handshake.negotiate(hello.versions)
    if (version === undefined) {
      return yield* refuse("Version", `this server speaks ${Handshake.versions.join(", ")}`)
    }
    const { id, messageBytesMax } = definition
    if (hello.definition !== id || hello.messageBytesMax !== messageBytesMax) {
      return yield* refuse("Definition", `this server serves ${id} with messages up to ${messageBytesMax} bytes`)
    }
    const heartbeat =
      hello.heartbeatMillisMax === 0 ? Option.none() : Option.some(Duration.millis(hello.heartbeatMillisMax))
    yield* Effect.catch(Policy.checkPeer(policy, heartbeat), ({ message }) => refuse("Policy", message))
    const credentials = Redacted.make(new TextDecoder().decode(hello.credentials))
    const authorized = yield* Effect.catch(options.authorize({ credentials, address }), (error) =>
      ConnectionError.isConnectionError(error) && error.reason._tag === "Refused"
        ? refuse(error.reason.code, error.reason.detail)
        : refuse("Unauthorized", error instanceof Error ? error.message : String(error))
    )
    return { version, ...authorized }
  })

  /** A fresh session, if there is room. */
  const welcome = Effect.fnUntraced(function* ({ address, hello, principal, version, wire }: Guest) {
    const session = yield* authentication.randomBytes(Handshake.sessionIdBytes)
    const secret = yield* authentication.randomBytes(Handshake.secretBytes)
    const conversation = yield* options.newConversation((exit) => options.ended(member, exit))
    const heartbeatMillisMax = yield* heartbeatMillis(policy)
    const failed = conversation.peer.begin(hello.terms)
    if (failed !== undefined) return yield* Wire.violated(failed)
    const member: Member = {
      id: idOf(session),
      principal,
      address,
      secret,
      conversation,
      epoch: hello.epoch,
      incarnation: 0,
      handler: undefined,
      expiry: undefined
    }
    // From here to `add` nothing waits, or more would come in than there is room for.
    if (registry.isDraining) return yield* refuse("Draining", "this server is going away")
    const full = registry.full(principal, address)
    if (full !== undefined) return yield* refuse("Full", full)
    registry.add(member)
    options.begun(member)
    yield* options.wait(member) // the link may die before it has carried anything
    yield* wire.send({
      _tag: "Welcome",
      version,
      heartbeatMillisMax,
      terms: conversation.peer.offer,
      session,
      secret
    })
    return member
  })

  /** An earlier session, if it is there, is theirs, and this dial is the newest. */
  const resume = Effect.fnUntraced(function* ({ hello, principal, version, wire }: Guest) {
    const find = Effect.suspend(() => {
      const id = idOf(hello.session)
      const member = registry.members.get(id)
      if (member === undefined) {
        return registry.isExpired(id)
          ? refuse("Expired", "nobody came for the session within the resume window")
          : refuse("Unknown", "this server does not know the session")
      }
      if (member.principal !== principal) return refuse("Unauthorized", "the session belongs to another principal")
      if (hello.epoch > member.epoch) return Effect.succeed(member)
      return refuse("Fenced", `epoch ${hello.epoch} does not come after ${member.epoch}`, member.epoch)
    })
    const { conversation, secret } = yield* find
    const challenge: Handshake.Challenge = {
      _tag: "Challenge",
      version,
      heartbeatMillisMax: yield* heartbeatMillis(conversation.policy),
      nonce: yield* authentication.randomBytes(Handshake.nonceBytes),
      positions: conversation.peer.positions()
    }
    yield* wire.send(challenge)
    const proof = yield* wire.next
    if (proof._tag !== "Proof") return yield* Wire.unexpected(proof, "Proof")
    const covered = Handshake.proofTranscript(hello, challenge, proof.positions)
    const { sign, verify } = yield* authentication.withSecret(secret)
    if (!(yield* verify(proof.mac, covered))) {
      return yield* refuse("Unauthorized", "the proof does not hold")
    }
    const mac = yield* sign(Handshake.resumedTranscript(hello, challenge, proof))
    const member = yield* find // another dial may have come between
    conversation.attachment?.end(
      ConnectionError.make(new ConnectionError.Fenced({ epoch: member.epoch, byEpoch: hello.epoch })),
      { code: "Fenced", epoch: hello.epoch, detail: fencedDetail }
    )
    member.epoch = hello.epoch
    conversation.attachment = undefined
    conversation.peer.cut()
    yield* options.wait(member)
    const failed = conversation.peer.resume(proof.positions)
    if (failed !== undefined) return yield* Wire.violated(failed)
    yield* wire.send({ _tag: "Resumed", mac })
    return member
  })

  return Effect.fnUntraced(function* (link: Link.Link): Effect.fn.Return<Opening<P>, Declined, Scope.Scope> {
    const wire = yield* Wire.make(yield* Effect.mapError(Link.open(link), silently), earlyFramesMax)
    const address = Option.fromUndefinedOr(link.peer)
    const crowd = registry.crowd(address)
    if (crowd?.isOverrun === true) {
      const reason = new ConnectionError.Refused({ code: "Full", detail: crowd.detail, retryAfter: Option.none() })
      return yield* Effect.fail(silently(ConnectionError.make(reason)))
    }
    let epoch = 0
    const handshake = Effect.gen(function* () {
      if (crowd !== undefined) return yield* refuse("Full", crowd.detail)
      const hello = yield* wire.next
      if (hello._tag !== "Hello") return yield* Wire.unexpected(hello, "Hello")
      epoch = hello.epoch
      const { principal, services, version } = yield* admit(hello, address)
      const isFresh = hello.session.length === 0
      const guest: Guest = { wire, hello, version, principal, address }
      const member = yield* isFresh ? welcome(guest) : resume(guest)
      return { member, wire, services, epoch, opened: isFresh ? "Fresh" : "Resumed" } satisfies Opening<P>
    })
    return yield* Effect.mapError(handshake, (failure): Declined => {
      if (failure._tag === "ConnectionError") return { error: failure, farewell: malformed(failure, wire) }
      const isPassing = failure.code === "Full" || failure.code === "Draining"
      const retryAfterMillis = isPassing ? Math.ceil(Duration.toMillis(registry.limits.retryAfter)) : 0
      const frame = { ...failure, retryAfterMillis }
      return { error: ConnectionError.make(reasonOf(frame, epoch)), farewell: wire.sayLast(frame) }
    })
  })
}

/** A link that ends without a word. */
export const silently = (error: ConnectionError.ConnectionError): Declined => ({ error, farewell: Effect.void })

const refuse = (code: Handshake.RefusedCode, detail: string, epoch = 0): Effect.Effect<never, Handshake.Refused> =>
  Effect.fail({ _tag: "Refused", code, detail, epoch, retryAfterMillis: 0 })

/** What a link is told that has lost its session. */
export const fencedDetail = "a newer dial has the session"

/** Whoever speaks something else may be a client of another make, and learns why it is not understood. */
const malformed = ({ reason }: ConnectionError.ConnectionError, wire: Wire.Wire): Effect.Effect<void> =>
  reason._tag === "ProtocolViolated"
    ? wire.sayLast({ _tag: "Refused", code: "Malformed", detail: reason.rule, epoch: 0, retryAfterMillis: 0 })
    : Effect.void

/** The refusal as this side's own error. */
const reasonOf = (
  { code, detail, epoch, retryAfterMillis }: Handshake.Refused,
  ofDial: number
): ConnectionError.Reason => {
  switch (code) {
    case "Fenced":
      return new ConnectionError.Fenced({ epoch: ofDial, byEpoch: epoch })
    case "Unknown":
    case "Expired":
      return new ConnectionError.SessionLost({ lost: code, fateUnknown: 0, notSent: 0 })
    default: {
      const retryAfter = retryAfterMillis === 0 ? Option.none() : Option.some(Duration.millis(retryAfterMillis))
      return new ConnectionError.Refused({ code, detail, retryAfter })
    }
  }
}

const heartbeatMillis = (policy: Policy.Policy) =>
  Effect.map(
    Policy.heartbeatMax(policy),
    Option.match({ onNone: () => 0, onSome: (longest) => Math.ceil(Duration.toMillis(longest)) })
  )
