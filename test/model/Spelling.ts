/**
 * One spelling for states that will behave alike: all fields that a state holds, private ones included, but for what does
 * not count by `Essence.ts`. Every value says what it is and where it ends.
 */
import { forms, Shared } from "./Snapshot.ts"

/** Parts that are there once for all states that hold them, by their spelling. */
export type SharedParts = Map<string, Shared<object>>

/**
 * Equal for two states if and only if they hold the same, as far as it matters. What a state shares is from then on one of
 * `parts`, and must not change any more.
 */
export const spell = (root: object, parts: SharedParts): string => {
  shared = parts
  at = 0
  above.length = 0
  spellValue(root)
  return spelled(0)
}

let shared: SharedParts

/** The last spelling, a byte for each character, and where it ends. */
const ink = Buffer.alloc(1 << 16)
const view = new DataView(ink.buffer, ink.byteOffset)
let at = 0

const spelled = (from: number): string => {
  if (at > ink.length) throw new Error(`a state takes ${at} bytes to spell, more than ${ink.length}`)
  return ink.toString("latin1", from, at)
}

/** What comes next. All bytes from `small` on are small numbers themselves. */
const Tag = {
  undefined: 0,
  null: 1,
  false: 2,
  true: 3,
  number: 4,
  string: 5,
  bytes: 6,
  list: 7,
  set: 8,
  map: 9,
  object: 10,
  frozen: 11,
  shared: 14,
  above: 12,
  function: 13,
  small: 16
} as const

/** What the present value is a part of. A reference back to one of them says nothing new. */
const above: Array<object> = []

const spellValue = (value: unknown): void => {
  switch (typeof value) {
    case "number":
      return spellNumber(value)
    case "boolean":
      ink[at++] = value ? Tag.true : Tag.false
      return
    case "undefined":
      ink[at++] = Tag.undefined
      return
    case "string":
      ink[at++] = Tag.string
      spellNumber(value.length)
      for (let i = 0; i < value.length; i++) spellNumber(value.charCodeAt(i))
      return
    case "object":
      if (value === null) ink[at++] = Tag.null
      else spellObject(value)
      return
    case "function": // a rule of a core, which is the same in all states
      ink[at++] = Tag.function
      return
    default:
      throw new Error(`a ${typeof value} cannot be spelled`)
  }
}

const spellNumber = (value: number): void => {
  if (Number.isInteger(value) && value >= 0 && value < 256 - Tag.small) {
    ink[at++] = Tag.small + value
    return
  }
  ink[at++] = Tag.number
  if (at + 8 <= ink.length) view.setFloat64(at, value)
  at += 8
}

const spellObject = (value: object): void => {
  if (value instanceof Uint8Array) {
    ink[at++] = Tag.bytes
    spellNumber(value.length)
    for (let i = 0; i < value.length; i++) ink[at++] = value[i]!
    return
  }
  if (above.includes(value)) {
    ink[at++] = Tag.above
    return
  }
  // What is in a set or a map counts, and not whether it is the one that nobody puts anything into.
  if (Object.isFrozen(value) && !(value instanceof Set) && !(value instanceof Map)) {
    ink[at++] = Tag.frozen
    spellNumber(frozenNumber(value))
    return
  }
  if (value instanceof Shared) {
    if (value.isOwn) share(value)
    ink[at++] = Tag.shared
    spellNumber(value.number)
    return
  }
  spellParts(value)
}

const share = (value: Shared<object>): void => {
  const from = at
  spellValue(value.seen)
  const spelling = spelled(from)
  at = from
  let alike = shared.get(spelling)
  if (alike === undefined) {
    alike = new Shared(value.seen, shared.size)
    shared.set(spelling, alike)
  }
  value.share(alike.seen, alike.number)
}

const spellParts = (value: object): void => {
  above.push(value)
  if (Array.isArray(value)) {
    ink[at++] = Tag.list
    spellNumber(value.length)
    for (const item of value) spellValue(item)
  } else if (value instanceof Set) {
    ink[at++] = Tag.set
    spellNumber(value.size)
    for (const item of value) spellValue(item)
  } else if (value instanceof Map) {
    ink[at++] = Tag.map
    spellNumber(value.size)
    for (const [key, item] of value) {
      spellValue(key)
      spellValue(item)
    }
  } else {
    const form = forms.of(value)
    ink[at++] = Tag.object
    spellNumber(form.number)
    form.spell(value, spellValue)
  }
  above.pop()
}

/** Equal for two frozen objects if and only if they hold the same. */
const frozenNumber = (value: object): number => {
  let number = frozenNumbers.get(value)
  if (number === undefined) {
    const from = at
    spellParts(value)
    const spelling = spelled(from)
    at = from
    number = frozenSpellings.get(spelling) ?? frozenSpellings.size
    frozenSpellings.set(spelling, number)
    frozenNumbers.set(value, number)
  }
  return number
}

const frozenNumbers = new WeakMap<object, number>()
const frozenSpellings = new Map<string, number>()
