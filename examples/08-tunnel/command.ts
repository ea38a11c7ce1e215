/**
 * What the command line may say. Anything else is answered with a sentence and exit code 2.
 */
import { Plaintext } from "@holdfast/node"
import { Duration, Effect, Layer, Option, type Redacted, Runtime, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { ConnectionError } from "holdfast"
import { parse, parseNamed } from "./address.ts"
import { Connections } from "./connections.ts"
import { dial } from "./dial.ts"
import * as Journal from "./journal.ts"
import * as Secret from "./secret.ts"
import { serve } from "./serve.ts"
import * as Status from "./status.ts"

/** It cannot run as it was told to, or not any more. The message is for the person who started it. */
class Unable extends Schema.TaggedError<Unable>()("Unable", { message: Schema.String }) {
  override readonly [Runtime.errorExitCode]: number = 1
}

/** The command line makes no sense. */
class Unusable extends Schema.TaggedError<Unusable>()("Unusable", { message: Schema.String }) {
  override readonly [Runtime.errorExitCode]: number = 2
}

const sentence = (error: unknown): string => (error instanceof Error ? error.message : String(error))

const secretFile = Flag.File("secret-file", { mustExist: true }).pipe(
  Flag.withDescription("A file with the secret that both ends share: at least 16 bytes. It is proved, never sent")
)
const plaintext = Flag.Boolean("plaintext").pipe(
  Flag.withDefault(false),
  Flag.withDescription("Allow an address outside loopback without TLS: whoever listens there reads everything")
)
const json = Flag.Boolean("json").pipe(
  Flag.withDefault(false),
  Flag.withDescription("Print one JSON object for each event")
)

const duration = (name: string, fallback: Duration.Input) =>
  Flag.String(name).pipe(
    Flag.withMetavar("duration"),
    Flag.filterMap(
      (given) => Option.filter(Duration.fromInput(given as Duration.Input), Duration.isPositive),
      (given) => `write a duration such as "10 seconds", not "${given}"`
    ),
    Flag.withDefault(Duration.fromInputUnsafe(fallback))
  )
const patience = duration("patience", "10 seconds").pipe(
  Flag.withDescription('How long the other end may be silent before it is dialled anew (default "10 seconds")')
)
const drain = duration("drain", "30 seconds").pipe(
  Flag.withDescription('How long open connections may go on after a signal (default "30 seconds")')
)
const keep = duration("keep", "10 minutes").pipe(
  Flag.withDescription('How long connections are kept while there is no link (default "10 minutes")')
)
const connectionsMax = Flag.Int("connections-max").pipe(
  Flag.withDefault(1000),
  Flag.filter(
    (given) => given >= 1 && given <= 100_000,
    (given) => `write a number from 1 to 100000, not ${given}`
  ),
  Flag.withDescription("Connections that may be open at once; further ones are reset (default 1000)")
)
const shared = { secretFile, plaintext, patience, drain, connectionsMax, json }

const serveCommand = Command.make(
  "serve",
  {
    listen: Flag.String("listen").pipe(
      Flag.mapTryCatch(parse, sentence),
      Flag.withMetavar("host:port"),
      Flag.withDescription("Where the other end of the tunnel connects to")
    ),
    targets: Flag.String("target").pipe(
      Flag.mapTryCatch(parseNamed, sentence),
      Flag.withMetavar("[name=]host:port"),
      Flag.withDescription("Where connections go, by name if there are several; repeat it"),
      Flag.between(1, 100)
    ),
    tlsCert: Flag.File("tls-cert", { mustExist: true }).pipe(
      Flag.optional,
      Flag.withDescription("Encrypt, with the certificate chain (PEM) in this file")
    ),
    tlsKey: Flag.File("tls-key", { mustExist: true }).pipe(
      Flag.optional,
      Flag.withDescription("The private key (PEM) of --tls-cert")
    ),
    keep,
    ...shared
  },
  Effect.fn(function* (options) {
    yield* distinct("--target", options.targets)
    if (Option.isSome(options.tlsCert) !== Option.isSome(options.tlsKey)) {
      return yield* new Unusable({ message: "--tls-cert and --tls-key belong together: give both or none" })
    }
    const tls = Option.all({ certFile: options.tlsCert, keyFile: options.tlsKey })
    yield* run(options, (secret) => serve({ ...options, secret, tls }))
  })
).pipe(
  Command.withDescription("The listening end: connections come out of the tunnel here and go to the targets"),
  Command.withExamples([
    { command: "npm run tunnel -- serve --listen 127.0.0.1:7000 --target 127.0.0.1:5432 --secret-file secret" },
    {
      command:
        "npm run tunnel -- serve --listen 0.0.0.0:7000 --tls-cert cert.pem --tls-key key.pem " +
        "--target db=10.0.0.5:5432 --target web=10.0.0.6:80 --secret-file secret"
    }
  ])
)

const dialCommand = Command.make(
  "dial",
  {
    connect: Flag.String("connect").pipe(
      Flag.mapTryCatch(parse, sentence),
      Flag.withMetavar("host:port"),
      Flag.withDescription("Where the listening end of the tunnel is")
    ),
    listen: Flag.String("listen").pipe(
      Flag.mapTryCatch(parseNamed, sentence),
      Flag.withMetavar("[name=]host:port"),
      Flag.withDescription("Where programs connect to, and which target that is; repeat it"),
      Flag.between(1, 100)
    ),
    tls: Flag.Boolean("tls").pipe(
      Flag.withDefault(false),
      Flag.withDescription("Encrypt, and trust whom this machine trusts")
    ),
    tlsCa: Flag.File("tls-ca", { mustExist: true }).pipe(
      Flag.optional,
      Flag.withDescription("Encrypt, and trust the certificates (PEM) in this file instead")
    ),
    tlsName: Flag.String("tls-name").pipe(
      Flag.optional,
      Flag.withDescription("The name in the certificate, if it is not the host of --connect")
    ),
    ...shared
  },
  Effect.fn(function* (options) {
    const tls =
      options.tls || Option.isSome(options.tlsCa)
        ? Option.some({ caFile: options.tlsCa, serverName: options.tlsName })
        : Option.none()
    yield* run(options, (secret) => dial({ ...options, secret, tls }))
  })
).pipe(
  Command.withDescription("The dialling end: programs connect here, and their connections go into the tunnel"),
  Command.withExamples([
    { command: "npm run tunnel -- dial --connect 127.0.0.1:7000 --listen 127.0.0.1:15432 --secret-file secret" },
    {
      command:
        "npm run tunnel -- dial --connect tunnel.example:7000 --tls " +
        "--listen db=127.0.0.1:15432 --listen web=127.0.0.1:8080 --secret-file secret"
    }
  ])
)

export const tunnel = Command.make("tunnel").pipe(
  Command.withDescription("A TCP tunnel whose connections survive network changes"),
  Command.withSubcommands([serveCommand, dialCommand])
)

/** What both commands have in common: the secret, where facts go, and errors that a person can read. */
const run = <E extends Error, R>(
  options: { readonly secretFile: string; readonly json: boolean; readonly connectionsMax: number },
  end: (secret: Redacted.Redacted<Uint8Array>) => Effect.Effect<void, E, R>
) => {
  const { screen, show } = Status.on(process.stdout, options.json)
  const journal = Journal.Journal.layer(screen, options.json ? Journal.json : Journal.line)
  return Secret.read(options.secretFile).pipe(
    Effect.flatMap((secret) => Effect.andThen(show, end(secret))),
    Effect.scoped,
    Effect.provide(
      Layer.mergeAll(Connections.layer(options.connectionsMax), Status.Status.layer).pipe(Layer.provideMerge(journal))
    ),
    Effect.mapError((error) => new Unable({ message: messageOf(error) }))
  )
}

const distinct = (flag: string, all: ReadonlyArray<{ readonly name: string }>) => {
  const twice = all.find(({ name }, index) => all.findIndex((other) => other.name === name) !== index)
  return twice === undefined
    ? Effect.void
    : Effect.fail(
        new Unusable({ message: `${flag}: ${twice.name} is given twice; give each its own name, as name=host:port` })
      )
}

/** Errors of the library speak of its options; here they are flags. */
const messageOf = (error: Error): string => {
  const cause = plaintextRefused(error)
  return cause === undefined
    ? error.message
    : `${cause.address} is outside loopback: use TLS (--tls-cert and --tls-key, or --tls), or say --plaintext if the network is trusted`
}

const plaintextRefused = (error: unknown): Plaintext.PlaintextRefused | undefined => {
  if (error instanceof Plaintext.PlaintextRefused) return error
  if (!ConnectionError.isConnectionError(error) || error.reason._tag !== "LinkFailed") return undefined
  return plaintextRefused(error.reason.cause)
}
