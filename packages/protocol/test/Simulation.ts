/**
 * Two peers, joined by a link that delivers bytes late, in any pieces, and loses what is under way when it is cut. Beside
 * them stands a model of plain arrays that says what must be true; `check` compares after every step.
 */
import { Decoder, Frame, type Handshake, Peer, type SendWindow } from "@holdfast/protocol"
import { assert } from "@effect/vitest"
import { challenge, concat, hex, proof } from "./Samples.ts"
import type { Chance } from "./Seeded.ts"

/** One direction as plain arrays: what was sent, and how far the receiving application is. */
class Flow {
  readonly messages: Array<Uint8Array> = []
  /** Where the record of each message ends. */
  readonly ends: Array<number> = []
  length = 0
  ended = false
  /** Messages that the application was handed, or is done with. */
  handed = 0
  taken = 0
  /** Messages that the application declined, and of which the sender was told. */
  readonly rejected: Array<number> = []
  readonly toldRejected: Array<number> = []

  send(message: Uint8Array): void {
    this.length += (message.length + 2 < 64 ? 1 : 2) + message.length
    this.messages.push(message)
    this.ends.push(this.length)
  }

  end(): void {
    this.length += 1
    this.ended = true
  }

  /** How many messages end at or below `position`. */
  countAt(position: number): number {
    let count = 0
    while (count < this.ends.length && this.ends[count]! <= position) count++
    return count
  }

  /** What `taken` must be at a receiver that holds everything below `received`. */
  takenAt(received: number): number {
    if (this.ended && received === this.length && this.taken === this.messages.length) return this.length
    return this.taken === 0 ? 0 : this.ends[this.taken - 1]!
  }
}

/** One peer, the bytes on their way to it, and the model of what it sends and receives. */
export interface Side {
  readonly peer: Peer.Peer
  readonly outgoing: Flow
  readonly incoming: Flow
  decoder: Decoder.Decoder
  inFlight: Uint8Array
  /** Bytes of data that its decoder has handed on. */
  dataBytes: number
  readonly asked: Set<number>
  pong: number
  goAway: Frame.GoAway | undefined
}

const makeSide = (limits: Peer.Limits, side: "client" | "server", outgoing: Flow, incoming: Flow): Side => {
  const made: Side = {
    peer: new Peer.Peer(limits, side),
    outgoing,
    incoming,
    decoder: undefined!,
    inFlight: new Uint8Array(0),
    dataBytes: 0,
    asked: new Set(),
    pong: 0,
    goAway: undefined
  }
  made.decoder = newDecoder(made)
  return made
}

const newDecoder = (side: Side): Decoder.Decoder =>
  new Decoder.Decoder(65_536, {
    control: (frame) => side.peer.control(frame),
    data: (channel, offset, bytes) => {
      side.dataBytes += bytes.length
      return side.peer.data(channel, offset, bytes)
    }
  })

/** A client and a server in the midst of a session. */
export class Simulation {
  readonly client: Side
  readonly server: Side
  readonly chance: Chance
  readonly limits: Peer.Limits
  private isUp = true
  private pings = 0
  isClosedToNewMessages = false

  constructor(chance: Chance) {
    this.chance = chance
    const messageBytesMax = chance.pick([0, 1, 70, 300])
    this.limits = {
      windowBytes: chance.pick([messageBytesMax > 1 ? 40 : 8, 41, 70, 500]),
      messageBytesMax,
      frameBytesMax: chance.pick([17, 18, 40, 4096]),
      channelWindowBytes: 8,
      windowBytesMax: 500,
      growthBytes: 0,
      channelsMax: 2
    }
    const up = new Flow()
    const down = new Flow()
    this.client = makeSide(this.limits, "client", up, down)
    this.server = makeSide(this.limits, "server", down, up)
    assert.isUndefined(this.client.peer.begin(this.server.peer.offer))
    assert.isUndefined(this.server.peer.begin(this.client.peer.offer))
  }

