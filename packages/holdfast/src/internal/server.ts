/**
 * The accepting side: opens links by the handshake, keeps sessions across them, runs the handler of each session once,
 * and goes away in good order.
 */
import { Handshake } from "@holdfast/protocol"
import type { Frame } from "@holdfast/protocol"
import { Cause, Clock, Context, Deferred, Duration, Effect, Exit, Layer, Option, Queue, Redacted } from "effect"
import type { Scope } from "effect"
import type * as Socket from "effect/socket/Socket"
import * as SocketServer from "effect/socket/SocketServer"
import * as ConnectionError from "../ConnectionError.ts"
import * as Link from "../Link.ts"
import * as Patience from "../Patience.ts"
import * as Policy from "../Policy.ts"
import type { Opened, ServerEvent, ServerOptions, Session } from "../Session.ts"
import * as Authentication from "./authentication.ts"
import * as Bulletin from "./bulletin.ts"
import * as Codec from "./codec.ts"
import { Conversation } from "./conversation.ts"
import * as Handle from "./handle.ts"
import * as Incarnation from "./incarnation.ts"
import { frameBytesCut, serverDefaults, windowBytesDefault } from "./limits.ts"
import * as Observability from "./observability.ts"
import { idOf, type Member, Registry } from "./registry.ts"
import * as Wire from "./wire.ts"

/** How many events wait for `onEvent`. */
const eventsMax = 256

/** A link that has become part of a session. */
interface Opening<P> {
  readonly member: Member
  readonly wire: Wire.Wire
  readonly opened: Opened
  readonly services: Context.Context<P>
}

export const serve = <ToServer, ToClient, R>(definition: Codec.Definition<ToServer, ToClient, R>) =>
<E, RH, P = never, RA = never>(
  handler: (session: Session<ToClient, ToServer>) => Effect.Effect<unknown, E, RH>,
  options: ServerOptions<P, RA> = {}
): Layer.Layer<
  never,
  Policy.PolicyError,
  SocketServer.SocketServer | Exclude<RH, P | Scope.Scope> | Exclude<RA, Scope.Scope> | R
