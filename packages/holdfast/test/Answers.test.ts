import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { Answers, type ConnectionError } from "holdfast"
import { begin, collected, connected, eventsOf, type Line, peerOf } from "./ConnectionTesting.ts"
import { inScope } from "./SessionPair.ts"
import { settle, until } from "./TestTime.ts"

type Setup = Parameters<typeof connected>[0]

/** A connection without ping whose answers are matched in order. */
const ordered = Effect.fnUntraced(function* (
  options: Partial<Answers.InOrderOptions<string, string>> = {},
  setup: Setup = {}
) {
  const up = yield* connected({ mute: true, fateUnknown: "giveBack", ...setup })
  const answers = yield* Answers.inOrder(up.connection, { patience: "5 seconds", ...options })
  return { ...up, answers }
})

/** The same, matched by an id before a colon. */
const identified = Effect.fnUntraced(function* (setup: Setup = {}) {
  const up = yield* connected({ mute: true, fateUnknown: "giveBack", ...setup })
  const idOf = (line: string) => (line.includes(":") ? line.split(":")[0] : undefined)
  const answers = yield* Answers.byId(up.connection, { patience: "5 seconds", idOf, answersTo: idOf })
  return { ...up, answers }
})

/** A request in the background, and what it got so far. */
const asking = Effect.fnUntraced(function* (request: Effect.Effect<string, ConnectionError.ConnectionError>) {
  const fiber = yield* Effect.forkScoped(
    Effect.match(request, { onFailure: ({ reason }) => reason._tag, onSuccess: (answer) => answer }),
    { startImmediately: true }
  )
  yield* settle
  return {
    fiber,
    got: () => {
      const exit = fiber.pollUnsafe()
      return exit === undefined ? "pending" : Exit.isSuccess(exit) ? exit.value : "interrupted"
    }
  }
})

const endsOf = Effect.fnUntraced(function* (connection: Line) {
  const events = yield* eventsOf(connection)
  return () => events.flatMap((event) => (event._tag === "Ended" ? [[event.at, event.error.reason._tag]] : []))
})

