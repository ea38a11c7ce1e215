/**
 * A network made of time: machines, the ways between them, and faults, in a world whose time passes by itself whenever
 * nobody has anything to do. Any Effect program that uses `Socket` and `SocketServer` runs on it unchanged.
 *
 * Guarantees: the same seed gives the same transcript, byte for byte; hours take milliseconds; a kernel behaves as
 * Linux was measured to (`Kernel`). What must hold for that: programs take time and chance from Effect, and wait for
 * nothing outside: no promise that needs a real timer or a real socket.
 *
 * ```ts
 * import { Fault, SimHost, SimNetwork } from "@holdfast/testing"
 * import { Effect, Layer } from "effect"
 * import { Session } from "holdfast"
 *
 * class Plain extends Session.Service<Plain>()("app/Plain") {}
 *
 * const survives = SimNetwork.run({ seed: 1 }, (network) =>
 *   Effect.gen(function*() {
 *     const server = network.host("server")
 *     const client = network.host("client")
 *     yield* server.run(Layer.build(
 *       Plain.serve((session) => session.handle(() => Effect.void)).pipe(Layer.provide(SimHost.layerListener({ port: 7000 })))
 *     ))
 *     const session = yield* client.run(Plain.make({ link: SimHost.dial({ host: "server", port: 7000 }) }))
 *     yield* network.play([Fault.at("1 second", Fault.partition("client", "server"), { for: "40 seconds" })])
 *     yield* Effect.sleep("2 seconds")
 *     yield* client.run(session.deliver(new TextEncoder().encode("still there?")))
 *   })
 * )
 * ```
 */
import { Clock, Context, Duration, Effect, Exit, Fiber, Random, type Scope } from "effect"
import type * as TestClock from "effect/testing/TestClock"
import type { Fault, Timeline } from "./Fault.ts"
import { micros } from "./internal/Endpoint.ts"
import { Fabric } from "./internal/Fabric.ts"
import { HostTime } from "./internal/HostTime.ts"
import { hostOf } from "./internal/hosting.ts"
import { Journal } from "./internal/Journal.ts"
import type { Shape } from "./internal/Path.ts"
import { Prng } from "./internal/Prng.ts"
import { Process } from "./internal/Process.ts"
import { World } from "./internal/World.ts"
import * as Kernel from "./Kernel.ts"
import type { SimHost } from "./SimHost.ts"
import type { Entry } from "./Transcript.ts"

/** A direction between two machines. */
export interface LinkOptions {
  /** From one machine to the other. Default 1 ms; 20 µs from a machine to itself. */
  readonly latency?: Duration.Input | undefined
  /** Up to so much more, drawn for each packet; packets stay in order. Default none. */
  readonly jitter?: Duration.Input | undefined
  /** Default: no limit. */
  readonly bytesPerSecond?: number | undefined
  /** What one packet carries. Default 1448, an Ethernet frame without its headers; larger ones simulate faster. */
  readonly segmentBytesMax?: number | undefined
}

/** What a simulation is made of. */
export interface Options {
  /** Everything that is left to chance follows from it. */
  readonly seed: number | string
  /** All links, unless {@link SimNetwork.link} says otherwise. */
  readonly link?: LinkOptions | undefined
  /** All kernels, unless a host says otherwise. Default: {@link Kernel.defaults}. */
  readonly kernel?: Partial<Kernel.Options> | undefined
  /** A simulation that goes on for longer dies. Default 400 days. */
  readonly timeMax?: Duration.Input | undefined
  /**
   * Whether programs wait for promises: the real event loop then gets a turn between any two instants. Default true.
   * Where nothing does, `false` simulates half as fast again.
   */
  readonly awaitsPromises?: boolean | undefined
  /** Packets that the transcript holds; later ones are not recorded. Default 1,000,000. */
  readonly packetsMax?: number | undefined
}

/** What one machine is made of. */
export interface HostOptions {
  readonly kernel?: Partial<Kernel.Options> | undefined
  /** Its wall clock when the simulation begins, in milliseconds since 1970. Default 0. */
  readonly wallMillis?: number | undefined
}

