/** S2: connected, written, and never seen by the server's program; and dials that nobody answers. */
import { Fault } from "@holdfast/testing"
import { after, count, queue, type Row, told, toldAfter } from "./Row.ts"

const holds = { reads: "nothing" } as const

export const connecting: ReadonlyArray<Row> = [
  {
    fault: "only the first packet of a dial passes until 4 s; 5,000 B written",
    server: holds,
    client: { writes: { bytes: 5000 } },
    before: { fault: Fault.synOnly("client", "server"), untilMillis: 4000 },
    queuesFromMillis: 3600,
    lastsMillis: 10_000,
    isOver: ({ facts }) => facts.some(({ _tag }) => _tag === "Accepted"),
    figures: {
      "connected after": { of: after(0, "Connected"), within: { seconds: 0.2 } },
      unacknowledged: { of: queue("send") },
      told: { of: told },
      "accepted after": { of: after(0, "Accepted"), within: { seconds: 0.5 }, why: "the clock's tick at each try" }
    }
  },
  {
    fault: "the same for good, backlog 1, six dials: all are connected",
    server: holds,
    client: { writes: { bytes: 3000 }, dials: { count: 6, everyMillis: 20 } },
    backlog: 1,
    before: { fault: Fault.synOnly("client", "server") },
    lastsMillis: 3000,
    figures: { connected: { of: count("Connected") }, accepted: { of: count("Accepted") }, told: { of: told } }
  },
  {
    fault: "backlog 1, frozen server, six dials one after the other, 3,000 B each; thawed at 4.1 s",
    server: holds,
    client: { writes: { bytes: 3000 }, dials: { count: 6, everyMillis: 20 } },
    backlog: 1,
    before: { fault: Fault.freeze("server"), untilMillis: 4100 },
    lastsMillis: 30_000,
    isOver: ({ facts }) => facts.filter(({ _tag }) => _tag === "Accepted").length === 6,
    figures: {
      "connected before the thaw": {
        of: ({ facts }) => facts.filter(({ _tag, at }) => _tag === "Connected" && at < 4000).length
      },
      "accepted in the end": { of: count("Accepted") },
      told: { of: told }
    }
  },
  {
    fault: "a dial into a black hole, `tcp_syn_linear_timeouts` 1, `tcp_syn_retries` 2",
    server: holds,
    client: {},
    kernel: { dialLinearRetriesMax: 1, dialRetriesMax: 2 },
    before: { fault: Fault.partition("client", "server") },
    lastsMillis: 20_000,
    isOver: ({ facts }) => facts.some(({ _tag }) => _tag === "Told"),
    figures: { told: { of: told }, seconds: { of: toldAfter(0), within: { seconds: 0.7 } } }
  },
  {
    fault: "a dial that a router answers with host unreachable",
    server: holds,
    client: {},
    before: { fault: Fault.unreachable("client", "server") },
    lastsMillis: 3000,
    figures: { told: { of: told }, seconds: { of: toldAfter(0), within: { seconds: 0.3 } } }
  },
  {
    fault: "a dial to a port on which nobody listens any more",
    server: holds,
    client: {},
    before: { fault: Fault.kill("server") },
    lastsMillis: 2000,
    figures: { told: { of: told }, seconds: { of: toldAfter(0), within: { seconds: 0.3 } } }
  }
]
