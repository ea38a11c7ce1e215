/** Definitions with messages other than plain bytes of ordinary size. */
import { Schema } from "effect"
import { Session } from "holdfast"

/** Messages of up to 64 MiB. */
export class Large extends Session.Service<Large>()("test/Large", { messageBytesMax: 64 * 1024 * 1024 }) {}

/** Different messages in the two directions. */
export class Telemetry extends Session.Service<Telemetry>()("test/Telemetry", {
  toServer: Schema.Struct({ sensor: Schema.String, at: Schema.BigInt, celsius: Schema.Number }),
  toClient: Schema.Literals(["faster", "slower"])
}) {}
