/**
 * A policy: all timeouts of a connection as patience, and all limits as numbers.
 *
 * Guarantees: a policy made by `make` can work. One that would ask for ever and never judge, has no delay at all, or
 * contradicts itself is refused with a sentence that says what to write instead; nothing is silently clamped.
 *
 * ```ts
 * import { Policy, Presets } from "holdfast"
 *
 * const patient = Policy.make({ silence: Presets.openVSwitch("15 seconds"), heartbeat: "10 seconds" })
 * ```
 */
import { Duration, Effect, Option, Schedule, Schema } from "effect"
import * as ConnectionError from "./ConnectionError.ts"
import { given } from "./internal/given.ts"
import { type Unrolled, unroll } from "./internal/Unroll.ts"
import { type Evidence, type Patience, toSchedule } from "./Patience.ts"
import * as Presets from "./Presets.ts"

export type { Evidence, Patience } from "./Patience.ts"

/**
 * How much may wait to be acknowledged, and what a sender meets when that is reached. Each channel of a session has a
 * backlog of its own, of this size unless it is opened with another.
 */
export interface Backlog {
  /** Messages. Default 65,536: enough for small messages to fill a long fat link. */
  readonly messagesMax: number
  /** Bytes. Default 16 MiB: one second of 128 Mbit/s, and the most memory that one stalled direction costs. */
  readonly bytesMax: number
  /** `"wait"` (default): the sender waits for room, so a slow peer slows its sender. `"fail"`: `BacklogExceeded`. */
  readonly whenFull: "wait" | "fail"
  /** How long a sender waits for room, counted from its call. Over: `BacklogExceeded`. Default `"Infinity"`. */
  readonly patience: Patience
}

/** All timeouts and limits of a connection. Make one with `make`, which fills in what is not given. */
export interface Policy {
  /**
   * Dial and handshake together, from the start of the dial (server: from the accept). Over: `OpenTimedOut`.
   * Default 10 s: three lost SYN packets (1 + 2 + 4 s) and a slow handshake still fit.
   */
  readonly open: Patience
  /**
   * Our own silence: when a delay passes without a frame of ours, a heartbeat goes out. A Duration repeats. Heartbeats of
   * other sessions in the process take it along, if they are due before, by up to a fiftieth of the delay.
   * Default 2.5 s: half of the first delay of `silence`, so that one late heartbeat makes no peer ask.
   */
  readonly heartbeat: Patience
  /**
   * The peer's silence: asks by a probe, then `PeerSilent`. Default `Presets.openVSwitch("5 seconds")`: asks at 5 s,
   * over at 10 s. So a dead peer is noticed within 10 s, and a peer whose event loop stalls for 4 s is not killed.
   */
  readonly silence: Patience
  /**
   * No progress of ours while something is outstanding: marks the connection as stalled and probes; `WriteStuck` if the
   * peer gave no sign of life during the last delay. Default two delays of 5 s, as for `silence`: slow is not dead.
   */
  readonly stall: Patience
  /**
   * How long a peer may live without moving anything of ours, from the last progress. Over: `Stalled`.
   * Default `"Infinity"`: back-pressure is not a failure; bound it where a stuck consumer should be given up.
   */
  readonly stalledLimit: Duration.Input
  /** From the call of `close` until everything is taken. Over: `CloseTimedOut`. Default 30 s: a reconnect and a drain. */
  readonly close: Patience
  /**
   * When to try again: a retry Schedule whose input is the typed error. Done: `RetriesExhausted`.
   * Default `Presets.fullJitter("500 millis", "20 seconds")` without end: jitter from the first retry spreads a crowd.
   */
  readonly reconnect: Schedule.Schedule<unknown, ConnectionError.ConnectionError>
  /** Up for so long, and `reconnect` starts anew. Default 10 s: a link that dies sooner keeps backing off. */
  readonly stability: Duration.Input
  /** Hard limits of what waits to be acknowledged. */
  readonly backlog: Backlog
}

/** What `make` takes: any part of a policy. */
export type Options = {
  readonly [Field in Exclude<keyof Policy, "backlog">]?: Policy[Field] | undefined
} & { readonly backlog?: { readonly [Limit in keyof Backlog]?: Backlog[Limit] | undefined } | undefined }

const fieldNames = [
  "open",
  "heartbeat",
  "silence",
  "stall",
  "stalledLimit",
  "close",
  "reconnect",
  "stability",
  "backlog"
] as const satisfies ReadonlyArray<keyof Policy>

