import { assert, it } from "@effect/vitest"
import { Result } from "effect"
import { type Cargo, decodeCargo, decodeReceipt, encodeCargo, encodeReceipt, type Receipt } from "../message.ts"

const sha256 = Uint8Array.from({ length: 32 }, (_, index) => 255 - index)

const cargo: ReadonlyArray<Cargo> = [
  { _tag: "Round", number: 1, round: 4_000_000_000 },
  { _tag: "File", number: 2, name: Uint8Array.of(0xff, 0x0a, 0x2d, 0xe2, 0x82) },
  { _tag: "Bytes", number: 4_294_967_295, bytes: new Uint8Array(70_000).fill(9) },
  { _tag: "Bytes", number: 3, bytes: new Uint8Array() },
  { _tag: "FileEnd", number: 5, sha256 }
]

const receipts: ReadonlyArray<Receipt> = [
  { _tag: "Taken", number: 1, answers: 77 },
  { _tag: "Written", number: 2, answers: 78, matched: true, sha256 },
  { _tag: "Written", number: 3, answers: 79, matched: false, sha256 }
]

const plain = (value: object) =>
  Object.fromEntries(Object.entries(value).map(([key, one]) => [key, one instanceof Uint8Array ? [...one] : one]))

it("brings every kind of message back as it was", () => {
  for (const one of cargo) assert.deepStrictEqual(plain(Result.getOrThrow(decodeCargo(encodeCargo(one)))), plain(one))
  for (const one of receipts) {
    assert.deepStrictEqual(plain(Result.getOrThrow(decodeReceipt(encodeReceipt(one)))), plain(one))
  }
})

it("refuses what is too short, too long or of no kind, with a sentence", () => {
  const wrongCargo = [
    new Uint8Array(4),
    Uint8Array.of(0, 0, 0, 1, 9),
    encodeCargo(cargo[0]!).subarray(0, 8),
    Uint8Array.of(...encodeCargo(cargo[4]!), 0)
  ]
  const wrongReceipts = [
    new Uint8Array(8),
    Uint8Array.of(...encodeReceipt(receipts[0]!), 0),
    encodeReceipt(receipts[1]!).subarray(0, 40),
    Uint8Array.of(0, 0, 0, 1, 9, 0, 0, 0, 1)
  ]
  const refused = (wrong: Result.Result<unknown, Error>) =>
    assert.isTrue(Result.isFailure(wrong) && wrong.failure.message.length > 10)
  for (const wrong of wrongCargo) refused(decodeCargo(wrong))
  for (const wrong of wrongReceipts) refused(decodeReceipt(wrong))
})
