/**
 * What takes part in the benchmark: each the way its users write it, with the same messages and the same checks.
 */
import type { Asker, Check, Source } from "./workload.ts"

/** Both ends of one way to exchange messages over TCP on loopback. Receivers and answerers give their port. */
export interface Contestant {
  /** Gives every message that arrives to `check`. */
  readonly receive: (check: Check) => Promise<number>
  /** Sends until the source is over; settles when all was handed over. */
  readonly send: (port: number, source: Source) => Promise<void>
  /** Sends every message back. */
  readonly answer: (size: number) => Promise<number>
  /** Keeps as many questions open as the asker wants, and settles when it has enough. */
  readonly ask: (port: number, asker: Asker) => Promise<void>
}
