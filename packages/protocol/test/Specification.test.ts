import { Frame, Positions } from "@holdfast/protocol"
import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"

const specification = Fs.readFileSync(new URL("../SPEC.md", import.meta.url), "utf8")

/** The section with this heading, without the heading. */
const section = (heading: string): string => {
  const found = specification.split(/^## /m).find((text) => text.startsWith(`${heading}\n`))
  assert.isDefined(found, heading)
  return found
}

const matches = (text: string, pattern: RegExp): ReadonlyArray<string> =>
  [...new Set(Array.from(text.matchAll(pattern), (match) => match[1]!))].toSorted()

/** All sources below a folder. */
const sources = (folder: string): string => {
  const url = new URL(folder, import.meta.url)
  return Fs.readdirSync(url, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => Fs.readFileSync(new URL(name, url), "utf8"))
    .join("\n")
}

describe("SPEC.md", () => {
  it("has every rule that the code names, and no other", () => {
    const inCode = sources("../src/") + sources("../../holdfast/src/")
    assert.deepStrictEqual(
      matches(inCode, /(?:violation\(\s*|\brule: )"([a-z-]+)"/g),
      matches(section("12. Rules"), /^\| `([a-z-]+)`/gm)
    )
  })

  it("has every type of frame with its byte", () => {
    const types = Object.entries(Frame.Type).map(([name, type]) => `${type.toString(16).padStart(2, "0")} ${name}`)
    const rows = Array.from(
      section("3. Frames").matchAll(/^\| `([0-9a-f]{2})` \| (\w+)/gm),
      (row) => `${row[1]} ${row[2]}`
    )
    assert.deepStrictEqual(rows, types)
  })

  it("has every code of Reset, Refused and Close with its number, and no other", () => {
    const names = (heading: string) =>
      Array.from(section(heading).matchAll(/^\| (\d+) \| (\w+)/gm), (row) => [Number(row[1]), row[2]] as const)
    const decode = (type: number, rest: ReadonlyArray<number>) => (code: number) => {
      const frame = Frame.decode(type, Uint8Array.of(code, ...rest))
      return "code" in frame ? frame.code : frame._tag
    }
    const refused = decode(Frame.Type.Refused, [0, 0, 0])
    const close = decode(Frame.Type.Close, [0, 0])
    const expected = (codes: ReadonlyArray<readonly [number, string | undefined]>, of: (code: number) => string) => {
      assert.deepStrictEqual(
        codes,
        codes.map((_, code) => [code, of(code)])
      )
      assert.strictEqual(of(codes.length), "Violation")
    }
    const reset = (code: number) => {
      const frame = Frame.decode(Frame.Type.Reset, Uint8Array.of(1, code, 0))
      return frame._tag === "Reset" ? frame.code : frame._tag
    }
    expected(names("9. Channels"), reset)
    expected(names("5. Opening a link"), refused)
    expected(names("11. The session ends"), close)
  })

  it("has the bound of its lists", () => {
    assert.include(section("13. Limits and defaults"), `${Positions.rejectedMax} entries`)
  })
})
