// What a side may not do with channels, each rule at its boundary; and what a hostile one may cost.
import { type Frame, Peer, type Positions } from "@holdfast/protocol"
import { assert, describe, it } from "@effect/vitest"
import { end, limits, Peers, say, tags, takeAll } from "./Peers.ts"

const none: Positions.Positions = {
  _tag: "Positions",
  channel: 0,
  received: 0,
  taken: 0,
  limit: 100,
  released: 0,
  rejected: []
}

const open = (channel: number): Frame.Control => ({ _tag: "Open", channel, name: "" })
const counts = (seen: number, limit: number): Frame.Control => ({ _tag: "Channels", seen, limit })
const reset = (channel: number): Frame.Control => ({ _tag: "Reset", channel, code: "Failed", detail: "" })

/** A server whose client opens at most three channels. */
const begun = (): Peer.Peer => new Peers().server

/** A peer on a new link of a session in which the client has opened one channel and said nothing on it. */
const relinked = (side: "client" | "server") => {
  const peers = new Peers()
  const [ours, theirs] = peers.open()
  peers.relink()
  return { peer: peers[side], channel: side === "client" ? ours : theirs }
}

describe("A side that breaks a rule of channels", () => {
  it("speaks of a channel that nobody has opened: channel", () => {
    for (const id of [1, 2, 3, 2 ** 53 - 1]) {
      assert.strictEqual(begun().data(id, 0, Uint8Array.of(2))?.rule, "channel")
      assert.strictEqual(begun().control({ ...none, channel: id })?.rule, "channel")
      assert.strictEqual(begun().control(reset(id))?.rule, "channel")
      assert.isUndefined(begun().control({ _tag: "ResetDone", channel: id }))
    }
    assert.strictEqual(begun().control(reset(0))?.rule, "channel")
  })

  it("opens a channel of the other side, or channel 0: channel", () => {
    const { client, server } = new Peers()
    for (const id of [0, 2]) assert.strictEqual(server.control(open(id))?.rule, "channel")
    for (const id of [0, 1]) assert.strictEqual(client.control(open(id))?.rule, "channel")
    assert.isUndefined(server.control(open(1)))
    assert.isUndefined(client.control(open(2)))
  })

  it("opens a channel before the one before it: channel-order", () => {
    const server = begun()
    assert.isUndefined(server.control(open(1)))
    assert.strictEqual(server.control(open(5))?.rule, "channel-order")
    assert.isUndefined(server.control(open(3)))
  })

  it("opens one channel more than it may: channel-limit", () => {
    const server = begun()
    for (const id of [1, 3, 5]) assert.isUndefined(server.control(open(id)))
    assert.strictEqual(server.control(open(7))?.rule, "channel-limit")
    assert.strictEqual(server.openCount, 3)
  })

  it("opens the same channel again: nothing happens", () => {
    const server = begun()
    server.control(open(1))
    server.facts()
    assert.isUndefined(server.control(open(1)))
    assert.deepStrictEqual([server.facts().opened, server.openCount], [[], 1])
  })

  it("counts fewer or more channels than can be, or withdraws what may be opened: channels", () => {
    const rule = (seen: number, limit: number) => {
      const peers = new Peers()
      peers.open()
      peers.client.openChannel("two")
      peers.client.control(counts(1, 4))
      return peers.client.control(counts(seen, limit))?.rule
    }
    assert.deepStrictEqual(
      [rule(0, 4), rule(1, 4), rule(2, 4), rule(3, 4)],
      ["channels", undefined, undefined, "channels"]
    )
    assert.deepStrictEqual([rule(1, 3), rule(1, 5)], ["channels", undefined])
  })

  it("has ended a channel and says that it has never seen it: channels", () => {
    const { client } = new Peers()
    client.openChannel("one")
    assert.isUndefined(client.control(reset(1)))
    client.cut()
    assert.isUndefined(client.resume([none]))
    assert.strictEqual(client.control(counts(0, 3))?.rule, "channels")
  })

  it("forgets a channel before both directions have ended: channels", () => {
    const rule = (act: (peers: Peers) => void) => {
      const peers = new Peers()
      const [ours, theirs] = peers.open()
      say(peers.client, ours, Uint8Array.of(1))
      end(peers.client, ours)
      end(peers.server, theirs)
      peers.exchange()
      act(peers)
      peers.relink()
      return peers.client.control(counts(1, 3))?.rule
    }
    assert.isUndefined(rule(() => undefined))
    const unended = new Peers()
    unended.open()
    unended.relink()
    assert.strictEqual(unended.client.control(counts(1, 3))?.rule, "channels")
    const { channel, peer } = relinked("client")
    end(peer, channel)
    assert.strictEqual(peer.control(counts(1, 3))?.rule, "channels")
  })

  it("claims not to have seen a channel of which it has received: received", () => {
    const peers = new Peers()
    const [ours] = peers.open()
    say(peers.client, ours, Uint8Array.of(1))
    peers.exchange()
    peers.relink()
    assert.strictEqual(peers.client.control(counts(0, 3))?.rule, "received")
  })

  it("uses a channel on a new link before it was told which there are: channels", () => {
    const { peer } = relinked("server")
    assert.strictEqual(peer.data(1, 0, Uint8Array.of(2))?.rule, "channels")
    assert.strictEqual(peer.control(open(3))?.rule, "channels")
    assert.isUndefined(peer.control({ ...none, channel: 1, limit: 40 }))
    assert.isUndefined(peer.control({ ...none, channel: 9 }), "a channel that it has not seen, and hears of soon")
    assert.isUndefined(peer.control(reset(9)), "one that was reset before")
    assert.isUndefined(peer.control(counts(0, 3)))
    assert.isUndefined(peer.data(1, 0, Uint8Array.of(2)))
    assert.isUndefined(peer.control(open(3)))
  })

  it("sends beyond what is reserved more than all channels together may hold: growth", () => {
    const rule = (bytes: number) => {
      const peers = new Peers({ growthBytes: 60, channelWindowBytes: 40 })
      const [, theirs] = peers.open()
      theirs.receive.resize(400)
      theirs.receive.limit = theirs.receive.grantable
      return peers.server.data(1, 0, new Uint8Array(bytes).fill(2))?.rule
    }
    assert.deepStrictEqual([rule(100), rule(101)], [undefined, "growth"])
    const peers = new Peers({ growthBytes: 60, channelWindowBytes: 40 })
    const [, one] = peers.open()
    const [, two] = peers.open()
    for (const channel of [one, two]) {
      channel.receive.resize(400)
      channel.receive.limit = channel.receive.grantable
    }
    const { server } = peers
    assert.isUndefined(server.data(1, 0, new Uint8Array(70).fill(2)))
    assert.isUndefined(server.data(3, 0, new Uint8Array(70).fill(2)))
    assert.strictEqual(server.data(3, 70, Uint8Array.of(2))?.rule, "growth")
    takeAll(server, one)
    assert.isUndefined(server.data(3, 71, Uint8Array.of(2)))
  })

  it("lets a channel send fewer than 8 bytes: terms", () => {
    const rule = (reserve: number, channelLimit: number, channels: number) =>
      new Peer.Peer(limits, "client").begin({ limit: 0, reserve, channelLimit, growth: 0, channels })?.rule
    assert.deepStrictEqual(
      [rule(8, 8, 1), rule(7, 8, 1), rule(8, 7, 1), rule(8, 7, 0)],
      [undefined, "terms", "terms", undefined]
    )
  })

  it("withdraws the limit of a channel, or breaks any other rule of positions there, too", () => {
    const peers = new Peers()
    const [ours] = peers.open()
    say(peers.client, ours, Uint8Array.of(1))
    peers.client.write(100)
    const channel = { ...none, channel: 1, limit: 40 }
    for (const [rule, wrong] of [
      ["limit", { limit: 39 }],
      ["received", { received: 3 }],
      ["taken", { taken: 1 }],
      ["released", { released: 1 }],
      ["rejected", { rejected: [1] }]
    ] as const) {
      assert.strictEqual(peers.client.control({ ...channel, ...wrong })?.rule, rule)
    }
    assert.isUndefined(peers.client.control({ ...channel, received: 2, taken: 2 }))
  })
})

