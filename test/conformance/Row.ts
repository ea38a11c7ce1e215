/** One row of the conformance table: a fault, what both ends do, and which figures the simulated and the real kernel must share. */
import type { Fault, Kernel } from "@holdfast/testing"
import type * as Ends from "./Ends.ts"

export interface Row {
  readonly fault: string
  readonly server: Ends.Server
  readonly client: Ends.Client
  readonly backlog?: number | undefined
  /** Options of the client's socket. */
  readonly socket?: Kernel.SocketOptions | undefined
  /** Both kernels'; what is scaled down here is scaled down by sysctl there. */
  readonly kernel?: Partial<Kernel.Options> | undefined
  /** What a simulated packet carries: a namespace's cable passes large ones in one piece. Default: an Ethernet frame. */
  readonly segmentBytesMax?: number | undefined
  /** In force before the client dials, until healed on the timeline's clock. */
  readonly before?: { readonly fault: Fault.Fault; readonly untilMillis?: number | undefined } | undefined
  /** Counted from the first dial. */
  readonly timeline?: Fault.Timeline | undefined
  /** Counted from the first dial. It ends sooner once `isOver`. */
  readonly lastsMillis: number
  readonly isOver?: ((seen: Seen) => boolean) | undefined
  /** The kernels' queues are looked at from then on. Default: never, since asking a real kernel costs much. */
  readonly queuesFromMillis?: number | undefined
  readonly figures: Readonly<Record<string, Figure>>
  /** Takes minutes: the real kernel is asked only with `LONG=1`, and what it said then is on record. */
  readonly isLong?: true | undefined
}

/** What a run has shown so far. Instants are milliseconds since the first dial. */
export interface Seen {
  readonly facts: ReadonlyArray<Ends.Fact & { readonly at: number }>
  readonly queues: ReadonlyArray<Queues & { readonly at: number }>
}

/** What the kernels hold: bytes not acknowledged at the client, bytes not read at the server, and the client's sockets. */
export interface Queues {
  readonly send: number
  readonly receive: number
  readonly sockets: number
}

export interface Figure {
  readonly of: (seen: Seen) => number | string
  /** How far apart they may be; nothing: they must be equal. */
  readonly within?: Tolerance | undefined
  /** Why they may differ. */
  readonly why?: string | undefined
}

export type Tolerance = { readonly seconds: number } | { readonly plusMinus: number } | { readonly times: number }

export type Outcome = Readonly<Record<string, number | string>>

export const outcomeOf = (row: Row, seen: Seen): Outcome =>
  Object.fromEntries(Object.entries(row.figures).map(([name, { of }]) => [name, of(seen)]))

/** Whether the two figures are as near as they have to be; so many seconds more where they are measured on a busy machine. */
export const agree = (
  one: number | string | undefined,
  other: number | string | undefined,
  within?: Tolerance,
  busySeconds = 0
): boolean => {
  if (typeof one !== "number" || typeof other !== "number" || within === undefined) return one === other
  if ("seconds" in within) return Math.abs(one - other) <= within.seconds + busySeconds
  if ("plusMinus" in within) return Math.abs(one - other) <= within.plusMinus
  return Math.max(one, other) <= within.times * Math.min(one, other)
}

// ---- figures that many rows have

/** What the program of the first connection was told, in the end. */
export const told = ({ facts }: Seen): string => facts.find(isTag("Told"))?.how ?? "nothing"

/** Seconds from an instant until the program was told. */
export const toldAfter =
  (sinceMillis: number) =>
  ({ facts }: Seen): number | string => {
    const at = facts.find(isTag("Told"))?.at
    return at === undefined ? "never" : (at - sinceMillis) / 1000
  }

/** How much of so many bytes the other program has got. */
export const got =
  (bytes: number) =>
  ({ facts }: Seen): string => {
    const most = Math.max(0, ...facts.filter(isTag("Got")).map((fact) => fact.bytes))
    return most === 0 ? "nothing" : most < bytes ? "some" : "all"
  }

export const count = (tag: Ends.Fact["_tag"]) => (seen: Seen) => seen.facts.filter(({ _tag }) => _tag === tag).length

/** Seconds from an instant until the first such fact. */
export const after =
  (sinceMillis: number, tag: Ends.Fact["_tag"]) =>
  ({ facts }: Seen): number | string => {
    const at = facts.find(({ _tag }) => _tag === tag)?.at
    return at === undefined ? "never" : (at - sinceMillis) / 1000
  }

/** What a queue held when it was looked at first. */
export const queue =
  (which: "send" | "receive") =>
  ({ queues }: Seen): number =>
    queues[0]?.[which] ?? -1

/** The least that a queue held of all that was looked at: what its reader has taken by then is not counted as held. */
export const leastQueue =
  (which: "send" | "receive") =>
  ({ queues }: Seen): number =>
    Math.min(...queues.map((held) => held[which]))

export const isTag =
  <const Tag extends Ends.Fact["_tag"]>(tag: Tag) =>
  (fact: Seen["facts"][number]): fact is Extract<Ends.Fact, { readonly _tag: Tag }> & { readonly at: number } =>
    fact._tag === tag
