// The check is worth as much as its copies and spellings: a field that one of them forgets would make states one that are not.
import { assert, describe, it } from "@effect/vitest"
import type { Client } from "./Client.ts"
import { type Extent, plain, real } from "./Core.ts"
import { explore } from "./Explorer.ts"
import type { Party } from "./Party.ts"
import type { Server } from "./Server.ts"
import { copy, fieldsOf, frozen, Shared } from "./Snapshot.ts"
import { type SharedParts, spell } from "./Spelling.ts"
import { World } from "./World.ts"

/** Fields that do not count, each for the reason that `Essence.ts` gives. */
const ignored: ReadonlyArray<string> = [
  "Channel.deficitBytes",
  "Channel.isLent",
  "Channel.round",
  "Channel.tunedAt",
  "Channels.consuming",
  "Channels.lent",
  "Channels.main",
  "Decoder.frameCount",
  "Decoder.tellingCount",
  "Line.peer",
  "Peer.main",
  "ReceiveWindow.duplicateBytes",
  "ReceiveWindow.handedPieces",
  "ReceiveWindow.isLending",
  "ReceiveWindow.isLentOut",
  "ReceiveWindow.lent",
  "ReceiveWindow.lentFrom",
  "ReceiveWindow.pieces",
  "Turns.round",
  "Turns.turnsLeft"
]

describe("A state", () => {
  it("is copied with all that it holds, and shares nothing that may change", () => {
    for (const state of sample()) {
      const copied = ownCopy(state)
      assert.deepStrictEqual(copy(state), state)
      assert.deepStrictEqual(partyOf(copied)?.seen, partyOf(state)?.seen)
      const before = new Set([...objectsOf(state)])
      for (const object of objectsOf(copied)) assert.isFalse(before.has(object), object.constructor.name)
    }
  })

  it("has another form when an object gets a field late", () => {
    class Late {
      early = 1
    }
    const late = Object.assign(new Late(), { late: 2 })
    assert.deepStrictEqual(copy(new Late()), new Late())
    assert.deepStrictEqual(copy(late), late)
    assert.notStrictEqual(spell(late, new Map()), spell(Object.assign(new Late(), { late: 3 }), new Map()))
  })

  it("is spelled like another one only if all values are the same", () => {
    const numbers = [0, 1, 239, 240, 256, -1, 0.5, 2 ** 40, Infinity]
    const others = [
      "",
      "0",
      "01",
      null,
      undefined,
      true,
      false,
      {},
      { a: undefined },
      frozen({ a: 1 }),
      frozen({ a: 2 })
    ]
    const lists = [
      [],
      [0],
      [[0], 1],
      [[0, 1]],
      [[], []],
      new Set([0]),
      new Set([[0]]),
      new Map([[0, 0]]),
      new Map([[0, 1]])
    ]
    const bytes = [new Uint8Array(0), Uint8Array.of(0), Uint8Array.of(0, 1), [Uint8Array.of(0), 1]]
    const values = [...numbers, ...others, ...lists, ...bytes]
    const spellings = values.map((value) => spell({ value }, new Map()))
    assert.strictEqual(new Set(spellings).size, values.length)
    assert.deepStrictEqual(
      values.map((value) => spell(copy({ value }), new Map())),
      spellings
    )
    assert.strictEqual(spell([frozen({ a: [1] })], new Map()), spell([frozen({ a: [1] })], new Map()))
  })

  it("must not hold a closure", () => {
    assert.throws(() => copy({ later: () => undefined }), "a state must not hold a closure: later")
  })

  it("shares a part until it changes it", () => {
    const parts: SharedParts = new Map()
    const one = new Shared({ count: 1 })
    const two = new Shared({ count: 1 })
    assert.strictEqual(spell({ one }, parts), spell({ one: two }, parts))
    assert.strictEqual(one.seen, two.seen)
    const after = copy({ one })
    after.one.own.count++
    assert.deepStrictEqual([one.seen.count, after.one.seen.count], [1, 2])
    assert.notStrictEqual(spell(after, parts), spell({ one }, parts))
  })

  it("is spelled with every field but those that are known not to count", () => {
    const parts: SharedParts = new Map()
    const met = new Set<string>()
    const counting = new Set<string>()
    for (const state of sample()) {
      const spelling = spell(ownCopy(state), parts)
      for (const [index, object] of objectsOf(state).entries()) {
        for (const key of keysOf(object)) {
          const name = `${object.constructor.name}.${key}`
          met.add(name)
          if (counting.has(name)) continue
          const other = ownCopy(state)
          const fields = fieldsOf(objectsOf(other)[index]!)
          fields[key] = changed(fields[key])
          if (looksOther(() => spell(other, parts), spelling)) counting.add(name)
        }
      }
    }
    assert.deepStrictEqual([...met].filter((name) => !counting.has(name)).toSorted(), ignored)
  })
})

