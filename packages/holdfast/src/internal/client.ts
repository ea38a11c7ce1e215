/**
 * The dialling side: makes links, opens them by the handshake, and lets the supervisor do it again until the session
 * ends.
 */
import { Handshake } from "@holdfast/protocol"
import type { Frame } from "@holdfast/protocol"
import { Clock, Deferred, Duration, Effect, Exit, Fiber, Latch, Option, Redacted, Schedule, Scope } from "effect"
import * as ConnectionError from "../ConnectionError.ts"
import * as Link from "../Link.ts"
import * as PageEvents from "../PageEvents.ts"
import * as Patience from "../Patience.ts"
import * as Policy from "../Policy.ts"
import type { ClientOptions, Opened } from "../Session.ts"
import * as Supervisor from "../Supervisor.ts"
import * as Authentication from "./authentication.ts"
import * as Bulletin from "./bulletin.ts"
import * as Codec from "./codec.ts"
import { Conversation, type Options } from "./conversation.ts"
import * as Handle from "./handle.ts"
import * as Incarnation from "./incarnation.ts"
import * as Limits from "./limits.ts"
import * as Observability from "./observability.ts"
import * as Wire from "./wire.ts"

/** What an opened link has come to. */
interface Opening {
  readonly wire: Wire.Wire
  readonly opened: Opened
}

/**
 * A server lists its channels as soon as it has let us in, and sends on them: so much may be there before we have seen that
 * it did. Small frames cost more memory than their bytes.
 */
const earlyFramesMax = 131_072

/** What the client must remember to resume. */
interface Ticket {
  readonly session: Uint8Array
  readonly secret: Uint8Array
}

