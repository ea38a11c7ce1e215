/**
 * Sessions of Holdfast, with the policy that they have by default but for the interval of heartbeats.
 */
import { NodeLink, NodeListener } from "@holdfast/node"
import { Effect, Exit, Layer, ManagedRuntime, Scope, Stream } from "effect"
import * as SocketServer from "effect/socket/SocketServer"
import { Requests, Session } from "holdfast"
import type { Crowd, Joining, Member, Serving } from "../crowd.ts"

class Bytes extends Session.Service<Bytes>()("bench/Crowd", { borrow: true }) {}

type BytesSession = Session.Session<Uint8Array, Uint8Array>

const backlog = { bytesMax: 128 * 1024 * 1024, messagesMax: 1_000_000 }
const usual = { policy: { backlog } }
const beating = { policy: { backlog, heartbeat: "1 second" } } as const

const policyOf = (beatMillis: number) => (beatMillis === 0 ? usual : beating)

const serve = ({ beatMillis }: Serving, handler: (session: BytesSession) => Effect.Effect<unknown, unknown>) =>
  ManagedRuntime.make(
    Layer.provideMerge(Bytes.serve(handler, policyOf(beatMillis)), NodeListener.layerTcp({ port: 0 }))
  ).runPromise(Effect.map(SocketServer.SocketServer, ({ address }) => ("port" in address ? address.port : 0)))

/** A session that lives until its member is closed, and what uses it in the background. */
const join = async (
  { beatMillis, port }: Joining,
  use: (session: BytesSession) => Effect.Effect<Member["send"], unknown, Scope.Scope>
): Promise<Member> => {
  const scope = Scope.makeUnsafe()
  const joining = Effect.gen(function* () {
    const session = yield* Bytes.make({ link: NodeLink.tcp({ host: "127.0.0.1", port }), ...policyOf(beatMillis) })
    yield* session.changes.pipe(
      Stream.takeUntil(({ _tag }) => _tag === "Up"),
      Stream.runDrain
    )
    return yield* use(session)
  })
  const send = await Effect.runPromise(Scope.provide(joining, scope))
  return { send, close: () => Effect.runPromise(Scope.close(scope, Exit.void)) }
}

export const crowd: Crowd = {
  serve: (serving) =>
    serve(serving, (session) => {
      const arrived = serving.onMember()
      return Stream.runForEachArray(session.messages, (messages) => {
        for (const message of messages) arrived(message)
        return serving.isEchoing ? session.sendAll(messages) : Effect.void
      })
    }),
  connect: (joining) =>
    join(
      joining,
      Effect.fnUntraced(function* (session) {
        yield* session.messages.pipe(
          Stream.runForEachArray((messages) => {
            for (const message of messages) joining.onMessage(message)
            return Effect.void
          }),
          Effect.forkScoped
        )
        return (messages) => Effect.runPromise(session.sendAll(messages))
      })
    )
}

const Echo = Requests.make("echo")

/** Each question is a request of its own, in a fiber of its own on either side. */
export const requests: Crowd = {
  serve: (serving) =>
    serve(serving, (session) => {
      const arrived = serving.onMember()
      return Echo.serve(session, (question) =>
        Effect.sync(() => {
          arrived(question)
          return question
        })
      )
    }),
  connect: (joining) =>
    join(
      joining,
      Effect.fnUntraced(function* (session) {
        const echo = yield* Echo.client(session, { patience: "30 seconds" })
        return (messages) => {
          for (const message of messages) {
            Effect.runFork(Effect.map(echo.ask(message), joining.onMessage))
          }
          return undefined
        }
      })
    )
}
