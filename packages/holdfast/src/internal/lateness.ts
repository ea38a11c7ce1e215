/** Whether a timer woke so late that the machine was busy or asleep, and nobody else is to blame. */
export const isLate = (byMillis: number, delayMillis: number): boolean =>
  byMillis > Math.max(ordinaryMillis, delayMillis / 10)

/** A wake up to this late is ordinary: timers and garbage collection. */
const ordinaryMillis = 100
