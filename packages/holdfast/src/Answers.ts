/**
 * Answers: requests over a connection, each with its answer or a typed reason why there is none. For protocols where
 * messages are answered, in order (Redis) or by an id (most others), also to notice a peer whose machine acknowledges
 * everything and whose program is frozen.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Answers, Connection, Dialect } from "holdfast"
 *
 * class Store extends Connection.Service<Store>()("app/Store", { dialect: Dialect.lines() }) {}
 *
 * const program = Effect.gen(function* () {
 *   const answers = yield* Answers.inOrder(yield* Store, { patience: "5 seconds" })
 *   return yield* answers.request("GET a")
 * })
 * ```
 *
 * Guarantees: every request settles. Its patience counts from the instant at which it was handed to a link; until then it
 * waits in the backlog, like any message. When its link ends, a request that was handed over fails with that reason,
 * unless the connection's choice is `"sendAgain"`: then it is asked again. Interrupting a request withdraws it where no
 * link has seen it; else its answer is swallowed when it comes. Whoever still waits when the scope of the answers closes
 * fails with `Closed`. One fiber watches all requests of a connection.
 */
import { Deferred, Effect, Exit, Latch } from "effect"
import type { Scope } from "effect"
import type { Connection } from "./Connection.ts"
import * as ConnectionError from "./ConnectionError.ts"
import type { Item, Request } from "./internal/backlog.ts"
import { exchangeOf } from "./internal/supervised.ts"
import * as Patience from "./Patience.ts"

/** Asks over a connection. */
export interface Answers<in Send, out Receive> {
  /** Sends a message and waits for its answer. */
  readonly request: (message: Send) => Effect.Effect<Receive, ConnectionError.ConnectionError>
  /** How many answers the peer owes. */
  readonly owed: Effect.Effect<number>
}

/** What both ways of matching need. */
export interface Options {
  /** How long an answer may take. */
  readonly patience: Patience.Patience
}

/** What `inOrder` may be told. */
export interface InOrderOptions<in Send, in Receive> extends Options {
  /** Whether a message of ours is answered, also when it was sent without `request`. Default: every one. */
  readonly isAnswered?: ((message: Send) => boolean) | undefined
  /** Whether a message is an answer, and not something that the peer says by itself. Default: every one. */
  readonly isAnswer?: ((message: Receive) => boolean) | undefined
}

/** What `byId` must be told. Ids are compared as keys of a `Map`. */
export interface ByIdOptions<in Send, in Receive> extends Options {
  /** The id of a request. No two may be owed at once. */
  readonly idOf: (message: Send) => unknown
  /** The id that a message answers, `undefined` if it is no answer. */
  readonly answersTo: (message: Receive) => unknown
}

/**
 * Matches answers to messages by their order. Every message that is answered takes its place, also one that was sent
 * without `request`: its answer goes to `messages`. An answer that is overdue ends the incarnation with `AnswerOverdue`,
 * since all that follow would be taken for the wrong ones.
 */
export const inOrder = <Send, Receive>(
  connection: Connection<Send, Receive>,
  options: InOrderOptions<Send, Receive>
): Effect.Effect<Answers<Send, Receive>, never, Scope.Scope> => {
  const { isAnswer = () => true, isAnswered = () => true } = options
  const owed: Array<Owed<Send, Receive>> = []
  return expecting(connection, options.patience, {
    oldest: () => owed[0],
    count: () => owed.length,
    add: (entry) => {
      if (entry.asked !== undefined || isAnswered(entry.item.message)) owed.push(entry)
    },
    match: (message) => (isAnswer(message) ? owed.shift() : undefined),
    clear: () => void owed.splice(0),
    giveUpOldest: () => false
  })
}

/**
 * Matches answers to requests by an id. A request that is overdue fails alone with `AnswerOverdue`, and a late answer goes
 * to `messages`; but where the peer gave no sign of life at all since it was asked, the incarnation ends as well.
 */
export const byId = <Send, Receive>(
  connection: Connection<Send, Receive>,
  options: ByIdOptions<Send, Receive>
): Effect.Effect<Answers<Send, Receive>, never, Scope.Scope> => {
  const owed = new Map<unknown, Owed<Send, Receive>>()
  const remove = (id: unknown) => {
    const entry = owed.get(id)
    owed.delete(id)
    return entry
  }
  const oldest = () => owed.values().next().value
  return expecting(connection, options.patience, {
    oldest,
    count: () => owed.size,
    add: (entry) => {
      if (entry.asked !== undefined) owed.set(options.idOf(entry.item.message), entry)
    },
    match: (message) => {
      const id = options.answersTo(message)
      return id === undefined ? undefined : remove(id)
    },
    clear: () => owed.clear(),
    giveUpOldest: () => {
      const entry = oldest()
      return entry !== undefined && remove(options.idOf(entry.item.message)) !== undefined
    }
  })
}

