/**
 * Makes a connection: dials one endpoint after the other, lets `onUp` open each link, and lets the supervisor do it again
 * until the connection ends.
 */
import { Clock, Deferred, Duration, Effect, Exit, Fiber, Latch, Schedule, type Scope, Stream } from "effect"
import * as ConnectionError from "../ConnectionError.ts"
import type { Connection, Happening, Options, PolicyOptions, State } from "../Connection.ts"
import type { Dialect } from "../Dialect.ts"
import * as Link from "../Link.ts"
import * as PageEvents from "../PageEvents.ts"
import * as Patience from "../Patience.ts"
import * as Policy from "../Policy.ts"
import * as Presets from "../Presets.ts"
import * as Supervisor from "../Supervisor.ts"
import * as Bulletin from "./bulletin.ts"
import { closed } from "./closed.ts"
import * as Dialogue from "./dialogue.ts"
import { Exchange } from "./exchange.ts"
import * as Observability from "./observability.ts"

export const make = <Send, Receive>(id: string, dialect: Dialect<Receive, Send>) =>
  Effect.fnUntraced(function* <RL, RU = never>(
    options: Options<Send, Receive, RL, RU>
  ): Effect.fn.Return<Connection<Send, Receive>, Policy.PolicyError, RL | RU | Scope.Scope> {
    const bulletin = yield* Bulletin.make<State, Happening>({ _tag: "Connecting", attempt: 1, endpoint: 0 })
    const exchange = new Exchange<Send, Receive>({
      clock: yield* Clock.Clock,
      dialect,
      policy: yield* Policy.make(plain(options.policy), defaultsOf(dialect)),
      whenFull: options.policy?.backlog?.whenFull ?? "wait",
      fateUnknown: options.fateUnknown,
      readAheadBytesMax: options.readAheadBytesMax ?? readAheadBytesMaxDefault,
      bulletin
    })
    bulletin.listen(Observability.ofConnections(id), yield* Effect.context())
    const wake = yield* Latch.make(false)
    const links = Effect.isEffect(options.link) ? [options.link] : options.link
    let dials = 0
    let incarnation = 0

    const open = Effect.gen(function* () {
      const attempt = (yield* Schedule.CurrentMetadata).attempt + 1
      const endpoint = dials++ % links.length
      let stage: "dial" | "handshake" = "dial"
      exchange.publish({ _tag: "Connecting", attempt, endpoint })
      bulletin.event({ _tag: "Dialed", attempt: dials, endpoint })
      return yield* Effect.gen(function* () {
        const link = yield* Link.dial(links[endpoint]!)
        yield* Effect.addFinalizer(() => (isOrderly(exchange) ? Effect.void : link.destroy))
        const dialogue = yield* Dialogue.begin({ exchange, link, endpoint, detectors: options.detectors ?? [] })
        stage = "handshake"
        exchange.publish({ _tag: "Handshaking", attempt, endpoint })
        if (options.onUp !== undefined) {
          const { ping, receive, send } = dialogue
          const greeted = options.onUp({
            ping,
            receive,
            send: (message) => Effect.map(exchange.encode(message), send),
            endpoint
          })
          yield* Effect.raceFirst(Effect.mapError(greeted, refused), dialogue.failure)
        }
        return { dialogue, link }
      }).pipe(
        Patience.within({
          patience: exchange.policy.open,
          onOver: ({ asked, missingFor }) =>
            ConnectionError.make(new ConnectionError.OpenTimedOut({ asked, missingFor, stage }))
        })
      )
    })

    const use = ({ dialogue, link }: Effect.Success<typeof open>) =>
      dialogue.run(++incarnation).pipe(
        Effect.tapError(() => link.destroy) // before its fibers are waited for
      )

    /** An incarnation whose end is told with the times that it took. */
    const life = Effect.suspend(() => {
      const before = incarnation
      return Supervisor.incarnation(open, use).pipe(
        Effect.tapError((error) =>
          Effect.sync(() => incarnation > before && bulletin.event({ _tag: "Ended", incarnation, error }))
        )
      )
    })

    const reconnecting = promptTries(links.length - 1)
    const supervisor = yield* Supervisor.run({
      policy: () => reconnecting(exchange.policy),
      wake,
      incarnation: life,
      onWaiting: (error, delay, retryAt) =>
        Effect.sync(() => {
          bulletin.event({ _tag: "Retrying", error, delay })
          exchange.publish({ _tag: "Waiting", attempt: dials, error, retryAt })
        })
    }).pipe(
      Effect.onExit((exit) => Effect.sync(() => exchange.finish(exit))),
      Effect.forkScoped
    )
    const connection = handle(exchange, wake.open, Fiber.interrupt(supervisor))
    yield* PageEvents.waking(connection.wake)
    yield* Effect.addFinalizer(() => Effect.exit(connection.close)) // how it ended is told by `join`
    return connection
  })

/** Until our own side has ended in good order, a link is never left to a graceful close. */
const isOrderly = <Send, Receive>({ exit }: Exchange<Send, Receive>): boolean =>
  exit !== undefined && Exit.isSuccess(exit)

