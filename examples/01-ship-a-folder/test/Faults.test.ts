import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { faultKinds, isLethal, planPass, spacingBytesFor } from "../faults.ts"

it.effect("plans the same harm for the same seed, and other harm for another seed or pass", () =>
  Effect.gen(function* () {
    const [one, again, other, next] = [
      yield* planPass(7, 0, 200_000),
      yield* planPass(7, 0, 200_000),
      yield* planPass(8, 0, 200_000),
      yield* planPass(7, 1, 200_000)
    ]
    assert.deepStrictEqual(one, again)
    assert.notDeepEqual(one, other)
    assert.notDeepEqual(one, next)
  })
)

it.effect("strikes with every kind in each pass, and ends at least ten incarnations", () =>
  Effect.gen(function* () {
    for (let seed = 0; seed < 50; seed++) {
      const faults = yield* planPass(seed, 0, 100_000)
      assert.deepStrictEqual([...new Set(faults.map((fault) => fault.kind))].toSorted(), [...faultKinds].toSorted())
      assert.isAtLeast(faults.filter((fault) => isLethal(fault.kind)).length, 10)
      for (const fault of faults) {
        assert.isTrue(fault.afterBytes >= 50_000 && fault.afterBytes <= 150_000)
        const lasting = ["blackholeBoth", "slowReader", "frozenReceiver"].includes(fault.kind)
        assert.strictEqual(fault.lastsMs >= 1_000, lasting, fault.kind)
      }
    }
  })
)

it("strikes closer together in a small folder, within bounds", () => {
  assert.deepStrictEqual([0, 1_200_000, 1e9].map(spacingBytesFor), [2_000, 20_000, 250_000])
})
