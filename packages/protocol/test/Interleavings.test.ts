import { assert, describe, it } from "@effect/vitest"
import { hex } from "./Samples.ts"
import { seeds } from "./Seeded.ts"
import { Simulation } from "./Simulation.ts"

describe("Two peers over a link that is cut at any byte", () => {
  it("hold every promise after every step, and deliver everything once the faults are over", () => {
    let duplicateBytes = 0
    let beyondWindow = 0
    seeds(3000, (chance) => {
      const simulation = new Simulation(chance)
      for (let steps = chance.pick([10, 50, 150]); steps > 0; steps--) simulation.step()
      simulation.settle()
      for (const side of [simulation.client, simulation.server]) {
        const { peer, incoming, outgoing } = side
        assert.strictEqual(incoming.taken, incoming.messages.length)
        assert.strictEqual(peer.send.released, outgoing.length)
        assert.deepStrictEqual(outgoing.toldRejected, outgoing.rejected)
        assert.strictEqual(peer.receive.rejected.length, 0)
        assert.strictEqual(side.pong, Math.max(...side.asked))
        duplicateBytes += peer.receive.duplicateBytes
        if (outgoing.messages.some(({ length }) => length > peer.limits.windowBytes)) beyondWindow++
      }
    })
    // The faults bite: data was sent twice, and messages larger than the window went through it.
    assert.isAbove(duplicateBytes, 1000)
    assert.isAbove(beyondWindow, 500)
  })

  it("drain: the one told to go away stops at the record it is sending, and knows exactly what was not sent", () => {
    let notSentCount = 0
    seeds(1000, (chance) => {
      const simulation = new Simulation(chance)
      const { client, server } = simulation
      for (let steps = chance.pick([5, 30, 100]); steps > 0; steps--) simulation.step()
      simulation.isClosedToNewMessages = true
      server.peer.goAway(1500)
      const sentMax = client.peer.send.sentMax
      const stopAt = client.peer.send.stop()
      for (let steps = chance.pick([0, 30, 100]); steps > 0; steps--) simulation.step()
      simulation.settle()

      assert.deepStrictEqual(client.goAway, { _tag: "GoAway", retryAfterMillis: 1500, end: server.outgoing.length })
      assert.strictEqual(client.peer.receive.taken, server.outgoing.length)
      assert.isTrue(client.peer.send.isDrained)
      assert.strictEqual(client.peer.send.released, stopAt)
      const { fateUnknown, notSent } = client.peer.send.outstanding()
      assert.strictEqual(fateUnknown.length, 0)
      const { ends, messages } = client.outgoing
      const sentCount = [0, ...ends].slice(0, messages.length).filter((start) => start < sentMax).length
      assert.deepStrictEqual(notSent.map(hex), messages.slice(sentCount).map(hex))
      assert.strictEqual(server.incoming.taken, sentCount)
      notSentCount += notSent.length
    })
    assert.isAbove(notSentCount, 1000)
  })
})
