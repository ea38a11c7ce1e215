/**
 * Heartbeats of many connections on one timer: a wheel of slots, each of which has its turn once in a period.
 */

/** One connection. */
export interface Beating {
  /** Something has arrived since the last look. */
  isHeard: boolean
  readonly beat: () => void
  /** Nothing has arrived for five periods. */
  readonly destroy: () => void
}

interface Place {
  readonly one: Beating
  silent: number
}

/** Adds a connection; the returned call takes it out. */
export const wheel = (periodMillis: number): ((one: Beating) => () => void) => {
  const slots = Array.from({ length: slotCount }, () => new Set<Place>())
  let turn = 0
  setInterval(() => {
    for (const place of slots[turn++ % slotCount]!) {
      const { one } = place
      place.silent = one.isHeard ? 0 : place.silent + 1
      one.isHeard = false
      if (place.silent >= silentMax) one.destroy()
      else one.beat()
    }
  }, periodMillis / slotCount)
  let added = 0
  return (one) => {
    const slot = slots[added++ % slotCount]!
    const place = { one, silent: 0 }
    slot.add(place)
    return () => slot.delete(place)
  }
}

const slotCount = 50
const silentMax = 5
