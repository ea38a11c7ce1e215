/**
 * Circles in a graph of states: something that can go on for ever. A state's steps are `steps` from `stepsFrom` of its
 * number up to that of the next one.
 */
import { Numbers } from "./Table.ts"

/** The states of a circle one after the other, an early and short one if there are several. */
export const findCircle = (size: number, steps: Numbers, stepsFrom: Numbers): ReadonlyArray<number> | undefined => {
  const any = anyCircle(size, steps, stepsFrom)
  if (any === undefined) return undefined
  for (let state = 0; state < size; state++) {
    const near = nearCircle(state, steps, stepsFrom)
    if (near !== undefined) return near
  }
  return any
}

/** A state on a circle. */
const anyCircle = (size: number, steps: Numbers, stepsFrom: Numbers): ReadonlyArray<number> | undefined => {
  const [unseen, open, done] = [0, 1, 2]
  const marks = new Uint8Array(size).fill(unseen)
  const stack = new Numbers(Int32Array)
  const at = new Numbers(Uint32Array)
  for (let root = 0; root < size; root++) {
    if (marks[root] !== unseen) continue
    stack.push(root)
    at.push(stepsFrom.get(root))
    marks[root] = open
    while (stack.size > 0) {
      const state = stack.get(stack.size - 1)
      const edge = at.get(at.size - 1)
      if (edge === stepsFrom.get(state + 1)) {
        marks[state] = done
        stack.pop()
        at.pop()
        continue
      }
      at.set(at.size - 1, edge + 1)
      const next = steps.get(edge)
      if (marks[next] === open) return circleOf(stack, next)
      if (marks[next] !== unseen) continue
      marks[next] = open
      stack.push(next)
      at.push(stepsFrom.get(next))
    }
  }
  return undefined
}

const circleOf = (stack: Numbers, first: number): ReadonlyArray<number> => {
  const circle: Array<number> = []
  for (let i = stack.size - 1; circle[0] !== first; i--) circle.unshift(stack.get(i))
  return circle
}

/** The shortest circle through a state, if it is found among the nearest states. */
const nearCircle = (first: number, steps: Numbers, stepsFrom: Numbers): ReadonlyArray<number> | undefined => {
  const cameFrom = new Map<number, number | undefined>([[first, undefined]])
  for (const state of cameFrom.keys()) {
    for (let edge = stepsFrom.get(state); edge < stepsFrom.get(state + 1); edge++) {
      const next = steps.get(edge)
      if (next === first) return wayTo(state, cameFrom)
      if (!cameFrom.has(next) && cameFrom.size < nearStates) cameFrom.set(next, state)
    }
  }
  return undefined
}

const wayTo = (last: number, cameFrom: ReadonlyMap<number, number | undefined>): ReadonlyArray<number> => {
  const way: Array<number> = []
  for (let at: number | undefined = last; at !== undefined; at = cameFrom.get(at)) way.unshift(at)
  return way
}

const nearStates = 100
