/**
 * What the two child processes tell the one that watches them: a line of JSON each, on standard output.
 */
import { Schema } from "effect"

export const Side = Schema.Literals(["sender", "receiver"])
export type Side = typeof Side.Type

/** The receiver takes connections. */
export const Listening = Schema.TaggedStruct("Listening", { port: Schema.Int })

/** Something happened to an incarnation. `at` is wall-clock time in ms: the processes share one clock. */
export const Sighting = Schema.TaggedStruct("Sighting", {
  at: Schema.Int,
  what: Schema.Literals(["Opened", "Ended", "Stalled"]),
  incarnation: Schema.Int,
  /** `Fresh`, `Resumed` or `Gap`; or the tag of the reason why it ended; or nothing */
  reason: Schema.String
})
export type Sighting = typeof Sighting.Type

/** What this side's application has handed to its session. */
export const Sent = Schema.Struct({ messages: Schema.Int, bytes: Schema.Int })
export type Sent = typeof Sent.Type

/** What came out of the session, by the numbers in the messages. */
export const TallyCounts = Schema.Struct({
  /** repetitions included */
  received: Schema.Int,
  bytes: Schema.Int,
  duplicated: Schema.Int,
  reordered: Schema.Int
})
export type TallyCounts = typeof TallyCounts.Type

/** How things stand, a few times a second. */
export const Snapshot = Schema.TaggedStruct("Snapshot", {
  state: Schema.String,
  roundTripMs: Schema.NullOr(Schema.Finite),
  out: Sent,
  in: TallyCounts
})
export type Snapshot = typeof Snapshot.Type

/** All is done, and this is what came of it. Only the sender knows about rounds and files. */
export const Finished = Schema.TaggedStruct("Finished", {
  out: Sent,
  in: TallyCounts,
  rounds: Schema.Int,
  files: Schema.Int,
  filesMatched: Schema.Int
})
export type Finished = typeof Finished.Type

/** It came to an end before its time. */
export const Failed = Schema.TaggedStruct("Failed", { message: Schema.String })

export const Report = Schema.Union([Listening, Sighting, Snapshot, Finished, Failed])
export type Report = typeof Report.Type

/** Says it to whoever started this process. */
export const tell = (report: Report): void => {
  process.stdout.write(`${JSON.stringify(report)}\n`)
}

export const decodeReport = Schema.decodeEffect(Schema.fromJsonString(Report))
