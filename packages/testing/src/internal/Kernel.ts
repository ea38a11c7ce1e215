/** The TCP of one machine: its connections, its listeners, and its answer to packets that belong to neither. */
import type { Options, SocketOptions } from "../Kernel.ts"
import { Endpoint, micros } from "./Endpoint.ts"
import type { HostTime } from "./HostTime.ts"
import type { Journal } from "./Journal.ts"
import type { Path, Segment } from "./Path.ts"
import type { World } from "./World.ts"

/** A port on which a program listens, and the connections that wait to be accepted. */
export interface Listener {
  readonly port: number
  readonly backlogMax: number
  readonly waiting: Array<Endpoint>
  onWaiting: () => void
}

export class Kernel {
  readonly name: string
  readonly options: Options
  readonly time: HostTime
  readonly world: World
  readonly times
  /** Switched off: what arrives is lost. */
  isDown = false
  private readonly journal: Journal
  private readonly pathTo: (host: string) => Path
  private readonly endpoints = new Map<string, Endpoint>()
  private readonly listeners = new Map<number, Listener>()
  private nextPort = firstPort

  constructor(name: string, options: Options, time: HostTime, journal: Journal, pathTo: (host: string) => Path) {
    this.name = name
    this.options = options
    this.time = time
    this.world = time.world
    this.journal = journal
    this.pathTo = pathTo
    this.times = {
      retransmitTimeout: micros(options.retransmitTimeout),
      retransmitTimeoutMax: micros(options.retransmitTimeoutMax),
      dialTimeout: micros(options.dialTimeout),
      endTimeout: micros(options.endTimeout)
    }
  }

  dial(remote: string, remotePort: number, socket: SocketOptions): Endpoint {
    const localPort = this.nextPort++
    const connection = `${this.name}:${localPort}>${remote}:${remotePort}`
    const endpoint = this.add({ connection, localPort, remote, remotePort, socket, admit: undefined })
    this.record("Dialed", connection)
    endpoint.open()
    return endpoint
  }

  /** Undefined: the port is taken. Port 0 is any that is free. */
  listen(wanted: number, backlogMax = this.options.backlogMax): Listener | undefined {
    let port = wanted
    if (port === 0) for (port = firstPort; this.listeners.has(port);) port++
    if (this.listeners.has(port)) return undefined
    const listener: Listener = { port, backlogMax, waiting: [], onWaiting: () => undefined }
    this.listeners.set(port, listener)
    this.journal.record({ _tag: "Listening", host: this.name, port })
    return listener
  }

  /** Who waits to be accepted is reset. */
  unlisten(listener: Listener): void {
    if (this.listeners.get(listener.port) !== listener) return
    this.listeners.delete(listener.port)
    for (const endpoint of listener.waiting.splice(0)) endpoint.abort()
    for (const endpoint of this.connections) {
      if (endpoint.isGreeting && endpoint.options.localPort === listener.port) endpoint.vanish()
    }
  }

  receive(segment: Segment, from: string): void {
    if (this.isDown) return
    const endpoint = this.endpoints.get(keyOf(segment.toPort, from, segment.fromPort))
    if (endpoint !== undefined) return endpoint.receive(segment)
    const listener = this.listeners.get(segment.toPort)
    if (segment.kind === "syn" && listener !== undefined) return this.greet(listener, segment, from)
    if (segment.kind !== "reset") this.refuse(segment, from)
  }

  /** A router on the way says that one of our packets cannot be delivered. */
  unreachable({ fromPort, toPort }: Segment, remote: string): void {
    if (!this.isDown) this.endpoints.get(keyOf(fromPort, remote, toPort))?.unreachable()
  }

  /** The program was killed: the kernel closes what it had open. */
  closeAll(): void {
    for (const listener of [...this.listeners.values()]) this.unlisten(listener)
    for (const endpoint of this.connections) endpoint.close()
  }

  /** Power is gone. */
  vanishAll(): void {
    this.listeners.clear()
    for (const endpoint of this.connections) endpoint.vanish()
  }

  /** The connections with another machine. */
  connectionsWith(remote: string): ReadonlyArray<Endpoint> {
    return [...this.endpoints.values()].filter(({ options }) => options.remote === remote)
  }

  /** All connections of this machine, those that its program has left included. */
  get connections(): ReadonlyArray<Endpoint> {
    return [...this.endpoints.values()]
  }

  forget(endpoint: Endpoint): void {
    const { localPort, remote, remotePort } = endpoint.options
    this.endpoints.delete(keyOf(localPort, remote, remotePort))
  }

  record(what: "Dialed" | "Connected" | "Accepted" | "Closed" | "Aborted", connection: string): void {
    this.journal.record({ _tag: what, host: this.name, connection })
  }

  fail(connection: string, code: string): void {
    this.journal.record({ _tag: "Failed", host: this.name, connection, code })
  }

  /** Answers the first packet of a dial, unless too many wait to be accepted: then it is as if it had never come. */
  private greet(listener: Listener, segment: Segment, remote: string): void {
    if (isFull(listener)) return
    const endpoint = this.add({
      connection: segment.connection,
      localPort: segment.toPort,
      remote,
      remotePort: segment.fromPort,
      socket: {},
      admit: (endpoint) => {
        if (this.listeners.get(listener.port) !== listener || isFull(listener)) return false
        listener.waiting.push(endpoint)
        listener.onWaiting()
        return true
      }
    })
    endpoint.open(segment)
  }

  private add(options: Omit<Endpoint["options"], "kernel" | "path">): Endpoint {
    const endpoint = new Endpoint({ ...options, kernel: this, path: this.pathTo(options.remote) })
    this.endpoints.set(keyOf(options.localPort, options.remote, options.remotePort), endpoint)
    return endpoint
  }

  private refuse(segment: Segment, to: string): void {
    const { connection, fromPort, toPort } = segment
    const nothing = {
      seq: 0,
      bytes: 0,
      chunks: [],
      ack: 0,
      limit: 0,
      stamp: 0,
      echo: 0,
      gap: false,
      windowUpdate: false
    }
    this.pathTo(to).send({ ...nothing, connection, fromPort: toPort, toPort: fromPort, kind: "reset" })
  }
}

/** Linux takes one more than it was told. */
const isFull = (listener: Listener) => listener.waiting.length > listener.backlogMax

const keyOf = (localPort: number, remote: string, remotePort: number) => `${localPort}/${remote}:${remotePort}`

const firstPort = 49_152
