// The repository keeps its mechanical rules, and each rule can say no.
import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { type Rule, rules, type SourceFile } from "./Rules.ts"
import { root } from "./Tool.ts"

const wrong: ReadonlyArray<readonly [rule: keyof typeof rules, path: string, text: string, line: number]> = [
  ["noLeftovers", "docs/a.md", "fine\nTODO: write this\n", 2],
  ["noLeftovers", "packages/holdfast/test/A.test.ts", `it.effect.only("x", () => y)\n`, 1],
  ["noLeftovers", "packages/holdfast/test/A.test.ts", `\ndescribe.skip("x", () => y)\n`, 2],
  ["plainText", "a.ts", "x\n\ty\n", 2],
  ["plainText", "a.ts", "x \n", 1],
  ["plainText", "a.ts", "x\r\n", 1],
  ["plainText", "a.ts", "x", 1],
  ["plainText", "a.ts", "x\n\n", 3],
  ["namedAfterSubject", "packages/node/src/utils.ts", "x\n", 1],
  ["namedAfterSubject", "packages/node/src/SocketHelpers.ts", "x\n", 1],
  ["namedAfterSubject", "examples/session-manager.ts", "x\n", 1],
  ["opensWithHeader", "packages/node/src/A.ts", "import x\n", 1],
  ["exportsDocumented", "packages/node/src/A.ts", "/** A. */\nexport const a = 1\n\nexport const b = 2\n", 4],
  ["exportsDocumented", "packages/node/src/A.ts", "// a remark\nexport interface A {}\n", 2],
  ["noAmbientTime", "packages/protocol/src/A.ts", "/** x */\nconst at = Date.now()\n", 2],
  ["noAmbientTime", "packages/holdfast/test/A.test.ts", "setTimeout(f, 10)\n", 1],
  ["reasonedExceptions", "examples/a.ts", "// oxlint-disable-next-line no-console\n", 1],
  ["reasonedExceptions", "examples/a.ts", "// @ts-expect-error\n", 1],
  ["reasonedRelaxations", ".oxlintrc.json", `{\n  "eqeqeq": "off"\n}\n`, 2]
]

const right: ReadonlyArray<readonly [rule: keyof typeof rules, path: string, text: string]> = [
  ["noLeftovers", "packages/node/test/A.test.ts", `it.skipIf(!privileged)("x", () => y)\n`],
  ["plainText", "a.ts", "x\n\n  y\n"],
  ["namedAfterSubject", "packages/protocol/src/SendWindow.ts", "x\n"],
  ["opensWithHeader", "packages/node/src/A.ts", "/** What A guarantees. */\nimport x\n"],
  ["exportsDocumented", "packages/node/src/A.ts", "/** A. */\nexport const a = 1\nexport type a = 1\n"],
  ["exportsDocumented", "packages/node/src/internal/A.ts", "export const a = 1\n"],
  ["noAmbientTime", "packages/protocol/src/A.ts", "// Date.now would be wrong here\n"],
  ["noAmbientTime", "examples/a.ts", "const at = Date.now()\n"],
  ["reasonedExceptions", "examples/a.ts", "// oxlint-disable-next-line no-console -- the program's output\n"],
  ["reasonedExceptions", "examples/a.ts", "// @ts-expect-error the wrong type is the point\n"],
  ["reasonedRelaxations", ".oxlintrc.json", `{\n  // The house compares loosely.\n  "eqeqeq": "off"\n}\n`]
]

describe("the repository", () => {
  const files = textFiles()
  for (const [name, rule] of Object.entries<Rule>(rules)) {
    it(`keeps the rule ${name}`, () => {
      const complaints = files.flatMap(rule)
      assert.strictEqual(complaints.length, 0, "\n" + complaints.join("\n"))
    })
  }

  it("is read as a whole: sources, tests, documents and configuration", () => {
    const paths = new Set(files.map((file) => file.path))
    for (const path of ["package.json", ".ci/run", "docs/architecture.md", "packages/protocol/src/index.ts"]) {
      assert.isTrue(paths.has(path), `${path} was not read`)
    }
  })

  it("names every dependency exactly and justifies it in docs/dependencies.md", () => {
    const reasons = Fs.readFileSync(Path.join(root, "docs/dependencies.md"), "utf8")
    const manifests = files.filter((file) => /^(packages\/[^/]+\/|bench\/)?package\.json$/.test(file.path))
    assert.strictEqual(manifests.length, 6)
    for (const manifest of manifests) {
      const parsed: Partial<Record<string, Record<string, string>>> = JSON.parse(manifest.text)
      const { dependencies = {}, devDependencies = {}, peerDependencies = {} } = parsed
      for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies })) {
        assert.match(version, /^\d+\.\d+\.\d+(-[\w.]+)?$/, `${manifest.path}: write the exact version of ${name}`)
      }
      for (const name of Object.keys({ ...dependencies, ...devDependencies, ...peerDependencies })) {
        assert.include(
          reasons,
          `| \`${name}\` |`,
          `docs/dependencies.md: say in one line why ${manifest.path} needs ${name}`
        )
      }
    }
  })
})

describe("each rule", () => {
  for (const [name, path, text, line] of wrong) {
    it(`${name} refuses ${JSON.stringify(text)} in ${path}`, () => {
      const complaints = rules[name]({ path, text })
      assert.strictEqual(complaints.length, 1, complaints.join("\n"))
      assert.isTrue(complaints[0]?.startsWith(`${path}:${line}: `), complaints[0])
    })
  }
  for (const [name, path, text] of right) {
    it(`${name} allows ${JSON.stringify(text)} in ${path}`, () => {
      assert.deepEqual(rules[name]({ path, text }), [])
    })
  }
})

/** Every text file that somebody wrote. */
function textFiles(folder = ""): ReadonlyArray<SourceFile> {
  const notWritten = new Set(["node_modules", "dist", "coverage", ".git", ".holdfast", "package-lock.json"])
  const fullOfMistakes = "test/Tidiness.test.ts"
  return Fs.readdirSync(Path.join(root, folder), { withFileTypes: true })
    .filter((entry) => !notWritten.has(entry.name))
    .flatMap((entry) => {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`
      if (entry.isDirectory()) return textFiles(path)
      const isText = /\.(ts|mjs|json|md|txt|sh)$|^\.ci\/run$|(^|\/)LICENSE$|^\.gitignore$/.test(path)
      return isText && path !== fullOfMistakes ? [{ path, text: Fs.readFileSync(Path.join(root, path), "utf8") }] : []
    })
}