describe("A hostile side", () => {
  it("can have no more resets unanswered than there can be", () => {
    const peers = new Peers()
    const { client, server } = peers
    for (let i = 0; i < 1100; i++) {
      client.reset(client.openChannel("")!, "Failed", "")
      peers.exchange()
    }
    // Without reading, it resets again what is long gone.
    const resetsMax = 3 + 3 + 1024
    for (let i = 0; i < resetsMax; i++) assert.isUndefined(server.control(reset(i * 2 + 1)))
    assert.strictEqual(server.control(reset(resetsMax * 2 + 1))?.rule, "channels")
  })

  it("that confirms no reset makes a side open no more channels, until it does", () => {
    const peers = new Peers({ channelsMax: 5000 })
    const { client } = peers
    for (let i = 0; i < 1023; i++) client.reset(client.openChannel("")!, "Failed", "")
    assert.isAbove(client.openable, 3000)
    client.reset(client.openChannel("")!, "Failed", "")
    assert.strictEqual(client.openable, 0)
    assert.isUndefined(client.openChannel(""))
    peers.exchange()
    assert.strictEqual(client.openable, 5000)
  })

  it("that never reads gets one answer, however much it asks", () => {
    const { server } = new Peers()
    for (let i = 0; i < 1000; i++) {
      server.control({ _tag: "Ping", id: i })
      server.control(open(1))
      server.control({ ...none })
    }
    server.control(reset(1))
    server.control(reset(1))
    assert.deepStrictEqual(tags(server.write(1000)), ["Channels", "ResetDone", "Pong"])
    assert.isUndefined(server.write(1000))
  })

  it("that opens all channels and fills all windows holds the sum of the limits, and no more", () => {
    const { server } = new Peers({ windowBytesMax: 400 })
    for (const id of [1, 3, 5]) server.control(open(id))
    for (const channel of server.open) {
      channel.receive.resize(400)
      channel.receive.limit = channel.receive.grantable
    }
    const offsets = new Map<number, number>()
    for (let i = 0; i < 2000; i++) {
      const id = [0, 1, 3, 5][i % 4]!
      const offset = offsets.get(id) ?? 0
      const bytes = Uint8Array.of(2)
      const { untakenBytes } = server
      if (server.data(id, offset, bytes) !== undefined) {
        assert.isAtMost(untakenBytes, 100 + 3 * 40 + 60)
        return
      }
      offsets.set(id, offset + 1)
    }
    assert.fail("it could send for ever")
  })
})
