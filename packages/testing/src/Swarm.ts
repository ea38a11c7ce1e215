/**
 * Scenarios drawn from a seed: how many clients, which ways, which policy, how much is said, and which faults. Faults come
 * in the first minute and a half (safety); then all are healed and everybody has to be done (liveness).
 */
import { Schedule } from "effect"
import { type Policy, Presets } from "holdfast"
import type { Conversation, Flow } from "./Conversation.ts"
import * as Fault from "./Fault.ts"
import { Prng } from "./internal/Prng.ts"
import type { Scenario } from "./Scenario.ts"
import type { LinkOptions } from "./SimNetwork.ts"

/** The scenario of a seed. The same seed is the same scenario. */
export const scenarioOf = (seed: number | string): Scenario => {
  const prng = new Prng(seed, "swarm")
  const clients = prng.pick([1, 1, 1, 2, 3])
  const conversation: Conversation = {
    clients,
    toServer: flowOf(prng),
    toClient: flowOf(prng),
    policy: policyOf(prng),
    limits: { windowBytes: prng.pick([4096, 65_536, 1_048_576]), resumeWindow: prng.pick(["20 seconds", "2 minutes"]) },
    ...channelsOf(new Prng(seed, "channels"))
  }
  const names = clients === 1 ? ["client"] : Array.from({ length: clients }, (_, n) => `client-${n + 1}`)
  const timeline = Array.from({ length: prng.int(0, faultsMax) }, () => timedOf(prng, prng.pick(names)))
  const link = linkOf(prng)
  return {
    name: `swarm ${seed}`,
    conversation,
    link,
    timeline: timeline.toSorted((a, b) => a.atMillis - b.atMillis),
    convergence: convergenceMillis + 2 * transferMillis(conversation, link)
  }
}

/** How long a link takes for all that one client and the server say, one direction after the other. */
const transferMillis = ({ channels, toClient, toServer }: Conversation, { bytesPerSecond = Infinity }: LinkOptions) => {
  const bytesOf = (flow: Flow | undefined) => (flow?.messages ?? 0) * (flow?.bytes ?? 0)
  const own = bytesOf(toServer) + bytesOf(toClient)
  const ofChannels = (channels?.count ?? 0) * (bytesOf(channels?.toServer) + bytesOf(channels?.toClient))
  return Math.ceil(((own + ofChannels) * 1000) / bytesPerSecond)
}

/** Some say everything at once, most go on talking while things go wrong. */
const flowOf = (prng: Prng): Flow => {
  const messages = prng.pick([0, 10, 60, 150])
  const lastsMillis = prng.pick([0, 20_000, 90_000, 150_000])
  return {
    messages,
    bytes: prng.pick([30, 200, 3000, 40_000]),
    every: Math.floor(lastsMillis / Math.max(1, messages)),
    taking: prng.pick([0, 0, 0, 10, 300])
  }
}

/** Every other scenario has channels beside the sessions' own messages, some of them with less credit than they want. */
const channelsOf = (prng: Prng): Pick<Conversation, "channels"> => {
  if (prng.pick([true, false])) return {}
  const latest = prng.pick([Infinity, Infinity, 2])
  return {
    channels: {
      count: prng.pick([1, 3, 12]),
      toServer: flowOf(prng),
      toClient: flowOf(prng),
      ...(latest === Infinity ? {} : { latest })
    }
  }
}

const linkOf = (prng: Prng): LinkOptions => ({
  latency: prng.pick([0.05, 1, 20, 150]),
  jitter: prng.pick([0, 0, 1, 40]),
  bytesPerSecond: prng.pick([Infinity, Infinity, 1_000_000, 100_000])
})

const policyOf = (prng: Prng): Policy.Options => ({
  silence: prng.pick([
    Presets.openVSwitch("5 seconds"),
    Presets.openVSwitch("2 seconds"),
    Presets.grpcKeepalive("8 seconds", "4 seconds")
  ]),
  heartbeat: prng.pick(["1 second", "2500 millis"]),
  stall: Schedule.spaced(prng.pick([3000, 5000])).pipe(Schedule.upTo({ times: 2 })),
  open: prng.pick(["4 seconds", "10 seconds"]),
  reconnect: Presets.fullJitter(prng.pick([100, 500]), prng.pick([5000, 20_000])),
  backlog: { messagesMax: prng.pick([3, 100, 65_536]), bytesMax: prng.pick([100_000, 16_777_216]) }
})

/** A fault between a client and the server, or on one of them. */
const timedOf = (prng: Prng, client: string): Fault.Timed => {
  const at = prng.int(0, safetyMillis)
  const lasting = { for: prng.pick([200, 2000, 8000, 15_000, 40_000]) }
  const [from, to] = prng.pick([
    [client, "server"],
    ["server", client]
  ] as const)
  const draw = prng.pick<() => Fault.Timed>([
    () => Fault.at(at, Fault.cut(client, "server")),
    () => Fault.at(at, Fault.closeWithoutReading(client, "server")),
    () => Fault.at(at, Fault.natForgets(client, "server")),
    () => Fault.at(at, Fault.clockJump(from, prng.int(1, 3_600_000), prng.pick(["forward", "back"]))),
    () => Fault.at(at, Fault.partition(client, "server"), lasting),
    () => Fault.at(at, Fault.oneWay(from, to), lasting),
    () => Fault.at(at, Fault.blackhole(from), lasting),
    () => Fault.at(at, Fault.freeze(from), lasting),
    () => Fault.at(at, Fault.blockedLoop(from), lasting),
    () => Fault.at(at, Fault.suspend(from), lasting),
    () => Fault.at(at, Fault.crash(from), lasting),
    () => Fault.at(at, Fault.kill(from), lasting),
    () => Fault.at(at, Fault.slowReader(from, prng.pick([0, 2000, 20_000])), lasting),
    () => Fault.at(at, Fault.rateLimit(from, to, prng.pick([2000, 50_000])), lasting),
    () => Fault.at(at, Fault.latency(client, "server", prng.pick([100, 1000, 3000]), prng.pick([0, 500])), lasting),
    () => Fault.at(at, Fault.unreachable(from, to), lasting),
    () => Fault.at(at, Fault.synOnly(from, to), lasting),
    () => Fault.at(at, Fault.lostWindowUpdates(from, to), lasting),
    () => Fault.at(at, Fault.mtuBlackhole(from, to, prng.pick([0, 500, 1400])), lasting)
  ])
  return draw()
}

const faultsMax = 8
const safetyMillis = 90_000

/** How long everybody may take once the last fault is healed, beside what the link needs for the bytes. */
const convergenceMillis = 900_000
