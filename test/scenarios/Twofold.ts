// The lessons and the pains as values, wherever a real kernel can be given the fault: they run simulated (Twofold.test.ts)
// and between two network namespaces (test/real/Twofold.test.ts), and must come to the same.
import { type Conversation, Fault, type Scenario } from "@holdfast/testing"
import { Schedule } from "effect"
import { Presets } from "holdfast"

/** A scenario, and what its client is told of its links, in order. */
export interface Twofold extends Omit<Scenario.Scenario, "name"> {
  readonly openings: ReadonlyArray<"Fresh" | "Resumed" | "Gap">
  /** Why links ended before the last one, which is closed. */
  readonly ends: ReadonlyArray<string>
  /** Why attempts failed, where that does not depend on how long a process takes to start. */
  readonly retries?: ReadonlyArray<string> | undefined
  /** How often the peer was called stalled, where that is what it is about. */
  readonly stalls?: number | undefined
}

/** Quick, so that a fault and its end fit into seconds: silence is over after 2 s, and before a stall. */
const policy = {
  open: "1 second",
  heartbeat: "300 millis",
  silence: Presets.openVSwitch("1 second"),
  stall: Schedule.spaced("1200 millis").pipe(Schedule.upTo({ times: 2 })),
  reconnect: Schedule.spaced("200 millis")
} as const

/** Six seconds of talk, both ways. */
const talk: Conversation.Conversation = {
  toServer: { messages: 60, every: "100 millis" },
  toClient: { messages: 60, every: "100 millis" },
  policy
}

const machines = ["client", "server"] as const

/** Between two messages. */
const midTalk = 1550

/** A fault in the midst of the talk. */
const during = (fault: Fault.Fault, millis = 4000): Fault.Timeline => [Fault.at(midTalk, fault, { for: millis })]

const unharmed = { openings: ["Fresh"], ends: [] } as const
const resumed = (...ends: ReadonlyArray<string>) => ({
  openings: ["Fresh" as const, ...ends.map(() => "Resumed" as const)],
  ends
})

/** A server that does not read must not blame its client for that. */
const unread: Conversation.Conversation = {
  ...talk,
  serverPolicy: { ...policy, silence: "Infinity", stall: "Infinity" }
}

export const scenarios: Readonly<Record<string, Twofold>> = {
  "nothing goes wrong": { conversation: talk, ...unharmed, stalls: 0, retries: [] },

  "lesson 1: the reader stalls for 4 s, and its heartbeats go on": {
    conversation: unread,
    timeline: during(Fault.slowReader("server", 0)),
    ...unharmed,
    stalls: 1
  },
  "lesson 1: the reader stalls for 600 ms, which is not even called stalled": {
    conversation: unread,
    timeline: during(Fault.slowReader("server", 0), 600),
    ...unharmed,
    stalls: 0
  },
  "lesson 1: a peer that beats and never reads is ended at `stalledLimit`": {
    conversation: { ...unread, policy: { ...policy, stalledLimit: "2500 millis" } },
    timeline: during(Fault.slowReader("server", 0), 3500),
    ...resumed("Stalled"),
    stalls: 1
  },
  "lesson 2: the connection is cut while messages are under way": {
    conversation: talk,
    timeline: [Fault.at(midTalk, Fault.cut(...machines))],
    ...resumed("LinkFailed")
  },
  "lesson 2: the server is frozen, and killed before it wakes": {
    conversation: talk,
    timeline: [
      Fault.at(midTalk, Fault.freeze("server"), { for: "900 millis" }),
      Fault.at("2300 millis", Fault.kill("server"), { for: "1 second" })
    ],
    openings: ["Fresh", "Gap"],
    ends: ["LinkFailed"]
  },
  "lesson 3: only the first packet of a dial passes, until the third": {
    conversation: talk,
    timeline: [Fault.at(0, Fault.synOnly(...machines), { until: "2300 millis" })],
    ...unharmed,
    retries: ["OpenTimedOut", "OpenTimedOut"]
  },
  "lesson 3: only the first packet of a dial passes, once it is up": {
    conversation: talk,
    timeline: during(Fault.synOnly(...machines)),
    ...resumed("LinkFailed")
  },
  "lesson 4: the cable is pulled, the writer busy": {
    conversation: talk,
    timeline: during(Fault.partition(...machines)),
    ...resumed("PeerSilent")
  },
  "lesson 4: the cable is pulled, the writer idle": {
    conversation: { policy, toServer: { messages: 3, every: "3 seconds" } },
    timeline: [Fault.at("3500 millis", Fault.blackhole("client"), { for: "4 seconds" })],
    ...resumed("PeerSilent")
  },
  "lesson 4: the cable is put back after 400 ms": {
    conversation: talk,
    timeline: during(Fault.partition(...machines), 400),
    ...unharmed
  },
  "lesson 5: what the client sends is lost; the server gives up, and its reset comes through": {
    conversation: talk,
    timeline: during(Fault.oneWay("client", "server")),
    ...resumed("LinkFailed")
  },
  "lesson 5: what the server sends is lost": {
    conversation: talk,
    timeline: during(Fault.oneWay("server", "client")),
    ...resumed("PeerSilent")
  },
  "lesson 5: the server is frozen": {
    conversation: talk,
    timeline: during(Fault.freeze("server")),
    ...resumed("PeerSilent")
  },

  "pain 1: a NAT on the way forgets the connection": {
    conversation: talk,
    timeline: [Fault.at(midTalk, Fault.natForgets(...machines))],
    ...resumed("PeerSilent")
  },
  "pains 2 and 10: three cuts, acknowledgements lost before each": {
    conversation: talk,
    timeline: [midTalk, 3050, 4550].flatMap((at) => [
      Fault.at(at - 400, Fault.oneWay("server", "client"), { for: "300 millis" }),
      Fault.at(at, Fault.cut(...machines))
    ]),
    ...resumed("LinkFailed", "LinkFailed", "LinkFailed")
  },
  "pain 3: 1.2 MB at 200 kB/s, and the heartbeats in between": {
    conversation: {
      policy,
      toServer: { messages: 2, bytes: 600_000 },
      toClient: { messages: 20, every: "300 millis" }
    },
    timeline: [Fault.at(0, Fault.rateLimit(...machines, 200_000), { until: "7 seconds" })],
    ...unharmed
  },
  "pain 4: the server is frozen while megabytes are stuck in the client's writes": {
    conversation: {
      policy: { ...policy, stall: Schedule.spaced("2 seconds").pipe(Schedule.upTo({ times: 2 })) },
      toServer: { messages: 120, bytes: 100_000, every: "20 millis" }
    },
    timeline: [Fault.at("1 second", Fault.freeze("server"), { for: "4 seconds" })],
    ...resumed("PeerSilent")
  },
  "pain 5: an application that takes 10 messages a second costs what the backlog allows": {
    conversation: {
      policy: { ...policy, backlog: { bytesMax: 500_000 } },
      toServer: { messages: 40, bytes: 100_000, taking: "100 millis" }
    },
    ...unharmed
  },
  "pain 9: the client's event loop is blocked for 1.2 s": {
    conversation: talk,
    timeline: during(Fault.blockedLoop("client"), 1200),
    ...unharmed
  },
  "pain 9: the client's event loop is blocked for 4 s; the server gives up": {
    conversation: talk,
    timeline: during(Fault.blockedLoop("client")),
    ...resumed("LinkFailed")
  },
  "pain 11: the server is killed with messages on their way": {
    conversation: talk,
    timeline: [Fault.at(midTalk, Fault.kill("server"), { for: "1 second" })],
    openings: ["Fresh", "Gap"],
    ends: ["LinkClosed"]
  },
  "pain 11: the server loses power": {
    conversation: talk,
    timeline: during(Fault.crash("server"), 2500),
    openings: ["Fresh", "Gap"],
    ends: ["PeerSilent"]
  },
  "pain 13: 2 MB at 500 kB/s, cut every second": {
    conversation: { policy, toServer: { messages: 20, bytes: 100_000 } },
    timeline: [
      Fault.at(0, Fault.rateLimit(...machines, 500_000), { until: "8 seconds" }),
      ...[1000, 2000, 3000, 4000].map((at) => Fault.at(at, Fault.cut(...machines)))
    ],
    ...resumed("LinkFailed", "LinkFailed", "LinkFailed", "LinkFailed")
  },
  "a handler that takes 3 s for each message": {
    conversation: { policy, toServer: { messages: 2, taking: "3 seconds" } },
    ...unharmed
  }
}