/**
 * A policy, or limits beside it, that cannot work: which fields are to blame (`"limits"` for a bound that is none), and in
 * words what is wrong and what to write instead.
 */
export class PolicyError extends Schema.TaggedError<PolicyError>()("PolicyError", {
  fields: Schema.Array(Schema.Literals([...fieldNames, "limits"])),
  message: Schema.String
}) {}

/** A dead peer is noticed within 10 s, a stall of 4 s on either side kills nobody, and retrying never ends. */
export const defaults: Policy = {
  open: "10 seconds",
  heartbeat: "2500 millis",
  silence: Presets.openVSwitch("5 seconds"),
  stall: Schedule.spaced("5 seconds").pipe(Schedule.upTo({ times: 2 })),
  stalledLimit: "Infinity",
  close: "30 seconds",
  reconnect: Presets.fullJitter("500 millis", "20 seconds"),
  stability: "10 seconds",
  backlog: { messagesMax: 65_536, bytesMax: 16 * 1024 * 1024, whenFull: "wait", patience: "Infinity" }
}

/**
 * Fills in what is not given from `base` (the defaults, or the policy in force when it is replaced) and checks the
 * whole. To check, every schedule is unrolled once in ideal time: nothing sleeps, but effects inside it run.
 */
export const make = Effect.fnUntraced(function* (
  options: Options = nothing,
  base: Policy = defaults
): Effect.fn.Return<Policy, PolicyError> {
  const known = base === defaults ? checked.get(options) : undefined
  if (known !== undefined) return known
  const policy: Policy = { ...base, ...given(options), backlog: { ...base.backlog, ...given(options.backlog ?? {}) } }
  const faults = yield* findFaults(policy)
  if (faults.length === 0) {
    if (base === defaults) checked.set(options, policy)
    return policy
  }
  return yield* new PolicyError({
    fields: [...new Set(faults.flatMap((fault) => fault.fields))],
    message: faults.map((fault) => fault.sentence).join("; ")
  })
})

/** Thousands of sessions are made with the same options. */
const checked = new WeakMap<Options, Policy>()
const nothing: Options = {}

/**
 * The longest of the first 100 delays of `heartbeat`, which is what a side announces to its peer. Nothing is announced
 * when heartbeats end or are switched off.
 */
export const heartbeatMax = ({ heartbeat }: Policy): Effect.Effect<Option.Option<Duration.Duration>> => {
  if (!Schedule.isSchedule(heartbeat)) {
    return Effect.succeedSome(Duration.fromInputUnsafe(heartbeat)).pipe(
      Effect.map(Option.filter((delay) => Duration.toMillis(delay) < Infinity))
    )
  }
  return Effect.map(unroll(heartbeat, evidenceAt, heartbeatDelaysMax), ({ delays, ends }) => {
    const longest = Math.max(...delays)
    return ends || longest === Infinity ? Option.none() : Option.some(Duration.millis(longest))
  })
}

/**
 * The rule of the handshake, given what the peer announces of its heartbeat. Refused is only a `silence` that never
 * asks and is not longer than that: it would kill a healthy peer. One that asks needs no heartbeats.
 */
export const checkPeer = Effect.fnUntraced(function* (
  policy: Policy,
  peerHeartbeatMax: Option.Option<Duration.Duration>
): Effect.fn.Return<void, PolicyError> {
  const { delays, ends } = yield* beginning(policy.silence)
  const [only = Infinity] = delays
  if (!ends || delays.length > 1 || only === Infinity) return
  const announced = Option.map(peerHeartbeatMax, Duration.toMillis)
  if (Option.isSome(announced) && only > announced.value) return
  const beat = Option.match(announced, {
    onNone: () => "announces no bound for its heartbeats",
    onSome: (millis) => `sends a heartbeat every ${text(millis)}`
  })
  return yield* new PolicyError({
    fields: ["silence"],
    message:
      `silence waits once for ${text(only)} and never asks, but the peer ${beat}: a healthy peer would be given up; ` +
      `write a silence that asks, such as Presets.openVSwitch("${Math.ceil(only / 2)} millis"), or a longer one`
  })
})

/** The first two delays, found once for each Schedule: a server asks at every handshake. */
const beginning = (patience: Patience): Effect.Effect<Unrolled> => {
  if (!Schedule.isSchedule(patience)) return unroll(toSchedule(patience), evidenceAt, 2)
  const known = beginnings.get(patience)
  if (known !== undefined) return Effect.succeed(known)
  return Effect.tap(unroll(patience, evidenceAt, 2), (unrolled) =>
    Effect.sync(() => void beginnings.set(patience, unrolled))
  )
}

