/**
 * The accepting side: keeps sessions across the links that admission has opened, runs the handler of each session once,
 * and goes away in good order.
 */
import {
  Cause,
  Clock,
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  Queue,
  Scope,
  Tracer
} from "effect"
import * as SocketServer from "effect/socket/SocketServer"
import * as ConnectionError from "../ConnectionError.ts"
import type * as Link from "../Link.ts"
import * as Patience from "../Patience.ts"
import * as Policy from "../Policy.ts"
import type { ServerEvent, ServerOptions, Session } from "../Session.ts"
import * as Admission from "./admission.ts"
import * as Authentication from "./authentication.ts"
import * as Bulletin from "./bulletin.ts"
import * as Codec from "./codec.ts"
import * as Conversation from "./conversation.ts"
import * as Handle from "./handle.ts"
import * as Incarnation from "./incarnation.ts"
import { nextTurn } from "./later.ts"
import * as Limits from "./limits.ts"
import * as Observability from "./observability.ts"
import { type Member, Registry } from "./registry.ts"
import * as Wire from "./wire.ts"

type Ended = Exit.Exit<void, ConnectionError.ConnectionError>

/** How many events wait for `onEvent`. */
const eventsMax = 256

export const serve =
  <ToServer, ToClient, R>(definition: Codec.Definition<ToServer, ToClient, R>) =>
  <E, RH, P = never, RA = never>(
    handler: (session: Session<ToClient, ToServer>) => Effect.Effect<unknown, E, RH>,
    options: ServerOptions<P, RA> = {}
  ): Layer.Layer<
    never,
    Policy.PolicyError,
    SocketServer.SocketServer | Exclude<RH, P | Scope.Scope> | Exclude<RA, Scope.Scope> | R
  > =>
    Layer.effectDiscard(
      Effect.gen(function* () {
        const policy = yield* Policy.make(options.policy)
        yield* Limits.check(options.limits ?? {})
        const server = yield* SocketServer.SocketServer
        const clock = yield* Clock.Clock
        const context = yield* Effect.context<Exclude<RH, P | Scope.Scope> | Exclude<RA, Scope.Scope> | R>()
        const outgoing = Codec.provide(definition.toClient, context)
        const incoming = Codec.provide(definition.toServer, context)
        const registry = new Registry(options.limits ?? {})
        // Handlers and expiries live on while the server drains, so their scope is made first and closed last.
        const background = yield* Scope.fork(yield* Effect.scope)
        const tell = yield* teller(options.onEvent, background)
        const at = () => clock.currentTimeMillisUnsafe()

        const ofAll: Conversation.Options = {
          clock,
          policy,
          limits: Limits.ofPeer(options.limits ?? {}, definition.messageBytesMax),
          side: "server",
          budget: registry.budget
        }
        const observer = Observability.ofSessions(definition.id, "server")

        const newConversation = (onFinish: (exit: Ended) => void) =>
          Effect.map(
            Bulletin.make({ _tag: "Handshaking", attempt: 1 }),
            (bulletin) => new Conversation.Conversation(ofAll, bulletin, onFinish)
          )

        /** The handler's one run, from the first input of a session to its end, in a turn of its own. */
        const start = (member: Member, services: Context.Context<P>, around: Context.Context<never>) => {
          if (member.handler !== undefined) return
          const { conversation, id, principal } = member
          conversation.bulletin.listen(observer, around)
          const scope = Scope.makeUnsafe()
          const own = Context.merge(context, services).pipe(Context.add(Scope.Scope, scope))
          const parent = Context.getOrUndefined(around, Tracer.ParentSpan)
          const span = Effect.makeSpanScoped("holdfast.session", {
            attributes: { session: id, principal },
            ...(parent === undefined ? {} : { parent })
          })
          const session = new Handle.Handle({ conversation, outgoing, incoming, dialNow: Effect.void })
          // It has what it needs from the beginning: to provide it on the way would take memory for as long as it runs.
          const run = Effect.runForkWith(
            Context.add(own, Tracer.ParentSpan, Effect.runSyncWith(own)(span)) as Context.Context<Scope.Scope | RH>
          )
          member.handler = nextTurn.pipe(
            Effect.flatMap(() => handler(session)),
            Effect.onExit((exit) => Scope.close(scope, exit)),
            Effect.flatMap(() => Effect.ignore(session.close)),
            Effect.catchCause((cause) => handlerFailed(conversation, cause)),
            run,
            Fiber.runIn(background)
          )
          if (conversation.exit !== undefined) indulge(member)
        }

        /** The session is over: its handler has the patience of `close` to finish. */
        const indulge = ({ conversation, handler }: Member) => {
          if (handler === undefined || handler.pollUnsafe() !== undefined) return
          const { policy } = conversation
          const { run } = Patience.watch({ patience: policy.close, anchor: conversation.now() })
          const grace = Effect.raceFirst(Fiber.await(handler), Effect.andThen(run, Fiber.interrupt(handler)))
          Effect.runForkWith(context)(Effect.forkIn(grace, background))
        }

        /** Without a link a session lives for the resume window. */
        const wait = (member: Member) =>
          Effect.suspend(() => {
            const { conversation } = member
            const { resumeWindow } = registry.limits
            member.expiry?.interruptUnsafe()
            return Effect.sleep(resumeWindow).pipe(
              Effect.andThen(
                Effect.sync(() => {
                  conversation.finish(Exit.fail(ConnectionError.make(new ConnectionError.Expired({ resumeWindow }))))
                })
              ),
              Effect.forkIn(background),
              Effect.map((fiber) => {
                member.expiry = fiber
              })
            )
          })

        /** What the end of a link means for a server: the session waits for the next one, unless the client ended it. */
        const ended = (member: Member, incarnation: number, error: ConnectionError.ConnectionError) =>
          Effect.suspend(() => {
            const { conversation } = member
            const end = endOf(conversation, error)
            if (end !== undefined) conversation.finish(end)
            if (conversation.exit !== undefined || incarnation !== member.incarnation) return Effect.void
            const retryAt = at() + Duration.toMillis(registry.limits.resumeWindow)
            conversation.publish({ _tag: "Waiting", attempt: incarnation, error: Option.some(error), retryAt })
            return wait(member)
          })

        /** A newer dial has taken the session while this one was being answered. */
        const overtaken = ({ epoch, member, wire }: Admission.Opening<P>, address: Option.Option<string>) => {
          const error = ConnectionError.make(new ConnectionError.Fenced({ epoch, byEpoch: member.epoch }))
          tell({ _tag: "LinkRefused", at: at(), address, error })
          return wire.sayLast({ _tag: "Close", code: "Fenced", epoch: member.epoch, detail: Admission.fencedDetail })
        }

        const converse = (opening: Admission.Opening<P>, address: Option.Option<string>, scope: Scope.Scope) => {
          const { epoch, member, opened, services, wire } = opening
          const { conversation, id } = member
          // From here until the link is attached nothing waits, or two links would carry one session.
          if (epoch !== member.epoch) return overtaken(opening, address)
          const incarnation = ++member.incarnation
          if (opened === "Resumed") tell({ _tag: "SessionResumed", at: at(), session: id, incarnation })
          member.expiry?.interruptUnsafe()
          member.expiry = undefined
          const life = Incarnation.run(
            {
              conversation,
              wire,
              incarnation,
              opened,
              epoch,
              detectors: options.detectors ?? none,
              frame: options.limits?.frame ?? Limits.serverDefaults.frame,
              onInput: (around) => start(member, services, around),
              onVerdict: (error) => tell({ _tag: "LinkEnded", at: at(), session: id, incarnation, error })
            },
            scope
          )
          return Effect.catch(life, (error) => ended(member, incarnation, error))
        }

        const admit = Admission.make<P>({
          definition,
          policy,
          registry,
          authentication: yield* Authentication.make,
          authorize: (applicant) =>
            options.authorize === undefined
              ? Effect.succeed({ principal: "anybody", services: Context.empty() as Context.Context<P> })
              : Effect.provideContext(options.authorize(applicant), context as Context.Context<RA>),
          newConversation,
          begun: ({ id, principal }) => tell({ _tag: "SessionOpened", at: at(), session: id, principal }),
          ended: (member, exit) => {
            member.expiry?.interruptUnsafe()
            registry.remove(member, isExpired(exit))
            indulge(member)
            tell({ _tag: "SessionEnded", at: at(), session: member.id, exit })
          },
          wait
        })

        /** From the accept to the end of the handshake: the link becomes part of a session, or is told why not. */
        const open = (link: Link.Link) =>
          admit(link).pipe(
            Effect.catchDefect((cause) =>
              Effect.fail(
                Admission.silently(ConnectionError.make(new ConnectionError.LinkFailed({ cause, during: "dial" })))
              )
            ),
            Patience.within({
              patience: policy.open,
              onOver: ({ asked, missingFor }) =>
                Admission.silently(
                  ConnectionError.make(new ConnectionError.OpenTimedOut({ asked, missingFor, stage: "handshake" }))
                )
            }),
            Effect.tapError(({ error, farewell }) => {
              tell({ _tag: "LinkRefused", at: at(), address: Option.fromUndefinedOr(link.peer), error })
              return farewell
            }),
            Effect.option
          )

        /** The scope is not provided while the session goes on: that would take memory for each. */
        const accept = (link: Link.Link) => {
          const scope = Scope.makeUnsafe()
          let isCarrying = false
          const opened = Effect.suspend(() => {
            const address = Option.fromUndefinedOr(link.peer)
            return Effect.flatMap(Scope.provide(registry.shakingHands(address)(open(link)), scope), (opening) => {
              if (Option.isNone(opening)) return Effect.void
              registry.carries(1)
              isCarrying = true
              return converse(opening.value, address, scope)
            })
          })
          const close = (exit: Exit.Exit<unknown, unknown>) =>
            Effect.andThen(
              Scope.close(scope, exit),
              Effect.sync(() => {
                if (isCarrying) registry.carries(-1)
              })
            )
          return Effect.onExit(opened, close)
        }

        yield* server.run(accept).pipe(
          Effect.tapError((error) => Effect.logError("no more links are accepted", error)),
          Effect.forkScoped
        )
        yield* Effect.addFinalizer(() => drain(registry, policy))
      })
    )

