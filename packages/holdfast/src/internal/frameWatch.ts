/**
 * Watches the frame that is coming in: whoever takes too long for one holds a place that others want. Of `Data` nothing is
 * kept and it may be large, so there its next bytes must come: on a slow link a frame takes minutes, and all is well.
 */
import type { Decoder } from "@holdfast/protocol"
import type { Exit } from "effect"
import type * as Patience from "../Patience.ts"
import { type Surroundings, Watching } from "./watching.ts"

/** Called when it is over, with what is known then. */
export type OnOver = (exit: Exit.Exit<Patience.Evidence>) => void

/** Of most links each frame comes in one piece, so the watch is made with the first that does not. */
export class FrameWatch {
  private readonly decoder: Decoder.Decoder
  private readonly patience: Patience.Patience
  private readonly onOver: OnOver
  private around: Surroundings | undefined
  private watching: Incoming | undefined
  private frame: number
  private wasInside = false

  constructor(decoder: Decoder.Decoder, patience: Patience.Patience, onOver: OnOver) {
    this.decoder = decoder
    this.patience = patience
    this.onOver = onOver
    this.frame = decoder.frameCount
  }

  start(around: Surroundings): void {
    this.around = around
    this.watching?.start(around)
  }

  stop(): void {
    this.around = undefined
    this.watching?.stop()
  }

  /** More has come. */
  look(now: () => number): void {
    const { frameCount, isInsideData, isInsideFrame } = this.decoder
    if (!isInsideFrame) {
      if (this.wasInside) this.watching?.rest()
    } else if (isInsideData || !this.wasInside || frameCount !== this.frame) this.incoming.arrived(now())
    this.wasInside = isInsideFrame
    this.frame = frameCount
  }

  private get incoming(): Incoming {
    if (this.watching === undefined) {
      this.watching = new Incoming(this.patience, this.onOver)
      if (this.around !== undefined) this.watching.start(this.around)
    }
    return this.watching
  }
}

class Incoming extends Watching {
  private readonly onOver: OnOver

  constructor(patience: Patience.Patience, onOver: OnOver) {
    super(patience, undefined)
    this.onOver = onOver
  }

  protected override asks(): void {}

  protected override ended(exit: Exit.Exit<Patience.Evidence>): void {
    this.onOver(exit)
  }
}
