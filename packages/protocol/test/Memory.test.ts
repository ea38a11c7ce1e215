import * as Memory from "@holdfast/protocol/Memory"
import { assert, describe, it } from "@effect/vitest"
import { deliver, Peers, say, takeAll } from "./Peers.ts"

describe("Memory that serves again", () => {
  it("is bounded, and of one size", () => {
    const pieces = Array.from({ length: 300 }, () => new Uint8Array(Memory.pieceBytes))
    Memory.give(new Uint8Array(Memory.pieceBytes + 1))
    for (const piece of pieces) Memory.give(piece)
    const taken = new Set(Array.from({ length: 300 }, () => Memory.take()))
    assert.strictEqual(taken.size, 300)
    assert.strictEqual(pieces.filter((piece) => taken.has(piece)).length, 256)
  })

  const large = new Uint8Array(Memory.pieceBytes - 4)

  /** Sends two large messages, the second one when the first was taken, and tells whether they lay in the same memory. */
  const reuses = (...isCopying: ReadonlyArray<boolean>): boolean => {
    const { client, server } = new Peers({ windowBytes: 1_000_000, messageBytesMax: 200_000, frameBytesMax: 65_536 })
    for (const is of isCopying) client.channels.carriedBy(is)
    const memory = () => {
      say(client, client.main, large)
      const written = client.write(1_000_000)!
      deliver(written, server)
      takeAll(server, server.main)
      server.announce()
      deliver(server.write(0), client)
      return written.chunks.find(({ length }) => length > 50_000)!.buffer
    }
    return memory() === memory()
  }

  it("is that of messages that were taken, where the links copy what they are given", () => {
    assert.isTrue(reuses(true))
    assert.isTrue(reuses(true, true))
  })

  it("is not that of messages that a link may have handed on as they are", () => {
    assert.isFalse(reuses())
    assert.isFalse(reuses(false))
    assert.isFalse(reuses(true, false))
    assert.isFalse(reuses(false, true)) // what the first link was given is with somebody still
  })
})
