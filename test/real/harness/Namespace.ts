// Two machines joined by one cable, made of network namespaces: `10.77.0.1` and `10.77.0.2`. The cable can be cut in each
// direction without anybody being told. Everything is gone when the scope closes.
import { Effect, type Scope } from "effect"
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { readlinkSync } from "node:fs"

export interface Namespace {
  readonly address: string
  /** The command that runs `command` inside. */
  readonly command: (command: ReadonlyArray<string>) => ReadonlyArray<string>
  /** Runs a program inside and gives what it printed. */
  readonly run: (program: string, ...args: ReadonlyArray<string>) => string
}

export interface Cable {
  readonly left: Namespace
  readonly right: Namespace
  /** From now on nothing arrives in the given direction; nobody gets an error, as with a cable that is pulled. */
  readonly cut: (direction: "both" | "to right" | "to left") => Effect.Effect<void>
  /** From now on only the first packet of a dial arrives on the right: it connects, and nobody there hears of it. */
  readonly swallow: Effect.Effect<void>
  readonly heal: Effect.Effect<void>
}

/** Joins two fresh namespaces. Dies where {@link missing} says why. */
export const cable: Effect.Effect<Cable, never, Scope.Scope> = Effect.gen(function* () {
  const [left] = yield* make("10.77.0.1")
  const [right, rightPid] = yield* make("10.77.0.2")
  left.run("ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", String(rightPid))
  for (const side of [left, right]) {
    side.run("ip", "addr", "add", `${side.address}/24`, "dev", "cable")
    side.run("ip", "link", "set", "cable", "up")
  }
  const drops = new Set<Namespace>()
  return {
    left,
    right,
    cut: (direction) =>
      Effect.sync(() => {
        if (direction !== "to left") drop(right, drops)
        if (direction !== "to right") drop(left, drops)
      }),
    swallow: Effect.sync(() => drop(right, drops, "tcp flags & syn == 0")),
    heal: Effect.sync(() => {
      for (const side of drops) side.run("nft", "delete", "table", "inet", "cut")
      drops.clear()
    })
  }
})

/** Why this machine cannot make namespaces, or `undefined` if it can. */
export const missing: string | undefined = (() => {
  try {
    execFileSync("unshare", ["--net", "--", "nft", "list", "tables"], { stdio: "pipe" })
    execFileSync("unshare", ["--net", "--", "ip", "link", "show"], { stdio: "pipe" })
    return undefined
  } catch (cause) {
    return `no network namespaces here (nftables, iproute2 and root, or \`unshare -Urn\`): ${String(cause)}`
  }
})()

const make = (address: string): Effect.Effect<readonly [Namespace, number], never, Scope.Scope> =>
  Effect.gen(function* () {
    const holder = yield* Effect.acquireRelease(
      Effect.sync(() => spawn("unshare", ["--net", "--", "sleep", "infinity"], { stdio: "ignore" })),
      (holder) => Effect.sync(() => holder.kill("SIGKILL"))
    )
    yield* Effect.repeat(Effect.sleep("2 millis"), { until: () => isApart(holder) })
    const command = (inside: ReadonlyArray<string>) => [
      "nsenter",
      "--target",
      String(holder.pid),
      "--net",
      "--",
      ...inside
    ]
    const run = (program: string, ...args: ReadonlyArray<string>) => {
      const [enter, ...rest] = command([program, ...args])
      return execFileSync(enter!, rest, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] })
    }
    run("ip", "link", "set", "lo", "up")
    return [{ address, command, run }, holder.pid!] as const
  })

const isApart = (holder: ChildProcess): boolean => {
  try {
    return readlinkSync(`/proc/${holder.pid}/ns/net`) !== readlinkSync("/proc/self/ns/net")
  } catch {
    return false
  }
}

/** Drops what comes out of the cable, all of it or what matches, so that the other side's kernel sees nothing, not even an error. */
const drop = (side: Namespace, drops: Set<Namespace>, matching = ""): void => {
  if (drops.has(side)) return
  const chain = "add chain inet cut in { type filter hook input priority 0; }"
  side.run("nft", ["add table inet cut", chain, `add rule inet cut in iifname cable ${matching} drop`].join("\n"))
  drops.add(side)
}
