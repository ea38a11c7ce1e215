import { ReceiveWindow, SendWindow } from "@holdfast/protocol"
import { assert, describe, it } from "@effect/vitest"
import { end, Peers, takeAll } from "./Peers.ts"
import { concat, fromHex, hex } from "./Samples.ts"
import { recordsOf } from "./SlowProtocol.ts"

const letters = (text: string): ReadonlyArray<Uint8Array> =>
  Array.from(text, (letter) => new Uint8Array(Buffer.from(letter)))

/** A window without credit, in front of which these messages wait. */
const queued = (text: string, expiresAt = Infinity): SendWindow.SendWindow => {
  const window = new SendWindow.SendWindow()
  for (const letter of letters(text)) window.enqueue(letter, expiresAt)
  return window
}

/** What is sent once there is credit: the messages, and how many were skipped before each and behind the last one. */
const sent = (window: SendWindow.SendWindow): readonly [string, ReadonlyArray<number>] => {
  window.acknowledge(window.received, window.released, Number.MAX_SAFE_INTEGER)
  window.feed(Infinity)
  const { messages, skipped } = recordsOf(concat(window.next(Infinity)))
  return [messages.map((message) => Buffer.from(message, "hex").toString()).join(""), skipped]
}

describe("Messages in front of a stream", () => {
  it("are kept as copies, counted, and sent in order when there is credit", () => {
    const window = new SendWindow.SendWindow()
    const message = Uint8Array.of(0x61)
    window.enqueue(message)
    message.fill(0)
    window.enqueue(Uint8Array.of(0x62))
    assert.deepStrictEqual([window.queuedCount, window.queuedBytes, window.keptBytes, window.keptCount], [2, 4, 4, 2])
    assert.deepStrictEqual([window.isReady, window.isWaitingForCredit, window.end], [false, true, 0])
    assert.deepStrictEqual(window.outstanding().notSent.map(hex), ["61", "62"])
    assert.deepStrictEqual(sent(window), ["ab", [0, 0, 0]])
    assert.deepStrictEqual([window.queuedCount, window.keptCount, window.isWaitingForCredit], [0, 2, false])
  })

  it("enter the stream only as far as there is credit and bytes are wanted, so that the rest can be skipped", () => {
    const window = queued("abcdef")
    window.acknowledge(0, 0, 5)
    window.feed(3)
    assert.deepStrictEqual([window.end, window.queuedCount], [4, 4])
    window.feed(100)
    assert.deepStrictEqual([window.end, window.queuedCount, window.isReady], [6, 3, true])
    assert.strictEqual(window.skipOldest(), 3)
    assert.strictEqual(hex(concat(window.next(100))), "0361036203")
    assert.deepStrictEqual([window.isReady, window.isWaitingForCredit], [false, true])
    window.acknowledge(5, 4, 100)
    window.feed(100)
    assert.strictEqual(hex(concat(window.next(100))), "63010103650366")
  })

  it("are skipped from the oldest on, each once, and the receiver is told how many", () => {
    const window = queued("abcde")
    assert.deepStrictEqual([window.skipOldest(), window.skipOldest()], [0, 1])
    assert.deepStrictEqual([window.skippedCount, window.queuedCount], [2, 3])
    assert.deepStrictEqual(sent(window), ["cde", [2, 0, 0, 0]])
    assert.strictEqual(window.skipOldest(), -1)
  })

  it("are skipped when they are of no use any more, wherever they stand", () => {
    const window = new SendWindow.SendWindow()
    letters("abcdefg").forEach((letter, i) => window.enqueue(letter, [5, Infinity, 7, 5, Infinity, 9, 5][i]))
    assert.strictEqual(window.expiresAt, 5)
    assert.deepStrictEqual(window.expire(4), [])
    assert.deepStrictEqual(window.expire(5), [0, 3, 6])
    assert.strictEqual(window.expiresAt, 7)
    assert.deepStrictEqual(window.expire(8), [2])
    assert.strictEqual(window.skipOldest(), 1)
    assert.deepStrictEqual(window.expire(100), [5])
    assert.strictEqual(window.expiresAt, Infinity)
    assert.deepStrictEqual(sent(window), ["e", [4, 2]])
    assert.deepStrictEqual([window.skippedCount, window.queuedBytes], [6, 0])
  })

  it("have ordinals that count over the life of the stream, skipped ones included", () => {
    const window = queued("abc")
    window.skipOldest()
    assert.deepStrictEqual(sent(window), ["bc", [1, 0, 0]])
    for (const letter of letters("de")) window.enqueue(letter)
    assert.deepStrictEqual([window.skipOldest(), window.skipOldest()], [3, 4])
    assert.isUndefined(window.acknowledge(window.sent, window.sent, Number.MAX_SAFE_INTEGER))
    assert.strictEqual(window.takenCount, 3)
    window.accept(new Uint8Array(Buffer.from("f")))
    assert.deepStrictEqual([window.queuedCount, window.isWaitingForCredit], [0, false])
    assert.strictEqual(hex(concat(window.next(100))), "01020366")
    assert.strictEqual(window.keptIndexOf(window.end), 2)
    assert.deepStrictEqual([window.keptIndexOf(window.end - 2), window.keptIndexOf(window.end - 1)], [-1, -1])
    assert.isUndefined(window.acknowledge(window.sent, window.sent, Number.MAX_SAFE_INTEGER))
    assert.strictEqual(window.takenCount, 6)
  })

  it("come before the end, and so does what was skipped behind the last one", () => {
    const window = queued("ab", 1)
    window.acceptEnd()
    assert.deepStrictEqual([window.ended, window.isFinished, window.expire(1)], [true, false, [0, 1]])
    assert.isTrue(window.isWaitingForCredit)
    window.acknowledge(0, 0, 100)
    window.feed(100)
    assert.strictEqual(hex(concat(window.next(100))), "010200")
    window.acknowledge(3, 3, 100)
    assert.isTrue(window.isFinished)
  })

  it("stay where they are when the session moves elsewhere", () => {
    const window = queued("ab")
    window.acknowledge(0, 0, 100)
    window.feed(1)
    window.next(1)
    window.stop()
    window.feed(100)
    assert.strictEqual(hex(concat(window.next(100))), "61")
    assert.deepStrictEqual([window.isReady, window.isWaitingForCredit, window.queuedCount], [false, false, 1])
    assert.deepStrictEqual(window.outstanding().notSent.map(hex), ["62"])
  })

  it("are many at no great cost, of which half expires", () => {
    const window = new SendWindow.SendWindow()
    for (let i = 0; i < 50_000; i++) window.enqueue(Uint8Array.of(1), i % 2)
    assert.strictEqual(window.expire(0).length, 25_000)
    for (let i = 0; i < 20_000; i++) assert.strictEqual(window.skipOldest(), i * 2 + 1)
    assert.strictEqual(window.queuedCount, 5000)
    assert.strictEqual(sent(window)[1][0], 40_001)
  })
})

