/**
 * Two peers with many channels, joined by a link that delivers bytes late, in any pieces, and loses what is under way when
 * it is cut. Beside them stands a model of plain arrays that says what must be true; `check` compares after every step.
 */
import { type Channel, Decoder, Frame, type Handshake, Peer } from "@holdfast/protocol"
import { assert } from "@effect/vitest"
import { equal, Flow, holds, ordered } from "./Flow.ts"
import { challenge, concat, hex, proof } from "./Samples.ts"
import type { Chance } from "./Seeded.ts"

/** What has become of a channel, as one side sees it. */
type Fate = "unseen" | "open" | "finished" | "reset"

/** One channel, seen from both sides. */
export interface Pair {
  readonly id: number
  readonly name: string
  /** What the client sends, and what the server sends. */
  readonly up: Flow
  readonly down: Flow
  readonly client: End
  readonly server: End
}

interface End {
  channel: Channel.Channel | undefined
  fate: Fate
  /** How this side has reset it. */
  code: Frame.ResetCode | undefined
}

/** One peer, and the bytes on their way to it. */
export interface Side {
  readonly name: "client" | "server"
  readonly peer: Peer.Peer
  readonly limits: Peer.Limits
  decoder: Decoder.Decoder
  /** What the link has read last. */
  lent: Uint8Array
  inFlight: Uint8Array
  readonly asked: Set<number>
  pong: number
  goAway: Frame.GoAway | undefined
}

/** What the peers keep to themselves. */
interface Inside {
  readonly openings: { readonly isUp: boolean; readonly graves: ReadonlyMap<number, unknown> }
  readonly credit: {
    readonly sendGrowthBytes: number
    readonly receiveGrowthBytes: number
    readonly roomOf: (channel: Channel.Channel) => number
  }
}

export const inside = (peer: Peer.Peer): Inside => (peer as unknown as { readonly channels: Inside }).channels

/** A client and a server in the midst of a session. */
export class Simulation {
  readonly client: Side
  readonly server: Side
  readonly chance: Chance
  readonly pairs = new Map<number, Pair>()
  readonly main: Pair
  isClosedToNewMessages = false
  /** Only channel 0 is used. */
  readonly isPlain: boolean
  private readonly cutProbability: number
  private isUp = true
  private pings = 0
  private hands = 0
  private now = 0

  constructor(chance: Chance, isPlain = false) {
    this.chance = chance
    this.isPlain = isPlain
    this.cutProbability = chance.pick([0.002, 0.02, 0.07])
    const messageBytesMax = chance.pick([0, 1, 70, 300])
    this.client = this.makeSide("client", messageBytesMax)
    this.server = this.makeSide("server", messageBytesMax)
    this.main = this.pair(0, "")
    for (const { name, peer } of [this.client, this.server]) {
      this.main[name].channel = peer.main
      this.main[name].fate = "open"
    }
    equal("violation", this.client.peer.begin(this.server.peer.offer), undefined)
    equal("violation", this.server.peer.begin(this.client.peer.offer), undefined)
  }

  /** One random step, and a check of everything. */
  step(): void {
    const { chance } = this
    const side = chance.bool() ? this.client : this.server
    const pair = this.anyPair(side)
    const dice = chance.int(0, 99)
    if (!this.isUp && chance.bool(0.3)) this.resume()
    else if (this.isUp && chance.bool(this.cutProbability)) this.cut()
    else if (dice < 16) for (let i = chance.int(1, 3); i > 0; i--) this.accept(side, pair)
    else if (dice < 39) this.write(side, chance.pick([0, 1, 5, 100, 10_000, 10_000]))
    else if (dice < 58) this.deliver(side, chance.bool() ? side.inFlight.length : chance.int(0, side.inFlight.length))
    else if (dice < 69) this.hand(side, pair)
    else if (dice < 75) this.take(side, pair, chance.int(0, 3))
    else if (dice < 77) this.reject(side, pair)
    else if (dice < 78) this.giveBack(side, pair)
    else if (dice < 80) this.skip(side, pair)
    else if (dice < 86) this.open(side)
    else if (dice < 87) this.reset(side, pair)
    else if (dice < 91) side.peer.announce()
    else if (dice < 93) this.tune(side, pair)
    else if (dice < 94) this.ping(side)
    else side.peer.heartbeat()
    this.check()
  }

