/**
 * What the command line may say. Anything else is answered with one sentence and exit code 2.
 */
import { parseArgs } from "node:util"

export interface Options {
  readonly json: boolean
  readonly smoke: boolean
  readonly write: boolean
  readonly list: boolean
  readonly only: RegExp | undefined
  readonly rounds: number
  /** How long a steady load lasts; `undefined`: as long as it should. */
  readonly seconds: number | undefined
}

export class UsageError extends Error {}

export const help = `Measures Holdfast beside code written by hand on bare sockets, and beside other libraries.

  npm run bench -- [--only PATTERN] [--rounds N] [--seconds N] [--json] [--write] [--list] [--smoke]

  --only PATTERN  a regular expression that the names of the cases must match, for instance '^stream/.*/64$'
  --rounds N      how often each case is measured, in turns with the others (default: 3; with thousands of connections once)
  --seconds N     how long the cases with a steady load last (default: 60, for heartbeats and by hand 10)
  --json          print one object per line for each case, and nothing else
  --write         put the tables into docs/performance.md
  --list          print the names of the cases
  --smoke         one short round of most cases, with few sessions: only whether they work
  --help          print this

Each measurement has two processes of its own. Every message is checked for its number, size and content, and all that
was sent must have arrived.
Exit code: 0 all was measured; 1 a message was wrong or missing, or a case failed; 2 the command line makes no sense.`

/** Reads the arguments; `undefined` means that the help was asked for. */
export const parse = (args: ReadonlyArray<string>): Options | undefined => {
  const { help: isHelp, only, rounds, seconds, ...flags } = read(args)
  if (isHelp) return undefined
  return {
    ...flags,
    only: only === undefined ? undefined : pattern(only),
    rounds: number("rounds", rounds),
    seconds: seconds === undefined ? undefined : number("seconds", seconds)
  }
}

const read = (args: ReadonlyArray<string>) => {
  try {
    return parseArgs({
      args: [...args],
      options: {
        json: { type: "boolean", default: false },
        smoke: { type: "boolean", default: false },
        write: { type: "boolean", default: false },
        list: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
        only: { type: "string" },
        rounds: { type: "string", default: "3" },
        seconds: { type: "string" }
      }
    }).values
  } catch (cause) {
    throw new UsageError(`${cause instanceof Error ? cause.message : String(cause)}. Try --help.`, { cause })
  }
}

const number = (name: string, value: string): number => {
  if (!/^[1-9]\d{0,2}$/.test(value)) throw new UsageError(`--${name}: "${value}" is not a number from 1 to 999`)
  return Number(value)
}

const pattern = (source: string): RegExp => {
  try {
    return new RegExp(source)
  } catch (cause) {
    throw new UsageError(`--only: "${source}" is not a regular expression`, { cause })
  }
}
