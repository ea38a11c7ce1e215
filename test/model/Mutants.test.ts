// A model check that finds nothing says something only if it finds what is there to be found: each broken core is caught, and
// the shortest way to the broken promise is told as a story.
import { assert, describe, it } from "@effect/vitest"
import { plain, real } from "./Core.ts"
import { isFull } from "./Extents.ts"
import { explore } from "./Explorer.ts"
import { mutants } from "./Mutants.ts"
import { tell } from "./Story.ts"
import { World } from "./World.ts"

describe("A core that", () => {
  for (const { breaks, core, extent: given, name } of mutants) {
    it(`${name} is caught`, () => {
      const extent = { ...plain, incarnations: 1, restarts: 1, declines: 1, ...given }
      const world = new World(core, extent)
      const { counterexample, states } = explore(world)
      if (counterexample === undefined) assert.fail(`${states} states, and nothing was found`)
      const story = tell(world, counterexample)
      assert.match(counterexample.why, breaks, story)
      if (isFull) console.log(`a core that ${name} (found after ${states} states)\n${story}\n`)
    })
  }

  it("is as it should be comes to rest with everything delivered", () => {
    const extent = { ...plain, messages: 1, incarnations: 1, declines: 1, ends: true }
    assert.isUndefined(explore(new World(real, extent)).counterexample)
  })
})
