/** S1: what is lost when a connection is closed, and who is told. The client writes 100,000 bytes. */
import { Fault } from "@holdfast/testing"
import type * as Ends from "./Ends.ts"
import { got, type Row, told } from "./Row.ts"

const bytes = 100_000

interface Way {
  readonly fault: string
  readonly server: Ends.Server
  readonly client: Ends.Client["departs"]
  /** In force when the client dials. */
  readonly before?: Fault.Fault
  readonly killedAtMillis?: number
}

const unread = (...departs: NonNullable<Ends.Server["departs"]>): Ends.Server => ({ reads: "nothing", departs })

const ways: ReadonlyArray<Way> = [
  {
    fault: "A1: the server ends at once and never reads; the client only writes",
    server: unread({ does: "ends", afterMillis: 0 }),
    client: "waits"
  },
  {
    fault: "A2: the same, and the client ends, too",
    server: unread({ does: "ends", afterMillis: 0 }),
    client: "ends"
  },
  {
    fault: "A3: the server ends, and closes with unread input 300 ms later",
    server: unread({ does: "ends", afterMillis: 0 }, { does: "closes", afterMillis: 300 }),
    client: "ends"
  },
  {
    fault: "A4: the server reads once and ends",
    server: { reads: "once", departs: [{ does: "ends", afterMillis: 200 }] },
    client: "waits"
  },
  {
    fault: "B1: the server is frozen before it accepts; the client closes; SIGKILL",
    before: Fault.freeze("server"),
    server: unread(),
    client: "closes",
    killedAtMillis: 1500
  },
  {
    fault: "B3: accepted and not read; the client closes; SIGKILL",
    server: unread(),
    client: "closes",
    killedAtMillis: 1500
  },
  {
    fault: "B4: as B1, but the client ends and waits",
    before: Fault.freeze("server"),
    server: unread(),
    client: "ends",
    killedAtMillis: 1500
  },
  {
    fault: "C1: the server closes with unread input; the client waits",
    server: unread({ does: "closes", afterMillis: 600 }),
    client: "waits"
  },
  {
    fault: "C2: the same, and the client closes at once",
    server: unread({ does: "closes", afterMillis: 600 }),
    client: "closes"
  },
  {
    fault: "C3: the server resets; the client ends and waits",
    server: unread({ does: "resets", afterMillis: 600 }),
    client: "ends"
  },
  { fault: "D1: the client resets after its write", server: unread(), client: "resets" },
  { fault: "nothing: the server reads; the client ends and waits", server: { reads: "all" }, client: "ends" },
  { fault: "nothing: the server reads; the client closes at once", server: { reads: "all" }, client: "closes" }
]

export const losing: ReadonlyArray<Row> = ways.map(({ before, client, fault, killedAtMillis, server }) => ({
  fault,
  server,
  client: { writes: { bytes }, departs: client },
  before: before === undefined ? undefined : { fault: before },
  timeline: killedAtMillis === undefined ? [] : [Fault.at(killedAtMillis, Fault.kill("server"))],
  lastsMillis: 3000,
  figures: { told: { of: told }, "taken by the program": { of: got(bytes) } }
}))
