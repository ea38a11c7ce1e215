/**
 * Functions of another process, called over its channel to its parent.
 */
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"

/** What a process offers. */
export type Functions = { readonly [name: string]: (argument: never) => unknown }

interface Call {
  readonly id: number
  readonly name: string
  readonly argument: unknown
}

interface Answer {
  readonly id: number
  readonly value?: unknown
  readonly failure?: string
}

export interface Process<F extends Functions> {
  readonly call: <Name extends keyof F & string>(
    name: Name,
    argument: Parameters<F[Name]>[0]
  ) => Promise<Awaited<ReturnType<F[Name]>>>
  readonly kill: () => void
}

/** Starts a file of this directory that calls `offer`. `BENCH_ARGS` goes to Node, for profiles. */
export const start = <F extends Functions>(file: string): Process<F> => {
  const child: ChildProcess = fork(fileURLToPath(new URL(file, import.meta.url)), {
    execArgv: ["--conditions=source", "--expose-gc", ...(process.env["BENCH_ARGS"]?.split(" ") ?? [])],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    serialization: "advanced" // also numbers without a bound
  })
  const pending = new Map<number, { readonly resolve: (value: unknown) => void; readonly reject: (e: Error) => void }>()
  let calls = 0
  let ended: Error | undefined
  const fail = (error: Error) => {
    ended = error
    for (const { reject } of pending.values()) reject(error)
    pending.clear()
  }
  child.on("exit", (code) => fail(new Error(`the process ended with code ${code}`)))
  child.on("message", ({ failure, id, value }: Answer) => {
    if (failure !== undefined) return fail(new Error(failure))
    pending.get(id)?.resolve(value)
    pending.delete(id)
  })
  return {
    call: (name, argument) =>
      new Promise((resolve, reject) => {
        if (ended !== undefined) return reject(ended)
        const id = ++calls
        const timer = setTimeout(() => reject(new Error(`no answer to "${name}" within 120 s`)), 120_000)
        const settle =
          <A>(settled: (value: A) => void) =>
          (value: A) => {
            clearTimeout(timer)
            settled(value)
          }
        pending.set(id, { resolve: settle(resolve) as (value: unknown) => void, reject: settle(reject) })
        child.send({ id, name, argument } satisfies Call)
      }),
    kill: () => void child.kill(process.env["BENCH_ARGS"] === undefined ? "SIGKILL" : "SIGTERM")
  }
}

/** Answers the parent's calls. What fails, here or in the background, fails the case. */
export const offer = (functions: Functions): void => {
  const tell = (answer: Answer) => process.send!(answer)
  const failure = (error: unknown) => (error instanceof Error ? (error.stack ?? error.message) : String(error))
  const perform = async ({ argument, id, name }: Call) => {
    const value: unknown = await functions[name]!(argument as never)
    tell({ id, value })
  }
  process.on("message", (call: Call) => {
    perform(call).catch((error: unknown) => tell({ id: call.id, failure: failure(error) }))
  })
  process.on("uncaughtException", (error) => tell({ id: 0, failure: failure(error) }))
  process.on("SIGTERM", () => process.exit(0))
}