/** A running simulation, for the effect that directs it. */
export interface SimNetwork {
  readonly seed: number | string
  /** The machine of this name; made when it is first asked for. */
  readonly host: (name: string, options?: HostOptions | undefined) => SimHost
  /** Shapes the way between two machines, in both directions unless `back` says otherwise for that from `b` to `a`. */
  readonly link: (a: string, b: string, options: LinkOptions & { readonly back?: LinkOptions | undefined }) => void
  /** Lets a fault begin now; it ends with the scope. */
  readonly inflict: (fault: Fault) => Effect.Effect<void, never, Scope.Scope>
  /** Lets faults come and go by themselves, counted from now. */
  readonly play: (timeline: Timeline) => Effect.Effect<void>
  /** Ends all faults that are in force. Those that are still to come, come. */
  readonly heal: Effect.Effect<void>
  /** Milliseconds since the simulation began. */
  readonly now: () => number
  /** What has happened so far. */
  readonly transcript: ReadonlyArray<Entry>
}

/**
 * Runs a simulation. The body is the one who looks at it: it makes machines, starts programs, inflicts faults, and
 * waits. `Effect.sleep` in it lets time pass; it ends after everything else that is due at that instant. `TestClock.adjust`
 * does the same.
 *
 * When the body has succeeded, faults are healed and programs end in good order. When it fails, everything stops at once.
 * A simulation in which nothing can happen any more while the body waits dies and says so.
 */
