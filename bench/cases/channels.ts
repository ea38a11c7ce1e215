/**
 * Streaming over many channels of one session.
 */
import type { Case } from "../cases.ts"
import { exchange } from "../round.ts"

export const channelCases: ReadonlyArray<Case> = [64, 1024, 65_536].flatMap((size) =>
  [1, 100, 1000].map((count): Case => ({
    name: `channels/holdfast/${size}/${count}`,
    kind: "channels",
    contestant: "holdfast",
    size,
    count,
    heapMegabytes: 0,
    isBrief: count === (size === 64 ? 1000 : size === 1024 ? 1 : 100),
    unit: "messages/s",
    run: (timing) =>
      exchange({ contestant: `holdfast-channels-${count}`, size, heapMegabytes: 0, outstanding: 0 }, timing)
  }))
)
