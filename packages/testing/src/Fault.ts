/**
 * What can go wrong, as values: they name machines and figures and nothing else, so that they can be drawn from a seed,
 * printed, and acted out on a real network, too.
 *
 * ```ts
 * import { Fault } from "@holdfast/testing"
 *
 * const timeline = [
 *   Fault.at("3 seconds", Fault.partition("client", "server"), { for: "10 seconds" }),
 *   Fault.at("20 seconds", Fault.all(Fault.freeze("server"), Fault.latency("client", "server", "200 millis")), { until: "25 seconds" }),
 *   Fault.at("30 seconds", Fault.cut("client", "server"))
 * ]
 * ```
 *
 * A fault that lasts is healed when its time is over: a crashed machine starts again, a frozen one thaws. A fault that
 * is an instant (`cut`, `closeWithoutReading`, `kill`, `clockJump`, `natForgets`) has nothing to heal.
 */
import { Duration } from "effect"

/** One thing that goes wrong. */
export type Fault =
  | { readonly _tag: "Partition"; readonly a: string; readonly b: string }
  | { readonly _tag: "OneWay"; readonly from: string; readonly to: string }
  | { readonly _tag: "Blackhole"; readonly host: string }
  | { readonly _tag: "Cut"; readonly a: string; readonly b: string }
  | { readonly _tag: "CloseWithoutReading"; readonly a: string; readonly b: string }
  | { readonly _tag: "NatForgets"; readonly a: string; readonly b: string }
  | { readonly _tag: "Freeze"; readonly host: string }
  | { readonly _tag: "BlockedLoop"; readonly host: string }
  | { readonly _tag: "Suspend"; readonly host: string }
  | { readonly _tag: "Crash"; readonly host: string }
  | { readonly _tag: "Kill"; readonly host: string }
  | { readonly _tag: "ClockJump"; readonly host: string; readonly byMillis: number }
  | { readonly _tag: "Drift"; readonly host: string; readonly partsPerMillion: number }
  | { readonly _tag: "SlowReader"; readonly host: string; readonly bytesPerSecond: number }
  | { readonly _tag: "RateLimit"; readonly from: string; readonly to: string; readonly bytesPerSecond: number }
  | {
      readonly _tag: "Latency"
      readonly a: string
      readonly b: string
      readonly latencyMillis: number
      readonly jitterMillis: number
    }
  | { readonly _tag: "Unreachable"; readonly from: string; readonly to: string }
  | { readonly _tag: "SynOnly"; readonly from: string; readonly to: string }
  | { readonly _tag: "LostWindowUpdates"; readonly from: string; readonly to: string }
  | { readonly _tag: "MtuBlackhole"; readonly from: string; readonly to: string; readonly bytesMax: number }
  | { readonly _tag: "All"; readonly faults: ReadonlyArray<Fault> }

/** Nothing passes between two machines, in either direction. Both see silence. */
export const partition = (a: string, b: string): Fault => ({ _tag: "Partition", a, b })

/** Nothing passes from one machine to another; the other direction is well. */
export const oneWay = (from: string, to: string): Fault => ({ _tag: "OneWay", from, to })

/** Nothing passes to or from a machine: its cable is pulled. */
export const blackhole = (host: string): Fault => ({ _tag: "Blackhole", host })

/** Resets all connections between two machines, at both ends. */
export const cut = (a: string, b: string): Fault => ({ _tag: "Cut", a, b })

/**
 * Something in between, such as a proxy, has taken what was under way, throws it away, and ends all connections between
 * two machines in good order: both ends see an ordinary end, and no error.
 */
export const closeWithoutReading = (a: string, b: string): Fault => ({ _tag: "CloseWithoutReading", a, b })

/** A NAT forgets the connections between two machines: their packets vanish for good, new connections are well. */
export const natForgets = (a: string, b: string): Fault => ({ _tag: "NatForgets", a, b })

/** The process is stopped (SIGSTOP) until healed (SIGCONT). Its kernel goes on: it acknowledges, and buffers fill. */
export const freeze = (host: string): Fault => ({ _tag: "Freeze", host })

/** The event loop is busy: timers fire late, nothing is read. To the network it looks like `freeze`. */
export const blockedLoop = (host: string): Fault => ({ _tag: "BlockedLoop", host })

/** The machine sleeps: timers and monotonic time stand still, what arrives is lost; afterwards wall time has jumped. */
export const suspend = (host: string): Fault => ({ _tag: "Suspend", host })

/** Power is gone, without a word to anybody. Healed: it starts again, knows nothing, and resets what it does not know. */
export const crash = (host: string): Fault => ({ _tag: "Crash", host })

/** SIGKILL: the program is gone and its kernel closes its connections. Healed, if it is to last: it starts again. */
export const kill = (host: string): Fault => ({ _tag: "Kill", host })

/** The wall clock is set forward, or back. */
export const clockJump = (host: string, by: Duration.Input, direction: "forward" | "back" = "forward"): Fault => ({
  _tag: "ClockJump",
  host,
  byMillis: millis(by) * (direction === "back" ? -1 : 1)
})

/** The machine's clocks go too fast, or, where negative, too slow. */
export const drift = (host: string, partsPerMillion: number): Fault => ({ _tag: "Drift", host, partsPerMillion })

