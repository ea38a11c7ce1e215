import { Decoder, Frame, Peer, type Positions, Violation } from "@holdfast/protocol"
import { assert, describe, it } from "@effect/vitest"
import { concat, hello, hex } from "./Samples.ts"
import { decodeAll, type SlowFrame } from "./SlowProtocol.ts"

const limits: Peer.Limits = {
  windowBytes: 100,
  channelWindowBytes: 40,
  windowBytesMax: 400,
  growthBytes: 0,
  channelsMax: 3,
  messageBytesMax: 1000,
  frameBytesMax: 50
}

const terms = { limit: 100, reserve: 100, channelLimit: 40, growth: 0, channels: 3 }

/** A client that has said where it stands, as it does first on every link. */
const begun = (limit = 100): Peer.Peer => {
  const peer = new Peer.Peer(limits, "client")
  assert.isUndefined(peer.begin({ ...terms, limit }))
  peer.write(0)
  return peer
}

const frames = (written: Peer.Written | undefined): ReadonlyArray<SlowFrame> =>
  decodeAll(concat(written?.chunks ?? []), 65_536).frames

const tags = (written: Peer.Written | undefined): ReadonlyArray<string> => frames(written).map(({ _tag }) => _tag)

const deliver = (written: Peer.Written | undefined, to: Peer.Peer): Violation.Violation | undefined =>
  new Decoder.Decoder(65_536, to).push(concat(written?.chunks ?? []))

const none: Positions.Positions = {
  _tag: "Positions",
  channel: 0,
  received: 0,
  taken: 0,
  limit: 100,
  released: 0,
  rejected: []
}