/** Worlds that have everything in them. */
const extents: ReadonlyArray<Extent> = [
  { ...plain, incarnations: 2, messages: 1, declines: 1, ends: true },
  { ...plain, incarnations: 1, messages: 1, pieces: "bytes" },
  { ...plain, incarnations: 1, channels: 1, channelsMax: 1, channelMessages: [1, 0], resets: true, skips: 1 }
]

/** Some states of both sides, each as a step has left it: what it has made is no copy yet. */
const sample = (): ReadonlyArray<Client | Server> => (sampled ??= extents.flatMap(statesOf))

let sampled: ReadonlyArray<Client | Server> | undefined

const statesOf = (extent: Extent): ReadonlyArray<Client | Server> => {
  const world = new World(real, extent)
  explore(world)
  const { clients, servers } = fieldsOf(world)["sides"] as Record<"clients" | "servers", object>
  return [clients, servers].flatMap((parts) => {
    const states = fieldsOf(parts)["states"] as ReadonlyArray<Client | Server>
    return states.filter((_, i) => i % Math.ceil(states.length / 10) === 0)
  })
}

/** A copy with nothing in it that other states share. */
const ownCopy = <S extends Client | Server>(state: S): S => {
  const copied = copy(state)
  void partyOf(copied)?.own
  return copied
}

const partyOf = (state: Client | Server): Shared<Party> | undefined =>
  "party" in state ? state.party : state.member?.party

/** All objects that a state holds and that may change, in an order that is the same for a copy. */
const objectsOf = (root: object): ReadonlyArray<object> => {
  const objects = new Set<object>()
  const look = (value: unknown): void => {
    if (typeof value !== "object" || value === null || value instanceof ArrayBuffer) return
    if (Object.isFrozen(value) || objects.has(value) || (value instanceof Float64Array && value.length === 0)) return
    objects.add(value)
    if (value instanceof Map || value instanceof Set || Array.isArray(value)) {
      for (const item of value as Iterable<unknown>) look(item)
    } else if (!ArrayBuffer.isView(value)) {
      for (const key of Reflect.ownKeys(value)) look(Reflect.get(value, key))
    }
  }
  look(root)
  return [...objects]
}

const keysOf = (object: object): ReadonlyArray<string> =>
  ArrayBuffer.isView(object) || Array.isArray(object) ? [] : Reflect.ownKeys(object).map(String)

const changed = (value: unknown): unknown => {
  switch (typeof value) {
    case "number":
      return value === Infinity ? 0 : value + 1
    case "boolean":
      return !value
    case "string":
      return `${value}z`
    case "undefined":
      return 1
    default:
      return Array.isArray(value) ? [...(value as ReadonlyArray<unknown>), 1] : undefined
  }
}

/** The spelling is another one, or misses what was there. */
const looksOther = (spelling: () => string, before: string): boolean => {
  try {
    return spelling() !== before
  } catch {
    return true
  }
}
