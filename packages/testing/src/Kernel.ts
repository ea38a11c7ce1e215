/**
 * How the TCP of a simulated machine behaves: every constant by name, with the value that was measured on Linux 6.18.
 *
 * What is not modelled: congestion windows (they only size the send buffer; a link is kept busy, its queue short),
 * selective acknowledgement (what comes behind a gap is sent again), and probes of the tail before the first timeout.
 */
import type { Duration } from "effect"

/** The constants of one machine's kernel. Sizes are bytes. */
export interface Options {
  /** The first retransmission timeout, beyond the measured round trip. Doubles with each try. Measured: 204 ms, which is 200 and a tick of 4. */
  readonly retransmitTimeout: Duration.Input
  /** Where doubling ends. `tcp_rto_max_ms`: 120 s. */
  readonly retransmitTimeoutMax: Duration.Input
  /** Tries before ETIMEDOUT. `tcp_retries2`: 15, about 929 s. */
  readonly retriesMax: number
  /** Tries for what a closed socket left behind. Linux: 8, about 104 s. */
  readonly orphanRetriesMax: number
  /** The first timeout of a dial: 1 s. */
  readonly dialTimeout: Duration.Input
  /** Tries of a dial at the first timeout, before it doubles. `tcp_syn_linear_timeouts`: 4. */
  readonly dialLinearRetriesMax: number
  /** Tries of a dial after those. `tcp_syn_retries`: 6; ETIMEDOUT after 131 s in all. */
  readonly dialRetriesMax: number
  /** Tries to finish a handshake that the other side began. `tcp_synack_retries`: 5; forgotten after 63 s. */
  readonly acceptRetriesMax: number
  /** How long a closed connection waits for the other side's end. `tcp_fin_timeout`: 60 s. */
  readonly endTimeout: Duration.Input
  /** The send buffer at first, as measured on a path that acknowledges nothing: 69,120. */
  readonly sendBufferBytes: number
  /** What the send buffer grows to while it is full and acknowledged. `tcp_wmem`: 4 MiB. */
  readonly sendBufferBytesMax: number
  /** The receive buffer of a program that does not read. Measured: 970,000. */
  readonly receiveBufferBytes: number
  /** What the receive buffer grows to while the program keeps emptying it. `tcp_rmem`: measured 31 MB. */
  readonly receiveBufferBytesMax: number
  /** Connections that wait to be accepted, unless the listener says otherwise. Node: 511. */
  readonly backlogMax: number
}

/** The measured values. */
export const defaults: Options = {
  retransmitTimeout: "204 millis",
  retransmitTimeoutMax: "120 seconds",
  retriesMax: 15,
  orphanRetriesMax: 8,
  dialTimeout: "1 second",
  dialLinearRetriesMax: 4,
  dialRetriesMax: 6,
  acceptRetriesMax: 5,
  endTimeout: "60 seconds",
  sendBufferBytes: 69_120,
  sendBufferBytesMax: 4_194_304,
  receiveBufferBytes: 970_000,
  receiveBufferBytesMax: 31_000_000,
  backlogMax: 511
}

/** Options of one socket. Neither is set unless asked for, as on Linux. */
export interface SocketOptions {
  /** Probes a connection on which nothing is under way (`SO_KEEPALIVE`). Silent while data is unacknowledged. */
  readonly keepAlive?: KeepAlive | undefined
  /** `TCP_USER_TIMEOUT`: ends a connection whose data is not acknowledged, or not accepted, for so long. */
  readonly userTimeout?: Duration.Input | undefined
}

/** When to probe, and how often before giving up. */
export interface KeepAlive {
  readonly idle: Duration.Input
  readonly interval: Duration.Input
  readonly count: number
}
