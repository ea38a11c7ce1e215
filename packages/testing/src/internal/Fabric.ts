/** All machines of a simulation and the ways between them, and what faults do to both. */
import { describe, type Fault } from "../Fault.ts"
import { HostTime } from "./HostTime.ts"
import type { Journal } from "./Journal.ts"
import { Machine, type MachineOptions } from "./Machine.ts"
import { Path, type Rule, type Segment, type Shape } from "./Path.ts"
import { Prng } from "./Prng.ts"
import type { World } from "./World.ts"

/** What befalls a machine, not a way. */
type OfMachine = Exclude<Extract<Fault, { readonly host: string }>, { readonly _tag: "Blackhole" }>

/** Heals a fault. */
export type Heal = () => void

export interface FabricOptions extends Pick<MachineOptions, "seed" | "observer" | "services" | "onDefect"> {
  readonly world: World
  readonly journal: Journal
  readonly shape: Shape
}

export class Fabric {
  readonly world: World
  readonly journal: Journal
  readonly machines = new Map<string, Machine>()
  private readonly options: FabricOptions
  private readonly paths = new Map<string, Path>()
  private readonly inForce = new Set<Heal>()

  constructor(options: FabricOptions) {
    this.options = options
    this.world = options.world
    this.journal = options.journal
  }

  /** Makes a machine, or finds it. */
  machine(name: string, kernel: MachineOptions["kernel"], wallMillis: number): Machine {
    const present = this.machines.get(name)
    if (present !== undefined) return present
    const machine = new Machine({
      ...this.options,
      name,
      address: `10.0.${this.machines.size >> 8}.${(this.machines.size & 255) + 1}`,
      kernel,
      time: new HostTime(this.world, wallMillis * 1000),
      pathTo: (to) => this.path(name, to)
    })
    this.machines.set(name, machine)
    return machine
  }

  /** The way from one machine to another. */
  path(from: string, to: string): Path {
    const key = `${from}>${to}`
    const present = this.paths.get(key)
    if (present !== undefined) return present
    const { journal, seed, shape, world } = this.options
    const path = new Path({
      world,
      journal,
      prng: new Prng(seed, `path ${key}`),
      from,
      to,
      shape: from === to ? { ...shape, latency: loopbackLatency, jitter: 0 } : { ...shape },
      deliver: (segment, from) => this.deliver(segment, from, to)
    })
    this.paths.set(key, path)
    return path
  }

  /** Lets a fault begin. What it returns ends it, once. */
  inflict(fault: Fault): Heal {
    const text = describe(fault)
    this.journal.record({ _tag: "Inflicted", fault, text })
    const undo = this.begin(fault)
    if (undo === undefined) return () => undefined
    const heal = () => {
      if (!this.inForce.delete(heal)) return
      undo()
      this.journal.record({ _tag: "Healed", fault, text })
    }
    this.inForce.add(heal)
    return heal
  }

  /** Ends all faults that are in force. */
  healAll(): void {
    for (const heal of [...this.inForce]) heal()
  }

  known(name: string): Machine {
    const machine = this.machines.get(name)
    if (machine === undefined)
      throw new Error(`there is no machine called ${name}; there are: ${[...this.machines.keys()].join(", ")}`)
    return machine
  }

  private begin(fault: Fault): Heal | undefined {
    switch (fault._tag) {
      case "Partition":
        return both(this.take(fault.a, fault.b, fault._tag), this.take(fault.b, fault.a, fault._tag))
      case "OneWay":
        return this.take(fault.from, fault.to, fault._tag)
      case "Blackhole": {
        const { name } = this.known(fault.host)
        const others = [...this.machines.keys()].filter((other) => other !== name)
        return both(
          ...others.flatMap((other) => [this.take(name, other, fault._tag), this.take(other, name, fault._tag)])
        )
      }
      case "Unreachable": {
        const { kernel } = this.known(fault.from)
        return this.take(
          fault.from,
          fault.to,
          fault._tag,
          () => true,
          (segment) => kernel.unreachable(segment, fault.to)
        )
      }
      case "SynOnly":
        return this.take(fault.from, fault.to, fault._tag, ({ kind }) => kind !== "syn")
      case "LostWindowUpdates":
        return this.take(fault.from, fault.to, fault._tag, ({ windowUpdate }) => windowUpdate)
      case "MtuBlackhole":
        return this.take(fault.from, fault.to, fault._tag, ({ bytes }) => bytes > fault.bytesMax)
      case "NatForgets": {
        const forgotten = new Set(this.ends(fault.a, fault.b).map(({ options }) => options.connection))
        const isForgotten = ({ connection }: Segment) => forgotten.has(connection)
        this.take(fault.a, fault.b, fault._tag, isForgotten)
        this.take(fault.b, fault.a, fault._tag, isForgotten)
        return undefined
      }
      case "Cut":
        for (const end of this.ends(fault.a, fault.b)) end.fail("ECONNRESET")
        return undefined
      case "CloseWithoutReading":
        for (const end of this.ends(fault.a, fault.b)) end.sever()
        return undefined
      case "RateLimit":
        return this.path(fault.from, fault.to).change({ bytesPerSecond: fault.bytesPerSecond })
      case "Latency": {
        const latency = Math.round(fault.latencyMillis * 1000)
        const jitter = Math.round(fault.jitterMillis * 1000)
        return both(
          this.path(fault.a, fault.b).change({ latency, jitter }),
          this.path(fault.b, fault.a).change({ latency, jitter })
        )
      }
      case "All": {
        const heals = fault.faults.map((one) => this.begin(one)).filter((heal) => heal !== undefined)
        return heals.length === 0 ? undefined : both(...heals)
      }
      default:
        return this.beginOn(this.known(fault.host), fault)
    }
  }

  private beginOn(machine: Machine, fault: OfMachine): Heal | undefined {
    switch (fault._tag) {
      case "Freeze":
      case "BlockedLoop":
        machine.hold()
        machine.tell("frozen")
        return () => {
          machine.release()
          machine.tell("thawed")
        }
      case "Suspend":
        machine.suspend()
        machine.tell("suspended")
        return () => {
          machine.resume()
          machine.tell("resumed")
        }
      case "Crash":
        machine.crash()
        return () => machine.restart()
      case "Kill":
        machine.kill()
        return () => machine.restart()
      case "ClockJump":
        machine.time.jump(Math.round(fault.byMillis * 1000))
        return undefined
      case "Drift":
        machine.time.setRate(1 + fault.partsPerMillion / 1e6)
        return () => machine.time.setRate(1)
      case "SlowReader":
        return machine.slow(fault.bytesPerSecond)
    }
  }

  /** Both ends of all connections between two machines. */
  private ends(a: string, b: string) {
    const ends = this.known(a).kernel.connectionsWith(b)
    return a === b ? ends : [...ends, ...this.known(b).kernel.connectionsWith(a)]
  }

  private take(
    from: string,
    to: string,
    name: string,
    takes: Rule["takes"] = () => true,
    answers?: Rule["answers"]
  ): Heal {
    const { rules } = this.path(this.known(from).name, this.known(to).name)
    const rule: Rule = { name, takes, answers }
    rules.add(rule)
    return () => void rules.delete(rule)
  }

  private deliver(segment: Segment, from: string, to: string): void {
    const machine = this.machines.get(to)
    if (machine === undefined || machine.isSuspended) return
    machine.kernel.receive(segment, from)
  }
}

const both =
  (...heals: ReadonlyArray<Heal>): Heal =>
  () => {
    for (const heal of heals) heal()
  }

const loopbackLatency = 20
