/**
 * Everything that can happen next. A state is six numbers, each standing for a part that was met before: what the real
 * code does with a part is done once and remembered, so that exploring is a matter of looking up.
 *
 * Five reductions. What each leaves out is seen elsewhere:
 * - **A writer writes at once** what there is to write. One that waits would write fewer frames, and they would say what
 *   the last of the prompt ones say. News that may wait goes out at any time: `announces`.
 * - **Frames arrive whole on a link that lives on**, and up to any byte that matters on one that breaks. `Extent.pieces`
 *   widens that to pieces everywhere.
 * - **A consumer takes one message and stops.** A longer batch is the same, one after the other.
 * - **A session that nobody can name is forgotten**: ids and secrets are random, so one whose client has no ticket (the
 *   Welcome was lost, or the client has lost its memory) touches no other session. What may still come over its links
 *   comes just as well where its client merely gave up.
 * - **A link that the client gave up has one direction.** What the server says there is heard by nobody.
 */
import type { Client } from "./Client.ts"
import type { Core, Extent } from "./Core.ts"
import { brokenPromise, unfinished } from "./Promises.ts"
import type { Server } from "./Server.ts"
import { type ClientView, type SaidOn, type ServerView, Sides } from "./Sides.ts"
import { Table } from "./Table.ts"
import type { Doing } from "./Uses.ts"
import { frozen } from "./Snapshot.ts"
import { empty, gone, OldLinks, Wires } from "./Wire.ts"

/** What can happen. Giving up, losing and restarting are faults. */
export type Action =
  | `client ${Doing | "announces" | "dials" | "gets" | "notices" | "gives up" | "restarts"}`
  | `server ${Doing | "announces" | "gets" | "gets late" | "attaches" | "notices" | "loses" | "restarts"}`

const faults: ReadonlySet<Action> = new Set(["client gives up", "client restarts", "server loses", "server restarts"])

/** Told of each next state, which lies in `World.next`, or of what is broken on the way to it. */
export type Visit = (action: Action, isFault: boolean, broken: string | undefined) => void

/** How many numbers a state has. */
export const width = 6

/** Which is which. */
const atClient = 0
const atServer = 1
const atUp = 2
const atDown = 3
const atOld = 4
const atBudget = 5

/** What a fault costs of the budget; a restart costs one more. */
const fault = 16

export class World {
  /** The next state, for whoever is told of it; then the link and the piece that the step was about, and what was said. */
  readonly next = new Int32Array(width)
  link = 0
  piece: number | undefined
  said: ReadonlyArray<number | SaidOn> = []

  readonly wires = new Wires()
  private readonly sides = new Sides(this.wires)
  private readonly olds = new OldLinks()
  /** Pairs of a client's party and a server's that were met, and what is wrong with some of them. */
  private readonly pairs = new Table(2)
  private readonly pair = new Int32Array(2)
  private readonly brokenPairs = new Map<number, string>()
  private readonly core: Core
  private readonly extent: Extent

  constructor(core: Core, extent: Extent) {
    this.core = core
    this.extent = frozen(extent)
  }

  /** Nobody has dialled. */
  start(): Int32Array {
    const { client, server } = this.sides.start(this.core, this.extent)
    const { incarnations, restarts } = this.extent
    return Int32Array.of(client, server, gone, empty, this.olds.none, (incarnations - 1) * fault + restarts)
  }

  /** Visits every state that can follow. */
  visit(state: Int32Array, visit: Visit): void {
    const client = this.client(state)
    this.clientActs(state, client, visit)
    this.serverActs(state, this.server(state), visit)
    if (client.stage !== "idle") this.linkActs(state, client, visit)
    this.oldLinksAct(state, visit)
    if (state[atBudget]! < fault) return
    if (client.stage !== "idle") this.linkBreaks(state, client, visit)
    if (state[atBudget]! % fault > 0) this.sidesRestart(state, visit)
  }

  client(state: Int32Array): ClientView {
    return this.sides.clients.views[state[atClient]!]!
  }

  server(state: Int32Array): ServerView {
    return this.sides.servers.views[state[atServer]!]!
  }

  /** How many states of each side were met. */
  get sizes(): { readonly clients: number; readonly servers: number } {
    return { clients: this.sides.clients.size, servers: this.sides.servers.size }
  }

  /** The promise that is broken in a state. Two parties are held against one another once, in however many states they are. */
  broken(state: Int32Array): string | undefined {
    const client = this.client(state)
    const server = this.server(state)
    if (client.session === undefined || client.session !== server.session) return undefined
    this.pair[0] = client.partyNumber
    this.pair[1] = server.partyNumber
    const met = this.pairs.size
    const number = this.pairs.add(this.pair)
    if (number === met) {
      const why = brokenPromise(client.party, server.party!, this.extent.growthBytes)
      if (why !== undefined) this.brokenPairs.set(number, why)
    }
    return this.brokenPairs.get(number)
  }

