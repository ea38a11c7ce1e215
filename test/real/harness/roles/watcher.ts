// Uses real servers, each through an example of ours and through the client that people use otherwise, with the defaults of
// both: says something each second, and reports when it works, and whatever tells it that it does not.
import { connect as connectNats } from "@nats-io/transport-node"
import { Effect, Schedule, Stream } from "effect"
import { type Connection, ConnectionError } from "holdfast"
import mqtt from "mqtt"
import * as Net from "node:net"
import { createClient } from "redis"
import { layer as natsLayer, Nats } from "../../../../examples/04-nats/nats.ts"
import { Redis } from "../../../../examples/05-redis/redis.ts"
import { Mqtt } from "../../../../examples/06-mqtt/mqtt.ts"
import { layer as readingsLayer, Reading, Readings } from "../../../../examples/07-lines-without-ping/readings.ts"
import { policy } from "../Example.ts"
import * as Role from "../Role.ts"

export type Protocol = "nats" | "redis" | "mqtt" | "lines"

export interface Argument {
  readonly watches: ReadonlyArray<{
    /** A name for what is watched, that its facts repeat. */
    readonly row: string
    readonly protocol: Protocol
    readonly host: string
    readonly port: number
    /** Only ours, of NATS or MQTT, with a small patience instead of the defaults. */
    readonly isHurried?: boolean | undefined
  }>
}

interface Who {
  readonly row: string
  readonly client: "holdfast" | "other"
}

export type Fact =
  | ({ readonly _tag: "Working" } & Who)
  /** Something told the program that the server is gone. */
  | ({ readonly _tag: "Noticed"; readonly how: string } & Who)

interface Told {
  readonly host: string
  readonly port: number
  readonly policy?: Connection.PolicyOptions | undefined
  readonly working: () => void
  readonly noticed: (how: string) => void
}

const everyMillis = 1000

// ---- ours

const ours = <R, E, E2>(
  { noticed, working }: Told,
  connection: Effect.Effect<{ readonly events: Stream.Stream<Connection.ConnectionEvent> }, never, R>,
  say: Effect.Effect<unknown, E, R>,
  hear: Effect.Effect<void, E2, R> = Effect.void
) =>
  Effect.gen(function* () {
    const { events } = yield* connection
    const ends = Stream.runForEach(events, (event) =>
      Effect.sync(() => {
        if (event._tag === "Ended") noticed(event.error.reason._tag)
      })
    )
    const saying = say.pipe(
      Effect.tap(Effect.sync(working)),
      Effect.catch((error) =>
        Effect.sync(() => noticed(ConnectionError.isConnectionError(error) ? error.reason._tag : textOf(error)))
      ),
      Effect.repeat(Schedule.fixed(everyMillis))
    )
    yield* Effect.all([ends, saying, hear], { concurrency: 3 })
  })

const holdfast: { readonly [P in Protocol]: (told: Told) => Effect.Effect<unknown, unknown> } = {
  nats: (told) => {
    const { host, policy, port } = told
    const say = Nats.use((nats) => nats.send({ _tag: "Publish", subject: "ours", text: "word" }))
    const hear = Effect.flatMap(Nats, (nats) => Stream.runForEach(nats.messages, () => Effect.sync(told.working)))
    return ours({ ...told, working: () => undefined }, Nats, say, hear).pipe(
      Effect.provide(natsLayer({ servers: [{ host, port, plaintext: true }], subjects: ["ours"], policy }))
    )
  },
  redis: (told) =>
    ours(
      told,
      Redis.useSync(({ connection }) => connection),
      Redis.use(({ command }) => command("INCR", "ours"))
    ).pipe(Effect.provide(Redis.layer({ host: told.host, port: told.port, plaintext: true }))),
  mqtt: (told) =>
    ours(
      told,
      Mqtt.useSync(({ connection }) => connection),
      Mqtt.use(({ publish }) => publish("ours", "word")),
      Effect.flatMap(Mqtt, ({ published }) => Stream.runForEach(published, () => Effect.void))
    ).pipe(
      Effect.provide(
        Mqtt.layer({
          host: told.host,
          port: told.port,
          plaintext: true,
          clientId: "ours",
          topics: ["ours"],
          policy: told.policy
        })
      )
    ),
  lines: (told) =>
    ours(
      told,
      Readings,
      Readings.use((readings) => readings.send(new Reading({ sensor: "ours", celsius: 20 })))
    ).pipe(Effect.provide(readingsLayer({ host: told.host, port: told.port, plaintext: true })))
}

// ---- what people use otherwise

const textOf = (cause: unknown) => (cause instanceof Error && cause.message !== "" ? cause.message : String(cause))

const others: { readonly [P in Protocol]: (told: Told) => Promise<void> } = {
  nats: async ({ host, noticed, port, working }) => {
    const nats = await connectNats({ servers: `${host}:${port}` })
    const statuses = async () => {
      for await (const { type } of nats.status()) if (/disconnect|error|stale|close/i.test(type)) noticed(type)
    }
    const messages = async () => {
      for await (const _ of nats.subscribe("theirs")) working()
    }
    void Promise.allSettled([statuses(), messages()])
    void nats.closed().then((error) => noticed(`closed: ${textOf(error)}`))
    setInterval(() => {
      try {
        nats.publish("theirs", "word")
      } catch (error) {
        noticed(textOf(error))
      }
    }, everyMillis)
  },
  redis: async ({ host, noticed, port, working }) => {
    const client = createClient({ socket: { host, port } })
    client.on("error", (error) => noticed(textOf(error)))
    client.on("end", () => noticed("end"))
    await client.connect()
    setInterval(() => void client.incr("theirs").then(working, (error) => noticed(textOf(error))), everyMillis)
  },
  mqtt: async ({ host, noticed, port, working }) => {
    const client = mqtt.connect({ host, port })
    for (const event of ["close", "offline", "disconnect"] as const) client.on(event, () => noticed(event))
    client.on("error", (error) => noticed(textOf(error)))
    setInterval(() => client.publish("theirs", "word", { qos: 1 }, (error) => !error && working()), everyMillis)
  },
  lines: async ({ host, noticed, port, working }) => {
    const socket = Net.connect({ host, port })
    socket.on("error", (error) => noticed(textOf(error)))
    socket.on("close", () => noticed("close"))
    socket.on("connect", working)
    setInterval(() => socket.write("theirs\n"), everyMillis)
  }
}

const { watches } = Role.argument as Argument

for (const { host, isHurried, port, protocol, row } of watches) {
  const toldOf = (client: Who["client"]): Told => {
    let isWorking = false
    return {
      host,
      port,
      policy: isHurried === true ? policy : undefined,
      working: () => {
        if (!isWorking) Role.report({ _tag: "Working", row, client } satisfies Fact)
        isWorking = true
      },
      noticed: (how) => {
        Role.report({ _tag: "Noticed", row, client, how } satisfies Fact)
        isWorking = false
      }
    }
  }
  Effect.runFork(holdfast[protocol](toldOf("holdfast")))
  if (isHurried === true) continue
  void others[protocol](toldOf("other")).catch((error: unknown) => toldOf("other").noticed(textOf(error)))
}