> =>
  Layer.effectDiscard(Effect.gen(function*() {
    const policy = yield* Policy.make(options.policy)
    const server = yield* SocketServer.SocketServer
    const clock = yield* Clock.Clock
    const scope = yield* Effect.scope
    const context = yield* Effect.context<Exclude<RH, P | Scope.Scope> | Exclude<RA, Scope.Scope> | R>()
    const authentication = yield* Authentication.make
    const registry = new Registry(options.limits ?? {})
    const tell = yield* teller(options.onEvent)
    const at = () => clock.currentTimeMillisUnsafe()

    const refuse = Effect.fnUntraced(function*(wire: Wire.Wire, code: Handshake.RefusedCode, detail: string, epoch = 0) {
      const isPassing = code === "Full" || code === "Draining"
      const retryAfter = isPassing ? Option.some(registry.limits.retryAfter) : Option.none()
      const retryAfterMillis = isPassing ? Math.ceil(Duration.toMillis(registry.limits.retryAfter)) : 0
      yield* wire.sayLast({ _tag: "Refused", code, detail, retryAfterMillis, epoch })
      return yield* ConnectionError.make(refusal(code, detail, epoch, retryAfter))
    })

    /** Checks what needs no session, and says who it is. */
    const admit = Effect.fnUntraced(function*(wire: Wire.Wire, hello: Handshake.Hello, address: Option.Option<string>) {
      if (Handshake.negotiate(hello.versions) === undefined) {
        return yield* refuse(wire, "Version", `this server speaks ${Handshake.versions.join(", ")}`)
      }
      if (hello.definition !== definition.id || hello.messageBytesMax !== definition.messageBytesMax) {
        return yield* refuse(wire, "Definition", `this server serves ${definition.id} with messages up to ${definition.messageBytesMax} bytes`)
      }
      const heartbeat = hello.heartbeatMillisMax === 0 ? Option.none() : Option.some(Duration.millis(hello.heartbeatMillisMax))
      yield* Effect.catch(Policy.checkPeer(policy, heartbeat), ({ message }) => refuse(wire, "Policy", message))
      if (options.authorize === undefined) return { principal: "anybody", services: Context.empty() as Context.Context<P> }
      const credentials = Redacted.make(new TextDecoder().decode(hello.credentials))
      return yield* options.authorize({ credentials, address }).pipe(
        Effect.provideContext(context as Context.Context<RA>),
        Effect.catch((error) => refuse(wire, "Unauthorized", error instanceof Error ? error.message : String(error)))
      )
    })

    /** A fresh session, if there is room. */
    const welcome = Effect.fnUntraced(function*(
      wire: Wire.Wire,
      hello: Handshake.Hello,
      principal: string,
      address: Option.Option<string>
    ) {
      if (registry.isDraining) return yield* refuse(wire, "Draining", "this server is going away")
      const full = registry.full(principal, address)
      if (full !== undefined) return yield* refuse(wire, "Full", full)
      const session = yield* authentication.randomBytes(Handshake.sessionIdBytes)
      const id = idOf(session)
      const conversation = new Conversation({
        clock,
        policy,
        bulletin: yield* Bulletin.make({ _tag: "Handshaking", attempt: 1 }),
        limits: {
          windowBytes: options.limits?.windowBytes ?? windowBytesDefault,
          messageBytesMax: definition.messageBytesMax,
          frameBytesMax: frameBytesCut
        },
        budget: registry.budget,
        onFinish: (exit) => {
          member.expiry?.interruptUnsafe()
          registry.remove(member)
          tell({ _tag: "SessionEnded", at: at(), session: id, exit })
        }
      })
      const member: Member = {
        id,
        session,
        secret: yield* authentication.randomBytes(Handshake.secretBytes),
        principal,
        address,
        conversation,
        epoch: hello.epoch,
        incarnation: 0,
        isStarted: false,
        expiry: undefined
      }
      registry.add(member)
      const failed = conversation.peer.begin(hello.limit)
      if (failed !== undefined) return yield* Wire.violated(failed)
      const heartbeatMillisMax = yield* heartbeatMillis(policy)
      yield* wire.send({
        _tag: "Welcome",
        version: Math.max(...Handshake.versions),
        heartbeatMillisMax,
        limit: conversation.peer.receive.limit,
        session,
        secret: member.secret
      })
      tell({ _tag: "SessionOpened", at: at(), session: id, principal })
      return member
    })

    /** An earlier session, if it is there, is theirs, and this dial is the newest. */
    const resume = Effect.fnUntraced(function*(wire: Wire.Wire, hello: Handshake.Hello, principal: string) {
      const find = Effect.suspend(() => {
        const member = registry.members.get(idOf(hello.session))
        if (member === undefined) return refuse(wire, "Unknown", "this server does not know the session")
        if (member.principal !== principal) return refuse(wire, "Unauthorized", "the session belongs to another principal")
        return hello.epoch > member.epoch
          ? Effect.succeed(member)
          : refuse(wire, "Fenced", `epoch ${hello.epoch} comes after ${member.epoch}`, member.epoch)
      })
      const { conversation, secret } = yield* find
      const challenge: Handshake.Challenge = {
        _tag: "Challenge",
        version: Math.max(...Handshake.versions),
        heartbeatMillisMax: yield* heartbeatMillis(policy),
        nonce: yield* authentication.randomBytes(Handshake.nonceBytes),
        positions: conversation.peer.positions()
      }
      yield* wire.send(challenge)
      const proof: Frame.Control = yield* wire.next
      if (proof._tag !== "Proof") return yield* Wire.unexpected(proof, "Proof")
      const isTheirs = yield* authentication.verify(
        secret,
        proof.mac,
        Handshake.proofTranscript(hello, challenge, proof.positions)
      )
      if (!isTheirs) return yield* refuse(wire, "Unauthorized", "the proof does not hold")
      const mac = yield* authentication.sign(secret, Handshake.resumedTranscript(hello, challenge, proof))
      const member = yield* find // another dial may have come between
      member.epoch = hello.epoch
      conversation.attachment?.end(
        ConnectionError.make(new ConnectionError.Fenced({ epoch: member.epoch, byEpoch: hello.epoch })),
        { code: "Fenced", epoch: hello.epoch, detail: "a newer dial has the session" }
      )
      conversation.attachment = undefined
      conversation.peer.cut()
      const failed = conversation.peer.resume(proof.positions)
      if (failed !== undefined) return yield* Wire.violated(failed)
      yield* wire.send({ _tag: "Resumed", mac })
      tell({ _tag: "SessionResumed", at: at(), session: member.id, incarnation: member.incarnation + 1 })
      return member
    })

    const open = Effect.fnUntraced(function*(link: Link.Link) {
      const address = Option.fromUndefinedOr(link.peer)
      const wire = yield* Wire.make(yield* Link.open(link))
      const hello = yield* wire.next
      if (hello._tag !== "Hello") return yield* Wire.unexpected(hello, "Hello")
      const { principal, services } = yield* admit(wire, hello, address)
      const isFresh = hello.session.length === 0
      const member = yield* (isFresh ? welcome(wire, hello, principal, address) : resume(wire, hello, principal))
      return { member, wire, services, opened: isFresh ? "Fresh" : "Resumed" } satisfies Opening<P>
    })

    /** The handler's one run, from the first input of a session to its end. */
    const live = (member: Member, services: Context.Context<P>) => {
      const { conversation } = member
      const session = Handle.make({
        conversation,
        outgoing: Codec.provide(definition.toClient, context as Context.Context<R>),
        incoming: Codec.provide(definition.toServer, context as Context.Context<R>),
        dialNow: Effect.void
      })
      const grace = Effect.exit(Deferred.await(conversation.ended)).pipe(
        Effect.andThen(Effect.suspend(() => Patience.watch({ patience: conversation.policy.close, anchor: conversation.now() }).run))
      )
      return handler(session).pipe(
        Effect.scoped,
        Effect.provideContext(Context.merge(context, services) as Context.Context<Exclude<RH, Scope.Scope>>),
        Effect.raceFirst(grace),
        Effect.matchCauseEffect({
          onSuccess: () => Effect.ignore(session.close),
          onFailure: (cause) =>
            Effect.sync(() => {
              const error = Cause.squash(cause)
              conversation.finish(
                Exit.fail(ConnectionError.make(new ConnectionError.Closed())),
                { code: "Failed", epoch: 0, detail: error instanceof Error ? error.message : String(error) }
              )
            })
        }),
        Effect.withSpan("holdfast.session", { attributes: { session: member.id, principal: member.principal } })
      )
    }

    const start = (member: Member, services: Context.Context<P>) =>
      Effect.suspend(() => {
        if (member.isStarted) return Effect.void
        member.isStarted = true
        return Effect.asVoid(Effect.forkIn(
          Effect.andThen(
            Observability.observe(member.conversation.bulletin, definition.id, "server"),
            live(member, services)
          ).pipe(Effect.scoped),
          scope
        ))
      })

    /** What the end of a link means for a server: the session waits for the next one, unless the client ended it. */
    const ended = (member: Member, error: ConnectionError.ConnectionError) => {
      const { conversation, id, incarnation } = member
      const { reason } = error
      conversation.bulletin.event({ _tag: "Ended", incarnation, error })
      tell({ _tag: "LinkEnded", at: at(), session: id, incarnation, error })
      const isFinal = reason._tag === "EndedByPeer" || (reason._tag === "ProtocolViolated" && reason.by === "us")
      if (isFinal) {
        const isNormal = reason._tag === "EndedByPeer" && reason.code === "Normal" && conversation.outbox.unacknowledged === 0
        conversation.finish(isNormal || conversation.lastWordConfirmed ? Exit.void : Exit.fail(error))
      }
      return expire(member, Option.some(error))
    }

    const expire = (member: Member, error: Option.Option<ConnectionError.ConnectionError>) =>
      Effect.suspend(() => {
        const { conversation, incarnation } = member
        const { resumeWindow } = registry.limits
        if (conversation.exit !== undefined || conversation.attachment !== undefined) return Effect.void
        const retryAt = at() + Duration.toMillis(resumeWindow)
        conversation.publish({ _tag: "Waiting", attempt: incarnation, error, retryAt })
        const over = Effect.sync(() => {
          if (conversation.attachment !== undefined) return
          conversation.finish(Exit.fail(ConnectionError.make(new ConnectionError.Expired({ resumeWindow }))))
        })
        return Effect.map(Effect.forkIn(Effect.andThen(Effect.sleep(resumeWindow), over), scope), (fiber) => {
          member.expiry = fiber
        })
      })

    const converse = ({ member, opened, services, wire }: Opening<P>) =>
      Effect.suspend(() => {
        member.expiry?.interruptUnsafe()
        return Incarnation.run({
          conversation: member.conversation,
          wire,
          incarnation: ++member.incarnation,
          opened,
          epoch: member.epoch,
          detectors: options.detectors ?? [],
          frame: options.limits?.frame ?? serverDefaults.frame,
          onInput: start(member, services)
        })
      }).pipe(
        Effect.scoped,
        Effect.catch((error) => ended(member, error))
      )

    const accept = (socket: Socket.Socket) => {
      const link: Link.Link = socket
      const refused = (error: ConnectionError.ConnectionError) =>
        Effect.sync(() => tell({ _tag: "LinkRefused", at: at(), address: Option.fromUndefinedOr(link.peer), error }))
      return Effect.scoped(Effect.gen(function*() {
        if (registry.handshakes >= registry.limits.handshakesMax) {
          return yield* refused(ConnectionError.make(refusal("Full", `${registry.handshakes} handshakes (handshakesMax)`, 0, Option.none())))
        }
        registry.handshakes++
        const opening = yield* open(link).pipe(
          Patience.within({
            patience: policy.open,
            onOver: ({ asked, missingFor }) =>
              ConnectionError.make(new ConnectionError.OpenTimedOut({ asked, missingFor, stage: "handshake" }))
          }),
          Effect.ensuring(Effect.sync(() => registry.handshakes--)),
          Effect.tapError(refused),
          Effect.option
        )
        if (Option.isSome(opening)) yield* converse(opening.value)
      }))
    }

    yield* Effect.forkScoped(server.run(accept))
    yield* Effect.addFinalizer(() => drain(registry, policy))
  }))

