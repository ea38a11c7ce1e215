// What users can import, as the compiler emits it: test/surface has one file for each package, so that a change of the public
// surface is seen in review. After an intended change run `npm run surface` and read the difference.
import { assert, beforeAll, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { root, tool } from "./Tool.ts"

const packages = ["protocol", "holdfast", "node", "testing"] as const

describe("the public surface", () => {
  beforeAll(async () => {
    const { code, output } = await tool("tsc", [
      "-b",
      "packages/node/tsconfig.src.json",
      "packages/testing/tsconfig.src.json"
    ])
    assert.strictEqual(code, 0, output)
  }, 120_000)

  for (const name of packages) {
    it(`of packages/${name} is the one that was reviewed`, () => {
      const path = Path.join(root, "test", "surface", `${name}.d.ts.txt`)
      const surface = surfaceOf(name)
      if (process.env["UPDATE"] === "1") {
        Fs.mkdirSync(Path.dirname(path), { recursive: true })
        Fs.writeFileSync(path, surface)
      }
      const reviewed = Fs.existsSync(path) ? Fs.readFileSync(path, "utf8") : ""
      assert.strictEqual(
        surface,
        reviewed,
        `test/surface/${name}.d.ts.txt differs; if that is meant, run: npm run surface`
      )
    })

    it(`of packages/${name} names no internal module`, () => {
      const leaks = surfaceOf(name)
        .split("\n")
        .filter((line) => /["']\.\/internal\/|\/internal\//.test(line))
      assert.deepEqual(leaks, [], "a public type must not need a module that nobody can import")
    })
  }

  it("shows a member that was added, and not its docstring", () => {
    const before =
      "/** A. */\nexport interface A {\n    /** x. */\n    readonly x: number;\n}\n//# sourceMappingURL=A.d.ts.map"
    const documented = before.replace("/** A. */", "/** A, better said. */")
    const grown = before.replace("}", "    readonly y: string;\n}")
    assert.strictEqual(declarations(documented), declarations(before))
    assert.notStrictEqual(declarations(grown), declarations(before))
  })
})

/** The public modules of a package, in order of their names. Internal modules cannot be imported and are left out. */
const surfaceOf = (name: (typeof packages)[number]) => {
  const source = Path.join(root, "packages", name, "src")
  const modules = Fs.readdirSync(source)
    .filter((file) => file.endsWith(".ts"))
    .map((file) => file.slice(0, -".ts".length))
    .toSorted()
  return modules
    .map((module) => {
      const emitted = Fs.readFileSync(Path.join(root, "packages", name, "dist", `${module}.d.ts`), "utf8")
      return `// ---- ${module}\n\n${declarations(emitted)}`
    })
    .join("\n")
}

/** Declarations without what is not surface: comments, blank lines, the reference to the source map. */
const declarations = (emitted: string) =>
  emitted
    .replace(/\/\*\*?[\s\S]*?\*\//g, "")
    .split("\n")
    .filter((line) => line.trim() !== "" && !line.startsWith("//# "))
    .join("\n") + "\n"
