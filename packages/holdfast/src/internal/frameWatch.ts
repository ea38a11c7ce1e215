/**
 * Watches the frame that is coming in: whoever takes too long for one holds a place that others want. Of `Data` nothing is
 * kept and it may be large, so there its next bytes must come: on a slow link a frame takes minutes, and all is well.
 */
import type { Decoder } from "@holdfast/protocol"
import { type Duration, Exit } from "effect"
import type * as Patience from "../Patience.ts"
import { type Surroundings, Watching } from "./watching.ts"

export class FrameWatch {
  private readonly decoder: Decoder.Decoder
  private readonly watching: Watching
  private frame: number
  private wasInside = false

  constructor(decoder: Decoder.Decoder, patience: Patience.Patience) {
    this.decoder = decoder
    this.frame = decoder.frameCount
    this.watching = new Watching({ patience, anchor: undefined })
  }

  start(around: Surroundings, onOver: (exit: Exit.Exit<Duration.Duration>) => void): void {
    this.watching.start(around, (exit) => onOver(Exit.map(exit, ({ missingFor }) => missingFor)))
  }

  stop(): void {
    this.watching.stop()
  }

  /** More has come. */
  look(now: () => number): void {
    const { frameCount, isInsideData, isInsideFrame } = this.decoder
    if (!isInsideFrame) {
      if (this.wasInside) this.watching.rest()
    } else if (isInsideData || !this.wasInside || frameCount !== this.frame) this.watching.arrived(now())
    this.wasInside = isInsideFrame
    this.frame = frameCount
  }
}