/** Tells the clients to go away, one after the other, and waits until they are done. */
const drain = Effect.fnUntraced(function*(registry: Registry, policy: Policy.Policy) {
  registry.isDraining = true
  const { goAwaySpread, retryAfter } = registry.limits
  const goneAway = ConnectionError.make(new ConnectionError.GoneAway({ retryAfter: Option.some(retryAfter) }))
  const members = [...registry.members.values()]
  const pause = Duration.times(goAwaySpread, 1 / Math.max(1, members.length))
  for (const { conversation } of members) {
    conversation.depart(goneAway, Math.ceil(Duration.toMillis(retryAfter)))
    if (members.length > 1) yield* Effect.sleep(pause)
  }
  yield* Effect.forEach(members, ({ conversation }) => Effect.exit(Deferred.await(conversation.ended)), {
    concurrency: "unbounded",
    discard: true
  }).pipe(Patience.within({ patience: policy.close, onOver: () => undefined }), Effect.ignore)
  for (const { conversation } of members) {
    conversation.finish(Exit.fail(goneAway), { code: "GoneAway", epoch: 0, detail: "this server is going away" })
  }
})

/** Hands events to the user, one at a time; those that wait too long go. */
const teller = Effect.fnUntraced(function*(onEvent: ((event: ServerEvent) => Effect.Effect<void>) | undefined) {
  if (onEvent === undefined) return (_event: ServerEvent): void => {}
  const queue = yield* Queue.sliding<ServerEvent>(eventsMax)
  yield* Effect.forkScoped(Effect.forever(Effect.flatMap(Queue.take(queue), onEvent)))
  return (event: ServerEvent): void => {
    Queue.offerUnsafe(queue, event)
  }
})

const heartbeatMillis = (policy: Policy.Policy) =>
  Effect.map(Policy.heartbeatMax(policy), Option.match({ onNone: () => 0, onSome: (longest) => Math.ceil(Duration.toMillis(longest)) }))

/** The refusal as this side's own error. */
const refusal = (
  code: Handshake.RefusedCode,
  detail: string,
  epoch: number,
  retryAfter: Option.Option<Duration.Duration>
): ConnectionError.Reason => {
  switch (code) {
    case "Fenced":
      return new ConnectionError.Fenced({ epoch, byEpoch: epoch })
    case "Unknown":
    case "Expired":
      return new ConnectionError.SessionLost({ lost: code, fateUnknown: 0, notSent: 0 })
    default:
      return new ConnectionError.Refused({ code, detail, retryAfter })
  }
}
