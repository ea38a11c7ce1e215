/**
 * What the command line may say. Anything else is answered with one sentence and exit code 2.
 */
import { Data, Effect, Result, Runtime } from "effect"
import { statSync } from "node:fs"
import { resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"

export interface Options {
  readonly from: string
  readonly seed: number
  readonly seconds: number
  readonly json: boolean
}

export class UsageError extends Data.TaggedError("UsageError")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 2
}

export const secondsDefault = 30
export const secondsMax = 3600

export const help = `Ships a folder to another process, over TCP, through a relay that does harm.

  npm start -- [--from DIR] [--seed N] [--seconds S] [--json]

  --from DIR    the folder to ship, with everything below it (default: the sources of the package effect)
  --seed N      a whole number that decides where the relay strikes, and how (default: 1)
  --seconds S   how long faults go on, and at least until each kind has struck, which takes about 20 s
                (default: ${secondsDefault}, at most ${secondsMax})
  --json        print the ledger as one JSON object on the last line
  --help        print this

The folder is shipped again and again while faults go on. Symbolic links are not followed.
Exit code: 0 nothing was lost, repeated or reordered and every file arrived as it was; 1 otherwise;
2 the command line makes no sense; 130 interrupted.`

/** Reads the arguments; `undefined` means that the help was asked for. */
export const parse = (args: ReadonlyArray<string>): Effect.Effect<Options | undefined, UsageError> =>
  Effect.gen(function* () {
    const { values } = yield* Effect.fromResult(read(args))
    if (values.help) return undefined
    return {
      from: yield* folder(values.from),
      seed: yield* wholeNumber(values.seed),
      seconds: yield* seconds(values.seconds),
      json: values.json
    }
  })

const read = (args: ReadonlyArray<string>) =>
  Result.try({
    try: () =>
      parseArgs({
        args: [...args],
        strict: true,
        options: {
          from: { type: "string", default: fileURLToPath(new URL("../src", import.meta.resolve("effect"))) },
          seed: { type: "string", default: "1" },
          seconds: { type: "string", default: String(secondsDefault) },
          json: { type: "boolean", default: false },
          help: { type: "boolean", short: "h", default: false }
        }
      }),
    catch: (error) => refused(firstSentence(String(error).replace(/^TypeError.*?: /, "")))
  })

const folder = (given: string) => {
  const path = resolve(given)
  const found = statSync(path, { throwIfNoEntry: false })
  if (found === undefined) return Effect.fail(refused(`--from: there is no folder ${path}`))
  return found.isDirectory() ? Effect.succeed(path) : Effect.fail(refused(`--from: ${path} is not a folder`))
}

const wholeNumber = (given: string) =>
  /^\d{1,15}$/.test(given)
    ? Effect.succeed(Number(given))
    : Effect.fail(refused(`--seed: expected a whole number, got "${given}"`))

const seconds = (given: string) => {
  const value = /^\d+(\.\d+)?$/.test(given) ? Number(given) : Number.NaN
  return value > 0 && value <= secondsMax
    ? Effect.succeed(value)
    : Effect.fail(refused(`--seconds: expected a number above 0 and at most ${secondsMax}, got "${given}"`))
}

const refused = (what: string) => new UsageError({ message: `${what}. Try --help.` })

const firstSentence = (message: string) => message.split(/\.?\n|\. /, 1)[0]!.replace(/\.$/, "")
