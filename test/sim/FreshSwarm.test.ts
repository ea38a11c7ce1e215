// The fresh set of the swarm: seeds that nobody has run before; `SEEDS=1000` runs so many. A file of its own, so that it runs
// beside the fixed one.
import { freshCount, onlySeed, range, swarm } from "./Swarming.ts"

swarm("fresh set", onlySeed === undefined ? range(Date.now() % 1_000_000_000, freshCount) : [onlySeed], false)