  /** No more faults, and both applications read: everything must arrive, and everybody must come to know it. */
  settle(): void {
    while (!this.isUp) this.resume()
    for (const side of [this.client, this.server]) this.ping(side)
    for (let round = 0; !this.isQuiet; round++) {
      assert.isBelow(round, 20_000, "the two never come to rest")
      for (const side of [this.client, this.server]) {
        if (side.peer.hasNews) side.peer.announce()
        this.write(side, this.chance.pick([1, 100, 10_000]))
        if (side.inFlight.length > 0) this.deliver(side, side.inFlight.length)
        for (const pair of this.pairs.values()) if (this.chance.bool()) this.hand(side, pair)
      }
      if (round % 8 === 0) this.check()
    }
    this.check()
  }

  accept(side: Side, pair: Pair): void {
    const { channel } = pair[side.name]
    const flow = this.outgoing(side, pair)
    if (channel === undefined || flow.ended || this.isClosedToNewMessages) return
    const { send } = channel
    if (this.chance.bool(pair === this.main ? 0.03 : 0.25)) {
      send.acceptEnd()
      flow.ended = true
    } else {
      const { messageBytesMax } = side.limits
      const message = this.chance.bytes(
        Math.min(messageBytesMax, this.chance.pick([0, 0, 1, 3, 10, 61, 62, 63, 200, 300]))
      )
      const expiresAt = this.chance.bool(0.3) ? this.now + this.chance.int(0, 20) : Infinity
      if (send.queuedCount > 0 || this.chance.bool(0.3)) send.enqueue(message, expiresAt)
      else send.accept(message)
      flow.messages.push({ message: hex(message), isSkipped: false, expiresAt })
      message.fill(0xee)
    }
    side.peer.ready(channel)
  }

  /** What is of no use any more is skipped. */
  skip(side: Side, pair: Pair): void {
    const { channel } = pair[side.name]
    if (channel === undefined) return
    const flow = this.outgoing(side, pair)
    if (this.chance.bool()) {
      const ordinal = channel.send.skipOldest()
      if (ordinal >= 0) flow.skip([ordinal])
    } else {
      this.now += this.chance.int(0, 10)
      const ordinals = channel.send.expire(this.now)
      for (const ordinal of ordinals) ordered("what has expired", [flow.messages[ordinal]!.expiresAt, this.now])
      flow.skip(ordinals)
      holds(channel.send.expiresAt > this.now)
    }
    side.peer.ready(channel)
  }

  open(side: Side): void {
    const { peer } = side
    const name = this.isPlain || this.isClosedToNewMessages ? undefined : `channel ${this.chance.int(0, 99)}`
    const before = peer.openable
    const channel = name === undefined ? undefined : peer.openChannel(name)
    if (channel === undefined) return holds(name === undefined || before === 0)
    equal("openable", peer.openable, before - 1)
    const { channelsMax } = this.other(side).limits
    const ours = [...peer.open].filter(({ id, isOurs }) => id !== 0 && isOurs).length
    ordered("open channels", [ours, channelsMax])
    Object.assign(this.pair(channel.id, channel.name)[side.name], { channel, fate: "open" })
    channel.weight = this.chance.pick([0.0001, 0.5, 1, 3])
  }

  reset(side: Side, pair: Pair): void {
    const end = pair[side.name]
    if (end.channel === undefined) return
    const code = this.chance.pick(["Refused", "Abandoned", "Failed", "Invalid"] as const)
    side.peer.reset(end.channel, code, pair.name)
    if (pair === this.main || end.fate !== "open") return
    end.fate = "reset"
    end.code = code
  }