describe("answers in order", () => {
  it.effect("go to those who asked, and what was sent without asking takes its place", () =>
    inScope(
      Effect.gen(function* () {
        const { answers, connection, peer } = yield* ordered()
        const first = yield* asking(answers.request("a"))
        yield* connection.send("b")
        const third = yield* asking(answers.request("c"))
        yield* settle
        assert.deepStrictEqual(peer.heard, ["a", "b", "c"])
        yield* peer.say("A", "B", "C")
        const { all } = yield* collected(connection.messages)
        assert.deepStrictEqual([first.got(), third.got(), all], ["A", "C", ["B"]])
        assert.strictEqual(yield* answers.owed, 0)
      })
    )
  )

  it.effect("leave alone what the peer says by itself, and what is never answered", () =>
    inScope(
      Effect.gen(function* () {
        const { answers, connection, peer } = yield* ordered({
          isAnswer: (line) => !line.startsWith("!"),
          isAnswered: (line) => line !== "SUBSCRIBE"
        })
        yield* connection.send("SUBSCRIBE")
        const asked = yield* asking(answers.request("a"))
        yield* peer.say("!news", "A", "!more")
        const { all } = yield* collected(connection.messages)
        assert.deepStrictEqual([asked.got(), all], ["A", ["!news", "!more"]])
      })
    )
  )

  it.effect("that are overdue end the incarnation at their instant, although the peer's machine takes everything", () =>
    inScope(
      Effect.gen(function* () {
        const { answers, connection } = yield* ordered()
        const ends = yield* endsOf(connection)
        yield* until(1000)
        const first = yield* asking(answers.request("a"))
        yield* until(3000)
        const second = yield* asking(answers.request("b"))
        yield* until(5999)
        assert.deepStrictEqual([first.got(), second.got(), ends()], ["pending", "pending", []])
        yield* until(6000)
        assert.deepStrictEqual([first.got(), second.got()], ["AnswerOverdue", "AnswerOverdue"])
        assert.deepStrictEqual(ends(), [[6000, "AnswerOverdue"]])
      })
    )
  )

  it.effect("each have their own patience: one that came in time does not excuse the next", () =>
    inScope(
      Effect.gen(function* () {
        const { answers, connection, peer } = yield* ordered()
        const ends = yield* endsOf(connection)
        const first = yield* asking(answers.request("a"))
        yield* until(2000)
        yield* asking(answers.request("b"))
        yield* until(4999)
        yield* peer.say("A")
        yield* settle
        assert.strictEqual(first.got(), "A")
        yield* until(6999)
        assert.deepStrictEqual(ends(), [])
        yield* until(7000)
        assert.deepStrictEqual(ends(), [[7000, "AnswerOverdue"]])
      })
    )
  )

  it.effect("are nobody's debt while nothing was asked, for hours", () =>
    inScope(
      Effect.gen(function* () {
        const { answers, connection, peer } = yield* ordered()
        const ends = yield* endsOf(connection)
        for (const hour of [1, 2, 3]) {
          yield* until(hour * 3_600_000)
          const asked = yield* asking(answers.request("a"))
          yield* peer.say("A")
          yield* settle
          assert.strictEqual(asked.got(), "A")
        }
        assert.deepStrictEqual(ends(), [])
      })
    )
  )

  it.effect("are waited for from when the request was handed to a link, however long it waited for one", () =>
    inScope(
      Effect.gen(function* () {
        const { answers, connection, network } = yield* ordered()
        network.hang(true)
        network.wire().cut()
        yield* settle
        const ends = yield* endsOf(connection)
        const asked = yield* asking(answers.request("a"))
        yield* until(9000)
        assert.strictEqual(asked.got(), "pending")
        network.hang(false)
        const second = yield* peerOf(yield* network.accept)
        yield* until(13_999)
        assert.deepStrictEqual([second.heard, asked.got()], [["a"], "pending"])
        yield* until(14_000)
        assert.deepStrictEqual(ends(), [[14_000, "AnswerOverdue"]])
      })
    )
  )

  it.effect("never cross incarnations: what a dead link owed is settled, and the next one starts afresh", () =>
    inScope(
      Effect.gen(function* () {
        const { answers, connection, network, nextPeer } = yield* ordered()
        const events = yield* eventsOf(connection)
        const lost = yield* asking(answers.request("a"))
        network.wire().cut()
        yield* settle
        assert.strictEqual(lost.got(), "LinkFailed")
        assert.isFalse(
          events.some(({ _tag }) => _tag === "FateUnknown"),
          "whoever asked was told, and nothing was given back"
        )
        yield* until(1000)
        const second = yield* nextPeer
        const asked = yield* asking(answers.request("b"))
        yield* second.say("B")
        yield* settle
        assert.deepStrictEqual([second.heard, asked.got()], [["b"], "B"])
      })
    )
  )

  it.effect("are asked for again where the connection's choice is to send again", () =>
    inScope(
      Effect.gen(function* () {
        const { answers, network, nextPeer } = yield* ordered({}, { fateUnknown: "sendAgain" })
        const asked = yield* asking(answers.request("a"))
        const impatient = yield* asking(answers.request("b"))
        yield* Fiber.interrupt(impatient.fiber)
        network.wire().cut()
        yield* until(1000)
        const second = yield* nextPeer
        yield* settle
        assert.deepStrictEqual([second.heard, asked.got()], [["a"], "pending"])
        yield* second.say("A")
        yield* settle
        assert.strictEqual(asked.got(), "A")
      })
    )
  )

  it.effect("to a request that was interrupted are swallowed, and those behind it match", () =>
    inScope(
      Effect.gen(function* () {
        const { answers, connection, peer } = yield* ordered()
        const { all } = yield* collected(connection.messages)
        const first = yield* asking(answers.request("a"))
        const second = yield* asking(answers.request("b"))
        yield* Fiber.interrupt(first.fiber)
        yield* peer.say("A", "B")
        yield* settle
        assert.deepStrictEqual([second.got(), all], ["B", []])
      })
    )
  )

  it.effect("are not waited for by one that is withdrawn before any link saw it", () =>
    inScope(
      Effect.gen(function* () {
        const { answers, connection, network, nextPeer } = yield* ordered()
        network.wire().cut()
        yield* settle
        const asked = yield* asking(answers.request("a"))
        yield* Fiber.interrupt(asked.fiber)
        assert.deepStrictEqual(yield* connection.leftovers, { fateUnknown: [], notSent: [] })
        yield* until(1000)
        const second = yield* nextPeer
        yield* until(20_000)
        assert.deepStrictEqual(second.heard, [])
      })
    )
  )

  it.effect("do not wait behind a slow consumer of what else the peer says", () =>
    inScope(
      Effect.gen(function* () {
        const { answers, peer } = yield* ordered({ isAnswer: (line) => !line.startsWith("!") })
        const asked = yield* asking(answers.request("a"))
        yield* peer.say("!nobody", "!reads", "!this", "A")
        yield* settle
        assert.strictEqual(asked.got(), "A")
      })
    )
  )

  it.effect("settle with the connection, and `close` waits for them", () =>
    inScope(
      Effect.gen(function* () {
        const { answers, connection, peer } = yield* ordered()
        const asked = yield* asking(answers.request("a"))
        const closing = yield* begin(connection.close)
        yield* until(1000)
        assert.strictEqual(closing.outcome(), "pending")
        yield* peer.say("A")
        yield* settle
        assert.deepStrictEqual([closing.outcome(), asked.got()], ["succeeded", "A"])
        assert.strictEqual((yield* asking(answers.request("late"))).got(), "Closed")
      })
    )
  )

  for (const isCut of [false, true]) {
    it.effect(`settle with their scope, and \`close\` waits for none that nobody would take (link cut: ${isCut})`, () =>
      inScope(
        Effect.gen(function* () {
          const { connection, network } = yield* connected({
            mute: true,
            fateUnknown: "sendAgain",
            policy: { backlog: { messagesMax: 2 } }
          })
          const scope = yield* Scope.make()
          const answers = yield* Answers.inOrder(connection, { patience: "1 hour" }).pipe(Scope.provide(scope))
          const abandoned = yield* asking(answers.request("a"))
          yield* Fiber.interrupt(abandoned.fiber)
          const asked = yield* asking(answers.request("b"))
          if (isCut) network.wire().cut()
          const waiting = yield* asking(answers.request("c"))
          const alsoWaiting = yield* asking(answers.request("d"))
          yield* Scope.close(scope, Exit.void)
          yield* settle
          const late = yield* asking(answers.request("e"))
          const got = [asked, waiting, alsoWaiting, late].map((request) => request.got())
          assert.deepStrictEqual(got, ["Closed", "Closed", "Closed", "Closed"])
          const closing = yield* begin(connection.close)
          yield* settle
          assert.strictEqual(closing.outcome(), "succeeded")
        })
      )
    )
  }

  it.effect("count against the backlog, and a request that cannot be let in fails", () =>
    inScope(
      Effect.gen(function* () {
        const { answers } = yield* ordered({}, { policy: { backlog: { messagesMax: 1, whenFull: "fail" } } })
        yield* asking(answers.request("a"))
        assert.strictEqual((yield* asking(answers.request("b"))).got(), "BacklogExceeded")
      })
    )
  )

  it.effect("are matched in one place only", () =>
    inScope(
      Effect.gen(function* () {
        const { connection } = yield* ordered()
        const exit = yield* Effect.exit(Answers.inOrder(connection, { patience: "1 second" }))
        assert.isTrue(Exit.hasDies(exit))
      })
    )
  )
})

