import { assert, it } from "@effect/vitest"
import { faultKinds, isLethal } from "../faults.ts"
import type { Detection } from "../harm.ts"
import { type Account, make, table } from "../ledger.ts"
import type { Finished } from "../reports.ts"

const detection = (fault: Detection["fault"]): Detection => ({
  fault,
  reason: isLethal(fault) ? "PeerSilent" : "stalled, not killed",
  noticedBy: "sender",
  noticedAfterMs: 800,
  boundMs: 900,
  heldBytes: 4096
})

const counts = (received: number) => ({ received, bytes: received * 10, duplicated: 0, reordered: 0 })

const sender: Finished = {
  _tag: "Finished",
  out: { messages: 100, bytes: 1000 },
  in: counts(90),
  rounds: 1,
  files: 5,
  filesMatched: 5
}

const balanced: Account = {
  seed: 1,
  folder: "/somewhere",
  elapsedMs: 12_345,
  sender,
  receiver: { ...sender, out: { messages: 90, bytes: 900 }, in: counts(100) },
  filesSkipped: 0,
  incarnations: 10,
  unprovoked: 0,
  detections: faultKinds.map(detection),
  failure: undefined
}

it("is balanced when all came out once and in order, all files match, and all kinds struck", () => {
  const ledger = make(balanced)
  assert.deepStrictEqual([ledger.ok, ledger.faulted], [true, []])
  assert.deepStrictEqual([ledger.messages, ledger.bytes, ledger.lost], [190, 1900, 0])
  assert.deepStrictEqual([ledger.files, ledger.filesMatched, ledger.incarnations], [5, 5, 10])
  assert.strictEqual(ledger.faults.slowReader, 1)
  assert.match(table(ledger), /balanced: nothing was lost/)
})

const without = (...kinds: ReadonlyArray<string>) => balanced.detections.filter((one) => !kinds.includes(one.fault))

it.each<readonly [string, Partial<Account>, RegExp]>([
  ["a lost message", { receiver: { ...balanced.receiver, in: counts(99) } }, /1 messages were lost/],
  ["a lost receipt", { sender: { ...sender, in: counts(89) } }, /1 messages were lost/],
  [
    "a message that came twice",
    { receiver: { ...balanced.receiver, in: { ...counts(101), duplicated: 1 } } },
    /1 messages came twice/
  ],
  ["a message out of order", { sender: { ...sender, in: { ...counts(90), reordered: 1 } } }, /1 messages came out of/],
  ["a message from nowhere", { receiver: { ...balanced.receiver, in: counts(101) } }, /more messages came out/],
  ["a file that differs", { sender: { ...sender, filesMatched: 4 } }, /1 files are not what they were/],
  ["nine incarnations", { incarnations: 9 }, /9 incarnations, too few/],
  ["a kind that never struck", { detections: without("reset") }, /never struck: reset/],
  [
    "a slow reader that was killed",
    { detections: [...without("slowReader"), { ...detection("slowReader"), reason: "WriteStuck" }] },
    /slow reader was killed/
  ],
  [
    "a fault that nobody noticed",
    { detections: [...without("reset"), { ...detection("reset"), noticedAfterMs: null }] },
    /nobody noticed: reset/
  ],
  ["a run that broke off", { failure: "the sender ended with code 1" }, /the sender ended with code 1/]
])("is not balanced after %s", (_, change, sentence) => {
  const ledger = make({ ...balanced, ...change })
  assert.isFalse(ledger.ok)
  assert.strictEqual(ledger.faulted.length, 1)
  assert.match(ledger.faulted[0]!, sentence)
  assert.match(table(ledger), /NOT BALANCED/)
})

it("does not hold a slow reader against the run that nobody took notice of", () => {
  const calm: Detection = {
    ...detection("slowReader"),
    reason: "not killed",
    noticedBy: null,
    noticedAfterMs: null
  }
  assert.isTrue(make({ ...balanced, detections: [...without("slowReader"), calm] }).ok)
})

it("shows the worst of each kind against its bound", () => {
  const detections = [...balanced.detections, { ...detection("reset"), noticedAfterMs: 850, reason: "LinkFailed" }]
  assert.match(table(make({ ...balanced, detections })), /reset +2 +850 ms +900 ms +PeerSilent, LinkFailed/)
})
