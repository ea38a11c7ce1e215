// What the two roles of a session say to each other, and the patience of both: small, so that a fault is noticed soon.
import { Schedule, Schema } from "effect"
import { type Policy, Session } from "holdfast"

const Message = Schema.Struct({ n: Schema.Int, padding: Schema.String })

export type Message = typeof Message.Type

export class Numbers extends Session.Service<Numbers>()("test/Numbers", {
  toServer: Message,
  toClient: Schema.Int
}) {}

const twice = (delay: "500 millis") => Schedule.spaced(delay).pipe(Schedule.upTo({ times: 2 }))

export const policy: Policy.Options = {
  open: "1 second",
  heartbeat: "200 millis",
  silence: twice("500 millis"),
  stall: twice("500 millis"),
  reconnect: Schedule.spaced("200 millis"),
  stability: "1 second",
  close: "10 seconds"
}

/**
 * From the fault to the verdict: the policy's own bound (two delays of half a second), once more that much because a
 * detector that woke late waits again, and what a busy machine of two cores may need.
 */
export const noticedWithinMillis = 4000
