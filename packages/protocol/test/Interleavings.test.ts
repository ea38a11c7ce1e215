import { assert, describe, it } from "@effect/vitest"
import { hex } from "./Samples.ts"
import { seeds } from "./Seeded.ts"
import { inside, Simulation } from "./Simulation.ts"

describe("Two peers over a link that is cut at any byte", () => {
  it(
    "hold every promise after every step, and deliver everything once the faults are over",
    { timeout: 60_000 },
    () => {
      const bites = {
        duplicateBytes: 0,
        beyondWindow: 0,
        skipped: 0,
        finished: 0,
        reset: 0,
        growth: 0,
        waiting: 0,
        late: 0
      }
      seeds(700, (chance) => {
        const simulation = new Simulation(chance, chance.bool(0.2))
        const { client, main, pairs, server } = simulation
        for (let steps = chance.pick([10, 50, 150, 300]); steps > 0; steps--) {
          simulation.step()
          if (inside(client.peer).credit.sendGrowthBytes > 0) bites.growth++
          if (client.peer.awaitingCredit.size > 1) bites.waiting++
          if (!inside(client.peer).openings.isUp) bites.late++
        }
        simulation.settle()
        for (const pair of pairs.values()) {
          const { down, up } = pair
          if (pair.client.fate === "reset" || pair.server.fate === "reset") {
            // Both know it, whoever did it, unless one was done with the channel before.
            for (const end of [pair.client, pair.server]) assert.include(["reset", "finished"], end.fate)
            bites.reset++
            continue
          }
          for (const flow of [up, down]) {
            assert.isTrue(flow.isDelivered)
            assert.deepStrictEqual(flow.told, flow.rejected)
            bites.skipped += flow.messages.filter(({ isSkipped }) => isSkipped).length
          }
          const fate = pair !== main && up.ended && down.ended ? "finished" : "open"
          assert.deepStrictEqual([pair.client.fate, pair.server.fate], [fate, fate])
          if (fate === "finished") bites.finished++
          for (const { channel } of [pair.client, pair.server]) {
            const { receive, send } = channel!
            assert.strictEqual(send.released, send.end)
            assert.strictEqual(receive.rejected.length, 0)
            bites.duplicateBytes += receive.duplicateBytes
          }
          if (up.records.messages.some((message) => message.length / 2 > server.limits.windowBytesMax))
            bites.beyondWindow++
        }
        for (const side of [client, server]) {
          const { peer } = side
          assert.strictEqual(side.pong, Math.max(...side.asked))
          assert.strictEqual(inside(peer).openings.graves.size, 0)
          const ours = [...peer.open].filter(({ id, isOurs }) => id !== 0 && isOurs).length
          assert.strictEqual(peer.openable, simulation.other(side).limits.channelsMax - ours)
          assert.strictEqual(peer.awaitingCredit.size + peer.full.size, 0)
        }
      })
      // The faults bite: data was sent twice, messages larger than any window went through, credit was short ...
      for (const [what, count] of Object.entries(bites)) assert.isAbove(count, 100, what)
    }
  )

  it("drain: the one told to go away stops at the record it is sending, and knows exactly what was not sent", () => {
    let notSentCount = 0
    seeds(700, (chance) => {
      const simulation = new Simulation(chance, true)
      const { client, main, server } = simulation
      for (let steps = chance.pick([5, 30, 100]); steps > 0; steps--) simulation.step()
      simulation.isClosedToNewMessages = true
      server.peer.goAway(1500)
      const { send } = client.peer
      const stopAt = send.stop()
      client.peer.ready(client.peer.main)
      for (let steps = chance.pick([0, 30, 100]); steps > 0; steps--) simulation.step()
      simulation.settle()

      const { down, up } = main
      assert.deepStrictEqual(client.goAway, { _tag: "GoAway", retryAfterMillis: 1500, end: server.peer.send.end })
      assert.strictEqual(client.peer.receive.taken, server.peer.send.end)
      assert.isTrue(down.isDelivered && send.isDrained)
      assert.strictEqual(send.released, stopAt)
      const rest = send.outstanding()
      assert.strictEqual(rest.fateUnknown.length, 0)
      const live = up.messages.filter(({ isSkipped }) => !isSkipped).map(({ message }) => message)
      assert.deepStrictEqual([...up.records.messages, ...rest.notSent.map(hex)], live)
      assert.strictEqual(up.taken, up.records.messages.length)
      notSentCount += rest.notSent.length
    })
    assert.isAbove(notSentCount, 700)
  })
})