const handle = <Send, Receive>(
  exchange: Exchange<Send, Receive>,
  dialNow: Effect.Effect<void>,
  stop: Effect.Effect<void>
): Connection<Send, Receive> => {
  const { backlog, bulletin } = exchange

  const sendAll = (messages: Iterable<Send>) =>
    Effect.flatMap(
      Effect.forEach(messages, (message) => exchange.encode(message)),
      (items) => backlog.accept(items)
    )

  const drained = Effect.gen(function* () {
    while (!backlog.isSettled && exchange.exit === undefined) {
      exchange.settled.closeUnsafe()
      yield* exchange.settled.await
    }
  })

  const shut = Effect.suspend(() => {
    exchange.isClosing = true
    backlog.refuse(closed)
    exchange.publish({ _tag: "Closing", unsettled: backlog.unsettled })
    exchange.attachment?.inquire()
    return drained.pipe(
      Patience.within({
        patience: exchange.policy.close,
        onOver: ({ missingFor }) =>
          ConnectionError.make(
            new ConnectionError.CloseTimedOut({
              missingFor,
              unacknowledged: backlog.unsettled,
              untaken: exchange.inbox.messages.length
            })
          )
      }),
      Effect.onExit((exit) =>
        Effect.andThen(
          Effect.sync(() => exchange.finish(Exit.hasInterrupts(exit) ? interrupted : exit)),
          stop
        )
      ),
      Effect.andThen(Deferred.await(exchange.ended))
    )
  })

  const connection: Connection<Send, Receive> = {
    send: (message) => sendAll([message]),
    sendAll,
    messages: exchange.inbox.stream,
    returned: Stream.map(exchange.returned.stream, ({ message }) => message),
    state: Effect.sync(() => bulletin.current()),
    changes: bulletin.changes,
    events: bulletin.events,
    setPolicy: Effect.fnUntraced(function* (options) {
      exchange.policy = yield* Policy.make(plain(options), exchange.policy)
      exchange.whenFull = options.backlog?.whenFull ?? exchange.whenFull
      exchange.attachment?.policyReplaced()
      backlog.policyReplaced()
      bulletin.event({ _tag: "PolicyReplaced" })
    }),
    wake: Effect.suspend(() => {
      exchange.attachment?.ask()
      return dialNow
    }),
    giveUp: (reason) => Effect.sync(() => exchange.attachment?.end(ConnectionError.make(reason))),
    close: Effect.suspend(() =>
      exchange.isClosing || exchange.exit !== undefined ? Deferred.await(exchange.ended) : shut
    ),
    join: Deferred.await(exchange.ended),
    leftovers: Effect.sync(() => {
      const { fateUnknown, notSent } = backlog.leftovers
      return { fateUnknown: [...exchange.returned.messages.map(({ message }) => message), ...fateUnknown], notSent }
    })
  }
  exchanges.set(connection, exchange)
  return connection
}

/** For what is built on a connection inside this package. */
export const exchangeOf = <Send, Receive>(connection: Connection<Send, Receive>): Exchange<Send, Receive> => {
  const exchange = exchanges.get(connection)
  if (exchange === undefined) throw new TypeError("this connection was not made by Connection.Service")
  return exchange as Exchange<Send, Receive>
}

const exchanges = new WeakMap<object, unknown>()

const interrupted = Exit.fail(closed)

/** The error of `onUp`. One that is not ours is retried like a failed dial. */
const refused = (cause: unknown): ConnectionError.ConnectionError => {
  if (ConnectionError.isConnectionError(cause)) return cause
  return ConnectionError.make(
    ConnectionError.isReason(cause) ? cause : new ConnectionError.LinkFailed({ cause, during: "dial" })
  )
}

/** Only a dialect with a ping can ask, and none needs heartbeats unless it says so. */
const defaultsOf = <Send, Receive>(dialect: Dialect<Receive, Send>): Policy.Policy => ({
  ...Policy.defaults,
  ...(dialect.begin().ping === undefined ? Presets.withoutPing : {}),
  heartbeat: "Infinity"
})

/** A policy without what only a connection knows. */
const plain = ({ backlog, ...rest }: PolicyOptions = {}): Policy.Options => {
  if (backlog === undefined) return rest
  const { whenFull, ...limits } = backlog
  return { ...rest, backlog: whenFull === "dropOldest" ? limits : { ...limits, whenFull } }
}

/**
 * So many retries at once before `policy.reconnect` begins: one prompt try for each endpoint. Source: Open vSwitch
 * `lib/reconnect.c`, `backoff_free_tries`, which `jsonrpc_session_open_multiple` sets to the number of remotes.
 */
const promptTries = (count: number) => {
  let left = count
  let made: { readonly from: Policy.Policy["reconnect"]; readonly reconnect: Policy.Policy["reconnect"] } | undefined
  return (policy: Policy.Policy): Policy.Policy => {
    if (made?.from !== policy.reconnect) {
      const from = policy.reconnect
      const reconnect: Policy.Policy["reconnect"] = Schedule.fromStep(
        Effect.map(Schedule.toStep(from), (step) => (now: number, error: ConnectionError.ConnectionError) => {
          if (left === 0) return step(now, error)
          left--
          return Effect.succeed<[unknown, Duration.Duration]>([undefined, Duration.zero])
        })
      )
      made = { from, reconnect }
    }
    return { ...policy, reconnect: made.reconnect }
  }
}

const readAheadBytesMaxDefault = 1024 * 1024
