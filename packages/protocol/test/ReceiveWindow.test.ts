import { Positions, ReceiveWindow, SendWindow } from "@holdfast/protocol"
import { assert, describe, it } from "@effect/vitest"
import { concat, fromHex, hex } from "./Samples.ts"
import { seeds } from "./Seeded.ts"
import { recordsOf } from "./SlowProtocol.ts"

const make = (windowBytes = 100, messageBytesMax = 1000): ReceiveWindow.ReceiveWindow =>
  new ReceiveWindow.ReceiveWindow({ windowBytes, messageBytesMax })

/** The stream of messages with these payloads. */
const stream = (...messages: ReadonlyArray<string>): Uint8Array => {
  const window = new SendWindow.SendWindow()
  for (const message of messages) window.accept(fromHex(message))
  window.resume(0, 0, window.end)
  return concat(window.next(Infinity))
}

const hand = (window: ReceiveWindow.ReceiveWindow): ReadonlyArray<string> | undefined => window.hand()?.map(hex)

/** Received and taken. */
const stand = ({ received, taken }: ReceiveWindow.ReceiveWindow): readonly [number, number] => [received, taken]

describe("ReceiveWindow", () => {
  it("puts messages together from any pieces, and hands them over in order", () => {
    const window = make()
    const bytes = stream("01", "", "0202", "aa".repeat(70))
    for (let at = 0; at < bytes.length; at++) assert.isUndefined(window.data(at, bytes.subarray(at, at + 1)))
    assert.deepStrictEqual(hand(window), ["01", "", "0202", "aa".repeat(70)])
    assert.deepStrictEqual(stand(window), [bytes.length, 0])
  })

  it("holds what the slow reader of records holds, for any stream cut anywhere and sent again", () => {
    seeds(500, (chance) => {
      const messages = Array.from({ length: chance.int(0, 8) }, () =>
        hex(chance.bytes(chance.pick([0, 1, 5, 63, 200])))
      )
      const bytes = chance.bool() ? concat([stream(...messages), Uint8Array.of(0)]) : stream(...messages)
      const window = make(10_000)
      while (window.received < bytes.length) {
        const from = chance.int(Math.max(0, window.received - 10), window.received)
        assert.isUndefined(window.data(from, bytes.slice(from, from + chance.int(0, 90))))
        const { ended, messages } = recordsOf(bytes.subarray(0, window.received))
        assert.strictEqual(window.untakenCount, messages.length)
        assert.strictEqual(window.ended, ended)
      }
      assert.deepStrictEqual(hand(window) ?? [], messages)
    })
  })

  it("cuts off what it holds, and counts it", () => {
    const window = make()
    const bytes = stream("0101", "0202")
    assert.isUndefined(window.data(0, bytes.subarray(0, 4)))
    assert.isUndefined(window.data(0, bytes.subarray(0, 4)))
    assert.isUndefined(window.data(1, bytes.subarray(1, 3)))
    assert.strictEqual(window.duplicateBytes, 6)
    assert.isUndefined(window.data(2, bytes.subarray(2)))
    assert.strictEqual(window.duplicateBytes, 8)
    assert.deepStrictEqual(hand(window), ["0101", "0202"])
  })

  it("refuses a gap of one byte", () => {
    const window = make()
    assert.isUndefined(window.data(0, stream("01")))
    assert.strictEqual(window.data(3, Uint8Array.of(2))?.rule, "data-gap")
    assert.isUndefined(window.data(2, Uint8Array.of(2)))
  })

  it("takes data up to the limit and refuses a byte more, duplicates or not", () => {
    assert.isUndefined(make(8).data(0, stream("01".repeat(7))))
    assert.strictEqual(make(8).data(0, stream("01".repeat(8)))?.rule, "data-limit")
    const window = make(8)
    assert.isUndefined(window.data(0, stream("01".repeat(7))))
    assert.strictEqual(window.data(7, Uint8Array.of(1, 1))?.rule, "data-limit")
  })

  it("takes a message of the largest size and refuses one of a byte more at its header", () => {
    const largest = make(2000, 100)
    assert.isUndefined(largest.data(0, stream("01".repeat(100))))
    assert.strictEqual(largest.waitingCount, 1)
    assert.strictEqual(make(2000, 100).data(0, stream("01".repeat(101)).subarray(0, 2))?.rule, "message-length")
    assert.strictEqual(make().data(0, fromHex("ffffffffffffffff"))?.rule, "message-length")
  })

  it("reads a length in any of its forms", () => {
    const window = make()
    assert.isUndefined(window.data(0, fromHex("4003aa80000002c000000000000000")))
    assert.deepStrictEqual(hand(window), ["aa", ""])
    assert.isTrue(window.ended)
  })

  it("refuses a byte after the end, in the same piece or a later one; what came before counts", () => {
    const window = make()
    assert.isUndefined(window.data(0, fromHex("030100")))
    assert.isUndefined(window.data(0, fromHex("030100")))
    assert.strictEqual(window.data(3, fromHex("01"))?.rule, "data-after-end")
    assert.strictEqual(make().data(0, fromHex("0001"))?.rule, "data-after-end")
    assert.deepStrictEqual(hand(window), ["01"])
  })

  it("lends messages that came in one piece where they lie, and hands others in memory of their own", () => {
    const bytes = stream("aa".repeat(70), "bb").slice()
    const lending = make()
    assert.isUndefined(lending.hand(true)) // it waits
    lending.data(0, bytes)
    assert.isTrue(lending.hand(true)!.every(({ buffer }) => buffer === bytes.buffer))
    assert.isTrue(lending.isLentOut)
    lending.take(2)
    assert.isFalse(lending.isLentOut)
    const owning = make()
    owning.data(0, bytes)
    const [first, second] = owning.hand()!
    assert.isTrue(first!.buffer !== bytes.buffer && first!.buffer === second!.buffer) // one copy for both
    assert.isFalse(owning.isLentOut)
    const large = stream("aa".repeat(20_000), "bb").slice() // is copied when it is known that nobody borrows it
    const changing = make(50_000, 50_000)
    changing.data(0, large)
    assert.isTrue(changing.hand(true)!.every(({ buffer }) => buffer === large.buffer))
    changing.giveBack()
    assert.isTrue(changing.hand()!.every(({ buffer }) => buffer !== large.buffer))
  })

  it("copies what waits before its bytes are overwritten, and what a consumer gave back", () => {
    const window = make()
    const bytes = stream("01", "02", "03").slice()
    window.hand(true)
    window.data(0, bytes)
    window.hand(true)
    window.take(1)
    window.giveBack()
    window.own()
    bytes.fill(0)
    assert.deepStrictEqual(hand(window), ["02", "03"])
    const other = make()
    const first = stream("01").slice()
    other.hand(true)
    other.data(0, first)
    other.data(2, stream("02").slice()) // other bytes: the first ones may be overwritten
    first.fill(0)
    assert.deepStrictEqual(hand(other), ["01", "02"])
  })

  it("leaves messages where they lie when their bytes are kept", () => {
    const window = make()
    const bytes = stream("01", "02").slice()
    window.hand(true)
    window.data(0, bytes)
    window.keep()
    assert.isTrue(window.hand()!.every(({ buffer }) => buffer === bytes.buffer))
  })

  it("puts large messages together in memory that serves again, where consumers borrow", () => {
    const message = new Uint8Array(100_000).fill(7)
    const sender = new SendWindow.SendWindow()
    sender.limit = Infinity
    for (let i = 0; i < 5; i++) sender.accept(message)
    const bytes = concat(sender.next(Infinity))
    const recordBytes = bytes.length / 5
    const window = make(1_000_000, 200_000)
    const next = (mayBeLent: boolean) => {
      const at = window.received
      window.data(at, bytes.slice(at, at + 60_000))
      window.data(at + 60_000, bytes.slice(at + 60_000, at + recordBytes))
      const [handed] = window.hand(mayBeLent)!
      assert.deepStrictEqual(handed, message)
      return handed!.buffer
    }
    next(true)
    const [second, third, fourth] = [next(true), next(true), next(true)]
    assert.notStrictEqual(second, third)
    assert.strictEqual(second, fourth)
    window.giveBack()
    assert.strictEqual(window.hand()![0]!.buffer, fourth)
    const owned = next(false)
    assert.notStrictEqual(owned, fourth)
    assert.notStrictEqual(owned, third)
  })

  it("takes what was handed when the next messages are asked for", () => {
    const window = make()
    window.data(0, stream("01", "02"))
    assert.deepStrictEqual(hand(window), ["01", "02"])
    assert.deepStrictEqual([window.untakenCount, window.waitingCount, window.taken], [2, 0, 0])
    assert.isUndefined(hand(window))
    assert.deepStrictEqual([window.untakenCount, window.taken], [0, 4])
  })

  it("takes messages one by one, and never more than were handed", () => {
    const window = make()
    window.take(1)
    window.data(0, stream("01", "02", "03"))
    window.take(1)
    assert.strictEqual(window.taken, 0)
    window.hand()
    window.take(1)
    assert.deepStrictEqual([window.taken, window.untakenCount], [2, 2])
    window.take(0)
    window.take(5)
    assert.deepStrictEqual([window.taken, window.untakenCount], [6, 0])
  })

  it("gives what a stopped consumer had not taken to the next one, before what came later", () => {
    const window = make()
    window.data(0, stream("01", "02", "03"))
    window.hand()
    window.take(1)
    window.data(6, stream("04"))
    window.giveBack()
    assert.deepStrictEqual(hand(window), ["02", "03", "04"])
    window.take(1)
    assert.strictEqual(window.taken, 4)
  })

  it("is finished when the end has come and every message before it is taken, and only then is the end taken", () => {
    const window = make()
    window.data(0, concat([stream("01", "02"), Uint8Array.of(0)]))
    assert.isTrue(window.ended)
    window.hand()
    window.take(1)
    assert.deepStrictEqual([window.isFinished, window.taken], [false, 2])
    window.take(1)
    assert.deepStrictEqual([window.isFinished, window.taken], [true, 5])

    const empty = make()
    empty.data(0, Uint8Array.of(0))
    assert.deepStrictEqual([empty.isFinished, empty.taken], [true, 1])
  })

  it("moves the limit with what is taken and never back", () => {
    const window = make(8)
    assert.deepStrictEqual([window.limit, window.grantable], [8, 8])
    window.data(0, stream("0101", "02"))
    assert.strictEqual(window.grantable, 8)
    window.hand()
    window.take(1)
    assert.deepStrictEqual([window.limit, window.grantable], [8, 11])
    window.limit = 50
    assert.strictEqual(window.grantable, 50)
  })

  it("makes room for a message larger than the window when it is the next one, and not before", () => {
    const window = make(8)
    window.data(0, stream("01", "aa".repeat(30)).subarray(0, 3))
    assert.strictEqual(window.grantable, 8)
    window.hand()
    window.hand()
    assert.deepStrictEqual(stand(window), [3, 2])
    assert.strictEqual(window.grantable, 2 + 1 + 30)
    const long = make(8)
    long.data(0, stream("aa".repeat(300)).subarray(0, 1))
    assert.strictEqual(long.grantable, 8)
    long.data(1, stream("aa".repeat(300)).subarray(1, 2))
    assert.strictEqual(long.grantable, 302)
  })

  it("lists what was declined until the sender has confirmed it", () => {
    const window = make()
    window.reject()
    window.data(0, stream("01", "02", "03"))
    window.hand()
    window.reject()
    window.take(1)
    window.reject()
    window.reject()
    assert.deepStrictEqual(window.rejected, [2, 6])
    assert.strictEqual(window.taken, 6)
    assert.isUndefined(window.confirm(1))
    assert.deepStrictEqual(window.rejected, [2, 6])
    assert.isUndefined(window.confirm(2))
    assert.deepStrictEqual(window.rejected, [6])
    assert.isUndefined(window.confirm(6))
    assert.deepStrictEqual(window.rejected, [])
    assert.strictEqual(window.confirm(7)?.rule, "released")
    assert.isUndefined(window.data(6, stream("04")))
    assert.strictEqual(window.confirm(8)?.rule, "released")
  })

  it("says when no more can be declined", () => {
    const window = make(5000)
    window.data(0, stream(...Array.from({ length: Positions.rejectedMax }, () => "")))
    window.hand()
    for (let i = 0; i < Positions.rejectedMax; i++) {
      assert.isFalse(window.isRejectedFull)
      window.reject()
    }
    assert.isTrue(window.isRejectedFull)
    window.confirm(1)
    assert.isFalse(window.isRejectedFull)
  })

  it("adopts what an earlier session had not taken: it comes first, moves no position, and cannot be declined", () => {
    const earlier = make()
    earlier.data(0, stream("e1", "e2", "e3"))
    earlier.hand()
    earlier.take(1)
    earlier.giveBack()
    const window = make()
    window.data(0, stream("01"))
    window.adopt(earlier)
    assert.deepStrictEqual(hand(window), ["e2", "e3", "01"])
    window.take(1)
    window.reject()
    assert.deepStrictEqual([stand(window), window.rejected], [[2, 0], []])
    window.take(1)
    assert.deepStrictEqual(stand(window), [2, 2])
  })

  it("leaves what a consumer of the earlier session has in hand with that consumer", () => {
    const earlier = make()
    earlier.data(0, stream("e1", "e2"))
    earlier.hand()
    earlier.data(4, stream("e3"))
    earlier.take(1)
    const window = make()
    window.adopt(earlier)
    assert.strictEqual(window.untakenCount, 2)
    window.take(1)
    assert.deepStrictEqual(hand(window), ["e3"])
    assert.deepStrictEqual(stand(window), [0, 0])
  })

  it("counts what it adopts as a part of its window, so that no number of lost sessions makes it hold more", () => {
    let window = make(100)
    const lose = () => {
      const next = make(100)
      next.adopt(window)
      window = next
    }
    window.data(0, concat([stream("00".repeat(60)), stream("01".repeat(30))]))
    lose()
    assert.deepStrictEqual([window.limit, window.grantable], [10, 10])
    window.data(0, stream("02".repeat(9)))
    for (let i = 0; i < 50; i++) lose()
    assert.deepStrictEqual([window.untakenCount, window.limit, window.grantable], [3, 1, 1])
    window.hand()
    window.take(1)
    assert.strictEqual(window.grantable, 61)
    window.giveBack()
    window.data(0, stream("")) // its own first record, one byte
    assert.strictEqual(hand(window)?.length, 3)
    assert.isUndefined(hand(window))
    assert.deepStrictEqual([stand(window), window.grantable], [[1, 1], 101])
  })

  it("lets a message that is larger than the window wait until what it adopted is taken", () => {
    const earlier = make(100)
    earlier.data(0, stream("01"))
    const window = make(100)
    window.adopt(earlier)
    window.data(0, stream("02".repeat(500)).subarray(0, 2))
    assert.strictEqual(window.grantable, 99)
    window.hand()
    window.take(1)
    assert.strictEqual(window.grantable, 502)
  })

  it("counts as growth what is beyond its reserve and the record that is taken next", () => {
    const growth = (...lengths: ReadonlyArray<number>) => {
      const window = make(8)
      window.limit = 1000
      window.data(0, stream(...lengths.map((length) => "01".repeat(length))))
      return window
    }
    assert.deepStrictEqual([growth(6, 0).growthBytes, growth(7, 0).growthBytes], [0, 1])
    assert.deepStrictEqual([growth(30).growthBytes, growth(30, 4).growthBytes, growth(4, 30).growthBytes], [0, 5, 28])
    const taken = growth(4, 30, 5)
    taken.hand()
    assert.strictEqual(taken.growthBytes, 34)
    taken.take(1)
    assert.strictEqual(taken.growthBytes, 6)
    const partly = make(8)
    partly.limit = 1000
    partly.data(0, stream("01".repeat(30)).subarray(0, 20))
    assert.strictEqual(partly.growthBytes, 0)

    const earlier = make()
    earlier.data(0, stream("e1", "e2"))
    earlier.hand()
    earlier.take(1)
    earlier.data(4, stream("e3"))
    const adopting = make(8)
    adopting.adopt(earlier)
    adopting.limit = 1000
    adopting.data(0, stream("01".repeat(30), "02"))
    assert.strictEqual(adopting.growthBytes, 2)
    adopting.take(1)
    adopting.hand()
    assert.strictEqual(adopting.growthBytes, 2)
    const empty = make(8)
    empty.limit = 1000
    empty.data(0, fromHex("c0000000000000"))
    empty.data(0, fromHex("c000000000000009aabb"))
    assert.strictEqual(empty.growthBytes, 0)
  })

  it("takes memory for a message as it arrives, not as it is announced", () => {
    const window = make(100_000, 50_000_000)
    const bytes = concat([fromHex("82faf082"), new Uint8Array(9000).fill(3)])
    window.data(0, bytes.subarray(0, 10))
    window.data(10, bytes.subarray(10))
    const { payload } = window as unknown as { readonly payload: Uint8Array }
    assert.isAtLeast(payload.length, 9000)
    assert.isAtMost(payload.length, 2 * 9000)
  })
})
