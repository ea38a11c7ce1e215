/**
 * A protocol of lines, in one direction, without ping and without acknowledgements: a till, a printer, a logger, a machine
 * tool. What is known of the other end is what the kernel knows. When the cable is pulled, the link is given up 30 s after
 * the last acknowledgement, and what was not acknowledged goes out again on the next one: at least once.
 *
 * The kernel speaks for the other machine, not for its program: what had reached that machine when its program died is
 * lost. Where the other end says anything at all, set `silence`, or expect answers. Take this file, and change what you need.
 */
import { NodeLink } from "@holdfast/node"
import { Schema } from "effect"
import { Connection, Dialect } from "holdfast"

export class Reading extends Schema.Class<Reading>("Reading")({ sensor: Schema.String, celsius: Schema.Finite }) {}

export class Readings extends Connection.Service<Readings>()("examples/Readings", {
  dialect: Dialect.ndjson({ receive: Schema.Unknown, send: Reading })
}) {}

export interface Options extends NodeLink.TcpOptions {
  readonly policy?: Connection.PolicyOptions | undefined
}

/** A backlog of a day: 86,400 readings. When it is full the oldest goes. */
export const layer = ({ policy, ...server }: Options) =>
  Readings.layer({
    link: NodeLink.tcp({
      ...server,
      // While nothing is outstanding the kernel asks, so that a cable that is pulled by night is no surprise by day.
      kernel: { keepAlive: { idle: "30 seconds", interval: "10 seconds", count: 3 } }
    }),
    fateUnknown: "sendAgain",
    policy: { backlog: { messagesMax: 86_400, whenFull: "dropOldest" }, ...policy }
  })
