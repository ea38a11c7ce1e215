/** A simulated machine: clocks, a kernel, and the program that runs on it, if one does. */
import { Context, Effect, Exit, Fiber, Layer, Random, Scope } from "effect"
import { Mac, SecureRandom } from "effect/crypto"
import type * as Kernel from "../Kernel.ts"
import type { HostState } from "../Transcript.ts"
import type { HostTime } from "./HostTime.ts"
import type { Journal } from "./Journal.ts"
import { Kernel as TcpKernel } from "./Kernel.ts"
import type { Path } from "./Path.ts"
import { Prng } from "./Prng.ts"
import { Process, runIn } from "./Process.ts"
import { hmacSha256 } from "./Sha256.ts"
import type { Stream } from "./SimSocket.ts"

export interface MachineOptions {
  readonly name: string
  readonly address: string
  readonly seed: number | string
  readonly kernel: Kernel.Options
  readonly time: HostTime
  readonly journal: Journal
  readonly pathTo: (host: string) => Path
  /** The process of whoever looks at the simulation. */
  readonly observer: Process
  /** What every program finds in its context. */
  readonly services: Context.Context<never>
  readonly onDefect: (host: string, exit: Exit.Exit<unknown, unknown>) => void
}

/** How fast programs read, and when the next one may. */
export interface Slowness {
  readonly bytesPerSecond: number
  notBefore: number
}

/** One life of a program, and what it has acquired. */
interface Life {
  readonly process: Process
  readonly scope: Scope.Closeable
  readonly context: Context.Context<never>
}

export class Machine {
  readonly kernel: TcpKernel
  readonly streams = new Set<Stream>()
  readonly options: MachineOptions
  private readonly prng: Prng
  private readonly base: Context.Context<never>
  private life: Life | undefined
  private readonly slownesses = new Set<Slowness>()
  private lives = 0
  private fibersLeft = 0
  private holds = 0
  private suspensions = 0
  private readonly boots: Array<() => void> = []

  constructor(options: MachineOptions) {
    const { journal, kernel, name, pathTo, seed, services, time } = options
    this.options = options
    this.kernel = new TcpKernel(name, kernel, time, journal, pathTo)
    this.prng = new Prng(seed, `host ${name}`)
    const random = SecureRandom.make((size) => this.prng.bytes(size))
    const mac = Effect.runSync(
      Effect.scoped(Layer.build(layerMac.pipe(Layer.provide(Layer.succeed(SecureRandom.SecureRandom, random)))))
    )
    this.base = services.pipe(
      Context.add(Random.Random, this.prng.random),
      Context.add(SecureRandom.SecureRandom, random),
      Context.merge(mac)
    )
  }

  get name(): string {
    return this.options.name
  }

  get time(): HostTime {
    return this.options.time
  }

  get isUp(): boolean {
    return !this.kernel.isDown
  }

  /** Fibers of the present program that have not ended, or that the last one left behind. */
  get fibersLive(): number {
    return this.life?.process.fibersLive ?? this.fibersLeft
  }

  /** Runs an effect as part of the program; what it acquires lives as long as the program. */
  run<A, E, R>(effect: Effect.Effect<A, E, R>, around: Context.Context<R>): Effect.Effect<A, E> {
    return Effect.suspend(() => {
      if (this.kernel.isDown) return Effect.interrupt
      const { context, process, scope } = this.alive()
      const all = Context.merge(around, Context.add(context, Scope.Scope, scope))
      return runIn(process, this.options.observer, all, effect)
    })
  }

  /** Runs a program now and whenever the machine starts again. Its failure is the simulation's. */
  boot<R>(program: Effect.Effect<unknown, unknown, R>, around: Context.Context<R>): void {
    const start = () => {
      const { context, process, scope } = this.alive()
      const all = Context.merge(around, Context.add(context, Scope.Scope, scope))
      const fiber = Fiber.runIn(Effect.runForkWith(all)(Effect.andThen(Effect.yieldNow, program)), scope)
      fiber.addObserver((exit) => {
        if (!process.isDead && Exit.isFailure(exit) && !Exit.hasInterrupts(exit)) this.options.onDefect(this.name, exit)
      })
    }
    this.boots.push(start)
    start()
  }

  get process(): Process {
    return this.alive().process
  }

  // ---- what happens to machines

  /** The process is stopped (SIGSTOP), or its event loop blocked; the kernel goes on. */
  hold(): void {
    this.holds++
    this.life?.process.hold()
  }

  release(): void {
    this.holds--
    this.life?.process.release()
  }

  /** The machine sleeps: monotonic time stands still, what arrives is lost. */
  suspend(): void {
    if (++this.suspensions === 1) this.time.suspend()
    this.hold()
  }

  resume(): void {
    if (--this.suspensions === 0) this.time.resume()
    this.release()
  }

  get isSuspended(): boolean {
    return this.suspensions > 0
  }

  /** Power is gone: nothing says good-bye. */
  crash(): void {
    if (this.kernel.isDown) return
    this.kernel.isDown = true
    this.kernel.vanishAll()
    this.endLife()
    this.tell("crashed")
  }

  /** The simulation is over: nothing runs here again, and nobody is told. */
  vanish(): void {
    this.kernel.isDown = true
    this.endLife()
  }

  /** SIGKILL: the program is gone, the kernel closes what it had open. */
  kill(): void {
    if (this.life === undefined) return
    this.endLife()
    this.kernel.closeAll()
    this.tell("killed")
  }

  /** Starts again, with what was given to `boot`. */
  restart(): void {
    if (this.life !== undefined) return
    this.kernel.isDown = false
    this.alive()
    for (const start of this.boots) start()
  }

  /** Ends the program in good order, on the machine itself. */
  get stop(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { life } = this
      if (life === undefined) return Effect.void
      return Effect.andThen(
        runIn(life.process, this.options.observer, life.context, Scope.close(life.scope, Exit.void)),
        Effect.sync(() => {
          if (this.life !== life) return
          this.fibersLeft = life.process.fibersLive
          this.endLife()
          this.kernel.closeAll()
          this.tell("stopped")
        })
      )
    })
  }

  /** How fast programs read, if something has made them slow. */
  get slowness(): Slowness | undefined {
    return [...this.slownesses].at(-1)
  }

  /** Lets programs read only so many bytes a second, until what it returns is called. */
  slow(bytesPerSecond: number): () => void {
    const mine: Slowness = { bytesPerSecond, notBefore: 0 }
    this.slownesses.add(mine)
    return () => {
      this.slownesses.delete(mine)
      this.nudge()
    }
  }

  /** Lets all programs look at their sockets again. */
  nudge(): void {
    for (const stream of this.streams) stream.notify()
  }

  tell(to: HostState): void {
    this.options.journal.record({ _tag: "HostChanged", host: this.name, to })
  }

  private alive(): Life {
    if (this.life !== undefined) return this.life
    const process = new Process(this.time)
    this.fibersLeft = 0
    for (let i = 0; i < this.holds; i++) process.hold()
    this.life = { process, scope: Scope.makeUnsafe(), context: Context.merge(this.base, process.context) }
    if (++this.lives > 1 || this.kernel.isDown) this.tell("started")
    return this.life
  }

  private endLife(): void {
    this.life?.process.die()
    this.life = undefined
    this.streams.clear()
  }
}

const layerMac = Mac.layerWebCryptoWith({
  hmac: (hash, key, data) => {
    if (hash !== "SHA-256") throw new Error(`simulated programs have HMAC with SHA-256 only, not ${hash}`)
    return hmacSha256(key, data)
  }
})