  /** What is missing in a state in which nothing more happens. */
  unfinished(state: Int32Array): string | undefined {
    const client = this.client(state)
    const server = this.server(state)
    if (client.stage !== "up" || server.attached !== client.link) return "there is no link"
    return unfinished(client.party, server.party!, this.extent.channelsMax)
  }

  /** Both sides wait for credit on the same channel. */
  isStandoff(state: Int32Array): boolean {
    const client = this.client(state).party
    const server = this.server(state).party
    return client.others.some(
      ({ id, waitsForCredit }) =>
        waitsForCredit && (server?.others.some((other) => other.id === id && other.waitsForCredit) ?? false)
    )
  }

  private clientActs(state: Int32Array, { party, stage }: ClientView, visit: Visit): void {
    const act = (action: Action, key: number, act: (client: Client) => void) => {
      this.begin(state)
      if (action === "client dials") this.next[atUp] = empty
      this.actClient(action, key, act, visit)
    }
    for (const { act: use, doing, key } of party.uses) act(`client ${doing}`, key, (client) => use(client.party.own))
    if (stage === "up" && party.hasNews)
      act("client announces", announcing, (client) => client.party.own.peer.announce())
    if (stage === "idle") act("client dials", dialling, (client) => client.dial())
  }

  private serverActs(state: Int32Array, { attached, isStarted, opening, party }: ServerView, visit: Visit): void {
    for (const link of opening) {
      this.begin(state, link)
      this.actServer("server attaches", attaching(link), (server) => server.attach(link), visit)
    }
    if (party === undefined || !isStarted) return
    const act = (action: Action, key: number, act: (server: Server) => void) => {
      this.begin(state)
      this.actServer(action, key, act, visit)
    }
    for (const { act: use, doing, key } of party.uses)
      act(`server ${doing}`, key, (server) => use(server.member!.party.own))
    if (attached === 0 || !party.hasNews) return
    act("server announces", announcing, (server) => server.member!.party.own.peer.announce())
  }

  /** The link of the moment delivers, or its client notices that the other end is gone. */
  private linkActs(state: Int32Array, { link }: ClientView, visit: Visit): void {
    const up = state[atUp]!
    const down = state[atDown]!
    if (down !== empty) {
      const { piece, rest } = this.wires.next(down, this.extent.pieces)
      this.begin(state, link, piece)
      this.next[atDown] = rest
      this.actClient("client gets", receiving(0, piece), (client) => client.receive(this.wires.bytesOf(piece)), visit)
    } else if (up === gone) this.giveUp(state, "client notices", undefined, visit)
    if (this.readable(state, link, up) === empty) return
    const { piece, rest } = this.wires.next(up, this.extent.pieces)
    this.begin(state, link, piece)
    this.next[atUp] = rest
    this.serverGets("server gets", link, piece, visit)
  }

  /** What is left of earlier links arrives late, or never. */
  private oldLinksAct(state: Int32Array, visit: Visit): void {
    const old = state[atOld]!
    for (const { link, up } of this.olds.links(old)) {
      const readable = this.readable(state, link, up)
      if (readable !== empty) {
        const { piece, rest } = this.wires.next(up, this.extent.pieces)
        this.begin(state, link, piece)
        this.next[atOld] = this.olds.with(old, { link, up: rest })
        this.serverGets("server gets late", link, piece, visit)
      }
      for (const last of this.wires.lastPieces(readable)) {
        this.begin(state, link, last)
        this.next[atOld] = this.olds.without(old, link)
        this.serverLoses("server notices", link, last, visit)
      }
    }
  }

  /** The link of the moment breaks between two frames or inside of one, and one side finds out. */
  private linkBreaks(state: Int32Array, { link }: ClientView, visit: Visit): void {
    for (const last of this.wires.lastPieces(state[atDown]!)) this.giveUp(state, "client gives up", last, visit)
    if (state[atUp] === gone) return
    for (const last of this.wires.lastPieces(this.readable(state, link, state[atUp]!))) {
      this.begin(state, link, last)
      this.next[atUp] = gone
      this.next[atBudget] = state[atBudget]! - fault
      this.serverLoses("server loses", link, last, visit)
    }
  }

