// The fixed set of the swarm: the same seeds for everybody, each run twice, byte for byte the same. `SEED=7` runs that seed
// alone.
import { onlySeed, range, swarm } from "./Swarming.ts"

swarm("fixed set, each twice", onlySeed === undefined ? range(1, 200) : [onlySeed], true)
