/**
 * Copies of whatever the real classes hold, private fields included. Frozen objects never change and are shared. A closure
 * cannot be copied and is refused.
 */
import { essenceOf } from "./Essence.ts"
import { type Fields, Forms } from "./Forms.ts"

/** A copy that shares nothing that may change; what was one object stays one object. */
export const copy = <A extends object>(root: A): A => copyObject(root, new Map()) as A

/** A state's hold on a part that other states hold alike. It is there once; a step copies it when it first changes it. */
export class Shared<Part extends object> {
  private part: Part
  /** Equal for parts that are alike; undefined for a part that is the state's own. */
  private alike: number | undefined

  constructor(part: Part, alike?: number) {
    this.part = part
    this.alike = alike
  }

  /** It may have changed, and is not shared yet. */
  get isOwn(): boolean {
    return this.alike === undefined
  }

  /** The part, for whoever only looks. */
  get seen(): Part {
    return this.part
  }

  /** The part, for whoever may change it. */
  get own(): Part {
    if (this.alike !== undefined) {
      this.part = copy(this.part)
      this.alike = undefined
    }
    return this.part
  }

  /** Equal for parts that are alike, once they are shared. */
  get number(): number {
    return this.alike!
  }

  /** From now on this is the part, and it must not change. */
  share(part: Part, number: number): void {
    this.part = part
    this.alike = number
  }
}

/** The fields of an object whose class keeps them private. */
export const fieldsOf = (value: object): Fields => value as Fields

/** A value that never changes. */
export const frozen = <A extends object>(value: A): A => Object.freeze(value)

/** How each class is copied and spelled. */
export const forms = new Forms(essenceOf)

const copyObject = (value: object, copies: Map<object, object>): object => {
  if (Array.isArray(value)) {
    if (Object.isFrozen(value)) return value
    return copies.get(value) ?? copyList(value, copies)
  }
  if (value instanceof Uint8Array) return Uint8Array.prototype.slice.call(value) // that of a Buffer shares its bytes
  if (value instanceof Float64Array) return value.length === 0 ? value : value.slice()
  if (value instanceof ArrayBuffer) return value // held only to know the memory of a chunk again
  const done = copies.get(value)
  if (done !== undefined) return done
  if (Object.isFrozen(value)) return value
  if (value instanceof Map) {
    const map = new Map<unknown, unknown>()
    copies.set(value, map)
    for (const [key, item] of value) map.set(copyValue(key, copies), copyValue(item, copies))
    return map
  }
  if (value instanceof Set) {
    const set = new Set<unknown>()
    copies.set(value, set)
    for (const item of value) set.add(copyValue(item, copies))
    return set
  }
  if (value instanceof Shared && !value.isOwn) return new Shared(value.seen as object, value.number)
  return forms.of(value).copy(value, copies, copyObject)
}

const copyList = (list: ReadonlyArray<unknown>, copies: Map<object, object>): Array<unknown> => {
  const copied: Array<unknown> = []
  copies.set(list, copied)
  for (let i = 0; i < list.length; i++) copied.push(copyValue(list[i], copies))
  return copied
}

const copyValue = (value: unknown, copies: Map<object, object>): unknown => {
  if (typeof value === "function") throw new Error(`a state must not hold a closure: ${value.name}`)
  return typeof value === "object" && value !== null ? copyObject(value, copies) : value
}
