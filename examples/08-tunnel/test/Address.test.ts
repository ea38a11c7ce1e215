import { assert, it } from "@effect/vitest"
import { namedText, parse, parseNamed, text } from "../address.ts"

it.each([
  ["127.0.0.1:5432", "127.0.0.1", 5432],
  ["localhost:0", "localhost", 0],
  ["db.example:65535", "db.example", 65_535],
  ["[::1]:80", "::1", 80]
])("reads %s and writes it back", (given, host, port) => {
  assert.deepStrictEqual(parse(given), { host, port })
  assert.strictEqual(text(parse(given)), given)
})

it.each(["", "5432", "127.0.0.1", "127.0.0.1:", ":5432", "::1:80", "a b:1", "a:x", "a:123456", "a=b:1"])(
  "refuses %j with a sentence",
  (given) => {
    assert.throws(() => parse(given), /^write host:port, for instance/)
  }
)

it("refuses a port that does not exist", () => {
  assert.throws(() => parse("a:65536"), "a port is at most 65535, got 65536")
})

it("takes a name in front, and calls an address without one by the default", () => {
  assert.deepStrictEqual(parseNamed("db=[::1]:5432"), { name: "db", address: { host: "::1", port: 5432 } })
  assert.strictEqual(namedText(parseNamed("db=[::1]:5432")), "db=[::1]:5432")
  assert.strictEqual(parseNamed("a:1").name, "default")
  assert.strictEqual(namedText(parseNamed("a:1")), "a:1")
})

it.each(["=a:1", "a b=a:1", `${"x".repeat(65)}=a:1`])("refuses the name of %j", (given) => {
  assert.throws(() => parseNamed(given), /^a name has 1 to 64/)
})
