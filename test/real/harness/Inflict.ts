// The faults of a timeline, as a real kernel can be given them: nftables and tc on the cable, signals for the programs.
import type { Fault } from "@holdfast/testing"
import { Effect } from "effect"
import type { Cable, Namespace } from "./Namespace.ts"

/** The programs on the two machines: `client` on the left, `server` on the right. */
export interface Programs {
  readonly freeze: (host: string) => Effect.Effect<void>
  readonly thaw: (host: string) => Effect.Effect<void>
  readonly kill: (host: string) => Effect.Effect<void>
  readonly start: (host: string) => Effect.Effect<void>
  /** Lets the program read so many bytes a second of each connection; `undefined`: all it wants. */
  readonly slow?: ((host: string, bytesPerSecond: number | undefined) => Effect.Effect<void>) | undefined
}

/** Ends a fault that lasts. */
export type Heal = Effect.Effect<void>

/** Begins faults between two machines whose connections all lead to this port of the server. */
export const inflicting = ({ left, right }: Cable, programs: Programs, port: number) => {
  const machine = (host: string) => (host === "server" ? right : left)

  const begin = (fault: Fault.Fault): Effect.Effect<Heal> => {
    switch (fault._tag) {
      case "Partition":
        return together([lose(left), lose(right)])
      case "Blackhole":
        return together([lose(left), lose(right)])
      case "OneWay":
        return lose(machine(fault.to))
      case "SynOnly":
        return lose(machine(fault.to), "tcp flags & syn == 0")
      case "MtuBlackhole":
        return lose(machine(fault.to), `meta length gt ${fault.bytesMax + headerBytes}`)
      case "Unreachable":
        return lose(machine(fault.to), "", "reject with icmp type host-unreachable")
      case "NatForgets":
        return Effect.suspend(() => {
          const ports = localPorts(left, port)
          if (ports.length === 0) return Effect.succeed(Effect.void)
          const known = `{ ${ports.join(", ")} }`
          const forgotten = [lose(right, `tcp sport ${known}`), lose(left, `tcp dport ${known}`)]
          return Effect.as(together(forgotten), Effect.void) // nothing to heal
        })
      case "Cut":
        return Effect.sync(() => {
          left.run("ss", "-K", "dport", "=", `:${port}`)
          return Effect.void
        })
      case "RateLimit":
        return limit(machine(fault.from), fault.bytesPerSecond)
      case "Freeze":
      case "BlockedLoop":
        return Effect.as(programs.freeze(fault.host), programs.thaw(fault.host))
      case "Kill":
        return Effect.as(programs.kill(fault.host), programs.start(fault.host))
      case "Crash":
        // Nothing of what its kernel says when the program is gone reaches anybody.
        return Effect.map(
          Effect.tap(together([lose(left), lose(right)]), () => programs.kill(fault.host)),
          (heal) => Effect.andThen(heal, programs.start(fault.host))
        )
      case "SlowReader":
        if (programs.slow !== undefined) {
          const { slow } = programs
          return Effect.as(slow(fault.host, fault.bytesPerSecond), slow(fault.host, undefined))
        }
        return impossible(fault)
      case "All":
        return together(fault.faults.map(begin))
      default:
        return impossible(fault)
    }
  }
  return begin
}

const impossible = ({ _tag }: Fault.Fault) => Effect.die(new Error(`${_tag} cannot be inflicted on a real kernel here`))

const together = (faults: ReadonlyArray<Effect.Effect<Heal>>): Effect.Effect<Heal> =>
  Effect.map(Effect.all(faults), (heals) => Effect.all(heals, { discard: true }))

let tables = 0

/** Takes what comes out of the cable, all of it or what matches, before the side's kernel sees it. */
const lose = (side: Namespace, matching = "", verdict = "drop"): Effect.Effect<Heal> =>
  Effect.sync(() => {
    const table = `fault${++tables}`
    const rule = `add rule inet ${table} in iifname cable ${matching} ${verdict}`
    const chain = `add chain inet ${table} in { type filter hook input priority 0; }`
    side.run("nft", [`add table inet ${table}`, chain, rule].join("\n"))
    return Effect.sync(() => void side.run("nft", `delete table inet ${table}`))
  })

const limit = (side: Namespace, bytesPerSecond: number): Effect.Effect<Heal> =>
  Effect.sync(() => {
    const shape = ["tbf", "rate", `${bytesPerSecond * 8}bit`, "burst", "4kb", "latency", "50ms"]
    side.run("tc", "qdisc", "add", "dev", "cable", "root", ...shape)
    return Effect.sync(() => void side.run("tc", "qdisc", "del", "dev", "cable", "root"))
  })

const localPorts = (side: Namespace, port: number): ReadonlyArray<string> =>
  side
    .run("ss", "-tnaH", "dport", "=", `:${port}`)
    .split("\n")
    .flatMap((line) => /:(\d+)\s+\S+:\d+\s*$/.exec(line)?.[1] ?? [])

/** IP, TCP and its timestamps. */
const headerBytes = 52
