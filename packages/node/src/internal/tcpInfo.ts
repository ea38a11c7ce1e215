/**
 * `struct tcp_info` of Linux (include/uapi/linux/tcp.h) as numbers. It only ever grew at its end, so the length that the
 * kernel gives back says what it knows; what is read here has been there since Linux 4.6.
 */

import type { State } from "../Kernel.ts"

export interface TcpInfo {
  readonly state: State
  readonly retransmissions: number
  readonly probes: number
  readonly backoff: number
  readonly receivedAgoMillis: number
  readonly acknowledgedAgoMillis: number
  readonly roundTripMillis: number
  readonly retransmissionsTotal: number
  readonly acknowledgedBytes: number
  readonly unsentBytes: number
}

/** Room for what this module reads and for what the kernel may add. */
export const bytesMax = 256

/** Reads what `getsockopt(TCP_INFO)` wrote; `undefined` where an old kernel wrote too little. */
export const parse = (info: DataView, length: number): TcpInfo | undefined => {
  if (length < bytesMin) return undefined
  const u32 = (offset: number) => info.getUint32(offset, true)
  return {
    state: states[info.getUint8(0)] ?? "CLOSE",
    retransmissions: info.getUint8(2),
    probes: info.getUint8(3),
    backoff: info.getUint8(4),
    receivedAgoMillis: u32(52),
    acknowledgedAgoMillis: u32(56),
    roundTripMillis: u32(68) / 1000,
    retransmissionsTotal: u32(100),
    acknowledgedBytes: u32(120) + u32(124) * 2 ** 32,
    unsentBytes: u32(144)
  }
}

const bytesMin = 148

const states: ReadonlyArray<State | undefined> = [
  undefined,
  "ESTABLISHED",
  "SYN_SENT",
  "SYN_RECV",
  "FIN_WAIT1",
  "FIN_WAIT2",
  "TIME_WAIT",
  "CLOSE",
  "CLOSE_WAIT",
  "LAST_ACK",
  "LISTEN",
  "CLOSING"
]