export const make = <ToServer, ToClient, R>(definition: Codec.Definition<ToServer, ToClient, R>) =>
  Effect.fnUntraced(function* <RL, RC = never, RG = never>(options: ClientOptions<ToServer, RL, RC, RG>) {
    const policy = yield* Policy.make(options.policy)
    yield* Limits.check(options.limits ?? {})
    const services = yield* Effect.context<R>()
    const outgoing = Codec.provide(definition.toServer, services)
    const incoming = Codec.provide(definition.toClient, services)
    const bulletin = yield* Bulletin.make({ _tag: "Connecting", attempt: 1 })
    const authentication = yield* Authentication.make
    const wake = yield* Latch.make(false)
    const of: Options = {
      clock: yield* Clock.Clock,
      policy,
      limits: Limits.ofPeer(options.limits ?? {}, definition.messageBytesMax),
      side: "client"
    }
    const conversation = new Conversation(of, bulletin, undefined)
    bulletin.listen(Observability.ofSessions(definition.id, "client"), yield* Effect.context())

    let ticket: Ticket | undefined
    let epoch = 0
    let dials = 0
    let incarnation = 0
    let isAfterGap = false
    let isUp = false

    const refused = (frame: Handshake.Refused): ConnectionError.ConnectionError => {
      if (frame.code === "Unknown" || frame.code === "Expired") return ConnectionError.make(lost(frame.code))
      if (frame.code === "Fenced")
        return ConnectionError.make(new ConnectionError.Fenced({ epoch, byEpoch: frame.epoch }))
      return ConnectionError.make(
        new ConnectionError.Refused({
          code: frame.code,
          detail: frame.detail,
          retryAfter:
            frame.retryAfterMillis === 0 ? Option.none() : Option.some(Duration.millis(frame.retryAfterMillis))
        })
      )
    }

    const lost = (why: ConnectionError.SessionLost["lost"]) => {
      const { fateUnknown, notSent } = conversation.peer.send.outstanding()
      return new ConnectionError.SessionLost({ lost: why, fateUnknown: fateUnknown.length, notSent: notSent.length })
    }

    /** The policy must fit what the server announces, and the version must be one that we offered. */
    const accept = Effect.fnUntraced(function* (answer: Handshake.Welcome | Handshake.Challenge) {
      if (!Handshake.versions.includes(answer.version)) {
        return yield* Wire.violated({
          _tag: "Violation",
          rule: "version",
          detail: `version ${answer.version} was not offered`
        })
      }
      const announced =
        answer.heartbeatMillisMax === 0 ? Option.none() : Option.some(Duration.millis(answer.heartbeatMillisMax))
      yield* Policy.checkPeer(conversation.policy, announced).pipe(
        Effect.mapError(({ message }) =>
          ConnectionError.make(
            new ConnectionError.Refused({ code: "Policy", detail: message, retryAfter: Option.none() })
          )
        )
      )
    })

    const greet = Effect.fnUntraced(function* (wire: Wire.Wire) {
      const credentials =
        options.credentials === undefined
          ? ""
          : Redacted.value(
              yield* Effect.mapError(options.credentials, (cause) =>
                ConnectionError.make(new ConnectionError.LinkFailed({ cause, during: "dial" }))
              )
            )
      const heartbeat = yield* Policy.heartbeatMax(conversation.policy)
      const hello: Handshake.Hello = {
        _tag: "Hello",
        versions: Handshake.versions,
        definition: definition.id,
        messageBytesMax: definition.messageBytesMax,
        heartbeatMillisMax: heartbeatMillis(heartbeat),
        terms: conversation.peer.offer,
        session: ticket?.session ?? new Uint8Array(0),
        epoch: ++epoch,
        nonce: yield* authentication.randomBytes(Handshake.nonceBytes),
        credentials: new TextEncoder().encode(credentials)
      }
      yield* wire.send(hello)
      return hello
    })

    const handshake = Effect.fnUntraced(function* (
      wire: Wire.Wire
    ): Effect.fn.Return<Opened, ConnectionError.ConnectionError, RC> {
      const hello = yield* greet(wire)
      const helloAt = conversation.now()
      const answer = yield* wire.next
      conversation.roundTripTime = Option.some(Duration.millis(conversation.now() - helloAt))
      if (answer._tag === "Refused") return yield* refused(answer)
      if (ticket === undefined) {
        if (answer._tag !== "Welcome") return yield* Wire.unexpected(answer, "Welcome")
        yield* accept(answer)
        const failed = conversation.peer.begin(answer.terms)
        if (failed !== undefined) return yield* Wire.violated(failed)
        ticket = { session: answer.session, secret: answer.secret }
        return isAfterGap ? "Gap" : "Fresh"
      }
      if (answer._tag !== "Challenge") return yield* Wire.unexpected(answer, "Challenge")
      yield* accept(answer)
      yield* resume(wire, ticket, hello, answer)
      return "Resumed"
    })

    const resume = Effect.fnUntraced(function* (
      wire: Wire.Wire,
      { secret }: Ticket,
      hello: Handshake.Hello,
      challenge: Handshake.Challenge
    ) {
      const positions = conversation.peer.positions()
      const { sign, verify } = yield* authentication.withSecret(secret)
      const mac = yield* sign(Handshake.proofTranscript(hello, challenge, positions))
      const proof: Handshake.Proof = { _tag: "Proof", positions, mac }
      yield* wire.send(proof)
      const answer: Frame.Control = yield* wire.next
      if (answer._tag === "Refused") return yield* refused(answer)
      if (answer._tag !== "Resumed") return yield* Wire.unexpected(answer, "Resumed")
      if (!(yield* verify(answer.mac, Handshake.resumedTranscript(hello, challenge, proof)))) {
        return yield* Wire.violated({
          _tag: "Violation",
          rule: "mac",
          detail: "the server does not know the session's secret"
        })
      }
      const failed = conversation.peer.resume(challenge.positions)
      if (failed !== undefined) return yield* Wire.violated(failed)
    })

    const openOnce = Effect.gen(function* () {
      const attempt = (yield* Schedule.CurrentMetadata).attempt + 1
      let stage: "dial" | "handshake" = "dial"
      conversation.publish({ _tag: "Connecting", attempt })
      bulletin.event({ _tag: "Dialed", attempt: ++dials })
      return yield* Effect.gen(function* () {
        const wire = yield* Wire.make(yield* Link.dial(options.link), earlyFramesMax)
        stage = "handshake"
        conversation.publish({ _tag: "Handshaking", attempt })
        const opened = yield* handshake(wire)
        return { wire, opened } satisfies Opening
      }).pipe(
        Patience.within({
          patience: conversation.policy.open,
          onOver: ({ asked, missingFor }) =>
            ConnectionError.make(new ConnectionError.OpenTimedOut({ asked, missingFor, stage }))
        })
      )
    })

    /** The server has lost the session: the caller decides whether a fresh one begins, and with what. */
    const surrender = Effect.fnUntraced(function* (
      reason: ConnectionError.SessionLost,
      error: ConnectionError.ConnectionError
    ) {
      if (options.onLost === undefined || conversation.isSaid) return yield* error
      bulletin.event({ _tag: "Lost", reason })
      const point = conversation.main.outbox.lossPoint
      const { fateUnknown, notSent } = conversation.peer.send.outstanding()
      const first = yield* options.onLost({
        reason,
        fateUnknown: yield* outgoing.decode(fateUnknown),
        notSent: yield* outgoing.decode(notSent),
        untaken: conversation.peer.receive.untakenCount
      })
      const encoded = yield* outgoing.encode(first)
      for (const message of encoded) {
        const tooLarge = conversation.main.outbox.tooLarge(message)
        if (tooLarge !== undefined) return yield* tooLarge
      }
      conversation.restart(reason, point, encoded)
      ticket = undefined
      isAfterGap = true
    })

    /** The link on which the server said that the session is lost is gone before another is dialled. */
    const open = Effect.gen(function* () {
      const scope = yield* Scope.fork(yield* Effect.scope)
      return yield* openOnce.pipe(
        Scope.provide(scope),
        Effect.catchReason("ConnectionError", "SessionLost", (reason, error) =>
          Scope.close(scope, Exit.fail(error)).pipe(Effect.andThen(surrender(reason, error)), Effect.andThen(openOnce))
        )
      )
    })

    const use = ({ opened, wire }: Opening) => {
      isAfterGap = false
      isUp = true
      const ofLife: Incarnation.Options = {
        conversation,
        wire,
        incarnation: ++incarnation,
        opened,
        epoch,
        detectors: options.detectors ?? [],
        frame: options.limits?.frame ?? "Infinity"
      }
      const life = Effect.flatMap(Effect.scope, (scope) => Incarnation.run(ofLife, scope))
      return Effect.ensuring(
        life,
        Effect.sync(() => void (isUp = false))
      )
    }

    /** What the end of a link means for a client. */
    const ended = (error: ConnectionError.ConnectionError) => {
      if (conversation.exit !== undefined) return Effect.fail(conversation.failure()) // nothing is dialled after the end
      const { reason } = error
      if (reason._tag === "GoneAway") {
        conversation.renew()
        ticket = undefined
      }
      if (reason._tag !== "EndedByPeer" || (reason.code !== "GoneAway" && reason.code !== "Expired"))
        return Effect.fail(error)
      const loss = lost(reason.code === "Expired" ? "Expired" : "Unknown")
      const goneAway = ConnectionError.make(new ConnectionError.GoneAway({ retryAfter: Option.none() }), error)
      return Effect.andThen(surrender(loss, ConnectionError.make(loss, error)), Effect.fail(goneAway))
    }

    const supervised = Supervisor.run({
      policy: () => conversation.policy,
      wake,
      incarnation: Effect.catch(Supervisor.incarnation(open, use), ended),
      onWaiting: (error, delay, retryAt) =>
        Effect.sync(() => {
          bulletin.event({ _tag: "Retrying", error, delay })
          conversation.publish({ _tag: "Waiting", attempt: dials, error: Option.some(error), retryAt })
        })
    })

    /** Ends a wait or a dial when the session has ended. An incarnation ends by itself, after a last word. */
    const endedWhileDown = Effect.exit(Deferred.await(conversation.ended)).pipe(
      Effect.andThen(Effect.suspend(() => (isUp ? Effect.never : Effect.fail(conversation.failure()))))
    )

    const running = yield* supervised.pipe(
      Effect.raceFirst(endedWhileDown),
      Effect.onExit((exit) => Effect.sync(() => conversation.finish(verdict(conversation, exit)))),
      Effect.forkScoped
    )
    const session = new Handle.Handle({ conversation, outgoing, incoming, dialNow: wake.open })
    yield* PageEvents.waking(session.wake)
    const release = Effect.andThen(Effect.ignoreCause(Handle.shut(conversation, true)), Fiber.await(running))
    yield* Effect.addFinalizer(() => release)
    return session
  })

/** How the session ended, given how its supervisor did. */
const verdict = (
  conversation: Conversation,
  exit: Exit.Exit<never, ConnectionError.ConnectionError>
): Exit.Exit<void, ConnectionError.ConnectionError> => {
  const reason = Option.getOrUndefined(Option.map(Exit.findErrorOption(exit), (error) => error.reason))
  const isSaid = conversation.isSaid && reason?._tag === "SessionLost"
  const isNormal = reason?._tag === "EndedByPeer" && reason.code === "Normal" && conversation.unacknowledged === 0
  return isSaid || isNormal ? Exit.void : exit
}

const heartbeatMillis = (heartbeat: Option.Option<Duration.Duration>): number =>
  Option.match(heartbeat, { onNone: () => 0, onSome: (longest) => Math.ceil(Duration.toMillis(longest)) })
