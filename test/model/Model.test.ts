// Every order in which two real peers can send, receive, take, lose their link, dial again and lose their memory, within an
// extent: in each state every promise holds, and without further faults everything arrives, whatever happens first.
import { assert, describe, it } from "@effect/vitest"
import { real } from "./Core.ts"
import { explore } from "./Explorer.ts"
import { extents, words } from "./Extents.ts"
import { tell } from "./Story.ts"
import { World } from "./World.ts"

describe("A session keeps its promises in every state of", () => {
  for (const extent of extents) {
    it(words(extent), { timeout: 1_800_000 }, () => {
      const world = new World(real, extent)
      const begin = performance.now()
      const { counterexample, depth, standoffs, states, steps } = explore(world)
      const seconds = ((performance.now() - begin) / 1000).toFixed(1)
      const { clients, servers } = world.sizes
      console.log(
        `${words(extent)}: ${states.toLocaleString("en")} states, ${steps.toLocaleString("en")} steps, depth ${depth}, ` +
          `${clients.toLocaleString("en")} states of a client and ${servers.toLocaleString("en")} of a server, ${seconds} s`
      )
      if (extent.channelMessages.every((count) => count > 1)) assert.isAbove(standoffs, 0)
      if (counterexample !== undefined) assert.fail(`${counterexample.why}\n${tell(world, counterexample)}`)
    })
  }
})
