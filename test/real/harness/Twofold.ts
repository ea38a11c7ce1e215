// Scenarios that run twice: simulated, and between two network namespaces. Only faults that a real kernel can be given.
import { Fault, type Scenario } from "@holdfast/testing"
import { Schedule } from "effect"
import { Presets } from "holdfast"

/** Quick, so that a fault and its end fit into seconds: silence is over after 2 s. */
const policy = {
  open: "1 second",
  heartbeat: "300 millis",
  silence: Presets.openVSwitch("1 second"),
  stall: Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 2 })),
  reconnect: Schedule.spaced("200 millis")
} as const

const conversation = {
  toServer: { messages: 60, every: "100 millis" },
  toClient: { messages: 60, every: "100 millis" },
  policy
} as const

const during = (fault: Fault.Fault) => [Fault.at("1500 millis", fault, { for: "4 seconds" })]

/** By name, since a policy cannot be told to another process. */
export const scenarios: Readonly<Record<string, Scenario.Scenario>> = {
  "nothing goes wrong": { name: "nothing goes wrong", conversation },
  "the cable is pulled": {
    name: "the cable is pulled",
    conversation,
    timeline: during(Fault.partition("client", "server"))
  },
  "the way there is gone": {
    name: "the way there is gone",
    conversation,
    timeline: during(Fault.oneWay("client", "server"))
  },
  "the way back is gone": {
    name: "the way back is gone",
    conversation,
    timeline: during(Fault.oneWay("server", "client"))
  },
  "the server is frozen": { name: "the server is frozen", conversation, timeline: during(Fault.freeze("server")) },
  "the client is frozen": { name: "the client is frozen", conversation, timeline: during(Fault.freeze("client")) },
  "only dials pass": { name: "only dials pass", conversation, timeline: during(Fault.synOnly("client", "server")) },
  "the connection is cut": {
    name: "the connection is cut",
    conversation,
    timeline: [Fault.at("1500 millis", Fault.cut("client", "server"))]
  },
  "the server is killed": {
    name: "the server is killed",
    conversation,
    timeline: [Fault.at("1500 millis", Fault.kill("server"), { for: "1 second" })]
  }
}