describe("The receiver of skipped messages", () => {
  const make = (): ReceiveWindow.ReceiveWindow =>
    new ReceiveWindow.ReceiveWindow({ windowBytes: 100, messageBytesMax: 10 })

  it("counts them, takes them with what came before, and waits for nothing", () => {
    const window = make()
    for (const byte of fromHex("03010140050302")) {
      assert.isUndefined(window.data(window.received, Uint8Array.of(byte)))
    }
    assert.deepStrictEqual([window.messageCount, window.skippedCount, window.taken], [7, 5, 0])
    assert.deepStrictEqual(window.hand()!.map(hex), ["01", "02"])
    window.take(1)
    assert.strictEqual(window.taken, 2)
    window.take(1)
    assert.strictEqual(window.taken, 7)
    assert.isUndefined(window.data(7, fromHex("0101")))
    assert.strictEqual(window.taken, 9)
  })

  it("refuses a record that stands for none, or for too many", () => {
    assert.strictEqual(make().data(0, fromHex("0100"))?.rule, "skip")
    assert.isUndefined(make().data(0, fromHex("01bfffffff")))
    assert.strictEqual(make().data(0, fromHex("01c000000040000000"))?.rule, "skip")
  })

  it("agrees with the sender about what was skipped, across a cut", () => {
    const peers = new Peers({ channelWindowBytes: 8, growthBytes: 0 })
    const { client, server } = peers
    const [ours, theirs] = peers.open()
    for (const letter of letters("abcdefghij")) ours.send.enqueue(letter, 10)
    client.ready(ours)
    peers.exchange()
    peers.relink()
    assert.deepStrictEqual(ours.send.expire(10), [4, 5, 6, 7, 8, 9])
    ours.send.enqueue(new Uint8Array(Buffer.from("k")))
    end(client, ours)
    const taken: Array<Uint8Array> = []
    for (let i = 0; i < 10; i++) {
      taken.push(...takeAll(server, theirs))
      peers.exchange()
    }
    assert.strictEqual(Buffer.concat(taken).toString(), "abcdk")
    assert.deepStrictEqual([theirs.receive.skippedCount, theirs.receive.messageCount], [6, 11])
    assert.deepStrictEqual([ours.send.skippedCount, ours.send.takenCount], [6, 12])
    assert.isTrue(ours.send.isFinished && theirs.receive.isFinished)
  })
})
