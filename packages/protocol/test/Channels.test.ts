import { assert, describe, it } from "@effect/vitest"
import { data, deliver, end, frames, Peers, say, tags, takeAll } from "./Peers.ts"
import { hex } from "./Samples.ts"

describe("A channel", () => {
  it("is opened without a round trip: its first message follows in the same bytes", () => {
    const { client, server } = new Peers()
    const ours = client.openChannel("logs")!
    say(client, ours, Uint8Array.of(7))
    const written = client.write(1000)
    assert.deepStrictEqual(frames(written), [
      { _tag: "Open", channel: 1, name: "logs" },
      { _tag: "Data", channel: 1, offset: 0, bytes: "0307" }
    ])
    assert.isUndefined(deliver(written, server))
    const { arrived, opened } = server.facts()
    assert.deepStrictEqual([opened, arrived], [opened, opened])
    assert.deepStrictEqual([opened[0]!.id, opened[0]!.name, opened[0]!.isOurs], [1, "logs", false])
    assert.deepStrictEqual(takeAll(server, opened[0]!).map(hex), ["07"])
  })

  it("has its news told at once when so much was taken on all together that the other side keeps a MiB for them", () => {
    const windowBytes = 4_194_304
    const peers = new Peers({
      windowBytes,
      channelWindowBytes: windowBytes,
      windowBytesMax: windowBytes,
      messageBytesMax: windowBytes,
      frameBytesMax: windowBytes,
      channelsMax: 8
    })
    const { client, server } = peers
    const channels = ["a", "b", "c", "d", "e"].map((name) => peers.open("client", name))
    const takes = ([ours, theirs]: (typeof channels)[number], bytes: number) => {
      say(client, ours, new Uint8Array(bytes - 4)) // and a record's header
      assert.isUndefined(deliver(client.write(windowBytes), server))
      takeAll(server, theirs)
    }
    for (const channel of channels.slice(0, 4)) takes(channel, 209_715)
    assert.deepStrictEqual([server.hasWork, server.hasNews], [false, true])
    takes(channels[4]!, 209_715)
    assert.deepStrictEqual([server.hasWork, server.hasNews], [false, true])
    say(client, channels[0]![0], new Uint8Array(0))
    assert.isUndefined(deliver(client.write(windowBytes), server))
    takeAll(server, channels[0]![1])
    assert.isTrue(server.hasWork)
    assert.deepStrictEqual(tags(server.write(0)), ["Positions", "Positions", "Positions", "Positions", "Positions"])
    assert.deepStrictEqual([server.hasWork, server.hasNews], [false, false])

    takes(channels[1]!, 209_715)
    server.reset(channels[1]![1], "Abandoned", "")
    assert.deepStrictEqual(tags(server.write(0)), ["Reset"])
    takes(channels[0]!, 209_716)
    for (const channel of channels.slice(2)) takes(channel, 209_715)
    assert.deepStrictEqual([server.hasWork, server.hasNews], [false, true]) // what is gone is not kept
  })

  it("has an odd number if the client opens it and an even one if the server does, in the order of opening", () => {
    const { client, server } = new Peers()
    const ids = (peer: typeof client) => [peer.openChannel("a")!.id, peer.openChannel("b")!.id]
    assert.deepStrictEqual(
      [ids(client), ids(server)],
      [
        [1, 3],
        [2, 4]
      ]
    )
    assert.strictEqual(client.openCount, 2)
  })

  it("cannot be opened before the session has begun, nor beyond what the other side allows at once", () => {
    const peers = new Peers({}, { channelsMax: 2 })
    const { client, server } = peers
    const [first, theirs] = peers.open()
    assert.strictEqual(client.openable, 1)
    assert.isDefined(client.openChannel("second"))
    assert.isUndefined(client.openChannel("third"))
    peers.exchange()
    end(client, first)
    end(server, theirs)
    peers.exchange()
    assert.deepStrictEqual([client.openable, client.openCount, server.openCount], [1, 1, 1])
    assert.isDefined(client.openChannel("third"))
  })

  it("is finished on both sides when both directions have ended and everything is taken, and not before", () => {
    const peers = new Peers()
    const { client, server } = peers
    const [ours, theirs] = peers.open()
    say(client, ours, Uint8Array.of(1))
    end(client, ours)
    end(server, theirs)
    peers.exchange()
    assert.deepStrictEqual([client.facts().finished, server.facts().finished], [[], []])
    assert.deepStrictEqual([client.hasFinished, server.hasFinished], [false, false])
    takeAll(server, theirs)
    peers.exchange()
    assert.deepStrictEqual([client.hasFinished, server.hasFinished], [true, true])
    assert.deepStrictEqual([client.facts().finished, server.facts().finished], [[ours], [theirs]])
    assert.deepStrictEqual([client.openCount, server.openCount], [0, 0])
    // Late calls on it do nothing.
    client.reset(ours, "Failed", "")
    client.ready(ours)
    client.took(ours)
    assert.isFalse(client.hasWork)
  })

  it("is concluded if the last word about it was lost with the link", () => {
    const peers = new Peers()
    const { client, server } = peers
    const [ours, theirs] = peers.open()
    end(client, ours)
    end(server, theirs)
    deliver(client.write(100), server)
    deliver(server.write(100), client)
    server.announce()
    client.announce()
    client.write(100)
    assert.deepStrictEqual(client.facts().finished, [ours])
    peers.relink()
    peers.exchange()
    assert.deepStrictEqual(server.facts().finished, [theirs])
    assert.deepStrictEqual([client.openCount, server.openCount], [0, 0])
    assert.strictEqual(client.openable, 3)
  })

  it("stays until it is known that the sender knows what was declined", () => {
    const peers = new Peers()
    const { client, server } = peers
    const [ours, theirs] = peers.open()
    say(client, ours, Uint8Array.of(1))
    end(client, ours)
    end(server, theirs)
    deliver(client.write(100), server)
    theirs.receive.hand()
    theirs.receive.reject()
    server.took(theirs)
    server.announce()
    server.write(100) // lost
    assert.deepStrictEqual(server.facts().finished, [])
    peers.relink()
    peers.exchange()
    assert.deepStrictEqual(client.facts().rejected, [{ channel: ours, ordinal: 0 }])
    assert.deepStrictEqual(server.facts().finished, [theirs])
  })

  it("goes on after a cut where the other side stands, once that is told", () => {
    const peers = new Peers()
    const { client, server } = peers
    const [ours, theirs] = peers.open()
    say(client, ours, new Uint8Array(30).fill(5))
    deliver(client.write(12), server)
    client.write(5) // lost
    peers.relink()
    const first = client.write(1000)
    assert.deepStrictEqual(tags(first), ["Positions", "Positions", "Channels"])
    assert.isUndefined(deliver(first, server))
    assert.isFalse(client.hasWork)
    assert.isUndefined(deliver(server.write(1000), client))
    const second = client.write(1000)
    assert.deepStrictEqual(data(second), [[1, 19]])
    deliver(second, server)
    assert.deepStrictEqual(takeAll(server, theirs).map(hex), ["05".repeat(30)])
  })

  it("is opened again if the other side has never seen it, and only then", () => {
    const peers = new Peers()
    const { client, server } = peers
    peers.open()
    const unseen = client.openChannel("unseen")!
    say(client, unseen, Uint8Array.of(9))
    client.write(1000) // lost
    peers.relink()
    const late = client.openChannel("late")!
    say(client, late, Uint8Array.of(8))
    deliver(client.write(1000), server)
    deliver(server.write(1000), client)
    const written = client.write(1000)
    assert.deepStrictEqual(
      frames(written).map(({ _tag, channel }) => [_tag, channel]),
      [
        ["Open", 3],
        ["Open", 5],
        ["Data", 5], // the other one has had a turn in this round
        ["Data", 3]
      ]
    )
    deliver(written, server)
    const { opened } = server.facts()
    assert.deepStrictEqual(
      opened.map((channel) => [channel.name, takeAll(server, channel).map(hex)]),
      [
        ["unseen", ["09"]],
        ["late", ["08"]]
      ]
    )
  })

  it("is opened before it is said where it stands, on a link that lives on and on a new one", () => {
    const peers = new Peers()
    const { client, server } = peers
    const widened = (name: string) => {
      const channel = client.openChannel(name)!
      channel.receive.resize(200)
      client.took(channel)
      return channel
    }
    widened("one")
    const written = client.write(100)
    assert.deepStrictEqual(tags(written), ["Open", "Positions"])
    peers.cut() // lost
    widened("two")
    const positions = client.positions()
    client.resume(server.positions())
    server.resume(positions)
    peers.exchange()
    const opened = server.facts().opened
    assert.deepStrictEqual(
      opened.map(({ name, send }) => [name, send.limit]),
      [
        ["one", 200],
        ["two", 200]
      ]
    )
  })

  it("may be opened while there is no link", () => {
    const peers = new Peers()
    const { client, server } = peers
    peers.cut()
    say(client, client.openChannel("early")!, Uint8Array.of(1))
    assert.isFalse(client.hasData)
    const positions = client.positions()
    client.resume(server.positions())
    server.resume(positions)
    peers.exchange()
    assert.deepStrictEqual(takeAll(server, server.facts().opened[0]!).map(hex), ["01"])
  })

  it("is reset by either side: the other one is told why, once, and nothing of it is left", () => {
    for (const by of ["client", "server"] as const) {
      const peers = new Peers()
      const { client, server } = peers
      const [ours, theirs] = peers.open()
      say(client, ours, new Uint8Array(70))
      peers.exchange()
      const [one, other] = by === "client" ? [client, server] : [server, client]
      const [mine, yours] = by === "client" ? [ours, theirs] : [theirs, ours]
      one.reset(mine, "Abandoned", "no more wanted")
      assert.strictEqual(one.openCount, 0)
      peers.exchange()
      assert.deepStrictEqual(other.facts().reset, [{ channel: yours, code: "Abandoned", detail: "no more wanted" }])
      assert.deepStrictEqual(one.facts().reset, [])
      for (const peer of [client, server]) {
        assert.deepStrictEqual([peer.openCount, peer.outstandingBytes, peer.untakenBytes], [0, 0, 0])
        assert.deepStrictEqual([peer.awaitingCredit.size, peer.full.size], [0, 0])
      }
      assert.strictEqual(client.openable, 3)
    }
  })

  it("stays reset across links until that is confirmed, even if the other side has never seen it", () => {
    const peers = new Peers()
    const { client, server } = peers
    const [ours] = peers.open()
    client.reset(ours, "Failed", "one")
    client.reset(client.openChannel("unseen")!, "Refused", "two")
    client.write(1000) // lost
    peers.relink()
    client.reset(client.openChannel("late")!, "Invalid", "three")
    peers.exchange()
    assert.deepStrictEqual(
      server.facts().reset.map(({ channel, code, detail }) => [channel.name, code, detail]),
      [
        ["one", "Failed", "one"],
        ["unseen", "Refused", "two"],
        ["late", "Invalid", "three"]
      ]
    )
    peers.relink()
    assert.deepStrictEqual(tags(client.write(1000)), ["Positions", "Channels"])
    assert.strictEqual(client.openable, 3)
  })

  it("is reset by both at once without trouble, and what was under way is ignored", () => {
    const peers = new Peers()
    const { client, server } = peers
    const [ours, theirs] = peers.open()
    say(client, ours, Uint8Array.of(1))
    const late = client.write(1000)
    client.reset(ours, "Failed", "")
    server.reset(theirs, "Refused", "")
    assert.isUndefined(deliver(late, server))
    assert.isUndefined(
      server.control({ _tag: "Positions", channel: 1, received: 9, taken: 9, limit: 9, released: 9, rejected: [] })
    )
    peers.exchange()
    assert.deepStrictEqual([client.facts().reset, server.facts().reset], [[], []])
    assert.deepStrictEqual([client.openable, client.hasWork, server.hasWork], [3, false, false])
  })

  it("cannot be channel 0 that is reset", () => {
    const { client } = new Peers()
    client.reset(client.main, "Failed", "")
    assert.isFalse(client.hasWork)
  })

  it("says that there may be more channels with other news, and at once when few are left", () => {
    const peers = new Peers({}, { channelsMax: 8 })
    const { client, server } = peers
    const opened = Array.from({ length: 6 }, () => peers.open()[0])
    client.reset(opened[0]!, "Failed", "")
    deliver(client.write(100), server)
    assert.deepStrictEqual(frames(server.write(100)), [
      { _tag: "Channels", seen: 6, limit: 9 },
      { _tag: "ResetDone", channel: 1 }
    ])
    peers.exchange()
    const more = new Peers({}, { channelsMax: 8 })
    const [first] = more.open()
    more.client.reset(first, "Failed", "")
    deliver(more.client.write(100), more.server)
    more.server.write(100)
    assert.isFalse(more.server.hasNews)
  })
})

