/**
 * Copies of whatever the real classes hold, private fields included, and one spelling for states that will behave alike.
 * Both go by reflection: a field that is added to a class takes part at once. Only what is named in `essence` does not
 * count. Frozen objects never change and are shared. A closure cannot be copied and is refused.
 */
import { Channel, Decoder, Openings, Peer, ReceiveWindow, SendWindow } from "@holdfast/protocol"
import { Channels } from "@holdfast/protocol/Channels"
import { Credit } from "@holdfast/protocol/Credit"
import { Turns } from "@holdfast/protocol/Turns"
import { Line } from "./Line.ts"

/** A copy that shares nothing that may change; what was one object stays one object. */
export const copy = <A extends object>(root: A): A => copyObject(root, new Map()) as A

/** Equal for two states if and only if they hold the same, as far as it matters. */
export const spell = (root: object): string => {
  const out: Array<string> = []
  spellValue(root, out, [])
  return out.join("")
}

/** The fields of an object whose class keeps them private. */
export const fieldsOf = (value: object): Record<string, unknown> => value as Record<string, unknown>

/** A value that never changes. */
export const frozen = <A extends object>(value: A): A => Object.freeze(value)

const copyObject = (value: object, copies: Map<object, object>): object => {
  if (Object.isFrozen(value)) return value
  if (value instanceof Uint8Array) return value.slice()
  const done = copies.get(value)
  if (done !== undefined) return done
  if (Array.isArray(value)) {
    const list: Array<unknown> = []
    copies.set(value, list)
    for (const item of value) list.push(copyValue(item, copies))
    return list
  }
  if (value instanceof Map) {
    const map = new Map<unknown, unknown>()
    copies.set(value, map)
    for (const [key, item] of value) map.set(key, copyValue(item, copies))
    return map
  }
  if (value instanceof Set) {
    const set = new Set<unknown>()
    copies.set(value, set)
    for (const item of value) set.add(copyValue(item, copies))
    return set
  }
  const target = Object.create(Object.getPrototypeOf(value) as object | null) as Record<string, unknown>
  copies.set(value, target)
  const source = fieldsOf(value)
  for (const key in source) target[key] = copyValue(source[key], copies)
  return target
}

const copyValue = (value: unknown, copies: Map<object, object>): unknown => {
  if (typeof value === "function") throw new Error(`a state must not hold a closure: ${value.name}`)
  return typeof value === "object" && value !== null ? copyObject(value, copies) : value
}

/** What stands for some of an object's fields, because its future depends on no more than that. */
const essence = (value: object): Readonly<Record<string, unknown>> => {
  const fields = fieldsOf(value)
  if (value instanceof Decoder.Decoder) {
    const rest = fields["dataRest"] === 0 ? { dataChannel: 0, dataOffset: 0 } : {}
    const partial = part(fields["partial"], fields["partialLength"])
    return { frameCount: 0, partial, ...(partial.length === 0 ? { missing: 0 } : {}), ...rest }
  }
  if (value instanceof ReceiveWindow.ReceiveWindow) {
    const payload = part(fields["payload"], fields["payloadLength"])
    const memory = { lent: undefined, lentFrom: 0, isLentOut: false, isLending: false, pieces: [], handedPieces: [] }
    return { duplicateBytes: 0, header: part(fields["header"], fields["headerLength"]), payload, ...memory }
  }
  if (value instanceof SendWindow.SendWindow) {
    const ends = (fields["ends"] as ReadonlyArray<number>).slice(fields["endsFrom"] as number)
    const { segments } = fields["kept"] as { readonly segments: ReadonlyArray<Record<string, unknown>> }
    return { ends, endsFrom: 0, kept: segments.map(({ bytes, length, start }) => [start, part(bytes, length)]) }
  }
  // Nobody tunes windows here; rounds only decide which of two channels is written first.
  if (value instanceof Channel.Channel) return { round: 0, deficitBytes: 0, tunedAt: 0, isLent: false }
  if (value instanceof Turns)
    return { fresh: ids(value, "fresh"), waiting: ids(value, "waiting"), round: 0, turnsLeft: 0 }
  if (value instanceof Credit) {
    return { awaiting: ids(value, "awaiting"), full: ids(value, "full"), hasRoom: value.isRoomy }
  }
  if (value instanceof Channels) return { main: undefined, newsy: ids(value, "newsy"), consuming: undefined, lent: [] }
  // If there may be no channels, nothing depends on whether the other side has told which there are.
  if (value instanceof Openings.Openings && fields["channelsMax"] === 0) return { isUp: false }
  if (value instanceof Line) return { peer: undefined, channel: value.isOpen ? value.channel.id : value.channel }
  return value instanceof Peer.Peer ? { main: undefined } : {}
}

/** A list of channels that is kept elsewhere. */
const ids = (value: object, field: string): ReadonlyArray<number> =>
  Array.from(fieldsOf(value)[field] as Iterable<Channel.Channel>, ({ id }) => id)

/** The bytes of a buffer that are in use. */
const part = (bytes: unknown, length: unknown): Uint8Array =>
  bytes instanceof Uint8Array ? bytes.subarray(0, length as number) : new Uint8Array(0)

const frozenSpellings = new WeakMap<object, string>()

/** `above` are the objects that this value is a part of: a reference back to one of them says nothing new. */
const spellValue = (value: unknown, out: Array<string>, above: Array<object>): void => {
  if (typeof value !== "object" || value === null) {
    out.push(String(value), ",")
    return
  }
  if (above.includes(value)) return
  if (!Object.isFrozen(value)) {
    above.push(value)
    spellObject(value, out, above)
    above.pop()
    return
  }
  let spelling = frozenSpellings.get(value)
  if (spelling === undefined) {
    const inner: Array<string> = []
    spellObject(value, inner, [])
    spelling = inner.join("")
    frozenSpellings.set(value, spelling)
  }
  out.push(spelling)
}

const spellObject = (value: object, out: Array<string>, above: Array<object>): void => {
  if (value instanceof Uint8Array) {
    out.push(Buffer.from(value.buffer, value.byteOffset, value.length).toString("latin1"), "\u0100")
  } else if (Array.isArray(value)) {
    out.push("[")
    for (const item of value) spellValue(item, out, above)
    out.push("]")
  } else if (value instanceof Set) {
    out.push("(")
    for (const item of value) spellValue(item, out, above)
    out.push(")")
  } else if (value instanceof Map) {
    out.push("<")
    for (const [key, item] of value) {
      spellValue(key, out, above)
      spellValue(item, out, above)
    }
    out.push(">")
  } else {
    out.push("{")
    const fields = fieldsOf(value)
    const instead = essence(value)
    for (const key in fields) {
      const field = key in instead ? instead[key] : fields[key]
      if (typeof field !== "function") spellValue(field, out, above)
    }
    out.push("}")
  }
}
