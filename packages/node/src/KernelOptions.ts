/**
 * Options of the kernel for a TCP connection, beyond those that Node sets. Each is set on every connection of a link or
 * listener, right after the dial or the accept, and a failure is never silent: an option that cannot be set here refuses
 * the dial (or the listening) with the reason.
 *
 * Only Linux with koffi can set them; `keepAlive` also works elsewhere, from Node 24 on.
 */
import { Duration, Effect, Option, Schema } from "effect"
import type { Socket } from "node:net"
import { descriptorOf } from "./internal/descriptor.ts"
import * as Libc from "./internal/libc.ts"

/** What to set. What is not given stays as the system has it. */
export interface KernelOptions {
  /**
   * `TCP_USER_TIMEOUT`: the kernel itself ends the connection with ETIMEDOUT when something was not acknowledged, or a
   * closed window did not open, for so long. Whole milliseconds. It also ends a peer that lives and reads slowly, so
   * prefer `policy.stall`; it is for programs in which nobody watches.
   */
  readonly userTimeout?: Duration.Input | undefined
  /**
   * `TCP_NOTSENT_LOWAT`: Node holds back what it has while the kernel holds so many bytes unsent. Small values (16 KiB)
   * show a stall sooner and keep megabytes out of the kernel, where nobody can take them back; they cost throughput only
   * below what one round trip carries.
   */
  readonly unsentBytesMax?: number | undefined
  /**
   * `TCP_RTO_MAX_MS`: the longest pause between two repetitions; 1 s to 120 s, which is also the system's default. It
   * bounds how long a peer that vanished behind a closed window stays unnoticed, and how long one pays for the back-off
   * after the network has come back. Since Linux 6.15.
   */
  readonly repetitionIntervalMax?: Duration.Input | undefined
  /** Probes on an idle connection. The kernel sends none while something of ours is outstanding. */
  readonly keepAlive?: KeepAlive | undefined
}

/** Over after `idle` and `count` intervals: ETIMEDOUT. Whole seconds, 1 s to 32,767 s; at most 127 probes. */
export interface KeepAlive {
  /** How long nothing came before the first probe. */
  readonly idle: Duration.Input
  /** Between two probes. */
  readonly interval: Duration.Input
  /** Unanswered probes that end the connection. */
  readonly count: number
}

/** An option cannot be set here. Trying again cannot help: `retryable` is false. */
export class OptionRefused extends Schema.TaggedError<OptionRefused>()("OptionRefused", {
  /** The field of `KernelOptions`. */
  option: Schema.Literals(["userTimeout", "unsentBytesMax", "repetitionIntervalMax", "keepAlive"]),
  /** Why, in words. */
  detail: Schema.String
}) {
  get retryable(): boolean {
    return false
  }
  override get message(): string {
    return `the option ${this.option} cannot be set: ${this.detail}`
  }
}

/** Sets the options on a connected socket. One that is closed already is left alone. */
export const set = (socket: Socket, options: KernelOptions): Effect.Effect<void, OptionRefused> =>
  Effect.flatMap(prepare(options), ({ keepAlive, libc, settings }) =>
    Effect.suspend(() => {
      if (keepAlive !== undefined) socket.setKeepAlive(true, ...keepAlive)
      const descriptor = descriptorOf(socket)
      return libc === undefined || descriptor < 0 ? Effect.void : apply(libc, descriptor, settings)
    })
  )

/** Tries the options on a socket of its own, so that a listener can refuse them before anybody connects. */
export const check = (options: KernelOptions): Effect.Effect<void, OptionRefused> =>
  Effect.flatMap(prepare(options), ({ libc, settings }) =>
    libc === undefined
      ? Effect.void
      : Effect.acquireUseRelease(
          Effect.sync(() => libc.socket(AF_INET, SOCK_STREAM, 0)),
          (descriptor) => apply(libc, descriptor, settings),
          (descriptor) => Effect.sync(() => libc.close(descriptor))
        )
  )

interface Setting {
  readonly option: OptionRefused["option"]
  readonly level: number
  readonly name: number
  readonly value: number
}

interface Prepared {
  readonly libc: Libc.Libc | undefined
  readonly settings: ReadonlyArray<Setting>
  /** As Node takes it, where there is no libc: idle and interval in milliseconds, count. */
  readonly keepAlive: readonly [number, number, number] | undefined
}

