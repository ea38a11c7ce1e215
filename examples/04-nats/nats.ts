/**
 * NATS: lines, some with a payload, and PING and PONG in both directions. Each link logs in and subscribes again before
 * anything else flows, and what was published before the server answered a ping is published again: at least once, as far
 * as the server. Take this file, and change what you need.
 */
import { NodeLink } from "@holdfast/node"
import { Array, Effect, Result } from "effect"
import { Connection, ConnectionError, Dialect } from "holdfast"

export type ToServer =
  | { readonly _tag: "Connect"; readonly options: object }
  | { readonly _tag: "Subscribe"; readonly subject: string; readonly id: number }
  | { readonly _tag: "Publish"; readonly subject: string; readonly text: string }

export type FromServer =
  | { readonly _tag: "Message"; readonly subject: string; readonly text: string }
  | { readonly _tag: "Info"; readonly options: string }
  | { readonly _tag: "Error"; readonly detail: string }
  | { readonly _tag: "Ok" }

export const dialect = Dialect.linesWithBody({
  end: "\r\n",
  bodyBytes: (line) => (/^(MSG|PUB) /.test(line) ? Number(line.slice(line.lastIndexOf(" "))) : undefined)
}).pipe(
  Dialect.withPing({
    ping: { line: "PING" },
    isPong: ({ line }) => line === "PONG",
    isPing: ({ line }) => line === "PING",
    pong: { line: "PONG" }
  }),
  Dialect.translate<Dialect.Block, Dialect.Block, FromServer, ToServer>({
    send: (message) => {
      if ("subject" in message && !/^\S+$/.test(message.subject)) {
        return Result.fail({ _tag: "Malformed", detail: `no subject: ${JSON.stringify(message.subject)}` })
      }
      switch (message._tag) {
        case "Connect":
          return Result.succeed({ line: `CONNECT ${JSON.stringify(message.options)}` })
        case "Subscribe":
          return Result.succeed({ line: `SUB ${message.subject} ${message.id}` })
        case "Publish": {
          const body = new TextEncoder().encode(message.text)
          return Result.succeed({ line: `PUB ${message.subject} ${body.length}`, body })
        }
      }
    },
    receive: ({ body, line }) => {
      const [verb = "", subject = ""] = line.split(" ")
      const rest = line.slice(verb.length + 1)
      switch (verb) {
        case "MSG":
          return Result.succeed({ _tag: "Message", subject, text: new TextDecoder().decode(body) })
        case "INFO":
          return Result.succeed({ _tag: "Info", options: rest })
        case "-ERR":
          return Result.succeed({ _tag: "Error", detail: rest })
        case "+OK":
          return Result.succeed({ _tag: "Ok" })
        default:
          return Result.fail({ _tag: "Malformed", detail: `NATS does not say ${JSON.stringify(verb)}` })
      }
    }
  })
)

export class Nats extends Connection.Service<Nats>()("examples/Nats", { dialect }) {}

export interface Options {
  /** The servers of one cluster: each attempt takes the next one. */
  readonly servers: Array.NonEmptyReadonlyArray<NodeLink.TcpOptions>
  readonly subjects: ReadonlyArray<string>
  readonly login?: { readonly user: string; readonly pass: string } | undefined
  readonly policy?: Connection.PolicyOptions | undefined
}

export const layer = ({ login, policy, servers, subjects }: Options) =>
  Nats.layer({
    link: Array.map(servers, NodeLink.tcp),
    fateUnknown: "sendAgain",
    policy,
    onUp: Effect.fnUntraced(function* ({ ping, receive, send }) {
      yield* receive // INFO
      yield* send({ _tag: "Connect", options: { ...login, verbose: false, lang: "holdfast" } })
      // NATS says nothing when it agrees; so a ping behind the login is answered, or there is an error in its place.
      const refused = receive.pipe(
        Effect.repeat({ until: (said) => said._tag === "Error" }),
        Effect.flatMap((said) => new ConnectionError.Refused({ code: "Unauthorized", detail: JSON.stringify(said) }))
      )
      yield* Effect.raceFirst(ping, refused)
      yield* Effect.forEach(subjects, (subject, id) => send({ _tag: "Subscribe", subject, id }))
    })
  })