  /** One random step, and a check of everything. */
  step(): void {
    const { chance } = this
    const side = chance.bool() ? this.client : this.server
    const dice = chance.int(0, 99)
    if (dice < 20) this.accept(side)
    else if (dice < 45) this.write(side, chance.pick([0, 1, 5, 100, 10_000]))
    else if (dice < 65) this.deliver(side, chance.int(1, Math.max(1, side.inFlight.length)))
    else if (dice < 73) this.hand(side)
    else if (dice < 80) this.take(side, chance.int(0, 3))
    else if (dice < 83) this.reject(side)
    else if (dice < 86) this.giveBack(side)
    else if (dice < 90) side.peer.announce()
    else if (dice < 92) this.ping(side)
    else if (dice < 93) side.peer.heartbeat()
    else if (this.isUp) this.cut()
    else this.resume()
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
        if (this.chance.bool()) this.hand(side)
      }
      if (round % 8 === 0) this.check()
    }
    this.check()
  }

  accept(side: Side): void {
    const { outgoing, peer } = side
    if (outgoing.ended || this.isClosedToNewMessages) return
    if (this.chance.bool(0.03)) {
      peer.send.acceptEnd()
      outgoing.end()
      return
    }
    const length = Math.min(this.limits.messageBytesMax, this.chance.pick([0, 0, 1, 3, 10, 62, 63, 64, 200, 300]))
    const message = this.chance.bytes(length)
    peer.send.accept(message)
    outgoing.send(message.slice())
    message.fill(0xee)
  }

  write(side: Side, bytesMax: number): void {
    if (!this.isUp) return
    const before = side.peer.send.sent
    const sendable = side.peer.send.sendableBytes
    const written = side.peer.write(bytesMax)
    if (written === undefined) {
      assert.isTrue(sendable === 0 || bytesMax === 0)
      return
    }
    const bytes = concat(written.chunks)
    assert.strictEqual(written.bytes, bytes.length)
    assert.isAbove(bytes.length, 0)
    assert.strictEqual(written.dataBytes, Math.min(bytesMax, sendable))
    assert.strictEqual(side.peer.send.sent, before + written.dataBytes)
    const other = this.other(side)
    other.inFlight = concat([other.inFlight, bytes])
  }

  deliver(side: Side, length: number): void {
    if (!this.isUp && side !== this.server) return
    const before = side.peer.receive.waitingCount
    const bytes = side.inFlight.slice(0, length)
    for (const chunk of this.chance.bool() ? [bytes] : this.chance.chunks(bytes))
      equal("violation", side.decoder.push(chunk), undefined)
    side.inFlight = side.inFlight.slice(length)
    const facts = side.peer.facts()
    if (side.peer.receive.waitingCount > before) assert.isTrue(facts.arrived.includes(side.peer.main))
    side.outgoing.toldRejected.push(...facts.rejected.map(({ ordinal }) => ordinal))
    if (facts.pong !== undefined) {
      assert.isTrue(side.asked.has(facts.pong) && facts.pong > side.pong)
      side.pong = facts.pong
    }
    side.goAway = facts.goAway ?? side.goAway
  }

  hand(side: Side): void {
    const { incoming, peer } = side
    const handed = peer.receive.hand()
    incoming.taken = incoming.handed
    incoming.handed = incoming.countAt(peer.receive.received)
    const expected = incoming.messages.slice(incoming.taken, incoming.handed)
    equal("handed", String(handed?.map(hex) ?? []), String(expected.map(hex)))
    assert.strictEqual(handed === undefined, expected.length === 0)
  }

  take(side: Side, count: number): void {
    side.peer.receive.take(count)
    side.incoming.taken = Math.min(side.incoming.taken + count, side.incoming.handed)
  }

  reject(side: Side): void {
    const { incoming, peer } = side
    peer.receive.reject()
    if (incoming.taken < incoming.handed) incoming.rejected.push(incoming.taken++)
  }

  giveBack(side: Side): void {
    side.peer.receive.giveBack()
    side.incoming.handed = side.incoming.taken
  }

  ping(side: Side): void {
    side.peer.ping(++this.pings)
    side.asked.add(this.pings)
  }

  /** The client's link breaks at any byte. The server may go on reading what is on its way. */
  cut(): void {
    this.isUp = false
    this.client.inFlight = new Uint8Array(0)
    this.server.inFlight = this.server.inFlight.slice(0, this.chance.int(0, this.server.inFlight.length))
    this.client.peer.cut()
    this.client.decoder = newDecoder(this.client)
  }

  /** A handshake. Until the client's proof has come the server's old link is alive and its application goes on. */
  resume(): void {
    const { chance, client, server } = this
    const challenged = copied({ ...challenge, positions: server.peer.positions() })
    for (let i = chance.int(0, 3); i > 0; i--) {
      this.deliver(server, chance.int(0, server.inFlight.length))
      this.hand(server)
      this.take(server, 1)
      this.reject(server)
    }
    const proven = copied({ ...proof, positions: client.peer.positions() })
    if (chance.bool(0.2)) return // the proof never arrives
    server.peer.cut()
    server.decoder = newDecoder(server)
    server.inFlight = new Uint8Array(0)
    assert.isUndefined(server.peer.resume(proven.positions))
    assert.isUndefined(client.peer.resume(challenged.positions))
    for (const side of [client, server])
      side.outgoing.toldRejected.push(...side.peer.facts().rejected.map(({ ordinal }) => ordinal))
    this.isUp = true
  }

  /** What must always be true. */
  check(): void {
    this.checkFlow(this.client, this.server)
    this.checkFlow(this.server, this.client)
  }

  private checkFlow(from: Side, to: Side): void {
    const { send } = from.peer
    const { receive } = to.peer
    const flow = from.outgoing
    const kept = flow.messages.length + (flow.ended ? 1 : 0)
    const takenCount = flow.countAt(send.released) + (flow.ended && send.released === flow.length ? 1 : 0)
    const bytesMax = Math.max(this.limits.windowBytes, this.limits.messageBytesMax + 2)
    ordered("the positions", [send.released, receive.taken, receive.received, send.sentMax, flow.length])
    ordered("what the sender knows", [send.released, send.received, send.sent, send.sentMax, send.limit])
    ordered("what the sender knows of the receiver", [send.received, receive.received])
    ordered("limits", [receive.received, receive.limit, receive.taken + bytesMax])
    ordered("the limit", [send.limit, receive.limit])
    equal("end", send.end, flow.length)
    equal("keptBytes", send.keptBytes, flow.length - send.released)
    equal("outstandingBytes", send.outstandingBytes, send.sentMax - send.received)
    equal("takenCount", send.takenCount, takenCount)
    equal("keptCount", send.keptCount, kept - takenCount)
    if (this.chance.bool(0.02)) this.checkKept(send, flow)

    equal("taken", receive.taken, flow.takenAt(receive.received))
    equal("untakenCount", receive.untakenCount, flow.countAt(receive.received) - flow.taken)
    equal("ended", receive.ended, flow.ended && receive.received === flow.length)
    equal("isFinished", receive.isFinished, receive.ended && flow.taken === flow.messages.length)
    equal("data", to.dataBytes, receive.received + receive.duplicateBytes)

    const told = flow.rejected.filter((index) => flow.ends[index]! <= send.released)
    const unconfirmed = flow.rejected.slice(flow.rejected.length - receive.rejected.length)
    equal("told of rejected", String(flow.toldRejected), String(told))
    equal("unconfirmed", String(receive.rejected), String(unconfirmed.map((index) => flow.ends[index])))
    ordered("rejected", [flow.rejected.length - unconfirmed.length, told.length])
  }

  private checkKept(send: SendWindow.SendWindow, flow: Flow): void {
    const { fateUnknown, notSent } = send.outstanding()
    const from = flow.countAt(send.released)
    const sent = [0, ...flow.ends].filter((start) => start < send.sentMax).length
    assert.deepStrictEqual(fateUnknown.map(hex), flow.messages.slice(from, Math.max(from, sent)).map(hex))
    assert.deepStrictEqual(notSent.map(hex), flow.messages.slice(Math.max(from, sent)).map(hex))
  }

  private get isQuiet(): boolean {
    return [this.client, this.server].every((side) => {
      const { receive, send } = side.peer
      const other = this.other(side)
      return (
        side.inFlight.length === 0 &&
        !side.peer.hasWork &&
        !side.peer.hasNews &&
        receive.waitingCount === 0 &&
        receive.untakenCount === 0 &&
        send.sent === send.received &&
        other.inFlight.length === 0
      )
    })
  }

  private other(side: Side): Side {
    return side === this.client ? this.server : this.client
  }
}

/** Two assertions that cost nothing where they hold. */
const equal = <A>(what: string, actual: A, expected: A): void => {
  if (actual !== expected) assert.strictEqual(actual, expected, what)
}

const ordered = (what: string, numbers: ReadonlyArray<number>): void => {
  for (let i = 1; i < numbers.length; i++) {
    if (numbers[i - 1]! > numbers[i]!) assert.fail(`${what}: ${numbers.join(" <= ")}`)
  }
}

/** What the other side gets: the frame once through its bytes. */
const copied = <A extends Handshake.Challenge | Handshake.Proof>(frame: A): A => {
  const bytes = Frame.encode(frame)
  return Frame.decode(bytes[0]!, bytes.subarray(1 + (1 << (bytes[1]! >> 6)))) as A
}
