// Running the repository's own tools from its tests, with the Node that runs the tests.
import { execFile } from "node:child_process"
import * as Path from "node:path"

export const root = Path.join(import.meta.dirname, "..")

/** Where the JavaScript entry of each tool is, so that no shell and no other Node comes between. */
const entries = {
  changeset: "node_modules/@changesets/cli/bin.js",
  oxlint: "node_modules/oxlint/bin/oxlint",
  tsc: "node_modules/typescript/bin/tsc"
} as const

export interface Outcome {
  readonly code: number
  readonly stdout: string
  /** Both streams, for messages. */
  readonly output: string
}

/** Runs a tool to its end; a failure is an outcome like any other. */
export const tool = (name: keyof typeof entries, args: ReadonlyArray<string>, cwd: string = root): Promise<Outcome> =>
  run(process.execPath, [Path.join(root, entries[name]), ...args], cwd)

/** Runs a program to its end; a failure is an outcome like any other. */
export const run = (program: string, args: ReadonlyArray<string>, cwd: string): Promise<Outcome> =>
  new Promise((resolve) => {
    execFile(program, args, { cwd, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : 1
      resolve({ code, stdout, output: stdout + stderr })
    })
  })
