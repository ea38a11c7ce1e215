// What the documents show compiles, and what they point to exists.
import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { type Fence, fencesOf } from "./Fences.ts"
import { root, tool } from "./Tool.ts"

describe("documents", () => {
  it("point only to files and headings that exist", () => {
    const broken = documents().flatMap((path) => brokenLinks(path, read(path)))
    assert.strictEqual(broken.length, 0, "\n" + broken.join("\n"))
  })

  it("are refused when a link is broken", () => {
    const text =
      "[a](architecture.md) [b](nowhere.md)\n[c](architecture.md#no-such-heading) [d](https://example.com/x)\n"
    assert.deepEqual(brokenLinks("docs/made-up.md", text), [
      "docs/made-up.md:1: nowhere.md does not exist",
      "docs/made-up.md:2: architecture.md has no heading #no-such-heading"
    ])
  })

  it("and docstrings show code that compiles", async () => {
    const fences = [...documents(), ...sources()].flatMap((path) => fencesOf(path, read(path)))
    const errors = await typeCheck(fences)
    assert.strictEqual(errors.length, 0, "\n" + errors.join("\n"))
  })

  it("are refused when their code does not compile, at the line where it stands", async () => {
    const document = "# A\n\n```ts\nconst n: number = 1\nconst s: string = n\n```\n\n```sh\nnot ts\n```\n"
    const docstring = `/**\n * B.\n *\n * \`\`\`ts\n * import { Effect } from "effect"\n *\n * Effect.nonsense\n * \`\`\`\n */\n`
    const errors = await typeCheck([...fencesOf("docs/A.md", document), ...fencesOf("packages/x/src/B.ts", docstring)])
    assert.strictEqual(errors.length, 2, errors.join("\n"))
    assert.match(errors[0] ?? "", /^docs\/A\.md:5: .*not assignable to type 'string'/)
    assert.match(errors[1] ?? "", /^packages\/x\/src\/B\.ts:7: .*'nonsense' does not exist/)
  })
})

const read = (path: string) => Fs.readFileSync(Path.join(root, path), "utf8")

const filesUnder = (folder: string, ending: string): ReadonlyArray<string> =>
  Fs.globSync(`${folder}**/*${ending}`, {
    cwd: root,
    exclude: (path) => /(^|\/)(node_modules|dist|coverage|\.holdfast|\.git)$/.test(path)
  })
    .map((path) => path.replaceAll("\\", "/"))
    .toSorted()

const documents = () => filesUnder("", ".md")

const sources = () => filesUnder("packages/*/src/", ".ts")

const brokenLinks = (path: string, text: string): ReadonlyArray<string> =>
  text.split("\n").flatMap((line, n) =>
    Array.from(line.matchAll(/\]\(([^)\s]+)\)/g)).flatMap(([, target = ""]) => {
      if (/^[a-z]+:/.test(target)) return []
      const [file = "", heading] = target.split("#")
      const absolute = file === "" ? Path.join(root, path) : Path.join(root, Path.dirname(path), file)
      if (!Fs.existsSync(absolute)) return [`${path}:${n + 1}: ${file} does not exist`]
      if (heading === undefined || headings(Fs.readFileSync(absolute, "utf8")).has(heading)) return []
      return [`${path}:${n + 1}: ${file} has no heading #${heading}`]
    })
  )

/** The anchors of a document, as GitHub makes them. */
const headings = (text: string): ReadonlySet<string> =>
  new Set(
    Array.from(text.matchAll(/^#+ (.*)$/gm), ([, title = ""]) =>
      title
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, "")
        .trim()
        .replaceAll(" ", "-")
    )
  )

/**
 * Compiles all fences at once, each as a module of its own, and reports `file:line: message` of the document. Blank lines in
 * front give each line of code the number it has in its document.
 */
const typeCheck = async (fences: ReadonlyArray<Fence>): Promise<ReadonlyArray<string>> => {
  Fs.mkdirSync(Path.join(root, ".holdfast"), { recursive: true })
  const folder = Fs.mkdtempSync(Path.join(root, ".holdfast", "fences-"))
  try {
    fences.forEach((fence, n) => {
      Fs.writeFileSync(Path.join(folder, `fence${n}.ts`), "\n".repeat(fence.line - 1) + fence.code + "\nexport {}\n")
    })
    const config = {
      extends: "../../tsconfig.json",
      files: fences.map((_, n) => `fence${n}.ts`),
      references: [],
      compilerOptions: { noEmit: true, composite: false, noUnusedLocals: false, types: ["node"] }
    }
    Fs.writeFileSync(Path.join(folder, "tsconfig.json"), JSON.stringify(config))
    const { code, output } = await tool("tsc", ["-p", "tsconfig.json", "--pretty", "false"], folder)
    if (code === 0) return []
    return output
      .split("\n")
      .filter((line) => line.includes("error TS"))
      .map((line) =>
        line.replace(/^fence(\d+)\.ts\((\d+),\d+\)/, (_, n: string, at: string) => `${fences[Number(n)]?.path}:${at}`)
      )
  } finally {
    Fs.rmSync(folder, { recursive: true, force: true })
  }
}
