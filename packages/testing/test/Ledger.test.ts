import { assert, describe, it } from "@effect/vitest"
import { Ledger } from "@holdfast/testing"

/** A stream of which so many were sent and these were taken. */
const account = (
  sent: number,
  taken: ReadonlyArray<number>,
  more: (ledger: Ledger.Ledger) => void = () => undefined
) => {
  const ledger = new Ledger.Ledger()
  for (let n = 0; n < sent; n++) ledger.sent("a")
  for (const number of taken) ledger.taken("a", number)
  more(ledger)
  return ledger.violations.map(({ rule, text }) => `${rule}: ${text}`)
}

describe("a ledger", () => {
  it("balances when everything that was sent was taken once and in order", () => {
    assert.deepStrictEqual(
      account(3, [0, 1, 2], (ledger) => ledger.closed("a")),
      []
    )
  })

  it("tells what was lost, taken twice, out of order, or never sent", () => {
    assert.deepStrictEqual(account(6, [0, 2, 5]), ["nothing lost: a: lost without a word: 1, 3 to 4"])
    assert.deepStrictEqual(account(2, [0, 1, 1]), ["exactly once: a: message 1 was taken twice"])
    assert.deepStrictEqual(account(3, [0, 2, 1]), ["in order: a: message 1 was taken after 2"])
    assert.deepStrictEqual(account(1, [0, 1]), ["nothing invented: a: message 1 was taken and never sent"])
  })

  it("excuses what came back, but not if it was taken although it came back as not sent", () => {
    assert.deepStrictEqual(
      account(4, [0, 1], (ledger) => ledger.returned("a", [1, 2], [3])),
      []
    )
    assert.deepStrictEqual(
      account(2, [0, 1], (ledger) => ledger.returned("a", [], [1])),
      ["nothing lost: a: message 1 came back as not sent, and was taken"]
    )
  })

  it("excuses what a memory has taken with it, but not after a close in good order", () => {
    assert.deepStrictEqual(
      account(3, [0], (ledger) => ledger.forgotten("a")),
      []
    )
    const closed = account(3, [0], (ledger) => {
      ledger.forgotten("a")
      ledger.closed("a")
    })
    assert.deepStrictEqual(closed, ["close: a: closed in good order, and not taken: 1 to 2"])
  })
})
