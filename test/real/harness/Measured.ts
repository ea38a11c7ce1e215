// Two namespaces of a real kernel as a stage for a row of the conformance table.
import type { Fault, Kernel as SimKernel } from "@holdfast/testing"
import { Duration, Effect, type Scope } from "effect"
import type * as Ends from "../../conformance/Ends.ts"
import { play, type Stage } from "../../conformance/Play.ts"
import type { Outcome, Row } from "../../conformance/Row.ts"
import { type Child, type Fact, spawn } from "./Child.ts"
import { type Heal, inflicting } from "./Inflict.ts"
import * as Kernel from "./Kernel.ts"
import * as Namespace from "./Namespace.ts"
import type * as End from "./roles/end.ts"

const port = 7000

/** Plays a row on this machine's kernel. */
export const measure = (row: Row): Effect.Effect<Outcome> =>
  Effect.scoped(Effect.flatMap(stageOf(row), (stage) => play(row, stage, lookMillis)))

const stageOf = Effect.fnUntraced(function* (row: Row): Effect.fn.Return<Stage, never, Scope.Scope> {
  const cable = yield* Namespace.cable
  for (const side of [cable.left, cable.right]) {
    for (const setting of sysctls(row.kernel ?? {})) side.run("sysctl", "-qw", setting)
  }
  const children = new Map<string, Child<Ends.Fact>>()
  const facts: Array<Fact<Ends.Fact>> = []
  const start = Effect.fnUntraced(function* (part: End.Argument) {
    const side = part.part === "server" ? cable.right : cable.left
    const child = yield* spawn<Ends.Fact>("end", part, side, (fact) => facts.push(fact))
    children.set(part.part, child)
  })
  const inflict = inflicting(
    cable,
    {
      freeze: (host) => children.get(host)!.freeze,
      thaw: (host) => children.get(host)!.thaw,
      kill: (host) => children.get(host)!.kill,
      start: () => Effect.void
    },
    port
  )
  const heals = new Map<Fault.Fault, Heal>()
  const { backlog, client, server, socket } = row
  return {
    now: Date.now,
    facts,
    startServer: start({ part: "server", server, host: cable.right.address, port, backlog }),
    startClient: start({ part: "client", client, host: cable.right.address, port, socket }),
    inflict: (fault) => Effect.map(inflict(fault), (heal) => void heals.set(fault, heal)),
    heal: (fault) => Effect.suspend(() => heals.get(fault) ?? Effect.void),
    queues: () => {
      const mine = Kernel.sockets("dport", port, cable.left)
      const theirs = Kernel.sockets("sport", port, cable.right)
      return {
        send: mine.reduce((sum, { sendQueueBytes }) => sum + sendQueueBytes, 0),
        receive: theirs.reduce((sum, { receiveQueueBytes }) => sum + receiveQueueBytes, 0),
        sockets: mine.length
      }
    }
  }
})

/** What is set in a namespace where the simulated kernel is told of another constant. */
const sysctls = (options: Partial<SimKernel.Options>): ReadonlyArray<string> =>
  Object.entries(options).map(([name, value]) => {
    const setting = settings[name as keyof SimKernel.Options]
    if (setting === undefined) throw new Error(`no sysctl is known for ${name}`)
    return setting(typeof value === "number" ? value : Duration.toMillis(Duration.fromInputUnsafe(value)))
  })

const settings: Partial<Record<keyof SimKernel.Options, (value: number) => string>> = {
  retriesMax: (tries) => `net.ipv4.tcp_retries2=${tries}`,
  orphanRetriesMax: (tries) => `net.ipv4.tcp_orphan_retries=${tries}`,
  retransmitTimeoutMax: (millis) => `net.ipv4.tcp_rto_max_ms=${millis}`,
  dialLinearRetriesMax: (tries) => `net.ipv4.tcp_syn_linear_timeouts=${tries}`,
  dialRetriesMax: (tries) => `net.ipv4.tcp_syn_retries=${tries}`,
  // The kernel counts what a packet costs, about twice its bytes.
  receiveBufferBytesMax: (bytes) => `net.ipv4.tcp_rmem=4096 131072 ${2 * bytes}`
}

const lookMillis = 100
