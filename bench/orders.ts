/**
 * What the two processes of a round and their parent say to each other.
 */
interface Common {
  readonly contestant: string
  /** Of each message, in bytes. */
  readonly size: number
  readonly heapMegabytes: number
  readonly warmMillis: number
  readonly measureMillis: number
}

export type Order =
  | (Common & { readonly task: "receive" | "answer" })
  | (Common & { readonly task: "send"; readonly port: number })
  | (Common & { readonly task: "ask"; readonly port: number; readonly outstanding: number })
  /** Enough was measured: the sender stops, the receiver waits for all that was sent. */
  | { readonly task: "finish"; readonly sent: number }

/** In milliseconds. */
export interface Latencies {
  readonly p50: number
  readonly p99: number
  readonly max: number
  readonly count: number
}

export type Report =
  | { readonly _tag: "Ready" }
  | { readonly _tag: "Listening"; readonly port: number }
  | {
      readonly _tag: "Measured"
      readonly value: number
      readonly latencies: Latencies | undefined
      /** Processor time of this process in nanoseconds for each message. */
      readonly processorNanos: number
    }
  | { readonly _tag: "Sent"; readonly count: number; readonly processorNanos: number }
  | { readonly _tag: "Verified"; readonly count: number }
  | { readonly _tag: "Failed"; readonly message: string }
