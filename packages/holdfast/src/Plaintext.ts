/**
 * Who may speak without TLS: whoever stays on this machine, and whoever says so.
 *
 * Holdfast sends a session's secret once, when the session is created. Without TLS everybody on the way overhears it
 * and owns the session from then on. So the links and listeners of Holdfast refuse every address outside loopback
 * unless they encrypt, or the program says `plaintext: true`.
 */
import { Schema } from "effect"

/**
 * An address outside loopback was asked for without TLS.
 *
 * Links report it as the `cause` of a `SocketOpenError`, listeners fail with it. Trying again cannot help:
 * `retryable` is false.
 */
export class PlaintextRefused extends Schema.TaggedError<PlaintextRefused>()("PlaintextRefused", {
  /** The host name or address that the program asked for. */
  host: Schema.String,
  /** What it resolved to. */
  address: Schema.String
}) {
  get retryable(): boolean {
    return false
  }
  override get message(): string {
    const resolved = this.address === this.host ? this.host : `${this.host} (${this.address})`
    return (
      `${resolved} is outside loopback and this link does not encrypt: whoever overhears it can take over ` +
      "its sessions. Use TLS, or say `plaintext: true` if the network is trusted."
    )
  }
}
