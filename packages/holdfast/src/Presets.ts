/**
 * The policies of systems that have run for years, as ordinary Schedules; a source with several clocks is a part of a
 * policy. Each names its source and is tested against it instant by instant.
 *
 * ```ts
 * import { Policy, Presets } from "holdfast"
 *
 * const likeZrepl = Policy.make(Presets.zrepl)
 * const likeGrpc = Policy.make({ silence: Presets.grpcKeepalive("20 seconds", "10 seconds") })
 * ```
 */
import { Cause, Duration, Effect, Random, Schedule } from "effect"
import type { ConnectionError } from "./ConnectionError.ts"
import type { Options } from "./Policy.ts"

/**
 * Asks after one interval of silence and gives up after another. Source: Open vSwitch `lib/reconnect.c`, states ACTIVE
 * and IDLE, whose probe interval is 5 s.
 */
export const openVSwitch = (interval: Duration.Input): Schedule.Schedule<number> =>
  Schedule.spaced(interval).pipe(Schedule.upTo({ times: 2 }))

/** Asks after `time` of silence and gives up `timeout` later. Source: gRPC keepalive (proposal A8). */
export const grpcKeepalive = (time: Duration.Input, timeout: Duration.Input): Schedule.Schedule<Duration.Duration> =>
  Schedule.duration(time).pipe(Schedule.concat(Schedule.duration(timeout)))

/**
 * Asks after `idle`, then every `interval`, and gives up when `count` questions went unanswered. Source: TCP keepalive
 * of Linux (`tcp_keepalive_time`, `_intvl`, `_probes`: 2 hours, 75 s, 9).
 */
export const tcpKeepalive = (
  idle: Duration.Input,
  interval: Duration.Input,
  count: number
): Schedule.Schedule<Duration.Duration | number> =>
  Schedule.duration(idle).pipe(Schedule.concat(Schedule.spaced(interval).pipe(Schedule.upTo({ times: count }))))

/** Heartbeats every 5 s, a dead or stuck peer given up after 10 s. Source: zrepl `dataconn_shared.go`. */
export const zrepl = { heartbeat: "5 seconds", silence: "10 seconds", stall: "10 seconds" } as const satisfies Options

/**
 * For a protocol that has no ping: nobody can be asked, so `silence` is off, and `stall` watches in three steps of 10 s
 * whether what we write is acknowledged. With a link that knows the kernel's figures a pulled cable is noticed 30 s after
 * the last acknowledgement. Source: the 30 s that "Failing fast" (golang-nuts, 2014) asks for.
 */
export const withoutPing = {
  silence: "Infinity",
  stall: Schedule.spaced("10 seconds").pipe(Schedule.upTo({ times: 3 }))
} as const satisfies Options

/** Keep-alive every 15 s, a silent peer given up after 30 s. Source: ASP.NET Core SignalR defaults, both sides. */
export const signalR = { heartbeat: "15 seconds", silence: "30 seconds" } as const satisfies Options

/** Waits for the server's ping of 25 s and its timeout of 20 s, and never asks. Source: Engine.IO client. */
export const socketIoClient = { silence: "45 seconds" } as const satisfies Options

/** Asks after 25 s and gives up 20 s later. Source: Engine.IO server, `pingInterval` and `pingTimeout`. */
export const socketIoServer = { silence: grpcKeepalive("25 seconds", "20 seconds") } as const satisfies Options

/**
 * Doubles from `minimum` to `maximum`, counted from the end of an attempt. Source: Open vSwitch `lib/reconnect.c`:
 * the state BACKOFF is entered when the connection or the attempt has ended, and lasts `backoff` from that instant.
 * (Open vSwitch begins anew once a connection lasted longer than the present backoff; here `policy.stability` decides.)
 */
export const openVSwitchBackoff = (
  minimum: Duration.Input = "1 second",
  maximum: Duration.Input = "8 seconds"
): Schedule.Schedule<Duration.Duration> => Schedule.min([Schedule.exponential(minimum), Schedule.spaced(maximum)])