/** What came of them between two namespaces; `UPDATE=1 npm run test:real` writes it. */
export const measurements = new URL("twofold.json", import.meta.url)

/** What a run comes to, wherever it was. */
export interface Outcome {
  readonly violations: ReadonlyArray<string>
  readonly taken: number
  readonly openings: ReadonlyArray<string>
  /** How links ended, the last one included. */
  readonly ends: ReadonlyArray<string>
  readonly retries: ReadonlyArray<string>
  readonly stalls: number
  /** From the first fault in mid-talk until the client's link was given up. */
  readonly noticedAfterMillis: number | undefined
}

/** What the client was told, from which an outcome is made. */
export interface Told {
  readonly what: string
  readonly at: number
  readonly opened?: string | undefined
  readonly reason?: string | undefined
}

export const outcomeOf = (
  told: ReadonlyArray<Told>,
  faultAt: number | undefined,
  rest: Pick<Outcome, "violations" | "taken">
): Outcome => {
  const reasons = (tag: string) => told.flatMap(({ reason = "", what }) => (what === tag ? [reason] : []))
  const first = told.find(
    ({ at, reason, what }) => what === "Ended" && at >= (faultAt ?? Infinity) && reason !== "Closed"
  )
  return {
    ...rest,
    openings: told.flatMap(({ opened = "", what }) => (what === "Opened" ? [opened] : [])),
    ends: reasons("Ended"),
    retries: reasons("Retrying"),
    stalls: told.filter(({ what }) => what === "Stalled").length,
    noticedAfterMillis: first === undefined || faultAt === undefined ? undefined : first.at - faultAt
  }
}

/** The outcome of a simulated run. */
export const outcomeOfReport = ({ messages, transcript, violations }: Scenario.Report): Outcome => {
  const told = transcript.flatMap((entry) => (entry._tag === "Session" && entry.host === "client" ? [entry] : []))
  return outcomeOf(
    told.map(({ at, reason, text, what }) => ({ at, reason, what, opened: text.split(", ")[1] })),
    transcript.find(({ _tag, at }) => _tag === "Inflicted" && at > 0)?.at,
    { violations: violations.map(({ rule, text }) => `${rule}: ${text}`), taken: messages.taken }
  )
}
