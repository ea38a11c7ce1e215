/** Writes the transcript, up to a bound for packets. */
import type { Entry, Fact } from "../Transcript.ts"
import type { World } from "./World.ts"

export class Journal {
  readonly entries: Array<Entry> = []
  private readonly world: World
  private readonly packetsMax: number
  private packets = 0

  constructor(world: World, packetsMax: number) {
    this.world = world
    this.packetsMax = packetsMax
  }

  record(fact: Fact): void {
    const at = this.world.now / 1000
    if (fact._tag === "Packet" && ++this.packets > this.packetsMax) {
      if (this.packets === this.packetsMax + 1) this.entries.push({ at, _tag: "Truncated" })
      return
    }
    this.entries.push({ at, ...fact })
  }
}