const beginnings = new WeakMap<object, Unrolled>()

/** `heartbeat` as a Schedule: a Duration repeats, since heartbeats should not end. */
export const heartbeatSchedule = (heartbeat: Patience): Schedule.Schedule<unknown, Evidence> =>
  Schedule.isSchedule(heartbeat) ? heartbeat : Schedule.spaced(heartbeat)

interface Fault {
  readonly fields: ReadonlyArray<keyof Policy>
  readonly sentence: string
}

const findFaults = Effect.fnUntraced(function* (policy: Policy) {
  const faults: Array<Fault> = []
  const fault = (sentence: string, ...fields: ReadonlyArray<keyof Policy>) => faults.push({ fields, sentence })

  let stallMillis = 0
  for (const field of ["open", "silence", "stall", "close", "backlog"] as const) {
    const patience = field === "backlog" ? policy.backlog.patience : policy[field]
    if (!isPatience(patience)) {
      fault(`${nameOf(field)} is neither a Schedule nor a Duration that is not negative`, field)
      continue
    }
    const { delays, ends } = yield* unroll(toSchedule(patience), evidenceAt, patienceDelaysMax)
    const total = sum(delays)
    if (field === "stall") stallMillis = total
    if (total === 0) {
      fault(
        `${nameOf(field)} has no delay, so it would be over at once; write a Duration, or spaced(d).pipe(upTo({ times }))`,
        field
      )
    } else if (!ends) {
      fault(
        `${nameOf(field)} does not end within ${patienceDelaysMax} delays, so it would ask for ever and never judge; ` +
          `bound it with .pipe(Schedule.upTo({ times: 2 })), or say "Infinity" to switch it off`,
        field
      )
    }
  }

  if (!isPatience(policy.heartbeat)) {
    fault("heartbeat is neither a Schedule nor a Duration that is not negative", "heartbeat")
  } else {
    const heartbeat = yield* unroll(heartbeatSchedule(policy.heartbeat), evidenceAt, heartbeatDelaysMax)
    if (sum(heartbeat.delays.slice(0, 3)) === 0) {
      fault(
        "heartbeat has no delay, so it would send without a pause; write a Duration or Schedule.spaced",
        "heartbeat"
      )
    }
  }

  // A thousand random delays would cost more than all the rest, and three of them say enough of nearly every schedule.
  const delaysOf = (delaysMax: number) => unroll(policy.reconnect, () => sampleError, delaysMax)
  if (sum((yield* delaysOf(3)).delays) === 0 && !(yield* delaysOf(patienceDelaysMax)).ends) {
    fault(
      "reconnect has no delay and no end, so it would dial without a pause; " +
        "write Presets.fullJitter, Schedule.exponential or Schedule.spaced",
      "reconnect"
    )
  }

  for (const field of ["stability", "stalledLimit"] as const) {
    if (!(millisOf(policy[field]) > 0)) fault(`${field} is not a positive Duration`, field)
  }
  if (millisOf(policy.stalledLimit) < stallMillis) {
    fault(
      `stalledLimit (${text(millisOf(policy.stalledLimit))}) is shorter than stall (${text(stallMillis)}), which must be ` +
        "over before anybody is called stalled; raise stalledLimit or shorten stall",
      "stalledLimit",
      "stall"
    )
  }
  for (const limit of ["messagesMax", "bytesMax"] as const) {
    if (!(policy.backlog[limit] > 0))
      fault(`backlog.${limit} is not positive, so nothing could ever be sent`, "backlog")
  }
  return faults
})

/** What a field is called in a sentence about its patience. */
const nameOf = (field: keyof Policy): string => (field === "backlog" ? "backlog.patience" : field)

const patienceDelaysMax = 1000
const heartbeatDelaysMax = 100

const evidenceAt = (elapsedMillis: number, asked: number): Evidence => ({
  missingFor: Duration.millis(elapsedMillis),
  asked,
  roundTripTime: Option.none()
})

const sampleError = ConnectionError.make(
  new ConnectionError.LinkFailed({ cause: new Error("a sample, to see what the schedule does"), during: "dial" })
)

const millisOf = (input: Duration.Input): number =>
  Option.match(Duration.fromInput(input), { onNone: () => NaN, onSome: Duration.toMillis })

const isPatience = (patience: Patience): boolean => Schedule.isSchedule(patience) || millisOf(patience) >= 0

const sum = (delays: Unrolled["delays"]): number => delays.reduce((total, delay) => total + delay, 0)

const text = (millis: number): string => Duration.format(Duration.millis(millis))
