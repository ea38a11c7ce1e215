/**
 * What the kernel knows of a TCP connection, by a plain call that waits for nothing and costs a few microseconds.
 *
 * On Linux the figures come from `TCP_INFO` and `SIOCOUTQ`, through koffi: an optional dependency that is imported with
 * the first question. Without it, on other systems and for unix sockets the report holds what Node itself knows; its
 * `source` says which. Nothing is changed by asking: `SO_ERROR`, which forgets an error once it was read, is never read.
 *
 * The kernel speaks for the next machine, not for the application behind it: docs/kernel.md has the table of what these
 * figures can decide and what not.
 */
import { Effect } from "effect"
import type { Socket } from "node:net"
import { descriptorOf } from "./internal/descriptor.ts"
import * as Libc from "./internal/libc.ts"
import * as TcpInfo from "./internal/tcpInfo.ts"

/** The state of a TCP connection, in the words of the kernel. */
export type State =
  | "ESTABLISHED"
  | "SYN_SENT"
  | "SYN_RECV"
  | "FIN_WAIT1"
  | "FIN_WAIT2"
  | "TIME_WAIT"
  | "CLOSE"
  | "CLOSE_WAIT"
  | "LAST_ACK"
  | "LISTEN"
  | "CLOSING"

/** Where the figures come from. */
export type Source = Report["source"]

/** What Node knows by itself. */
export interface NodeReport {
  readonly source: "node"
  /** Bytes that Node still holds. A chunk counts until the kernel has all of it. */
  readonly queuedBytes: number
}

/** What the kernel knows. All that a link may tell (`Link.Progress`), and more. */
export interface KernelReport {
  readonly source: "kernel"
  /** `CLOSE` says that the kernel has given the connection up and Node is about to hear of it. */
  readonly state: State
  /** Bytes that Node still holds. A chunk counts until the kernel has all of it. */
  readonly queuedBytes: number
  /** Bytes that the kernel holds because the peer's machine has not acknowledged them, sent or not (`SIOCOUTQ`). */
  readonly unacknowledgedBytes: number
  /** Those of them that were never sent (`SIOCOUTQNSD`): the window is closed, or the network is slower than we are. */
  readonly unsentBytes: number
  /** Running total of what the peer's machine has acknowledged. It counts bytes on the wire, and one for the dial. */
  readonly acknowledgedBytes: number
  /**
   * How long ago the last acknowledgement came, in milliseconds. Data of the peer may carry acknowledgements that say
   * nothing new and are not counted here; see `receivedAgoMillis`.
   */
  readonly acknowledgedAgoMillis: number
  /** How long ago the last data of the peer came, in milliseconds; before the first, since the dial. */
  readonly receivedAgoMillis: number
  /** Retransmissions in a row, by timer, of a segment that has not been acknowledged yet. */
  readonly retransmissions: number
  /** Probes in a row, of a closed window or of keepalive, that the peer's machine has not answered. */
  readonly probes: number
  /** The larger of the two. */
  readonly unanswered: number
  /** How often the pause before the next repetition has doubled; also grows while probes are answered. */
  readonly backoff: number
  /** Retransmissions in the life of the connection. */
  readonly retransmissionsTotal: number
  /** The smoothed round trip in milliseconds. */
  readonly roundTripMillis: number
}

/** What is known of a connection now. */
export type Report = NodeReport | KernelReport

/**
 * Tells what is known of a socket now. The first call in a process only begins to import koffi, so it and the next few
 * have Node's figures; wait for `source` where that matters. A socket that is not connected has Node's figures.
 */
export const report = (socket: Socket): Report => {
  const queuedBytes = socket.writableLength
  const libc = Libc.ifLoaded()
  const descriptor = descriptorOf(socket)
  if (libc === undefined || descriptor < 0) return { source: "node", queuedBytes }
  infoLength[0] = TcpInfo.bytesMax
  if (libc.getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, info, infoLength) !== 0) return { source: "node", queuedBytes }
  const known = TcpInfo.parse(infoView, infoLength[0] ?? 0)
  if (known === undefined || libc.ioctl(descriptor, SIOCOUTQ, queue) !== 0) return { source: "node", queuedBytes }
  return {
    source: "kernel",
    queuedBytes,
    unacknowledgedBytes: queueView.getInt32(0, true),
    unanswered: Math.max(known.retransmissions, known.probes),
    ...known
  }
}

/** Finds out whether the kernel can be asked here, which imports koffi, and gives who tells from then on. */
export const source: Effect.Effect<Source> = Effect.map(
  Effect.promise(() => Libc.load()),
  (libc) => (libc === undefined ? "node" : "kernel")
)

// Each call is over before the next one begins, so they share these.
const info = new Uint8Array(TcpInfo.bytesMax)
const infoView = new DataView(info.buffer)
const infoLength = new Uint32Array(1)
const queue = new Uint8Array(4)
const queueView = new DataView(queue.buffer)

const IPPROTO_TCP = 6
const TCP_INFO = 11
const SIOCOUTQ = 0x5411
