/**
 * Sessions of Holdfast, with the policy that they have by default.
 */
import { NodeLink, NodeListener } from "@holdfast/node"
import { Effect, Layer, ManagedRuntime, Schema, Stream } from "effect"
import * as SocketServer from "effect/socket/SocketServer"
import { Requests, Session } from "holdfast"
import type { Contestant } from "../contestant.ts"
import { type Asker, type Check, numberOf, patternOf, stamp } from "../workload.ts"

type BytesSession = Session.Session<Uint8Array, Uint8Array>

export class Bytes extends Session.Service<Bytes>()("bench/Bytes") {}

/** The same with messages that are valid until the next ones are pulled, as those of the contestants made by hand are. */
class Borrowed extends Session.Service<Borrowed>()("bench/Bytes", { borrow: true }) {}

/** What a program would send rather than bytes. */
class Reading extends Schema.Class<Reading>("Reading")({ number: Schema.Number, text: Schema.String }) {}

class Readings extends Session.Service<Readings>()("bench/Readings", { toServer: Reading }) {}

export const listening = <E>(server: Layer.Layer<never, E, SocketServer.SocketServer>): Promise<number> =>
  ManagedRuntime.make(Layer.provideMerge(server, NodeListener.layerTcp({ port: 0 }))).runPromise(
    Effect.map(SocketServer.SocketServer, ({ address }) => ("port" in address ? address.port : 0))
  )

const link = (port: number) => NodeLink.tcp({ host: "127.0.0.1", port })

/** Uses a session of bytes, and closes it. */
export const conversing = (
  port: number,
  use: (session: BytesSession) => Effect.Effect<unknown, unknown>,
  limits?: Session.ClientLimits
): Promise<void> =>
  Borrowed.make({ link: link(port), limits }).pipe(
    Effect.flatMap((session) => Effect.andThen(use(session), session.close)),
    Effect.scoped,
    Effect.runPromise
  )

/** Sends back batch by batch. */
const answer = () =>
  listening(Borrowed.serve((session) => Stream.runForEachArray(session.messages, (batch) => session.sendAll(batch))))

const ask = (port: number, asker: Asker) =>
  conversing(port, (session) =>
    session.sendAll(Array.from({ length: asker.outstanding }, () => asker.question())).pipe(
      Effect.andThen(
        Stream.runForEachArray(session.messages, (answers) => {
          for (const message of answers) asker.answered(message)
          return asker.isOver ? session.end : session.sendAll(answers.map(() => asker.question()))
        })
      )
    )
  )

const byArrays = (check: Check) => (session: BytesSession) =>
  Stream.runForEachArray(session.messages, (batch) => {
    check.messages(batch)
    return Effect.void
  })

/** Whole batches: `sendAll`, `runForEachArray`. */
export const arrays: Contestant = {
  receive: (check) => listening(Borrowed.serve(byArrays(check))),
  send: (port, source) =>
    conversing(port, (session) =>
      Effect.whileLoop({
        while: () => !source.isOver,
        body: () => session.sendAll(source.nextBatch()),
        step: () => undefined
      })
    ),
  answer,
  ask
}

/** Whole batches of messages that can be kept. */
export const owned: Contestant = { ...arrays, receive: (check) => listening(Bytes.serve(byArrays(check))) }

/** One by one: `yield* send`, `runForEach`. */
export const messages: Contestant = {
  ...arrays,
  receive: (check) =>
    listening(
      Borrowed.serve((session) =>
        Stream.runForEach(session.messages, (message) => {
          check.message(message)
          return Effect.void
        })
      )
    ),
  send: (port, source) =>
    conversing(
      port,
      Effect.fnUntraced(function* (session) {
        while (!source.isOver) yield* session.send(source.next())
      })
    )
}

/** One by one, and each taken by itself when its handler has succeeded. */
export const handle: Contestant = {
  ...messages,
  receive: (check) =>
    listening(Borrowed.serve((session) => session.handle((message) => Effect.sync(() => check.message(message)))))
}

const Echo = Requests.make("echo")

/** A fiber for each question that is open, each with its own patience. Nobody streams this way. */
export const requests: Contestant = {
  ...arrays,
  answer: () => listening(Bytes.serve((session) => Echo.serve(session, (question) => Effect.succeed(question)))),
  ask: (port, asker) =>
    conversing(port, (session) =>
      Effect.gen(function* () {
        const echo = yield* Echo.client(session, { patience: "30 seconds" })
        const one = Effect.whileLoop({
          while: () => !asker.isOver,
          body: () => echo.ask(asker.question()),
          step: (answer) => asker.answered(answer)
        })
        yield* Effect.all(
          Array.from({ length: asker.outstanding }, () => one),
          { concurrency: "unbounded", discard: true }
        )
      }).pipe(Effect.scoped)
    )
}

/** The same questions, as many as may be open at once in one call: one fiber waits for all of them. */
export const requestsTogether: Contestant = {
  ...requests,
  ask: (port, asker) =>
    conversing(port, (session) =>
      Effect.gen(function* () {
        const echo = yield* Echo.client(session, { patience: "30 seconds" })
        yield* Effect.whileLoop({
          while: () => !asker.isOver,
          body: () => echo.askAll(Array.from({ length: asker.outstanding }, () => asker.question())),
          step: (answers) => {
            for (const answer of answers) asker.answered(answer)
          }
        })
      }).pipe(Effect.scoped)
    )
}

/** By arrays, through a Schema: what the check sees is made from what was decoded. */
export const schema: Contestant = {
  ...arrays,
  receive: (check) => {
    const text = textOf(check.size)
    const message = patternOf(check.size)
    return listening(
      Readings.serve((session) =>
        Stream.runForEachArray(session.messages, (batch) => {
          for (const reading of batch) {
            if (reading.text !== text) throw new Error(`message ${reading.number} has another text`)
            stamp(message, reading.number)
            check.message(message)
          }
          return Effect.void
        })
      )
    )
  },
  send: (port, source) => {
    const text = textOf(source.size)
    return Readings.make({ link: link(port) }).pipe(
      Effect.flatMap((session) =>
        Effect.whileLoop({
          while: () => !source.isOver,
          body: () =>
            session.sendAll(source.nextBatch().map((message) => new Reading({ number: numberOf(message), text }))),
          step: () => undefined
        }).pipe(Effect.andThen(session.close))
      ),
      Effect.scoped,
      Effect.runPromise
    )
  }
}

/** So much text that the message has about the size that is measured. */
const textOf = (size: number): string => "x".repeat(Math.max(1, size - 32))