/** An answer that the peer owes. */
interface Owed<Send, Receive> {
  readonly item: Item<Send>
  readonly at: number
  /** Set where somebody asked for it. */
  readonly asked: Asked<Receive> | undefined
}

/** Somebody who waits for an answer. */
interface Asked<Receive> extends Request {
  readonly answered: (message: Receive) => void
}

/** What is owed, oldest first, and how it is matched. */
interface Book<Send, Receive> {
  readonly oldest: () => Owed<Send, Receive> | undefined
  readonly count: () => number
  readonly add: (entry: Owed<Send, Receive>) => void
  readonly match: (message: Receive) => Owed<Send, Receive> | undefined
  readonly clear: () => void
  /** Strikes the oldest out, where the others do not depend on it. */
  readonly giveUpOldest: () => boolean
}

const expecting = Effect.fnUntraced(function* <Send, Receive>(
  connection: Connection<Send, Receive>,
  patience: Patience.Patience,
  book: Book<Send, Receive>
) {
  const exchange = exchangeOf(connection)
  const isOwed = Latch.makeUnsafe(false)
  let watch: Patience.Watch | undefined
  let watched: Owed<Send, Receive> | undefined
  let isOver = false
  const over = () => ConnectionError.make(new ConnectionError.Closed())

  /** The clock runs for the oldest answer that is owed. */
  const rewind = () => {
    const oldest = book.oldest()
    if (oldest === watched) return
    watched = oldest
    if (oldest === undefined) watch?.rest()
    else watch?.arrived(oldest.at)
    isOwed.openUnsafe()
  }

  const overdue = (evidence: Patience.Evidence) => {
    const late = book.oldest()
    if (late === undefined) return
    const { asked, missingFor } = evidence
    const reason = new ConnectionError.AnswerOverdue({ asked, missingFor, unanswered: book.count() })
    const isDeaf = (exchange.attachment?.receivedAt() ?? 0) <= late.at
    const isAlone = book.giveUpOldest()
    if (isAlone) {
      exchange.backlog.settle([late.item])
      late.asked?.failed(ConnectionError.make(reason))
    }
    if (!isAlone || isDeaf) exchange.attachment?.end(ConnectionError.make(reason))
  }

  const watching = Effect.gen(function* () {
    while (true) {
      const oldest = book.oldest()
      watched = oldest
      if (oldest === undefined) {
        isOwed.closeUnsafe()
        yield* isOwed.await
        continue
      }
      watch = Patience.watch({ patience, anchor: oldest.at })
      const evidence = yield* watch.run
      watch = undefined
      const late = book.oldest()
      overdue(evidence)
      if (book.oldest() !== late) continue
      isOwed.closeUnsafe()
      yield* isOwed.await // until its link is gone
    }
  })

  const expectations = {
    handed: (item: Item<Send>) => {
      book.add({ item, at: exchange.now(), asked: item.request as Asked<Receive> | undefined })
      rewind()
    },
    received: (message: Receive) => {
      const owed = book.match(message)
      if (owed === undefined) return false
      rewind()
      if (owed.asked === undefined) return false
      exchange.backlog.settle([owed.item])
      owed.asked.answered(message)
      return true
    },
    cut: () => {
      book.clear()
      rewind()
    }
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      if (exchange.expectations !== undefined) throw new Error("a connection has its answers matched in one place only")
      exchange.expectations = expectations
    }),
    () =>
      Effect.sync(() => {
        exchange.expectations = undefined
        isOver = true
        exchange.backlog.abandon(over())
      })
  )
  yield* Effect.forkScoped(watching)

  const answers: Answers<Send, Receive> = {
    request: (message) =>
      Effect.suspend(() => {
        if (isOver) return Effect.fail(over())
        const answer = Deferred.makeUnsafe<Receive, ConnectionError.ConnectionError>()
        const asked: Asked<Receive> = {
          isAbandoned: false,
          failed: (error) => void Deferred.doneUnsafe(answer, Exit.fail(error)),
          answered: (message) => void Deferred.doneUnsafe(answer, Exit.succeed(message))
        }
        return Effect.flatMap(exchange.encode(message, asked), (item) =>
          exchange.backlog.accept([item]).pipe(
            Effect.tap(Effect.sync(() => isOver && exchange.backlog.abandon(over()))), // it waited for room until then
            Effect.andThen(Deferred.await(answer)),
            Effect.onInterrupt(() =>
              Effect.sync(() => {
                asked.isAbandoned = true
                exchange.backlog.withdraw(item)
              })
            )
          )
        )
      }),
    owed: Effect.sync(book.count)
  }
  return answers
})