/**
 * Tells the clients to go away, one after the other, and waits until they are done and the handlers too. What is left
 * when patience is over is told the end.
 */
const drain = Effect.fnUntraced(function* (registry: Registry, policy: Policy.Policy) {
  registry.isDraining = true
  const { goAwaySpread, retryAfter } = registry.limits
  const goneAway = ConnectionError.make(new ConnectionError.GoneAway({ retryAfter: Option.some(retryAfter) }))
  const members = [...registry.members.values()]
  const pause = Duration.times(goAwaySpread, 1 / members.length)
  const departing = Effect.forEach(
    members,
    ({ conversation }, index) =>
      Effect.sync(() => conversation.depart(goneAway, Math.ceil(Duration.toMillis(retryAfter)))).pipe(
        Effect.delay(index === 0 ? 0 : pause)
      ),
    { discard: true }
  )
  const done = Effect.forEach(
    members,
    (member) =>
      Effect.exit(Deferred.await(member.conversation.ended)).pipe(
        Effect.andThen(Effect.suspend(() => (member.handler === undefined ? Effect.void : Fiber.await(member.handler))))
      ),
    { concurrency: "unbounded", discard: true }
  )
  yield* Effect.andThen(departing, done).pipe(
    Patience.within({ patience: policy.close, onOver: () => undefined }),
    Effect.ignore
  )
  for (const { conversation } of members) {
    conversation.finish(Exit.fail(goneAway), goingAway)
  }
  yield* Effect.timeoutOption(registry.idle.await, Wire.farewellTimeout)
})