describe("Peer", () => {
  it("says where it stands first on every link, fresh or resumed", () => {
    const peer = new Peer.Peer(limits, "client")
    assert.isTrue(peer.hasWork && peer.hasNews)
    peer.begin(terms)
    assert.deepStrictEqual(frames(peer.write(10)), [{ ...none }])
    assert.isFalse(peer.hasWork || peer.hasNews)
    peer.cut()
    peer.resume([none])
    assert.deepStrictEqual(frames(peer.write(10)), [{ ...none }, { _tag: "Channels", seen: 0, limit: 3 }])
  })

  it("writes control frames before data, whatever waits, and data in frames within the bound", () => {
    const peer = begun(1000)
    peer.send.accept(new Uint8Array(60))
    peer.announce()
    peer.ping(3)
    peer.heartbeat()
    peer.control({ _tag: "Ping", id: 7 })
    peer.goAway(10)
    peer.close({ code: "Normal", epoch: 0, detail: "" })
    peer.control({ _tag: "Close", code: "Normal", epoch: 0, detail: "" })
    const written = peer.write(1000)
    assert.deepStrictEqual(tags(written), [
      "Positions",
      "Pong",
      "Ping",
      "Heartbeat",
      "GoAway",
      "Close",
      "Closed",
      "Data",
      "Data"
    ])
    const data = frames(written).slice(7)
    assert.deepStrictEqual(
      data.map((frame) => [frame["offset"], String(frame["bytes"]).length / 2]),
      [
        [0, 34],
        [34, 27]
      ]
    )
    assert.strictEqual(written?.dataBytes, 61)
    assert.isFalse(peer.hasWork)
    assert.isUndefined(peer.write(1000))
  })

  it("writes at most so many bytes of data, and only control frames when asked for none", () => {
    const peer = begun(1000)
    peer.send.accept(new Uint8Array(80))
    assert.isTrue(peer.hasWork)
    assert.isUndefined(peer.write(0))
    assert.strictEqual(peer.write(40)?.dataBytes, 40)
    peer.heartbeat()
    assert.deepStrictEqual(tags(peer.write(0)), ["Heartbeat"])
    assert.strictEqual(peer.write(1000)?.dataBytes, 42)
  })

  it("joins what is small into one piece and leaves what is large in views", () => {
    const written = (messageBytes: number) => {
      const peer = new Peer.Peer({ ...limits, frameBytesMax: 65_536 }, "client")
      peer.begin({ ...terms, limit: 100_000 })
      peer.write(0)
      peer.send.accept(new Uint8Array(messageBytes))
      const { bytes, chunks } = peer.write(100_000)!
      return [bytes, chunks.length]
    }
    assert.deepStrictEqual(written(16_377), [16_384, 1])
    assert.deepStrictEqual(written(16_378), [16_385, 2])
  })

  it("calls a heartbeat what is a heartbeat and positions, and nothing else", () => {
    const additions: ReadonlyArray<readonly [boolean, (peer: Peer.Peer) => void]> = [
      [true, () => undefined],
      [true, (peer) => peer.announce()],
      [false, (peer) => peer.ping(1)],
      [false, (peer) => void peer.control({ _tag: "Ping", id: 1 })],
      [false, (peer) => peer.goAway(0)],
      [false, (peer) => peer.close({ code: "Normal", epoch: 0, detail: "" })],
      [false, (peer) => void peer.control({ _tag: "Close", code: "Normal", epoch: 0, detail: "" })],
      [false, (peer) => peer.send.accept(Uint8Array.of(1))]
    ]
    additions.forEach(([isHeartbeat, add], i) => {
      const peer = begun()
      peer.heartbeat()
      add(peer)
      assert.strictEqual(peer.write(100)?.isHeartbeat, isHeartbeat, `addition ${i}`)
    })
    const silent = begun()
    silent.announce()
    assert.isFalse(silent.write(100)?.isHeartbeat)
  })

  it("answers the latest of several pings, and asks only the latest of several questions", () => {
    const peer = begun()
    for (const id of [4, 5]) {
      peer.control({ _tag: "Ping", id })
      peer.ping(id + 10)
    }
    assert.deepStrictEqual(frames(peer.write(10)), [
      { _tag: "Pong", id: 5 },
      { _tag: "Ping", id: 15 }
    ])
    assert.isUndefined(peer.control({ _tag: "Pong", id: 15 }))
    assert.strictEqual(peer.facts().pong, 15)
    assert.isUndefined(peer.facts().pong)
  })

  it("reports each fact once: what arrived, what was taken, go away, close and closed", () => {
    const [ours, theirs] = [begun(), begun()]
    assert.deepStrictEqual(theirs.facts().arrived, [])
    ours.send.accept(Uint8Array.of(1))
    deliver(ours.write(100), theirs)
    assert.deepStrictEqual(theirs.facts().arrived, [theirs.main])
    theirs.receive.hand()
    assert.isUndefined(theirs.receive.hand())
    theirs.announce()
    deliver(theirs.write(100), ours)
    assert.deepStrictEqual(ours.facts().taken, [ours.main])

    ours.send.acceptEnd()
    deliver(ours.write(100), theirs)
    assert.deepStrictEqual(theirs.facts().arrived, [theirs.main])
    ours.goAway(250)
    ours.close({ code: "Fenced", epoch: 9, detail: "moved" })
    deliver(ours.write(100), theirs)
    const { close, goAway } = theirs.facts()
    assert.deepStrictEqual(goAway, { _tag: "GoAway", retryAfterMillis: 250, end: 3 })
    assert.deepStrictEqual(close, { _tag: "Close", code: "Fenced", epoch: 9, detail: "moved" })
    deliver(theirs.write(100), ours)
    assert.isTrue(ours.facts().closed)
    assert.deepStrictEqual(ours.facts(), {
      arrived: [],
      taken: [],
      opened: [],
      finished: [],
      reset: [],
      pong: undefined,
      rejected: [],
      goAway: undefined,
      close: undefined,
      closed: false
    })
  })

  it("holds credit back until it is a quarter of the window, and news for company", () => {
    const peer = begun()
    const stream = (length: number) => concat([Uint8Array.of(length + 1), new Uint8Array(length - 1)])
    peer.data(0, 0, stream(24))
    peer.receive.hand()
    peer.receive.take(1)
    assert.deepStrictEqual([peer.hasWork, peer.hasNews], [false, true])
    assert.isUndefined(peer.write(100))
    peer.data(0, 24, Uint8Array.of(2))
    peer.receive.hand()
    peer.receive.take(1)
    assert.isTrue(peer.hasWork)
    assert.deepStrictEqual(frames(peer.write(100)), [{ ...none, received: 25, taken: 25, limit: 125 }])
    assert.isFalse(peer.hasNews)
    peer.data(0, 25, Uint8Array.of(2))
    assert.deepStrictEqual([peer.hasWork, peer.hasNews], [false, true])
    peer.heartbeat()
    assert.deepStrictEqual(tags(peer.write(100)), ["Positions", "Heartbeat"])
  })

  it("tells of declined messages by their ordinal, once, and confirms them so that they are forgotten", () => {
    const [ours, theirs] = [begun(), begun()]
    for (let i = 0; i < 4; i++) ours.send.accept(Uint8Array.of(i))
    deliver(ours.write(100), theirs)
    theirs.receive.hand()
    theirs.receive.take(1)
    theirs.receive.reject()
    theirs.receive.take(1)
    theirs.receive.reject()
    theirs.announce()
    const written = theirs.write(100)
    assert.deepStrictEqual(frames(written)[0]?.["rejected"], [4, 8])
    deliver(written, ours)
    assert.deepStrictEqual(ours.facts().rejected, [
      { channel: ours.main, ordinal: 1 },
      { channel: ours.main, ordinal: 3 }
    ])
    theirs.announce()
    deliver(theirs.write(100), ours)
    assert.deepStrictEqual(ours.facts().rejected, [])
    assert.isTrue(ours.hasNews)
    ours.announce()
    deliver(ours.write(100), theirs)
    assert.deepStrictEqual([theirs.receive.rejected, ours.hasNews, theirs.hasNews], [[], false, false])
  })

  it("refuses declined messages that are not the ends of taken messages in ascending order", () => {
    const judge = (rejected: ReadonlyArray<number>): string | undefined => {
      const peer = begun()
      for (let i = 0; i < 3; i++) peer.send.accept(Uint8Array.of(i))
      peer.send.acceptEnd()
      peer.write(100)
      return peer.control({ ...none, received: 7, taken: 4, rejected })?.rule
    }
    assert.isUndefined(judge([2, 4]))
    for (const rejected of [[6], [3], [0], [4, 2], [2, 2]])
      assert.strictEqual(judge(rejected), "rejected", String(rejected))
    const ended = begun()
    ended.send.acceptEnd()
    ended.write(100)
    assert.strictEqual(ended.control({ ...none, received: 1, taken: 1, rejected: [1] })?.rule, "rejected")
  })

  it("returns the violation of its windows", () => {
    assert.strictEqual(begun().control({ ...none, received: 1 })?.rule, "received")
    assert.strictEqual(begun().control({ ...none, limit: 99 })?.rule, "limit")
    assert.strictEqual(begun().control({ ...none, released: 1 })?.rule, "released")
    assert.strictEqual(begun().data(0, 1, Uint8Array.of(1))?.rule, "data-gap")
  })

  it("resumes with the positions of channel 0 and of no other", () => {
    const peer = begun()
    peer.cut()
    assert.strictEqual(peer.resume([])?.rule, "resume")
    assert.strictEqual(peer.resume([none, none])?.rule, "resume")
    assert.strictEqual(peer.resume([{ ...none, channel: 1 }])?.rule, "resume")
  })

  it("refuses frames of the handshake once it is over", () => {
    const bytes = new Uint8Array(32)
    const late: ReadonlyArray<Frame.Control> = [
      hello,
      { _tag: "Welcome", version: 1, heartbeatMillisMax: 0, terms, session: bytes.subarray(16), secret: bytes },
      { _tag: "Challenge", version: 1, heartbeatMillisMax: 0, nonce: bytes, positions: [] },
      { _tag: "Proof", positions: [], mac: bytes },
      { _tag: "Resumed", mac: bytes },
      { _tag: "Refused", code: "Full", retryAfterMillis: 0, epoch: 0, detail: "" }
    ]
    for (const frame of late) assert.strictEqual(begun().control(frame)?.rule, "frame-order", frame._tag)
    assert.isUndefined(begun().control({ _tag: "Heartbeat" }))
  })

  it("forgets at a cut what was to be said on that link, and says again that it goes away", () => {
    const peer = begun()
    peer.control({ _tag: "Ping", id: 1 })
    peer.ping(2)
    peer.heartbeat()
    peer.announce()
    peer.control({ _tag: "Close", code: "Normal", epoch: 0, detail: "" })
    peer.cut()
    peer.resume([none])
    assert.deepStrictEqual(tags(peer.write(100)), ["Positions", "Channels"])
    peer.goAway(77)
    for (let link = 0; link < 2; link++) {
      const written = frames(peer.write(100))
      assert.deepStrictEqual(written[written.length - 1], { _tag: "GoAway", retryAfterMillis: 77, end: 0 })
      peer.cut()
      peer.resume([none])
    }
  })

  it("goes on after a cut where the other side stands, in the middle of a message, both ways at once", () => {
    const [ours, theirs] = [begun(), begun()]
    ours.send.accept(new Uint8Array(30).fill(1))
    theirs.send.accept(new Uint8Array(30).fill(2))
    deliver(ours.write(10), theirs)
    deliver(theirs.write(20), ours)
    deliver(ours.write(5), begun())
    const [ourPositions, theirPositions] = [ours.positions(), theirs.positions()]
    ours.cut()
    theirs.cut()
    assert.isUndefined(ours.resume(theirPositions))
    assert.isUndefined(theirs.resume(ourPositions))
    const first = frames(ours.write(1000))
    assert.deepStrictEqual([first[2]?.["offset"], String(first[2]?.["bytes"]).length / 2], [10, 21])
    deliver(theirs.write(1000), ours)
    assert.deepStrictEqual(ours.receive.hand()?.map(hex), ["02".repeat(30)])
  })

  it("keeps the positions of a handshake as they were said, and the live link informed", () => {
    const peer = begun()
    peer.data(0, 0, Uint8Array.of(3, 1, 3, 2))
    peer.receive.hand()
    peer.receive.reject()
    const said = peer.positions()
    const copy = structuredClone(said)
    peer.receive.reject()
    assert.deepStrictEqual(said, copy)
    assert.isTrue(peer.hasNews)
    peer.announce()
    assert.deepStrictEqual(frames(peer.write(10))[0]?.["rejected"], [2, 4])
  })

  it("is bound by the limit that a handshake said, even if that handshake came to nothing", () => {
    const peer = begun()
    peer.data(0, 0, concat([Uint8Array.of(41), new Uint8Array(39)]))
    peer.receive.hand()
    assert.isUndefined(peer.receive.hand())
    assert.strictEqual(peer.positions()[0]?.limit, 140)
    assert.isUndefined(peer.data(0, 40, concat([Uint8Array.of(0x40, 102), new Uint8Array(98)])))
  })
})