/** Programs of a machine read so many bytes a second of each connection; 0 is none. Everything else of theirs goes on. */
export const slowReader = (host: string, bytesPerSecond: number): Fault => ({
  _tag: "SlowReader",
  host,
  bytesPerSecond
})

/** A direction passes so many bytes a second. */
export const rateLimit = (from: string, to: string, bytesPerSecond: number): Fault => ({
  _tag: "RateLimit",
  from,
  to,
  bytesPerSecond
})

/** The way between two machines gets longer, in each direction by a latency of this, and up to so much jitter more. */
export const latency = (a: string, b: string, latency: Duration.Input, jitter: Duration.Input = 0): Fault => ({
  _tag: "Latency",
  a,
  b,
  latencyMillis: millis(latency),
  jitterMillis: millis(jitter)
})

/**
 * Nothing passes from one machine to another, and a router says so (ICMP host unreachable). A dial fails with it at once;
 * to a connection that is up it is only a hint, which names the error once the kernel gives up by itself.
 */
export const unreachable = (from: string, to: string): Fault => ({ _tag: "Unreachable", from, to })

/** Only the first packet of a dial passes: `connect` succeeds, and the other side's program never hears of it. */
export const synOnly = (from: string, to: string): Fault => ({ _tag: "SynOnly", from, to })

/** Packets that only say that there is room again do not pass. */
export const lostWindowUpdates = (from: string, to: string): Fault => ({ _tag: "LostWindowUpdates", from, to })

/** Packets with more than so many bytes do not pass, and nobody is told. */
export const mtuBlackhole = (from: string, to: string, bytesMax: number): Fault => ({
  _tag: "MtuBlackhole",
  from,
  to,
  bytesMax
})

/** Several at once. */
export const all = (...faults: ReadonlyArray<Fault>): Fault => ({ _tag: "All", faults })

/** A fault with its time, counted from when the timeline begins. Without an end it lasts. */
export interface Timed {
  readonly fault: Fault
  readonly atMillis: number
  readonly untilMillis?: number | undefined
}

/** Faults with their times, in any order. */
export type Timeline = ReadonlyArray<Timed>

/** How long a timed fault lasts. */
export type Lasting = { readonly for: Duration.Input } | { readonly until: Duration.Input }

/** Puts a fault on a timeline. */
export const at = (start: Duration.Input, fault: Fault, lasting?: Lasting | undefined): Timed => {
  const atMillis = millis(start)
  if (lasting === undefined) return { fault, atMillis }
  const untilMillis = "for" in lasting ? atMillis + millis(lasting.for) : millis(lasting.until)
  if (!(untilMillis > atMillis))
    throw new RangeError(`${describe(fault)}: it would end (${untilMillis} ms) before it begins (${atMillis} ms)`)
  return { fault, atMillis, untilMillis }
}

/** A fault in words. */
export const describe = (fault: Fault): string => {
  switch (fault._tag) {
    case "Partition":
      return `nothing passes between ${fault.a} and ${fault.b}`
    case "OneWay":
      return `nothing passes from ${fault.from} to ${fault.to}`
    case "Blackhole":
      return `nothing reaches or leaves ${fault.host}`
    case "Cut":
      return `connections between ${fault.a} and ${fault.b} are reset`
    case "CloseWithoutReading":
      return `something between ${fault.a} and ${fault.b} closes without passing on what it has`
    case "NatForgets":
      return `the NAT between ${fault.a} and ${fault.b} forgets its connections`
    case "Freeze":
      return `${fault.host} is frozen`
    case "BlockedLoop":
      return `the event loop of ${fault.host} is blocked`
    case "Suspend":
      return `${fault.host} sleeps`
    case "Crash":
      return `${fault.host} loses power`
    case "Kill":
      return `the program on ${fault.host} is killed`
    case "ClockJump":
      return `the clock of ${fault.host} jumps by ${text(fault.byMillis)}`
    case "Drift":
      return `the clock of ${fault.host} drifts by ${fault.partsPerMillion} ppm`
    case "SlowReader":
      return fault.bytesPerSecond === 0
        ? `${fault.host} does not read`
        : `${fault.host} reads ${fault.bytesPerSecond} B/s`
    case "RateLimit":
      return `${fault.bytesPerSecond} B/s from ${fault.from} to ${fault.to}`
    case "Latency":
      return `${text(fault.latencyMillis)} between ${fault.a} and ${fault.b}`
    case "Unreachable":
      return `a router says that ${fault.to} cannot be reached from ${fault.from}`
    case "SynOnly":
      return `only dials pass from ${fault.from} to ${fault.to}`
    case "LostWindowUpdates":
      return `window updates from ${fault.from} to ${fault.to} are lost`
    case "MtuBlackhole":
      return `packets over ${fault.bytesMax} B from ${fault.from} to ${fault.to} vanish`
    case "All":
      return fault.faults.map(describe).join("; ")
  }
}

const millis = (input: Duration.Input): number => Duration.toMillis(Duration.fromInputUnsafe(input))

const text = (value: number): string => `${value < 0 ? "-" : ""}${Duration.format(Duration.millis(Math.abs(value)))}`
