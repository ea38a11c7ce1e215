/**
 * Sets that have nothing in them nearly always, and of which each of thousands of sessions has some: all that never had
 * anything are one.
 */

/** A set that nothing was put into. */
export const nobody: ReadonlySet<never> = Object.freeze(new Set<never>())

/** Puts something into a set, which may be one of its own only then. */
export const add = <A>(set: ReadonlySet<A>, item: A): ReadonlySet<A> => {
  const own = set === nobody ? new Set<A>() : (set as Set<A>)
  return own.add(item)
}

/** Takes something out of it. */
export const remove = <A>(set: ReadonlySet<A>, item: A): void => {
  if (set.size > 0) (set as Set<A>).delete(item)
}

/** Takes everything out of it. */
export const clear = (set: ReadonlySet<unknown>): void => {
  if (set.size > 0) (set as Set<unknown>).clear()
}
