import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Runtime } from "effect"
import { CliOutput, Command } from "effect/cli"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { tunnel } from "../command.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(tmpdir(), "holdfast-tunnel-"))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true }))
)

/** What the command line is answered: by the parser, or by the command. */
const answer = Effect.fnUntraced(function* (args: ReadonlyArray<string>) {
  const path = yield* folder
  const files: Record<string, string> = { SECRET: Path.join(path, "secret"), SHORT: Path.join(path, "short") }
  Fs.writeFileSync(files["SECRET"]!, "sixteen bytes ok")
  Fs.writeFileSync(files["SHORT"]!, "short\r\n")
  const said: Array<string> = []
  const presenter = CliOutput.layerPresenter({
    present: (event) =>
      Effect.sync(() => {
        if (event._tag === "InvalidInvocation") said.push(...event.errors.map(({ message }) => message))
        if (event._tag === "Help") said.push(event.helpDoc.usage)
      })
  })
  const error = yield* Effect.flip(
    Command.runWith(tunnel, { version: "1" })(args.map((arg) => files[arg] ?? arg)).pipe(
      Effect.provide(Layer.mergeAll(NodeServices.layer, presenter))
    )
  )
  return { said: said.length > 0 ? said.join("; ") : error.message, code: Runtime.getErrorExitCode(error) }
}, Effect.scoped)

const serve = (...rest: ReadonlyArray<string>) => ["serve", "--listen", "127.0.0.1:0", "--target", "a:1", ...rest]
const dial = (...rest: ReadonlyArray<string>) => ["dial", "--connect", "127.0.0.1:1", ...rest]

describe("a command line that makes no sense", () => {
  it.effect.each([
    [["bogus"], /Unknown subcommand "bogus"/],
    [["serve", "--listen", "x"], /write host:port, for instance 127.0.0.1:5432 or \[::1\]:5432, not "x"/],
    [["serve", "--listen", "127.0.0.1:0", "--secret-file", "SECRET"], /--target/],
    [serve("--nothing"), /--nothing/],
    [serve(), /Missing required flag: --secret-file/],
    [serve("--secret-file", "/no/such/file"), /\/no\/such\/file/],
    [serve("--secret-file", "SECRET", "--patience", "soon"), /write a duration such as "10 seconds", not "soon"/],
    [serve("--secret-file", "SECRET", "--patience", "0"), /write a duration/],
    [serve("--secret-file", "SECRET", "--connections-max", "0"), /write a number from 1 to 100000, not 0/],
    [dial("--listen", "a b=127.0.0.1:1", "--secret-file", "SECRET"), /a name has 1 to 64 letters/]
  ] as const)("is answered by the parser: %j", ([args, sentence]) =>
    Effect.gen(function* () {
      assert.match((yield* answer(args)).said, sentence)
    })
  )

  it.effect.each([
    [
      serve("--target", "b:1", "--secret-file", "SECRET"),
      2,
      /^--target: default is given twice; give each its own name/
    ],
    [serve("--tls-cert", "SECRET", "--secret-file", "SECRET"), 2, /^--tls-cert and --tls-key belong together/],
    [serve("--secret-file", "SHORT"), 1, /holds 5 bytes, and a secret needs at least 16; make one with: head -c 32/],
    [
      ["serve", "--listen", "0.0.0.0:0", "--target", "a:1", "--secret-file", "SECRET"],
      1,
      /^0\.0\.0\.0 is outside loopback: use TLS .*, or say --plaintext if the network is trusted$/
    ],
    [dial("--listen", "0.0.0.0:0", "--secret-file", "SECRET"), 1, /^0\.0\.0\.0 is outside loopback: use TLS/]
  ] as const)("is answered by the command: %j", ([args, code, sentence]) =>
    Effect.gen(function* () {
      const { code: given, said } = yield* answer(args)
      assert.match(said, sentence)
      assert.strictEqual(given, code)
    })
  )
})
