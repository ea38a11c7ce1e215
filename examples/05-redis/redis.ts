/**
 * Redis (RESP3): pipelined commands and published messages on one connection. Each link says hello and subscribes again. A
 * command that no link has seen goes out on the next one; one whose reply did not come fails with the reason, since only
 * you know whether it may be repeated. Take this file, and change what you need.
 */
import { NodeLink } from "@holdfast/node"
import { Context, Data, Effect, Layer, Stream } from "effect"
import { Answers, Connection, Dialect } from "holdfast"

export type Command = ReadonlyArray<string>
export type Reply = string | number | null | RedisError | Push | ReadonlyArray<Reply>
/** Redis refuses a command, as in `ERR unknown command`. */
export class RedisError extends Data.TaggedError("RedisError")<{ readonly message: string }> {}
/** What Redis says by itself, such as `["message", channel, text]`. */
export class Push extends Data.Class<{ readonly parts: ReadonlyArray<Reply> }> {}

const isAnswer = (reply: Reply) => !(reply instanceof Push)
/** Subscribing is confirmed by a push. Commands that block belong on a connection of their own. */
const isAnswered = ([name = ""]: Command) => !/^[ps]?(un)?subscribe$/i.test(name)

const scalar = (type: string, text: string, body: Uint8Array | undefined): Reply => {
  if (type === "-") return new RedisError({ message: text })
  return type === ":" ? Number(text) : type === "+" ? text : body === undefined ? null : new TextDecoder().decode(body)
}

const bytesMax = 64 * 1024 * 1024
/** Puts replies together from their lines. */
const assemble = () => {
  const open: Array<{ readonly type: string; readonly size: number; readonly parts: Array<Reply> }> = []
  let bytes = 0
  return ({ body, line }: Dialect.Block, emit: (reply: Reply) => void): Dialect.Violation | undefined => {
    const [type = "", text] = [line[0], line.slice(1)]
    bytes += line.length + (body?.length ?? 0)
    if (bytes > bytesMax) return { _tag: "TooLarge", bytes, bytesMax }
    if (!/^([$*>%:]-?\d+|[+-].*|_)$/.test(line)) return { _tag: "Malformed", detail: `not a reply: ${line}` }
    let reply = scalar(type, text, body)
    if (/^[*>%]\d/.test(line)) open.push({ type, size: Number(text) * (type === "%" ? 2 : 1), parts: [] })
    else open.at(-1)?.parts.push(reply)
    for (let last = open.at(-1); last !== undefined; last = open.at(-1)) {
      if (last.parts.length < last.size) return undefined
      open.pop()
      reply = last.type === ">" ? new Push({ parts: last.parts }) : last.parts
      open.at(-1)?.parts.push(reply)
    }
    bytes = 0
    emit(reply)
    return undefined
  }
}
export const dialect = Dialect.linesWithBody({
  end: "\r\n",
  messageBytesMax: bytesMax,
  bodyBytes: (line) => (/^\$\d/.test(line) ? Number(line.slice(1)) : undefined)
}).pipe(
  Dialect.assemble(assemble),
  Dialect.encodeWith((words: Command) =>
    Buffer.from(
      [`*${words.length}`, ...words.flatMap((word) => [`$${Buffer.byteLength(word)}`, word]), ""].join("\r\n")
    )
  ),
  // A ping is answered in order, like everything else.
  Dialect.withLiveness((encode) => {
    const owed: Array<"message" | "pong"> = []
    return {
      said: (command) => void (isAnswered(command) && owed.push("message")),
      ping: () => (owed.push("pong"), encode(["PING"])),
      classify: (reply) => (isAnswer(reply) ? (owed.shift() ?? "message") : "message")
    }
  })
)

class Wire extends Connection.Service<Wire>()("examples/Redis/Wire", { dialect }) {}
type Options = NodeLink.TcpOptions & { readonly channels?: Command; readonly policy?: Connection.PolicyOptions }

const make = Effect.fnUntraced(function* ({ channels = [], policy, ...server }: Options) {
  const connection = yield* Wire.make({
    link: NodeLink.tcp(server),
    fateUnknown: "giveBack",
    policy,
    onUp: Effect.fnUntraced(function* ({ receive, send }) {
      yield* send(["HELLO", "3"]) // and "AUTH", user, password
      const hello = yield* receive
      if (hello instanceof RedisError) return yield* hello
      if (channels.length > 0) yield* send(["SUBSCRIBE", ...channels])
    })
  })
  const { request } = yield* Answers.inOrder(connection, { patience: "5 seconds", isAnswer, isAnswered })
  return {
    connection,
    command: (...words: Command) =>
      Effect.flatMap(request(words), (reply) => (reply instanceof RedisError ? reply : Effect.succeed(reply))),
    /** What the channels say. Whoever subscribes reads it, or Redis has to wait. */
    pushes: Stream.map(connection.messages, (said) => (said instanceof Push ? said.parts : [said]))
  }
})

export class Redis extends Context.Service<Redis, Effect.Success<ReturnType<typeof make>>>()("examples/Redis") {
  static readonly layer = (options: Options) => Layer.effect(Redis, make(options))
}
