import type { Channel, Peer } from "@holdfast/protocol"
import { assert, describe, it } from "@effect/vitest"
import { data, deliver, Peers, say, tags, takeAll } from "./Peers.ts"

const quantum = 16_384
const roomy = {
  windowBytes: 1e9,
  channelWindowBytes: 1e9,
  windowBytesMax: 1e9,
  channelsMax: 1000,
  messageBytesMax: 1e9,
  frameBytesMax: 65_536
}

/** Opens channels that all have much to send. */
const bulk = (client: Peer.Peer, weights: ReadonlyArray<number>, bytes = 1_000_000): ReadonlyArray<Channel.Channel> =>
  weights.map((weight) => {
    const channel = client.openChannel("bulk")!
    channel.weight = weight
    say(client, channel, new Uint8Array(bytes))
    return channel
  })

/** How much of each channel was written. */
const shares = (written: ReadonlyArray<Peer.Written | undefined>): ReadonlyMap<number, number> => {
  const sums = new Map<number, number>()
  for (const one of written) for (const [id, bytes] of data(one)) sums.set(id, (sums.get(id) ?? 0) + bytes)
  return sums
}

const times = <A>(count: number, one: () => A): Array<A> => Array.from({ length: count }, one)

describe("Turns", () => {
  it("let a small message overtake a large one, on whichever channel it is", () => {
    for (const bytes of [100_000, 1_000_000]) {
      const { client } = new Peers(roomy)
      const [large] = bulk(client, [1], bytes)
      assert.deepStrictEqual(data(client.write(20_000)), [[large!.id, 20_000]])
      const small = client.openChannel("small")!
      for (const channel of [small, client.main]) {
        say(client, channel, new Uint8Array(10))
        assert.deepStrictEqual(data(client.write(1000))[0], [channel.id, 11])
      }
    }
  })

  it("send a record whole in one turn if so much is written at once", () => {
    const { client } = new Peers(roomy)
    const [first, second] = bulk(client, [1, 1], 50_000)
    const record = 50_004
    assert.deepStrictEqual(data(client.write(200_000)), [
      [first!.id, record],
      [second!.id, record]
    ])
  })

  it("leave a record that was begun when more was written at once, and come back to it", () => {
    const { client } = new Peers(roomy)
    const [first, second] = bulk(client, [1, 1], 100_000)
    const record = 100_004
    assert.deepStrictEqual(
      shares([client.write(150_000)]),
      new Map([first!, second!].map(({ id }, i) => [id, i === 0 ? record : 150_000 - record]))
    )
    const small = client.openChannel("small")!
    say(client, small, new Uint8Array(10))
    assert.deepStrictEqual(data(client.write(1000)), [
      [small.id, 11],
      [second!.id, 989]
    ])
    assert.deepStrictEqual(
      shares(times(100, () => client.write(1000))),
      new Map([[second!.id, 2 * record - 150_000 - 989]])
    )
  })

  it("write control frames before everything", () => {
    const { client } = new Peers(roomy)
    bulk(client, [1, 1, 1])
    client.write(10_000)
    client.heartbeat()
    client.ping(1)
    assert.deepStrictEqual(tags(client.write(5000)).slice(0, 3), ["Ping", "Heartbeat", "Data"])
  })

  it("give each of many the same, within a quantum, at any time", () => {
    const { client } = new Peers(roomy)
    bulk(
      client,
      times(7, () => 1)
    )
    const written: Array<Peer.Written | undefined> = []
    for (let i = 0; i < 50; i++) {
      written.push(client.write(3000))
      const sums = [...shares(written).values(), ...times(7 - shares(written).size, () => 0)]
      assert.isAtMost(Math.max(...sums) - Math.min(...sums), quantum)
    }
  })

  it("share by weights, within a quantum of each", () => {
    const { client } = new Peers(roomy)
    const weights = [0.5, 1, 3]
    const channels = bulk(client, weights)
    const sums = shares(times(150, () => client.write(3000)))
    const unit = 450_000 / 4.5
    channels.forEach(({ id }, i) => {
      assert.closeTo(sums.get(id)!, unit * weights[i]!, quantum * weights[i]! + quantum)
    })
  })

  it("never divide a byte, however light a channel is", () => {
    const { client, server } = new Peers(roomy)
    const [light] = bulk(client, [0.000_01, 1], 3000)
    for (let i = 0; i < 20; i++) assert.isUndefined(deliver(client.write(500), server))
    assert.strictEqual(light!.send.sent, light!.send.end)
  })

  it("starve nobody while a thousand others begin to send again and again", () => {
    const { client } = new Peers(roomy)
    const [patient] = bulk(client, [1])
    const others = times(999, () => client.openChannel("busy")!)
    client.write(1)
    for (let round = 0; round < 3; round++) {
      const before = patient!.send.sent
      let bytes = 0
      while (patient!.send.sent === before) {
        for (const channel of others) if (channel.send.sendableBytes === 0) say(client, channel, new Uint8Array(50))
        bytes += client.write(1000)!.dataBytes
        assert.isBelow(bytes, 2 * 1000 * quantum)
      }
    }
  })

  it("starve nobody who waits for the growth that all share, however little of it there is", () => {
    const peers = new Peers({ growthBytes: 16, channelWindowBytes: 8, windowBytesMax: 1000, channelsMax: 20 })
    const { client, server } = peers
    const pairs = times(20, () => peers.open())
    for (const [ours, theirs] of pairs) {
      theirs.receive.resize(1000)
      server.took(theirs)
      for (let i = 0; i < 40; i++) say(client, ours, new Uint8Array(19))
    }
    // One consumer after the other takes one message: growth comes back in small pieces.
    for (let round = 0; round < 60; round++) {
      for (const [, theirs] of pairs) {
        takeAll(server, theirs)
        peers.exchange()
      }
    }
    for (const [ours] of pairs) assert.isAbove(ours.send.takenCount, 20)
  })

  it("cost no more per frame with a thousand channels than with ten", () => {
    const { client } = new Peers(roomy)
    const channels = times(1000, () => client.openChannel("many")!)
    client.write(1)
    for (const channel of channels) say(client, channel, new Uint8Array(60))
    const written = client.write(1_000_000)
    assert.strictEqual(data(written).length, 1000)
    assert.deepStrictEqual(
      data(written).map(([id]) => id),
      channels.map(({ id }) => id)
    )
    assert.isFalse(client.hasWork)
  })
})
