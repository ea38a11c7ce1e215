// A process of its own that plays a role, can be frozen, thawed and killed by its id, and reports facts. It ends with its
// scope, and by itself when this process is gone.
import { Effect, type Scope } from "effect"
import { type ChildProcess, spawn as spawnProcess } from "node:child_process"
import * as Path from "node:path"
import type { Namespace } from "./Namespace.ts"

/** What a role reports; `at` is its own wall clock in milliseconds, the same on one machine. */
export type Fact<Body> = Body & { readonly at: number }

export interface Tagged {
  readonly _tag: string
}

export interface Child<Body extends Tagged> {
  readonly pid: number
  /** Everything reported so far. */
  readonly facts: ReadonlyArray<Fact<Body>>
  /** Waits for the first fact with this tag that `where` accepts, of those reported already and later ones. */
  readonly fact: <const Tag extends Body["_tag"]>(
    tag: Tag,
    where?: (fact: Fact<Extract<Body, { readonly _tag: Tag }>>) => boolean
  ) => Effect.Effect<Fact<Extract<Body, { readonly _tag: Tag }>>>
  /** Tells it something that its role understands. */
  readonly tell: (order: object) => Effect.Effect<void>
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
  /** SIGKILL, and waits until it is gone. */
  readonly kill: Effect.Effect<void>
}

/** Starts a role of `roles/`, inside a namespace if one is given. Its argument is told as JSON; each fact also to `onFact`. */
export const spawn = <Body extends Tagged>(
  role: string,
  argument: unknown,
  inside?: Namespace | undefined,
  onFact?: ((fact: Fact<Body>) => void) | undefined
): Effect.Effect<Child<Body>, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => start<Body>(role, argument, inside, onFact)),
    (child) => child.kill
  )

const start = <Body extends Tagged>(
  role: string,
  argument: unknown,
  inside: Namespace | undefined,
  onFact: ((fact: Fact<Body>) => void) | undefined
): Child<Body> => {
  const file = Path.join(import.meta.dirname, "roles", `${role}.ts`)
  const command = [process.execPath, "--conditions=source", file, JSON.stringify(argument)]
  const [program, ...args] = inside === undefined ? command : inside.command(command)
  const child = spawnProcess(program!, args, {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    env: { ...process.env, NODE_COMPILE_CACHE: compileCache } // half of what it costs to start a role
  })
  const facts: Array<Fact<Body>> = []
  const listeners = new Set<() => void>()
  child.on("message", (fact: Fact<Body>) => {
    facts.push(fact)
    onFact?.(fact)
    for (const listener of listeners) listener()
  })
  return {
    pid: child.pid!,
    facts,
    fact: <const Tag extends Body["_tag"]>(
      tag: Tag,
      where: (fact: Fact<Extract<Body, { readonly _tag: Tag }>>) => boolean = () => true
    ) =>
      Effect.callback<Fact<Extract<Body, { readonly _tag: Tag }>>>((resume) => {
        const look = () => {
          const found = facts.find((fact) => isTagged(fact, tag) && where(fact))
          if (found === undefined) return
          listeners.delete(look)
          resume(Effect.succeed(found as Fact<Extract<Body, { readonly _tag: Tag }>>))
        }
        listeners.add(look)
        look()
        return Effect.sync(() => listeners.delete(look))
      }),
    tell: (order) => Effect.sync(() => child.send(order)),
    freeze: Effect.sync(() => child.kill("SIGSTOP")),
    thaw: Effect.sync(() => child.kill("SIGCONT")),
    kill: Effect.callback((resume) => {
      if (ended(child)) return resume(Effect.void)
      child.once("exit", () => resume(Effect.void))
      child.kill("SIGKILL")
    })
  }
}

export const compileCache = Path.join(import.meta.dirname, "../../../node_modules/.cache/holdfast-roles")

const ended = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null

const isTagged = <Body extends Tagged, const Tag extends Body["_tag"]>(
  fact: Fact<Body>,
  tag: Tag
): fact is Fact<Extract<Body, { readonly _tag: Tag }>> => fact._tag === tag
