/**
 * What becomes of the bytes that are handed to one link, for a peer that does not acknowledge them itself: as far as the
 * link tells. Only running totals count as progress: a queue can grow while it drains.
 */
import type { Progress } from "../Link.ts"

export interface Options {
  /** Without it, a byte has moved when the write that handed it over has settled. */
  readonly progress: (() => Progress) | undefined
  readonly now: () => number
}

export interface Reading {
  /** Running total of the bytes that are known to have moved. */
  readonly progressBytes: number
  readonly outstandingBytes: number
  /** When they moved, at the latest. */
  readonly at: number
  /** Repetitions that the peer's machine has not answered; `undefined` where the kernel does not tell. */
  readonly unanswered: number | undefined
}

export interface Meter {
  readonly writing: (bytes: number) => void
  readonly written: (bytes: number) => void
  readonly read: () => Reading
  /** Whether anything was ever written. */
  readonly isUsed: () => boolean
  /**
   * Whether the writer has paused while something was outstanding. What it hands over next may follow on an idle link,
   * so its clock must not run from what was outstanding before: read first.
   */
  readonly hasPaused: () => boolean
}

export const make = ({ now, progress }: Options): Meter => {
  let writtenBytes = 0
  let pendingBytes = 0
  let progressBytes = 0
  let acknowledgedBytes = 0
  let outstandingBytes = 0
  let outstandingSince = now()
  let writingAt = outstandingSince
  // The first call may only begin to find out what the kernel knows; by the first delay it is known.
  progress?.()

  return {
    writing(bytes) {
      writingAt = now()
      if (outstandingBytes === 0) outstandingSince = writingAt
      writtenBytes += bytes
      pendingBytes += bytes
      outstandingBytes += bytes
    },
    written(bytes) {
      pendingBytes -= bytes
    },
    read() {
      const link = progress?.()
      const queuedBytes = Math.max(pendingBytes, link?.queuedBytes ?? 0)
      let at = now()
      if (link?.acknowledgedBytes === undefined) {
        progressBytes = Math.max(progressBytes, writtenBytes - queuedBytes)
        outstandingBytes = queuedBytes
      } else {
        progressBytes += link.acknowledgedBytes - acknowledgedBytes
        acknowledgedBytes = link.acknowledgedBytes
        outstandingBytes = queuedBytes + (link.unacknowledgedBytes ?? 0)
        at = Math.max(at - (link.acknowledgedAgoMillis ?? 0), outstandingSince)
      }
      return { progressBytes, outstandingBytes, at, unanswered: link?.unanswered }
    },
    isUsed: () => writtenBytes > 0,
    hasPaused: () => outstandingBytes > 0 && now() - writingAt >= pauseMillis
  }
}

/** Bounds both what a slow writer pays for reading and by how much its patience may be judged too short. */
const pauseMillis = 1000