  write(side: Side, bytesMax: number): void {
    if (!this.isUp && side === this.client) return
    const { hasData, hasWork } = side.peer
    const written = side.peer.write(bytesMax)
    holds(!side.peer.hasNews || written === undefined, "whatever was written takes the news along")
    if (written === undefined) holds(bytesMax === 0 || !side.peer.hasWork)
    this.digest(side)
    this.checkIdle(side, bytesMax, written?.dataBytes ?? 0)
    if (written === undefined) return
    holds(hasWork && (hasData || written.dataBytes === 0))
    const bytes = concat(written.chunks)
    equal("bytes", written.bytes, bytes.length)
    holds(bytes.length > 0)
    ordered("data", [written.dataBytes, bytesMax])
    const other = this.other(side)
    if (this.isUp) other.inFlight = concat([other.inFlight, bytes])
  }

  deliver(side: Side, length: number): void {
    if (!this.isUp && side !== this.server) return
    const waiting = new Map(Array.from(side.peer.open, (channel) => [channel, channel.receive.waitingCount]))
    const bytes = side.inFlight.slice(0, length)
    for (const chunk of this.chance.bool() ? [bytes] : this.chance.chunks(bytes)) {
      // The link reads into its memory again, unless somebody still has messages that lie there.
      if (!side.peer.channels.own()) side.lent.fill(0xee)
      side.lent = chunk.slice()
      equal("violation", side.decoder.push(side.lent)?.detail, undefined)
    }
    side.inFlight = side.inFlight.slice(length)
    this.digest(side, waiting)
  }

  hand(side: Side, pair: Pair): void {
    const { channel, fate } = pair[side.name]
    if (channel === undefined) return
    const flow = this.incoming(side, pair)
    const handed = channel.receive.hand((this.hands++ & 1) === 0)
    flow.taken = flow.handed
    flow.handed = flow.records.messages.length
    const expected = flow.records.messages.slice(flow.taken, flow.handed)
    equal("handed", String(handed?.map(hex) ?? []), String(expected))
    equal("handed", handed === undefined, expected.length === 0)
    if (fate !== "unseen") side.peer.took(channel)
  }

  take(side: Side, pair: Pair, count: number): void {
    const { channel } = pair[side.name]
    if (channel === undefined) return
    const flow = this.incoming(side, pair)
    channel.receive.take(count)
    flow.taken = Math.min(flow.taken + count, flow.handed)
    side.peer.took(channel)
  }

  reject(side: Side, pair: Pair): void {
    const { channel } = pair[side.name]
    if (channel === undefined) return
    const flow = this.incoming(side, pair)
    channel.receive.reject()
    if (flow.taken < flow.handed) flow.rejected.push(flow.ordinals[flow.taken++]!)
    side.peer.took(channel)
  }

  giveBack(side: Side, pair: Pair): void {
    const flow = this.incoming(side, pair)
    pair[side.name].channel?.receive.giveBack()
    flow.handed = flow.taken
  }

  /** Windows change by what was taken, or for any other reason. */
  tune(side: Side, pair: Pair): void {
    const { channel } = pair[side.name]
    if (channel === undefined || this.chance.bool()) return side.peer.tune()
    channel.receive.resize(this.chance.int(0, side.limits.windowBytesMax))
    side.peer.took(channel)
  }

  ping(side: Side): void {
    side.peer.ping(++this.pings)
    side.asked.add(this.pings)
  }

  /** The client's link breaks at any byte. The server may go on reading what is on its way, and writes in vain. */
  cut(): void {
    this.isUp = false
    this.client.inFlight = new Uint8Array(0)
    this.server.inFlight = this.server.inFlight.slice(0, this.chance.int(0, this.server.inFlight.length))
    this.client.peer.cut()
    this.client.decoder = this.newDecoder(this.client)
  }