const none: ReadonlyArray<never> = []

const isExpired = (exit: Ended): boolean =>
  Option.exists(Exit.findErrorOption(exit), ({ reason }) => reason._tag === "Expired")

const goingAway: Conversation.LastWord = { code: "GoneAway", epoch: 0, detail: "this server is going away" }

/** How a session ends with its link, if it does: nothing but the client's last word ends it. */
const endOf = (
  { lastWordConfirmed, unacknowledged }: Conversation.Conversation,
  error: ConnectionError.ConnectionError
): Ended | undefined => {
  const { reason } = error
  if (reason._tag === "ProtocolViolated") return reason.by === "us" ? Exit.fail(error) : undefined
  if (reason._tag !== "EndedByPeer") return undefined
  const isOrderly = (reason.code === "Normal" || reason.code === "Drained") && unacknowledged === 0
  return isOrderly || lastWordConfirmed ? Exit.void : Exit.fail(error)
}

/** A handler that could not answer because the server goes away has not failed: its client comes back elsewhere. */
const handlerFailed = (conversation: Conversation.Conversation, cause: Cause.Cause<unknown>) =>
  Effect.suspend(() => {
    if (conversation.exit !== undefined) return Effect.void
    const error = Cause.squash(cause)
    const isGoingAway =
      ConnectionError.isConnectionError(error) &&
      error.reason._tag === "GoneAway" &&
      error === conversation.main.outbox.refusing
    if (isGoingAway) {
      conversation.finish(Exit.fail(error), goingAway)
      return Effect.void
    }
    conversation.finish(Exit.fail(ConnectionError.make(new ConnectionError.Closed())), failed(error))
    return Effect.logError("the handler of a session failed", cause)
  })

/** What a client is told when this side cannot go on. */
const failed = (error: unknown): Conversation.LastWord => ({
  code: "Failed",
  epoch: 0,
  detail: error instanceof Error ? error.message : String(error)
})

/** Hands events to the user, one at a time; those that wait too long go. In the end it waits for the last ones. */
const teller = Effect.fnUntraced(function* (
  onEvent: ((event: ServerEvent) => Effect.Effect<void>) | undefined,
  background: Scope.Scope
) {
  if (onEvent === undefined) return (_event: ServerEvent): void => {}
  const queue = yield* Queue.sliding<ServerEvent, Cause.Done>(eventsMax)
  const telling = yield* Queue.take(queue).pipe(
    Effect.flatMap((event) =>
      Effect.catchCause(
        Effect.suspend(() => onEvent(event)),
        (cause) => Effect.logError("onEvent failed", cause)
      )
    ),
    Effect.forever,
    Effect.forkIn(background)
  )
  yield* Effect.addFinalizer(() =>
    Effect.andThen(Queue.end(queue), Effect.timeoutOption(Fiber.await(telling), Wire.farewellTimeout))
  )
  return (event: ServerEvent): void => {
    Queue.offerUnsafe(queue, event)
  }
})
