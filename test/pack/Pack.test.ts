// The packages as a user gets them: packed, installed in an empty project, type-checked by plain tsc and run by plain Node.
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { fencesOf } from "../Fences.ts"
import { root, run, tool } from "../Tool.ts"

const packages = ["protocol", "holdfast", "node", "testing"] as const

interface Packed {
  readonly name: string
  readonly filename: string
  readonly files: ReadonlyArray<{ readonly path: string }>
}

describe("the packed packages", () => {
  const project = Fs.mkdtempSync(Path.join(Os.tmpdir(), "holdfast-pack-"))
  let packed: ReadonlyArray<Packed> = []

  beforeAll(async () => {
    // From nothing, so that no module is packed whose source is gone.
    for (const name of packages) Fs.rmSync(Path.join(root, "packages", name, "dist"), { recursive: true, force: true })
    must(await tool("tsc", ["-b", "packages/node/tsconfig.src.json", "packages/testing/tsconfig.src.json"]))
    const workspaces = packages.flatMap((name) => ["-w", `packages/${name}`])
    const listing = must(
      await run("npm", ["pack", "--json", "--pack-destination", project, ...workspaces], root)
    ).stdout
    packed = parsePacked(listing)
    Fs.writeFileSync(Path.join(project, "package.json"), JSON.stringify(manifest(packed)))
    Fs.writeFileSync(Path.join(project, "tsconfig.json"), JSON.stringify(configuration))
    must(await run("npm", ["install", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund"], project))
  }, 180_000)

  afterAll(() => Fs.rmSync(project, { recursive: true, force: true }))

  it("contain the build, the sources its maps point to, and nothing else", () => {
    assert.deepEqual(packed.map((one) => one.name).toSorted(), [
      "@holdfast/node",
      "@holdfast/protocol",
      "@holdfast/testing",
      "holdfast"
    ])
    for (const { name, files } of packed) {
      const paths = files.map((file) => file.path)
      for (const path of [
        "dist/index.js",
        "dist/index.d.ts",
        "dist/index.js.map",
        "src/index.ts",
        "LICENSE",
        "package.json"
      ]) {
        assert.include(paths, path, `${name} lacks ${path}`)
      }
      const surprising = paths.filter(
        (path) => !/^(dist\/.*\.(js|d\.ts)(\.map)?|src\/.*\.ts|[A-Z]+(\.md)?|package\.json|vectors\/.*)$/.test(path)
      )
      assert.deepEqual(surprising, [], `${name} should not contain these`)
      for (const path of paths.filter((path) => path.startsWith("src/"))) {
        assert.include(
          paths,
          path.replace(/^src\/(.*)\.ts$/, "dist/$1.js"),
          `${name} was packed without building ${path}`
        )
      }
    }
  })

  it("let every public module be imported, and no internal one", async () => {
    const modules = packed.flatMap(({ name, files }) =>
      files.flatMap(({ path }) => {
        const module = /^dist\/(\w+)\.js$/.exec(path)?.[1]
        if (module === undefined || module === "vitest") return [] // it needs its peer, which this project does not have
        return [module === "index" ? name : `${name}/${module}`]
      })
    )
    const internal = packed.flatMap(({ name, files }) =>
      files.flatMap(({ path }) => {
        const module = /^dist\/(internal\/\w+)\.js$/.exec(path)?.[1]
        return module === undefined ? [] : [`${name}/${module}`]
      })
    )
    assert.isAtLeast(modules.length, packages.length)
    const program = [
      ...modules.map((module, n) => `import * as M${n} from "${module}"`),
      `console.log([${modules.map((_, n) => `M${n}`).join(", ")}].length)`,
      `const internal: ReadonlyArray<string> = ${JSON.stringify(internal)}`,
      `for (const module of internal) {`,
      `  const reached = await import(module).then(() => true, () => false)`,
      `  if (reached) throw new Error(module + " can be imported")`,
      `}`
    ]
    assert.strictEqual((await compileAndRun("everyModule", program.join("\n"))).trim(), String(modules.length))
  })

  it("run the first program of the README, which is at most 25 lines", async () => {
    const [first] = fencesOf("README.md", Fs.readFileSync(Path.join(root, "README.md"), "utf8"))
    assert.isDefined(first, "README.md has no program in a ts fence")
    assert.isAtMost(first.code.split("\n").length, 25)
    assert.isAbove((await compileAndRun("first", first.code)).length, 0, "the program printed nothing")
  })

  it("are refused by the type checker where they are used wrongly", async () => {
    Fs.writeFileSync(Path.join(project, "wrong.ts"), `import { nonsense } from "holdfast"\nexport const x = nonsense\n`)
    const { code, output } = await tool("tsc", ["-p", "tsconfig.json"], project)
    Fs.rmSync(Path.join(project, "wrong.ts"))
    assert.notStrictEqual(code, 0)
    assert.match(output, /wrong\.ts.*has no exported member.*nonsense/)
  })

  /** What the program prints. No custom condition, no flag: what a user has. */
  const compileAndRun = async (name: string, code: string) => {
    Fs.writeFileSync(Path.join(project, `${name}.ts`), code + "\n")
    must(await tool("tsc", ["-p", "tsconfig.json"], project))
    return must(await run(process.execPath, [Path.join("out", `${name}.js`)], project)).stdout
  }
})

const manifest = (packed: ReadonlyArray<Packed>) => {
  const { devDependencies: ours }: { readonly devDependencies: Record<string, string> } = JSON.parse(
    Fs.readFileSync(Path.join(root, "package.json"), "utf8")
  )
  const external = ["effect", "@effect/platform-node", "@types/node", "redis"]
  return {
    name: "a-user-of-holdfast",
    private: true,
    type: "module",
    dependencies: {
      ...Object.fromEntries(packed.map(({ name, filename }) => [name, `file:${filename}`])),
      ...Object.fromEntries(external.map((name) => [name, ours[name]]))
    }
  }
}

const configuration = {
  compilerOptions: {
    module: "NodeNext",
    target: "ES2024",
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: true,
    types: ["node"],
    rootDir: ".",
    outDir: "out"
  },
  include: ["*.ts"]
}

/** Newer versions of npm answer with an object by name, older ones with a list. */
const parsePacked = (listing: string): ReadonlyArray<Packed> => {
  const answer: ReadonlyArray<Packed> | Record<string, Packed> = JSON.parse(listing)
  return Object.values(answer)
}

const must = <Outcome extends { readonly code: number; readonly output: string }>(outcome: Outcome): Outcome => {
  assert.strictEqual(outcome.code, 0, outcome.output)
  return outcome
}
