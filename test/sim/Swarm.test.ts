// The swarm. The fixed set has the same seeds for everybody, each run twice, byte for byte the same. The fresh set has
// seeds that nobody has run before; `SEEDS=1000` runs so many. `SEED=7` runs that seed alone.
import { freshCount, onlySeed, range, swarm } from "./Swarming.ts"

swarm("fixed set, each twice", onlySeed === undefined ? range(1, 200) : [onlySeed], true)
swarm("fresh set", onlySeed === undefined ? range(Date.now() % 1_000_000_000, freshCount) : [], false)