describe("answers by id", () => {
  it.effect("come in any order, and strangers are messages", () =>
    inScope(
      Effect.gen(function* () {
        const { answers, connection, peer } = yield* identified()
        const first = yield* asking(answers.request("1:a"))
        const second = yield* asking(answers.request("2:b"))
        yield* connection.send("3:nobody asks")
        yield* peer.say("2:B", "news", "3:C", "1:A")
        const { all } = yield* collected(connection.messages)
        assert.deepStrictEqual([first.got(), second.got(), all], ["1:A", "2:B", ["news", "3:C"]])
      })
    )
  )

  it.effect("that are overdue fail alone while the peer lives", () =>
    inScope(
      Effect.gen(function* () {
        const { answers, connection, peer } = yield* identified()
        const ends = yield* endsOf(connection)
        const forgotten = yield* asking(answers.request("1:a"))
        yield* until(1000)
        const second = yield* asking(answers.request("2:b"))
        yield* peer.say("news")
        yield* until(4999)
        assert.strictEqual(forgotten.got(), "pending")
        yield* until(5000)
        assert.deepStrictEqual([forgotten.got(), second.got(), ends()], ["AnswerOverdue", "pending", []])
        yield* peer.say("2:B", "1:too late")
        const { all } = yield* collected(connection.messages)
        assert.deepStrictEqual([second.got(), all], ["2:B", ["news", "1:too late"]])
      })
    )
  )

  it.effect("that are overdue from a peer that said nothing since end the incarnation too", () =>
    inScope(
      Effect.gen(function* () {
        const { answers, connection, peer } = yield* identified()
        const ends = yield* endsOf(connection)
        yield* peer.say("news")
        yield* until(1000)
        const first = yield* asking(answers.request("1:a"))
        const second = yield* asking(answers.request("2:b"))
        yield* until(6000)
        assert.deepStrictEqual([first.got(), second.got()], ["AnswerOverdue", "AnswerOverdue"])
        assert.deepStrictEqual(ends(), [[6000, "AnswerOverdue"]])
      })
    )
  )
})