  /** A handshake. Until the client's proof has come the server's old link is alive and its application goes on. */
  resume(): void {
    const { chance, client, server } = this
    const challenged = copied({ ...challenge, positions: server.peer.positions() })
    for (let i = chance.int(0, 3); i > 0; i--) {
      const pair = this.anyPair(server)
      this.deliver(server, chance.int(0, server.inFlight.length))
      this.hand(server, pair)
      this.take(server, pair, 1)
      this.reject(server, pair)
    }
    const proven = copied({ ...proof, positions: client.peer.positions() })
    if (chance.bool(0.2)) return // the proof never arrives
    server.peer.cut()
    server.decoder = this.newDecoder(server)
    server.inFlight = new Uint8Array(0)
    equal("violation", server.peer.resume(proven.positions), undefined)
    equal("violation", client.peer.resume(challenged.positions), undefined)
    for (const side of [client, server]) this.digest(side)
    this.isUp = true
  }

  /** What must always be true. */
  check(): void {
    for (const pair of this.pairs.values()) {
      const { client, down, server, up } = pair
      if (client.fate === "reset" || server.fate === "reset") continue
      if (client.channel !== undefined) up.check(client.channel.send, server.channel?.receive, this.server.limits)
      if (server.channel !== undefined) down.check(server.channel.send, client.channel?.receive, this.client.limits)
      if (this.chance.bool(0.02) && client.channel !== undefined) up.checkKept(client.channel.send)
      if (this.chance.bool(0.02) && server.channel !== undefined) down.checkKept(server.channel.send)
    }
    for (const side of [this.client, this.server]) this.checkCounts(side)
  }

  /** Nothing is lost or counted twice, whatever has happened to channels meanwhile. */
  private checkCounts(side: Side): void {
    const { limits, peer } = side
    const open = [...peer.open]
    const sum = (one: (channel: Channel.Channel) => number) => open.reduce((total, channel) => total + one(channel), 0)
    const { receiveGrowthBytes, sendGrowthBytes } = inside(peer).credit
    const sendGrowth = sum(({ send }) => send.growthBytes)
    const receiveGrowth = sum(({ receive }) => receive.growthBytes)
    equal(
      "bytes under way",
      peer.outstandingBytes,
      sum(({ send }) => send.sent - send.received)
    )
    equal(
      "bytes that are not taken",
      peer.untakenBytes,
      sum(({ receive }) => receive.received - receive.taken)
    )
    equal("our growth", sendGrowthBytes, sendGrowth)
    equal("their growth", receiveGrowthBytes, receiveGrowth)
    ordered("our growth", [sendGrowth, this.other(side).limits.growthBytes])
    ordered("their growth", [receiveGrowth, limits.growthBytes])
    ordered("channels of theirs", [open.filter(({ id, isOurs }) => id !== 0 && !isOurs).length, limits.channelsMax])
    for (const channel of open) {
      equal("full", peer.full.has(channel), channel.receive.received >= channel.receive.limit)
    }
  }

  /** If there was room for more bytes than were written, there was no more to write. */
  private checkIdle({ peer }: Side, bytesMax: number, dataBytes: number): void {
    if (dataBytes >= bytesMax) return
    const { credit, openings } = inside(peer)
    for (const channel of peer.open) {
      if (channel !== peer.main && !openings.isUp) continue
      const isFree = channel.send.isReady && credit.roomOf(channel) > 0
      holds(!isFree, "what could have been sent")
      const waits = channel.send.isReady || channel.send.isWaitingForCredit
      equal("waits for credit", peer.awaitingCredit.has(channel), waits)
    }
  }

  /** What happened, by the peer's own account. */
  private digest(side: Side, waiting?: ReadonlyMap<Channel.Channel, number>): void {
    const { peer } = side
    const facts = peer.facts()
    for (const channel of facts.opened) {
      const pair = this.pairs.get(channel.id)!
      equal("the name", channel.name, pair.name)
      equal("opened once", pair[side.name].fate, "unseen")
      Object.assign(pair[side.name], { channel, fate: "open" })
    }
    for (const channel of peer.open) {
      const isMore = channel.receive.waitingCount > (waiting?.get(channel) ?? 0)
      if (waiting !== undefined && isMore) holds(facts.arrived.includes(channel), "what has arrived")
    }
    for (const channel of facts.finished) {
      const pair = this.pairs.get(channel.id)!
      const other = pair[this.other(side).name]
      equal("finished once", pair[side.name].fate, "open")
      pair[side.name].fate = "finished"
      if (other.fate !== "reset") holds(pair.up.isDelivered && pair.down.isDelivered)
    }
    for (const { channel, code, detail } of facts.reset) {
      const pair = this.pairs.get(channel.id)!
      equal("reset once", pair[side.name].fate, "open")
      equal("the code", code, pair[this.other(side).name].code)
      equal("the detail", detail, pair.name)
      pair[side.name].fate = "reset"
    }
    for (const { channel, ordinal } of facts.rejected)
      this.outgoing(side, this.pairs.get(channel.id)!).told.push(ordinal)
    if (facts.pong !== undefined) {
      holds(side.asked.has(facts.pong) && facts.pong > side.pong)
      side.pong = facts.pong
    }
    side.goAway = facts.goAway ?? side.goAway
  }