/**
 * 1 s, then x 1.6 up to 120 s, each but the first +-20 % (so up to 144 s). Counted from the start of an attempt, so what
 * the attempt took is subtracted. Source: gRPC `doc/connection-backoff.md`.
 */
export const grpcBackoff: Schedule.Schedule<Duration.Duration, ConnectionError> = Schedule.min([
  Schedule.exponential("1 second", 1.6),
  Schedule.spaced("120 seconds")
]).pipe(
  Schedule.setInputType<ConnectionError>(),
  Schedule.modifyDelay(({ attempt, duration, input }) =>
    Effect.map(attempt === 1 ? Effect.succeed(1) : Random.nextBetween(0.8, 1.2), (factor) =>
      Duration.max(Duration.subtract(Duration.times(duration, factor), attemptTook(input)), Duration.zero)
    )
  )
)

/** 0, 2, 10, 30 s, then no more. Source: SignalR `DefaultReconnectPolicy`. */
export const signalRReconnect: Schedule.Schedule<number> = steps([0, 2000, 10_000, 30_000])

/** 10, 50, 100, 150, 200, 250, 500, 1000, 2000 ms, then every 5 s. Source: Phoenix `socket.js`, `reconnectAfterMs`. */
export const phoenixReconnect: Schedule.Schedule<number> = steps([10, 50, 100, 150, 200, 250, 500, 1000, 2000], 5000)

/**
 * Anything from nothing to the capped exponential delay. Spreads a crowd best for the load it causes. Source: Brooker,
 * "Exponential Backoff And Jitter" (AWS, 2015).
 */
export const fullJitter = (base: Duration.Input, cap: Duration.Input): Schedule.Schedule<Duration.Duration> =>
  Schedule.min([Schedule.exponential(base), Schedule.spaced(cap)]).pipe(
    Schedule.modifyDelay(({ duration }) => Effect.map(Random.next, (part) => Duration.times(duration, part)))
  )

/** Between `base` and three times the delay before, at most `cap`. Source: as for `fullJitter`. */
export const decorrelatedJitter = (base: Duration.Input, cap: Duration.Input): Schedule.Schedule<Duration.Duration> => {
  const [low, high] = [Duration.toMillis(base), Duration.toMillis(cap)]
  return Schedule.fromStep(
    Effect.sync(() => {
      let previous = low
      return (_now: number, _input: unknown) =>
        Effect.map(Random.nextBetween(low, previous * 3), (millis) => {
          previous = Math.min(high, millis)
          const delay = Duration.millis(previous)
          return [delay, delay] as [Duration.Duration, Duration.Duration]
        })
    })
  )
}

/**
 * Cuts the last delay so that the whole lasts exactly `total`: `spaced("5 seconds")` within 12 s is 5, 5, 2. Unlike
 * `Schedule.upTo({ duration })`, which lets the last delay run over.
 */
export const within =
  (total: Duration.Input) =>
  <Output, Input>(self: Schedule.Schedule<Output, Input>): Schedule.Schedule<Output, Input> =>
    self.pipe(
      Schedule.modifyDelay(({ duration, elapsed }) =>
        Effect.succeed(Duration.min(duration, Duration.millis(Duration.toMillis(total) - elapsed)))
      ),
      Schedule.while(({ duration }) => Effect.succeed(Duration.toMillis(duration) > 0))
    )

/** Fixed delays in milliseconds one after the other; after them `then` for ever, or no more. */
export function steps(millis: ReadonlyArray<number>, then?: number): Schedule.Schedule<number> {
  return Schedule.fromStep(
    Effect.sync(() => {
      let place = 0
      return (_now: number, _input: unknown) => {
        const delay = millis[place] ?? then
        if (delay === undefined) return Cause.done(place)
        return Effect.succeed([place++, Duration.millis(delay)] as [number, Duration.Duration])
      }
    })
  )
}

const attemptTook = (error: ConnectionError): Duration.Duration => Duration.sum(error.openingFor, error.upFor)
