/**
 * Explores a world and tells how large it is; a broken promise is told as a story.
 */
import { assert, it } from "@effect/vitest"
import { type Extent, real } from "./Core.ts"
import { explore } from "./Explorer.ts"
import { words } from "./Extents.ts"
import { tell } from "./Story.ts"
import { World } from "./World.ts"

/** A test for each of these worlds: every promise holds in every state of it. */
export const explored = (extents: ReadonlyArray<Extent>): void => {
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
}