  /** A side begins anew without its memory. If it is the client, nobody can name its session any more. */
  private sidesRestart(state: Int32Array, visit: Visit): void {
    const budget = state[atBudget]! - fault - 1
    this.begin(state)
    this.next[atUp] = gone
    this.next[atOld] = this.olds.none
    this.next[atBudget] = budget
    this.actServer("server restarts", restarting, (server) => server.restart(), visit)

    this.begin(state)
    this.next[atOld] = this.olds.none
    this.next[atBudget] = budget
    this.next[atServer] = this.forgetting(state[atServer]!)
    this.actClient("client restarts", restarting, (client) => client.restart(), visit)
  }

  /** The client has done with its link, after a last piece. What is under way to the server may still arrive. */
  private giveUp(state: Int32Array, action: Action, last: number | undefined, visit: Visit): void {
    const { link } = this.client(state)
    const act = (client: Client) => {
      if (last !== undefined) client.receive(this.wires.bytesOf(last))
      client.giveUp()
    }
    this.begin(state, link, last)
    const key = last === undefined ? leaving : receiving(0, last) + 1
    const { next } = this.sides.clientActs(state[atClient]!, key, act)
    if (this.sides.clients.views[next]!.session === undefined) {
      this.next[atOld] = this.olds.none
      this.next[atServer] = this.forgetting(state[atServer]!)
    } else if (state[atUp] !== gone) {
      this.next[atOld] = this.olds.with(state[atOld]!, { link, up: state[atUp]! })
    }
    if (action === "client gives up") this.next[atBudget] = state[atBudget]! - fault
    this.actClient(action, key, act, visit)
  }

  /** The link is over for the server, after a last piece. */
  private serverLoses(action: Action, link: number, last: number | undefined, visit: Visit): void {
    const act = (server: Server) => {
      if (last !== undefined) server.receive(link, this.wires.bytesOf(last))
      server.lose(link)
    }
    this.actServer(action, last === undefined ? losing(link) : receiving(link, last) + 1, act, visit)
  }

  private serverGets(action: Action, link: number, piece: number, visit: Visit): void {
    const act = (server: Server) => server.receive(link, this.wires.bytesOf(piece))
    this.actServer(action, receiving(link, piece), act, visit)
  }

  /** What a server would read of a link at present: nothing between the handshake and its beginning. */
  private readable(state: Int32Array, link: number, up: number): number {
    return up === gone || this.server(state).opening.includes(link) ? empty : up
  }

  /** The server without its session. */
  private forgetting(server: number): number {
    return this.sides.serverActs(server, forgetting, (server) => server.forget()).next
  }

  private begin(state: Int32Array, link = 0, piece?: number | undefined): void {
    this.next.set(state)
    this.link = link
    this.piece = piece
  }

  private actClient(action: Action, key: number, act: (client: Client) => void, visit: Visit): void {
    const { next } = this
    const step = this.sides.clientActs(next[atClient]!, key, act)
    next[atClient] = step.next
    for (const frame of step.said) next[atUp] = this.wires.append(next[atUp]!, frame)
    if (this.client(next).stage === "idle") {
      next[atUp] = gone
      next[atDown] = empty
    }
    this.forgetOldLinks()
    this.said = step.said
    visit(action, faults.has(action), step.broken)
  }

  private actServer(action: Action, key: number, act: (server: Server) => void, visit: Visit): void {
    const { next } = this
    const step = this.sides.serverActs(next[atServer]!, key, act)
    next[atServer] = step.next
    const { link: dialled, stage } = this.client(next)
    const present = stage === "idle" ? 0 : dialled
    for (const { frame, link } of step.said) {
      if (link === present) next[atDown] = this.wires.append(next[atDown]!, frame)
    }
    for (const link of step.closed) {
      if (link === present) next[atUp] = gone
      else next[atOld] = this.olds.without(next[atOld]!, link)
    }
    this.forgetOldLinks()
    this.said = step.said
    visit(action, faults.has(action), step.broken)
  }

  /** An earlier link over which nothing comes any more, and which carries no session, is as good as lost. */
  private forgetOldLinks(): void {
    const { next } = this
    for (const { link, up } of this.olds.links(next[atOld]!)) {
      const { attached, opening } = this.server(next)
      if (up !== empty || attached === link || opening.includes(link)) continue
      next[atOld] = this.olds.without(next[atOld]!, link)
      next[atServer] = this.sides.serverActs(next[atServer]!, losing(link), (server) => server.lose(link)).next
    }
  }
}

// What a side did, as a number; those of the applications are in `Uses.ts`.
const announcing = 4
const dialling = 5
const leaving = 8
const restarting = 9
const forgetting = 10
const losing = (link: number): number => 16 + link
const attaching = (link: number): number => 64 + link
/** The number after it is free: for what ends with a last piece. */
const receiving = (link: number, piece: number): number => (piece + 1) * 256 + link * 2
