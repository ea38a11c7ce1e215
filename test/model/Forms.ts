/**
 * How objects of each class are copied and spelled. Both are compiled when the first object is met, from the fields that it
 * has: to go through fields by name would take most of the time of a check. A field that is added to a class takes part at
 * once, and so does one that an object gets late, since objects with other fields have another form.
 */

/** What is done with the objects of one class that have the same fields. */
export interface Form {
  readonly number: number
  /** A copy, put into `copies` before its fields are copied. */
  readonly copy: (value: object, copies: Map<object, object>, copyObject: CopyObject) => object
  /** Hands each field that counts, or what stands for it, to `spellValue`. */
  readonly spell: (value: object, spellValue: (field: unknown) => void) => void
}

export type CopyObject = (value: object, copies: Map<object, object>) => object

/** What stands for some fields when an object is spelled. A field with nothing instead does not count. */
export type Essence = Readonly<Record<string, ((fields: Fields) => unknown) | undefined>>

/** The fields of an object whose class keeps them private. */
export type Fields = Record<string, unknown>

/** The forms of all classes. */
export class Forms {
  private readonly essenceOf: (prototype: object) => Essence
  private readonly byPrototype = new Map<object, Array<Form & { readonly keys: ReadonlyArray<string> }>>()
  private count = 0

  constructor(essenceOf: (prototype: object) => Essence) {
    this.essenceOf = essenceOf
  }

  of(value: object): Form {
    const prototype = Object.getPrototypeOf(value) as object
    let forms = this.byPrototype.get(prototype)
    if (forms === undefined) {
      forms = []
      this.byPrototype.set(prototype, forms)
    }
    for (const form of forms) if (hasKeys(value, form.keys)) return form
    const keys = Object.keys(value)
    const copy = compileCopy(prototype, keys)
    const spell = compileSpell(keys, this.essenceOf(prototype))
    const form = { number: this.count++, keys, copy, spell }
    forms.push(form)
    return form
  }
}

const hasKeys = (value: object, keys: ReadonlyArray<string>): boolean => {
  let i = 0
  for (const key in value) if (key !== keys[i++]) return false
  return i === keys.length
}

const compileCopy = (prototype: object, keys: ReadonlyArray<string>): Form["copy"] => {
  const lines = keys.map(
    (key) => `
      field = source[${JSON.stringify(key)}]
      if (typeof field === "function") throw new Error(${JSON.stringify(`a state must not hold a closure: ${key}`)})
      this[${JSON.stringify(key)}] = typeof field === "object" && field !== null ? copyObject(field, copies) : field`
  )
  return compile(
    "prototype",
    prototype,
    `function Copy(source, copies, copyObject) {
      copies.set(source, this)
      let field ${lines.join("")}
    }
    Copy.prototype = prototype
    return (source, copies, copyObject) => new Copy(source, copies, copyObject)`
  ) as Form["copy"]
}

const compileSpell = (keys: ReadonlyArray<string>, essence: Essence): Form["spell"] => {
  const forgotten = Object.keys(essence).filter((key) => !keys.includes(key))
  if (forgotten.length > 0) throw new Error(`something stands for ${forgotten.join(", ")}, and there is no such field`)
  const lines = keys.map((key) => {
    const name = JSON.stringify(key)
    if (!(key in essence)) return `spellValue(fields[${name}])`
    return essence[key] === undefined ? "" : `spellValue(essence[${name}](fields))`
  })
  return compile("essence", essence, `return (fields, spellValue) => {\n${lines.join("\n")}\n}`) as Form["spell"]
}

// oxlint-disable-next-line typescript/no-implied-eval -- it is made of nothing but the names of fields
const compile = (name: string, value: unknown, body: string): unknown => new Function(name, body)(value)
