import { SendWindow } from "@holdfast/protocol"
import { assert, describe, it } from "@effect/vitest"
import { concat, hex } from "./Samples.ts"
import { seeds } from "./Seeded.ts"

/** A window that has accepted messages of these lengths, the first filled with 1, the second with 2 ... */
const filled = (limit: number, ...lengths: ReadonlyArray<number>): SendWindow.SendWindow => {
  const window = new SendWindow.SendWindow()
  lengths.forEach((length, i) => window.accept(new Uint8Array(length).fill(i + 1)))
  assert.isUndefined(window.resume(0, 0, limit))
  return window
}

const next = (window: SendWindow.SendWindow, bytesMax = Infinity): string => hex(concat(window.next(bytesMax)))

const rule = (window: SendWindow.SendWindow, received: number, taken: number, limit: number): string | undefined =>
  window.acknowledge(received, taken, limit)?.rule

describe("SendWindow", () => {
  it("writes a message as its length plus two and its bytes, and the end as 0", () => {
    const window = filled(1000, 0, 2)
    window.acceptEnd()
    assert.strictEqual(next(window), "0204020200")
    assert.isTrue(window.ended)
    assert.strictEqual(window.end, 5)
  })

  it("takes up the room that recordBytes foretells, at each border of the length", () => {
    for (const [messageBytes, recordBytes] of [
      [0, 1],
      [61, 62],
      [62, 64],
      [16_381, 16_383],
      [16_382, 16_386]
    ] as const) {
      assert.strictEqual(SendWindow.SendWindow.recordBytes(messageBytes), recordBytes)
      assert.strictEqual(filled(0, messageBytes).end, recordBytes)
    }
  })

  it("keeps a copy: changing the message afterwards changes nothing", () => {
    const window = new SendWindow.SendWindow()
    const message = Uint8Array.of(1, 2)
    window.accept(message)
    message.fill(9)
    window.resume(0, 0, 10)
    assert.strictEqual(next(window), "040102")
  })

  it("sends up to the limit and not a byte beyond it, and says that it waits for credit", () => {
    const window = filled(0, 4)
    assert.deepStrictEqual([window.sendableBytes, window.isWaitingForCredit, next(window)], [0, true, ""])
    assert.isUndefined(window.acknowledge(0, 0, 3))
    assert.deepStrictEqual([window.sendableBytes, window.isWaitingForCredit], [3, false])
    assert.strictEqual(next(window), "060101")
    assert.deepStrictEqual([window.sendableBytes, window.isWaitingForCredit], [0, true])
    assert.isUndefined(window.acknowledge(0, 0, 5))
    assert.strictEqual(next(window, 1), "01")
    assert.strictEqual(next(window, 1), "01")
    assert.deepStrictEqual([window.sendableBytes, window.isWaitingForCredit], [0, false])
  })

  it("counts what was handed to a link and is not known to be held", () => {
    const window = filled(100, 4, 4)
    assert.strictEqual(window.outstandingBytes, 0)
    next(window, 7)
    assert.strictEqual(window.outstandingBytes, 7)
    window.acknowledge(6, 5, 100)
    assert.deepStrictEqual(
      [window.outstandingBytes, window.keptBytes, window.keptCount, window.takenCount],
      [1, 5, 1, 1]
    )
  })

  it("accepts a receiver that stands anywhere between what it said before and what was sent, and no other", () => {
    const window = filled(100, 4, 4)
    next(window, 8)
    assert.strictEqual(rule(window, 9, 0, 100), "received")
    assert.isUndefined(rule(window, 8, 0, 100))
    assert.strictEqual(rule(window, 7, 0, 100), "received")
    assert.strictEqual(window.received, 8)
  })

  it("never lets a limit be withdrawn", () => {
    const window = filled(100, 4)
    assert.strictEqual(rule(window, 0, 0, 99), "limit")
    assert.strictEqual(window.limit, 100)
    assert.isUndefined(rule(window, 0, 0, 101))
  })

  it("accepts as taken only the end of a message that was received, and never less than before", () => {
    const window = filled(100, 4, 4, 4)
    next(window, 12)
    assert.strictEqual(rule(window, 9, 10, 100), "taken")
    for (const taken of [1, 4, 6, 9]) assert.strictEqual(rule(window, 10, taken, 100), "taken", `taken ${taken}`)
    assert.deepStrictEqual([window.released, window.received], [0, 0])
    assert.isUndefined(rule(window, 10, 10, 100))
    assert.strictEqual(rule(window, 10, 5, 100), "taken")
    assert.isUndefined(rule(window, 10, 10, 100))
    assert.deepStrictEqual([window.released, window.takenCount, window.keptCount], [10, 2, 1])
  })

  it("keeps a large message in several pieces of memory, whole or in two parts, and finds it again", () => {
    for (const length of [4095, 4096, 4097, 131_071, 131_072, 131_073, 400_000]) {
      const message = Uint8Array.from({ length }, (_, i) => i % 251)
      for (const before of [0, 1, 100_000, 130_000, 131_060]) {
        const window = filled(Infinity, before)
        const head = message.subarray(0, length >> 1)
        window.accept(message)
        window.acceptPieces(head, message.subarray(head.length))
        const [first, whole, parts] = window.outstanding().notSent
        assert.strictEqual(first!.length, before)
        assert.strictEqual(Buffer.compare(whole!, message), 0, `${length} behind ${before}`)
        assert.strictEqual(Buffer.compare(parts!, message), 0, `${length} in two parts behind ${before}`)
        assert.strictEqual(concat(window.next(Infinity)).length, window.end)
      }
    }
  })

  it("accepts many messages at once as it does one by one, whatever their lengths and what was skipped before them", () => {
    seeds(60, (chance) => {
      const together = new SendWindow.SendWindow()
      const oneByOne = new SendWindow.SendWindow()
      for (let i = 0; i < 12; i++) {
        const lengthMax = chance.pick([3, 70, 5000, 20_000, 150_000])
        const lengths = Array.from({ length: chance.int(0, lengthMax < 100 ? 500 : 12) }, () =>
          chance.int(0, lengthMax)
        )
        const messages = lengths.concat(61, 62, 16_381, 16_382).map((length, i) => new Uint8Array(length).fill(i))
        for (const message of chance.bool(0.3) ? messages.slice(0, 2) : []) {
          for (const window of [together, oneByOne]) {
            window.enqueue(message)
            window.skipOldest()
          }
        }
        together.acceptAll(
          messages,
          messages.reduce((sum, { length }) => sum + SendWindow.SendWindow.recordBytes(length), 0)
        )
        for (const message of messages) oneByOne.accept(message)
        assert.deepStrictEqual([together.end, together.keptCount], [oneByOne.end, oneByOne.keptCount])
        const isTaken = chance.bool()
        const [ours, theirs] = [together, oneByOne].map((window) => {
          window.acknowledge(window.received, window.released, window.end)
          const bytes = concat(window.next(Infinity))
          window.acknowledge(window.end, isTaken ? window.end : window.released, window.end)
          return bytes
        })
        assert.strictEqual(Buffer.compare(ours!, theirs!), 0)
      }
      for (const window of [together, oneByOne]) window.acknowledge(window.end, window.end, window.end)
      assert.deepStrictEqual([together.takenCount, together.keptCount], [oneByOne.takenCount, 0])
    })
  })

  it("goes on where the receiver stands, in the middle of a message, too", () => {
    const window = filled(100, 4, 4)
    assert.strictEqual(next(window), "06010101010602020202")
    assert.isUndefined(window.resume(3, 0, 100))
    assert.deepStrictEqual([window.sent, window.sentMax], [3, 10])
    assert.strictEqual(next(window), "01010602020202")
    assert.strictEqual(window.resume(2, 0, 100)?.rule, "received")
    assert.strictEqual(window.sent, 10)
  })

  it("skips what the receiver holds already", () => {
    const window = filled(100, 4, 4)
    next(window)
    window.resume(3, 0, 100)
    assert.isUndefined(window.acknowledge(7, 5, 100))
    assert.strictEqual(next(window), "020202")
  })

  it("stops at the end of the record of which a byte was sent", () => {
    const stopAfter = (sent: number): readonly [number, number] => {
      const window = filled(100, 4, 4)
      next(window, sent)
      return [window.stop(), window.stop()]
    }
    assert.deepStrictEqual([0, 1, 4, 5, 6, 10].map(stopAfter), [
      [0, 0],
      [5, 5],
      [5, 5],
      [5, 5],
      [10, 10],
      [10, 10]
    ])
  })

  it("is drained when all that it was left to send is taken", () => {
    const window = filled(100, 4, 4)
    assert.isFalse(window.isDrained)
    next(window, 2)
    window.stop()
    assert.strictEqual(next(window), "010101")
    assert.isFalse(window.isWaitingForCredit)
    window.acknowledge(5, 0, 100)
    assert.isFalse(window.isDrained)
    window.acknowledge(5, 5, 100)
    assert.isTrue(window.isDrained)
    assert.strictEqual(window.stop(), 5)
    assert.deepStrictEqual(window.outstanding().notSent.map(hex), ["02020202"])
  })

  it("is drained when nothing was ever accepted, and when everything was taken", () => {
    assert.isTrue(new SendWindow.SendWindow().isDrained)
    const window = filled(100, 4)
    next(window)
    window.acknowledge(5, 5, 100)
    assert.deepStrictEqual([window.isDrained, window.stop()], [true, 5])
  })

  it("tells messages whose fate is unknown from those that were never sent, and leaves out the end", () => {
    const window = filled(100, 4, 0, 70)
    window.acceptEnd()
    const tell = () => {
      const { fateUnknown, notSent } = window.outstanding()
      return [fateUnknown.map(hex), notSent.map(hex)]
    }
    const [first, second, third] = ["01010101", "", "03".repeat(70)]
    assert.deepStrictEqual(tell(), [[], [first, second, third]])
    next(window, 1)
    assert.deepStrictEqual(tell(), [[first], [second, third]])
    next(window, 4)
    assert.deepStrictEqual(tell(), [[first], [second, third]])
    next(window, 2)
    window.resume(0, 0, 100)
    assert.deepStrictEqual(tell(), [[first, second, third], []])
    next(window)
    window.acknowledge(79, 6, 100)
    assert.deepStrictEqual(tell(), [[third], []])
    window.acknowledge(79, 79, 100)
    assert.deepStrictEqual(tell(), [[], []])
    assert.strictEqual(window.keptCount, 0)
  })

  it("finds the kept message that ends at a position; the end is none", () => {
    const window = filled(100, 4, 4, 4)
    window.acceptEnd()
    next(window)
    assert.deepStrictEqual(
      [4, 5, 10, 11, 15, 16, 17, 1e9].map((end) => window.keptIndexOf(end)),
      [-1, 0, 1, -1, 2, -1, -1, -1]
    )
    window.acknowledge(16, 5, 100)
    assert.deepStrictEqual(
      [5, 10, 15].map((end) => window.keptIndexOf(end)),
      [-1, 0, 1]
    )
  })

  it("finds every record again after thousands before it were forgotten", () => {
    const window = filled(100_000, ...Array.from({ length: 3000 }, () => 4))
    next(window)
    assert.isUndefined(rule(window, 15_000, 2000 * 5, 100_000))
    assert.deepStrictEqual([window.keptCount, window.takenCount], [1000, 2000])
    assert.deepStrictEqual(
      [10_000, 10_005, 15_000].map((end) => window.keptIndexOf(end)),
      [-1, 0, 999]
    )
    assert.strictEqual(rule(window, 15_000, 10_001, 100_000), "taken")
    assert.strictEqual(hex(window.outstanding().fateUnknown[999]!), hex(new Uint8Array(4).fill(3000)))
    assert.isUndefined(rule(window, 15_000, 15_000, 100_000))
    assert.strictEqual(window.keptCount, 0)
  })

  it("keeps every byte while tens of thousands of messages of any size go through, and forgets what was taken", () => {
    seeds(4, (chance) => {
      const window = new SendWindow.SendWindow()
      const ends: Array<number> = []
      const kept: Array<string> = []
      let sent = 0
      let taken = 0
      window.resume(0, 0, Number.MAX_SAFE_INTEGER)
      for (let i = 0; i < 8000; i++) {
        const length = chance.bool(0.002) ? 100_000 : chance.int(0, 80)
        const message = new Uint8Array(length).fill(i)
        window.accept(message)
        ends.push(window.end)
        kept.push(hex(message))
        if (chance.bool(0.6)) continue
        const views = window.next(chance.int(0, 20_000))
        sent += views.reduce((sum, view) => sum + view.length, 0)
        assert.strictEqual(window.sent, sent)
        const whole = ends.findLastIndex((end) => end <= sent)
        if (whole < 0 || chance.bool(0.9)) continue
        const from = ends[chance.bool() ? whole : chance.int(0, whole)]!
        assert.isUndefined(window.acknowledge(sent, Math.max(taken, from), Number.MAX_SAFE_INTEGER))
        while (ends[0]! <= from) {
          taken = ends.shift()!
          kept.shift()
        }
        assert.strictEqual(window.keptCount, kept.length)
      }
      const { fateUnknown, notSent } = window.outstanding()
      assert.strictEqual([...fateUnknown, ...notSent].map(hex).join(), kept.join())
    })
  })
})