describe("Credit", () => {
  it("stops a channel whose consumer does not read after its window and the growth of all, and nothing else", () => {
    const peers = new Peers({ windowBytes: 50, growthBytes: 25, windowBytesMax: 50, channelWindowBytes: 40 })
    const { client, server } = peers
    const [slow, theirSlow] = peers.open()
    const [quick, theirQuick] = peers.open()
    for (let i = 0; i < 20; i++) say(client, slow, new Uint8Array(9))
    peers.exchange()
    assert.strictEqual(theirSlow.receive.received, 40)
    assert.deepStrictEqual([...client.awaitingCredit], [slow])
    assert.deepStrictEqual([...server.full], [theirSlow])
    for (let i = 0; i < 20; i++) {
      say(client, quick, new Uint8Array(9))
      client.send.accept(new Uint8Array(9))
      peers.exchange()
      assert.strictEqual(takeAll(server, theirQuick).length, 1)
      assert.strictEqual(takeAll(server, server.main).length, 1)
    }
    while (theirSlow.receive.messageCount < 20) {
      takeAll(server, theirSlow)
      peers.exchange()
    }
    takeAll(server, theirSlow)
    peers.exchange()
    assert.deepStrictEqual([client.awaitingCredit.size, server.full.size], [0, 0])
  })

  it("lets windows grow while much is taken in a round trip, within the growth of all, and shrink again", () => {
    const peers = new Peers({ growthBytes: 100, channelWindowBytes: 40, windowBytesMax: 150 })
    const { client, server } = peers
    const [ours, theirs] = peers.open()
    const windows: Array<number> = []
    for (let trip = 0; trip < 4; trip++) {
      for (let i = 0; i < 30; i++) {
        say(client, ours, new Uint8Array(9))
        peers.exchange()
        takeAll(server, theirs)
      }
      server.tune()
      windows.push(theirs.receive.windowBytes)
    }
    assert.deepStrictEqual(windows, [80, 150, 150, 150])
    for (let i = 0; i < 30; i++) say(client, ours, new Uint8Array(9))
    peers.exchange()
    assert.strictEqual(theirs.receive.received - theirs.receive.taken, 40 + 100) // its reserve, and all growth
    const [other, theirOther] = peers.open()
    for (let i = 0; i < 30; i++) say(client, other, new Uint8Array(9))
    peers.exchange()
    assert.strictEqual(theirOther.receive.received, 40) // its reserve is there whatever others hold
    server.tune()
    const shrinking = Array.from({ length: 4 }, () => {
      server.took(theirs)
      server.tune()
      return theirs.receive.windowBytes
    })
    assert.deepStrictEqual(shrinking, [75, 40, 40, 40])
  })

  it("comes back when a channel that held it is reset, by either side", () => {
    for (const by of ["client", "server"] as const) {
      const peers = new Peers({ growthBytes: 50, channelWindowBytes: 40, windowBytesMax: 400 })
      const { client, server } = peers
      const [first, second] = [peers.open(), peers.open()]
      for (const [ours, theirs] of [first, second]) {
        theirs.receive.resize(400)
        server.took(theirs)
        peers.exchange()
        for (let i = 0; i < 20; i++) say(client, ours, new Uint8Array(9))
        peers.exchange()
      }
      assert.deepStrictEqual([first[1].receive.received, second[1].receive.received], [90, 40])
      if (by === "client") client.reset(first[0], "Abandoned", "")
      else server.reset(first[1], "Abandoned", "")
      peers.exchange()
      assert.strictEqual(second[1].receive.received, 90)
    }
  })

  it("never lets a shrinking window withdraw what was granted", () => {
    const { receive } = new Peers().open()[1]
    receive.resize(400)
    receive.limit = receive.grantable
    receive.resize(0)
    assert.deepStrictEqual([receive.windowBytes, receive.grantable], [40, 400])
  })

  it("lets a message larger than any window through when it is the next one, whatever others hold", () => {
    const peers = new Peers({ growthBytes: 0, channelWindowBytes: 8, windowBytesMax: 100 })
    const { client, server } = peers
    const [ours, theirs] = peers.open()
    const [other] = peers.open()
    for (let i = 0; i < 9; i++) say(client, other, new Uint8Array(3))
    say(client, ours, Uint8Array.of(1))
    say(client, ours, new Uint8Array(900).fill(2))
    peers.exchange()
    assert.deepStrictEqual(
      takeAll(server, theirs).map(({ length }) => length),
      [1]
    )
    peers.exchange()
    assert.deepStrictEqual(
      takeAll(server, theirs).map(({ length }) => length),
      [900]
    )
  })

  it("is the same after a cut: nothing is counted twice, nothing is lost", () => {
    const peers = new Peers({ growthBytes: 30, channelWindowBytes: 40, windowBytesMax: 400 })
    const { client, server } = peers
    const [ours, theirs] = peers.open()
    theirs.receive.resize(400)
    server.took(theirs)
    for (let i = 0; i < 30; i++) say(client, ours, new Uint8Array(9))
    peers.exchange()
    assert.strictEqual(theirs.receive.received, 70)
    for (let link = 0; link < 5; link++) {
      peers.relink()
      peers.exchange()
      assert.strictEqual(theirs.receive.received, 70)
    }
    while (theirs.receive.messageCount < 30) {
      takeAll(server, theirs)
      peers.relink()
      peers.exchange()
    }
  })

  it("is not stuck for good when both applications write before they read", () => {
    const peers = new Peers({ growthBytes: 0 })
    const { client, server } = peers
    const [ours, theirs] = peers.open()
    for (let i = 0; i < 20; i++) {
      say(client, ours, new Uint8Array(9).fill(i))
      say(server, theirs, new Uint8Array(9).fill(i))
    }
    peers.exchange()
    assert.deepStrictEqual([[...client.awaitingCredit], [...server.awaitingCredit]], [[ours], [theirs]])
    const [up, down]: [Array<Uint8Array>, Array<Uint8Array>] = [[], []]
    for (let round = 0; round < 10; round++) {
      up.push(...takeAll(server, theirs))
      down.push(...takeAll(client, ours))
      peers.exchange()
    }
    assert.deepStrictEqual(
      [up.map(([byte]) => byte), down.map(([byte]) => byte)],
      [Array.from({ length: 20 }, (_, i) => i), Array.from({ length: 20 }, (_, i) => i)]
    )
  })

  it("counts what an application took by itself, without a call, when it is announced", () => {
    const peers = new Peers({ growthBytes: 10, channelWindowBytes: 8, windowBytes: 8, windowBytesMax: 30 })
    const { client, server } = peers
    server.receive.resize(30)
    server.announce()
    peers.exchange()
    const message = new Uint8Array(7)
    for (let i = 0; i < 40; i++) client.send.accept(message)
    const [ours, theirs] = peers.open()
    theirs.receive.resize(30)
    server.took(theirs)
    for (let i = 0; i < 40; i++) {
      say(client, ours, message)
      peers.exchange()
      server.receive.hand()
      server.receive.hand()
      theirs.receive.hand()
      theirs.receive.hand()
      server.announce()
      server.took(theirs)
    }
  })
})