  private get isQuiet(): boolean {
    return [this.client, this.server].every((side) => {
      const { peer } = side
      return (
        side.inFlight.length === 0 &&
        !peer.hasWork &&
        !peer.hasNews &&
        peer.outstandingBytes === 0 &&
        [...peer.open].every(({ receive }) => receive.untakenCount === 0) &&
        this.other(side).inFlight.length === 0
      )
    })
  }

  other(side: Side): Side {
    return side === this.client ? this.server : this.client
  }

  outgoing({ name }: Side, { down, up }: Pair): Flow {
    return name === "client" ? up : down
  }

  incoming({ name }: Side, { down, up }: Pair): Flow {
    return name === "client" ? down : up
  }

  /** Often channel 0, sometimes one that is over. */
  private anyPair(side: Side): Pair {
    if (this.isPlain || this.chance.bool(0.3)) return this.main
    const open = [...this.pairs.values()].filter((pair) => pair[side.name].fate === "open")
    return this.chance.pick(this.chance.bool(0.95) ? open : [...this.pairs.values()])
  }

  private pair(id: number, name: string): Pair {
    const end = (): End => ({ channel: undefined, fate: "unseen", code: undefined })
    const pair: Pair = { id, name, up: new Flow(), down: new Flow(), client: end(), server: end() }
    holds(!this.pairs.has(id))
    this.pairs.set(id, pair)
    return pair
  }

  private makeSide(name: Side["name"], messageBytesMax: number): Side {
    const { chance } = this
    const windowBytes = chance.pick([messageBytesMax > 1 ? 40 : 8, 41, 70, 500])
    const limits: Peer.Limits = {
      windowBytes,
      channelWindowBytes: chance.pick([8, 9, 30]),
      windowBytesMax: Math.max(windowBytes, chance.pick([33, 101, 700])),
      growthBytes: chance.pick([0, 1, 50, 600]),
      channelsMax: chance.pick([0, 1, 3, 6]),
      messageBytesMax,
      frameBytesMax: chance.pick([17, 18, 40, 4096])
    }
    const side: Side = {
      name,
      peer: new Peer.Peer(limits, name),
      limits,
      decoder: undefined!,
      lent: new Uint8Array(0),
      inFlight: new Uint8Array(0),
      asked: new Set(),
      pong: 0,
      goAway: undefined
    }
    side.decoder = this.newDecoder(side)
    side.peer.channels.carriedBy(true)
    return side
  }

  private newDecoder(side: Side): Decoder.Decoder {
    return new Decoder.Decoder(65_536, {
      control: (frame) => side.peer.control(frame),
      data: (channel, offset, bytes) => {
        const pair = this.pairs.get(channel)!
        const isThere = [...side.peer.open].some(({ id }) => id === channel)
        if (isThere) this.incoming(side, pair).arrive(offset, bytes)
        return side.peer.data(channel, offset, bytes)
      }
    })
  }
}

/** What the other side gets: the frame once through its bytes. */
const copied = <A extends Handshake.Challenge | Handshake.Proof>(frame: A): A => {
  const bytes = Frame.encode(frame)
  return Frame.decode(bytes[0]!, bytes.subarray(1 + (1 << (bytes[1]! >> 6)))) as A
}