const prepare = Effect.fnUntraced(function* (options: KernelOptions): Effect.fn.Return<Prepared, OptionRefused> {
  const settings: Array<Setting> = []
  const tcp = (option: Setting["option"], name: number, value: number) =>
    settings.push({ option, level: IPPROTO_TCP, name, value })
  const { repetitionIntervalMax, unsentBytesMax, userTimeout } = options
  if (userTimeout !== undefined) {
    tcp("userTimeout", TCP_USER_TIMEOUT, yield* whole("userTimeout", userTimeout, "1 millis", 2 ** 31 - 1))
  }
  if (unsentBytesMax !== undefined) {
    if (!(Number.isInteger(unsentBytesMax) && unsentBytesMax > 0 && unsentBytesMax < 2 ** 31)) {
      return yield* refused("unsentBytesMax", `${unsentBytesMax} is not a number of bytes`)
    }
    tcp("unsentBytesMax", TCP_NOTSENT_LOWAT, unsentBytesMax)
  }
  if (repetitionIntervalMax !== undefined) {
    const millis = yield* whole("repetitionIntervalMax", repetitionIntervalMax, "1 millis", 120_000)
    if (millis < 1000) return yield* refused("repetitionIntervalMax", "the kernel takes 1 s to 120 s")
    tcp("repetitionIntervalMax", TCP_RTO_MAX_MS, millis)
  }
  const keepAlive = options.keepAlive === undefined ? undefined : yield* probing(options.keepAlive)

  const libc = yield* Effect.promise(() => Libc.load())
  if (libc !== undefined) {
    if (keepAlive !== undefined) {
      const [idle, interval, count] = keepAlive
      settings.push({ option: "keepAlive", level: SOL_SOCKET, name: SO_KEEPALIVE, value: 1 })
      tcp("keepAlive", TCP_KEEPIDLE, idle)
      tcp("keepAlive", TCP_KEEPINTVL, interval)
      tcp("keepAlive", TCP_KEEPCNT, count)
    }
    return { libc, settings, keepAlive: undefined }
  }
  const [first] = settings
  if (first !== undefined) return yield* refused(first.option, "this needs Linux and the package koffi")
  if (keepAlive === undefined) return { libc, settings, keepAlive }
  if (nodeMajor < 24) return yield* refused("keepAlive", "this needs Node 24, or Linux and the package koffi")
  const [idle, interval, count] = keepAlive
  return { libc, settings, keepAlive: [idle * 1000, interval * 1000, count] }
})

const probing = Effect.fnUntraced(function* ({ count, idle, interval }: KeepAlive) {
  if (!(Number.isInteger(count) && count > 0 && count <= 127)) {
    return yield* refused("keepAlive", `count is ${count}, and must be 1 to 127`)
  }
  return [
    yield* whole("keepAlive", idle, "1 second", 32_767),
    yield* whole("keepAlive", interval, "1 second", 32_767),
    count
  ] as const
})

/** A duration as a whole number of units, from 1 to `max`. Nothing is rounded: it would not be what was asked for. */
const whole = (
  option: Setting["option"],
  input: Duration.Input,
  unit: "1 millis" | "1 second",
  max: number
): Effect.Effect<number, OptionRefused> => {
  const millis = Option.match(Duration.fromInput(input), { onNone: () => NaN, onSome: Duration.toMillis })
  const units = unit === "1 second" ? millis / 1000 : millis
  return Number.isInteger(units) && units >= 1 && units <= max
    ? Effect.succeed(units)
    : refused(option, `${millis} ms is not a multiple of ${unit} from 1 to ${max}`)
}

const apply = (
  libc: Libc.Libc,
  descriptor: number,
  settings: ReadonlyArray<Setting>
): Effect.Effect<void, OptionRefused> =>
  Effect.forEach(
    settings,
    ({ level, name, option, value }) => {
      argument.setInt32(0, value, true)
      if (libc.setsockopt(descriptor, level, name, argumentBytes, 4) === 0) return Effect.void
      return refused(option, `the kernel says ${libc.error()} to ${value}`)
    },
    { discard: true }
  )

const refused = (option: Setting["option"], detail: string) => Effect.fail(new OptionRefused({ option, detail }))

const argumentBytes = new Uint8Array(4)
const argument = new DataView(argumentBytes.buffer)

const nodeMajor = Number.parseInt(process.versions.node)

const AF_INET = 2
const SOCK_STREAM = 1
const SOL_SOCKET = 1
const SO_KEEPALIVE = 9
const IPPROTO_TCP = 6
const TCP_KEEPIDLE = 4
const TCP_KEEPINTVL = 5
const TCP_KEEPCNT = 6
const TCP_USER_TIMEOUT = 18
const TCP_NOTSENT_LOWAT = 25
const TCP_RTO_MAX_MS = 44
