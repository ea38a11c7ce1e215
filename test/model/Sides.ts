/**
 * Both sides: what can be seen of them, and what they do. The real code runs once for each state of a side and each thing
 * that is done in it; its outcome is remembered.
 */
import { Client } from "./Client.ts"
import type { Core, Extent } from "./Core.ts"
import { Parts } from "./Parts.ts"
import type { Party } from "./Party.ts"
import { type PartyView, view } from "./Promises.ts"
import { Server } from "./Server.ts"
import type { Shared } from "./Snapshot.ts"
import type { Wires } from "./Wire.ts"

/** What can be seen of the client. */
export interface ClientView {
  readonly stage: Client["stage"]
  readonly link: number
  readonly epoch: number
  readonly session: string | undefined
  readonly party: PartyView
  /** Equal for parties that are alike. */
  readonly partyNumber: number
}

/** What can be seen of the server. */
export interface ServerView {
  readonly session: string | undefined
  readonly attached: number
  /** Links whose handshake is answered and which do not carry the session yet. */
  readonly opening: ReadonlyArray<number>
  readonly isStarted: boolean
  readonly party: PartyView | undefined
  readonly partyNumber: number
}

/** What came of a step: the side's next state, and what it said. */
export interface Step<Said> {
  readonly next: number
  readonly said: ReadonlyArray<Said>
  /** Links that the server has closed. */
  readonly closed: ReadonlyArray<number>
  readonly broken: string | undefined
}

/** A frame on a link. */
export interface SaidOn {
  readonly link: number
  readonly frame: number
}

export class Sides {
  readonly clients: Parts<Client, ClientView, Step<number>>
  readonly servers: Parts<Server, ServerView, Step<SaidOn>>
  private readonly wires: Wires

  constructor(wires: Wires) {
    this.wires = wires
    const viewOfClient = once<Party, PartyView>(view)
    this.clients = new Parts((client) => viewClient(client, viewOfClient(client.party)))
    const viewOfServer = once<Party, PartyView>(view)
    this.servers = new Parts((server) => viewServer(server, server.member && viewOfServer(server.member.party)))
  }

  /** A client and a server that have done nothing. */
  start(core: Core, extent: Extent): { readonly client: number; readonly server: number } {
    return {
      client: this.clients.number(new Client(core, extent, 0)),
      server: this.servers.number(new Server(core, extent, 0, ""))
    }
  }

  /** What comes of it when a client in this state acts, and its writer after it. Equal keys mean equal acts. */
  clientActs(from: number, key: number, act: (client: Client) => void): Step<number> {
    return this.clients.step(from, key, (client) => {
      act(client)
      client.write()
      const { out } = client
      const broken = client.broken ?? client.party.seen.broken
      client.out = []
      const said = out.length === 0 ? nothing : out.map((frame) => this.wires.frame(frame))
      return { next: this.clients.number(client), said, closed: nothing, broken }
    })
  }

  /** What comes of it when a server in this state acts, and its writer after it. Equal keys mean equal acts. */
  serverActs(from: number, key: number, act: (server: Server) => void): Step<SaidOn> {
    return this.servers.step(from, key, (server) => {
      act(server)
      server.write()
      const { closed, out } = server
      const broken = server.broken ?? server.member?.party.seen.broken
      server.out = []
      server.closed = []
      const said = out.length === 0 ? nothing : out.map(({ frame, link }) => ({ link, frame: this.wires.frame(frame) }))
      return { next: this.servers.number(server), said, closed: closed.length === 0 ? nothing : closed, broken }
    })
  }
}

const nothing: ReadonlyArray<never> = []

/** Looks at each part once that many states share. */
const once = <Part extends object, View>(view: (part: Part) => View): ((shared: Shared<Part>) => View) => {
  const views: Array<View> = []
  return ({ number, seen }) => (views[number] ??= view(seen))
}

const viewClient = ({ epoch, link, party: { number }, stage, ticket }: Client, party: PartyView): ClientView => ({
  stage,
  link,
  epoch,
  session: ticket?.session.join(),
  party,
  partyNumber: number
})

const viewServer = ({ ends, member }: Server, party: PartyView | undefined): ServerView => ({
  session: member?.session.join(),
  attached: member?.attached ?? 0,
  opening: ends.filter(({ stage }) => stage === "opening").map(({ link }) => link),
  isStarted: member?.isStarted ?? false,
  party,
  partyNumber: member?.party.number ?? -1
})