export const run = <A, E, R>(
  options: Options,
  body: (network: SimNetwork) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, Scope.Scope>> =>
  Effect.contextWith((context: Context.Context<Exclude<R, Scope.Scope>>) =>
    Effect.suspend(() => {
      const simulation = begin(options, context, () => fiber.interruptUnsafe())
      const main = Effect.scoped(body(simulation.network)).pipe(Effect.tap(() => simulation.end))
      const fiber = Effect.runForkWith(simulation.context)(Effect.andThen(Effect.yieldNow, main as Effect.Effect<A, E>))
      return drive(simulation, fiber).pipe(
        Effect.onInterrupt(() => {
          simulation.director.post(() => fiber.interruptUnsafe())
          return Effect.ignoreCause(drive(simulation, fiber))
        }),
        Effect.ensuring(Effect.sync(() => simulation.over()))
      )
    })
  )

interface Simulation<R> {
  readonly network: SimNetwork
  readonly world: World
  readonly director: Process
  readonly context: Context.Context<R>
  readonly timeMax: number
  /** After how many the real event loop gets a turn. */
  readonly instantsPerTurn: number
  /** Heals, and ends all programs in good order. */
  readonly end: Effect.Effect<void>
  readonly over: () => void
  /** How a program on a machine has failed. */
  defect: Exit.Exit<never> | undefined
}

const begin = <R>(options: Options, around: Context.Context<R>, interrupt: () => void): Simulation<R> => {
  const world = new World()
  const journal = new Journal(world, options.packetsMax ?? packetsMaxDefault)
  const directorTime = new HostTime(world, 0, 1)
  const director = new Process(directorTime)
  const fabric = new Fabric({
    world,
    journal,
    seed: options.seed,
    shape: { ...shapeDefault, ...shapeOf(options.link ?? {}) },
    observer: director,
    services: Context.empty(),
    onDefect: (host, exit) => {
      simulation.defect ??= exit as Exit.Exit<never>
      journal.record({ _tag: "Noted", host, text: "the program failed" })
      director.post(interrupt)
    }
  })
  const hosts = new Map<string, SimHost>()
  const network: SimNetwork = {
    seed: options.seed,
    host(name, own) {
      const present = hosts.get(name)
      if (present !== undefined) return present
      const kernel = { ...Kernel.defaults, ...given(options.kernel), ...given(own?.kernel) }
      const host = hostOf(fabric.machine(name, kernel, own?.wallMillis ?? 0), fabric)
      hosts.set(name, host)
      return host
    },
    link(a, b, { back, ...there }) {
      fabric.path(a, b).reshape(shapeOf(there))
      fabric.path(b, a).reshape(shapeOf({ ...there, ...given(back) }))
    },
    inflict: (fault) =>
      Effect.asVoid(
        Effect.acquireRelease(
          Effect.sync(() => fabric.inflict(fault)),
          (heal) => Effect.sync(heal)
        )
      ),
    play: (timeline) =>
      Effect.sync(() => {
        for (const { atMillis, fault, untilMillis } of timeline) {
          const at = world.now + Math.round(atMillis * 1000)
          world.schedule(at, () => {
            const heal = fabric.inflict(fault)
            if (untilMillis !== undefined) world.schedule(at + Math.round((untilMillis - atMillis) * 1000), heal)
          })
        }
      }),
    heal: Effect.sync(() => fabric.healAll()),
    now: () => world.now / 1000,
    transcript: journal.entries
  }
  const context: Context.Context<R> = Context.merge(around, director.context).pipe(
    Context.add(Clock.Clock, directing(director, directorTime)),
    Context.add(Random.Random, new Prng(options.seed, "director").random)
  )
  const simulation: Simulation<R> = {
    network,
    world,
    director,
    context,
    instantsPerTurn: options.awaitsPromises === false ? instantsPerTurnMax : 1,
    timeMax: options.timeMax === undefined ? timeMaxDefault : micros(options.timeMax),
    end: Effect.suspend(() => {
      fabric.healAll()
      return Effect.forEach([...fabric.machines.values()], (machine) => machine.stop, { concurrency: "unbounded" })
    }).pipe(Effect.timeoutOption(endTimeout), Effect.asVoid),
    over: () => {
      world.isOver = true
      for (const machine of fabric.machines.values()) machine.vanish()
      director.die()
    },
    defect: undefined
  }
  return simulation
}

/** Lets the world go on until the directing fiber has ended; between two instants the real event loop gets a turn. */
const drive = <A, E, R>(simulation: Simulation<R>, fiber: Fiber.Fiber<A, E>): Effect.Effect<A, E> =>
  Effect.gen(function* () {
    const { instantsPerTurn, timeMax, world } = simulation
    let idleTurns = 0
    let instants = 0
    while (fiber.pollUnsafe() === undefined) {
      world.settle()
      if (fiber.pollUnsafe() !== undefined) break
      if (++instants % instantsPerTurn === 0) yield* Effect.yieldNow
      if (world.hasReady) continue
      if (world.now > timeMax)
        return yield* Effect.die(new Error(`the simulation went on for longer than ${text(timeMax)} (timeMax)`))
      if (world.advance()) idleTurns = 0
      else if (++idleTurns > idleTurnsMax) return yield* Effect.die(new Error(stuck(world.now)))
    }
    return yield* simulation.defect ?? fiber.pollUnsafe() ?? Effect.never
  })

/** The director's clock, which is a TestClock, too: adjusting it is waiting. */
const directing = ({ clock }: Process, time: HostTime): TestClock.TestClock => ({
  currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe(),
  currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
  monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
  currentTimeMillis: clock.currentTimeMillis,
  currentTimeNanos: clock.currentTimeNanos,
  monotonicTimeNanos: clock.monotonicTimeNanos,
  sleep: (duration) => clock.sleep(duration),
  adjust: (duration) => clock.sleep(Duration.fromInputUnsafe(duration)),
  setTime: (timestamp) => clock.sleep(Duration.millis(timestamp - time.wall() / 1000)),
  withLive: (effect) => effect
})

const shapeOf = ({ bytesPerSecond, jitter, latency, segmentBytesMax }: LinkOptions): Partial<Shape> => ({
  ...(latency === undefined ? {} : { latency: micros(latency) }),
  ...(jitter === undefined ? {} : { jitter: micros(jitter) }),
  ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
  ...(segmentBytesMax === undefined ? {} : { segmentBytesMax })
})

const given = <A extends object>(options: A | undefined): Partial<A> =>
  Object.fromEntries(Object.entries(options ?? {}).filter(([, value]) => value !== undefined)) as Partial<A>

const stuck = (now: number) =>
  `nothing can happen any more at ${text(now)}: no packet is under way and no timer is set, but the simulation waits; ` +
  "does a program wait for something outside of it?"

const text = (micros: number) => Duration.format(Duration.micros(BigInt(Math.round(micros))))

const shapeDefault: Shape = { latency: 1000, jitter: 0, bytesPerSecond: Infinity, segmentBytesMax: 1448 }
const packetsMaxDefault = 1_000_000
const timeMaxDefault = 400 * 24 * 3600 * 1e6
const instantsPerTurnMax = 64
/** Virtual time for programs to end in. */
const endTimeout = "1 hour"
/** Turns of the real event loop that a promise may take while nothing else can happen. */
const idleTurnsMax = 100_000
