// The boundaries between the packages are held by the linter and the compiler. These tests prove that both say no: each line
// below is wrong in its package and must be refused for the stated reason, and the lines that are right must pass.
import { assert, describe, it, onTestFinished } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { root, tool } from "./Tool.ts"

type Package = "protocol" | "holdfast" | "node" | "testing"

const refusedByLint: ReadonlyArray<readonly [inPackage: Package, source: string, rule: string]> = [
  ["protocol", `import * as Fs from "node:fs"\nexport const x = Fs`, "no-nodejs-modules"],
  ["protocol", `import { Effect } from "effect"\nexport const x = Effect`, "no-restricted-imports"],
  ["protocol", `import * as H from "holdfast"\nexport const x = H`, "no-restricted-imports"],
  ["protocol", `import * as I from "../../holdfast/src/index.ts"\nexport const x = I`, "no-restricted-imports"],
  ["protocol", `export const x = Date.now()`, "no-restricted-globals"],
  ["protocol", `export const x = new Date()`, "no-restricted-globals"],
  ["protocol", `export const x = performance.now()`, "no-restricted-globals"],
  ["protocol", `export const x = Math.random()`, "no-restricted-properties"],
  ["protocol", `export const x = crypto.getRandomValues(new Uint8Array(1))`, "no-restricted-globals"],
  ["protocol", `export const x = setTimeout(() => undefined, 1)`, "no-restricted-globals"],
  ["protocol", `export const x = process.env`, "no-restricted-globals"],
  ["protocol", `console.log("x")\nexport const x = 1`, "no-restricted-globals"],
  ["holdfast", `import * as Net from "node:net"\nexport const x = Net`, "no-nodejs-modules"],
  ["holdfast", `import * as Node from "@holdfast/node"\nexport const x = Node`, "no-restricted-imports"],
  ["holdfast", `import * as Node from "@effect/platform-node"\nexport const x = Node`, "no-restricted-imports"],
  ["holdfast", `import * as K from "koffi"\nexport const x = K`, "no-restricted-imports"],
  ["holdfast", `import * as I from "@holdfast/protocol/internal/x"\nexport const x = I`, "no-restricted-imports"],
  ["holdfast", `import * as I from "../../protocol/src/index.ts"\nexport const x = I`, "no-restricted-imports"],
  ["holdfast", `export const x = Date.now()`, "no-restricted-globals"],
  ["holdfast", `export const x = setTimeout(() => undefined, 1)`, "no-restricted-globals"],
  ["holdfast", `export const x = Math.random()`, "no-restricted-properties"],
  ["holdfast", `export const x = crypto.getRandomValues(new Uint8Array(1))`, "no-restricted-properties"],
  ["holdfast", `export const x = process.env`, "no-restricted-globals"],
  ["holdfast", `console.log("x")\nexport const x = 1`, "no-console"],
  ["testing", `import * as Net from "node:net"\nexport const x = Net`, "no-nodejs-modules"],
  ["testing", `import * as V from "vitest"\nexport const x = V`, "no-restricted-imports"],
  ["testing", `import * as N from "@holdfast/node"\nexport const x = N`, "no-restricted-imports"],
  ["testing", `export const x = Date.now()`, "no-restricted-globals"],
  ["testing", `export const x = Math.random()`, "no-restricted-properties"],
  ["node", `import * as P from "@holdfast/protocol"\nexport const x = P`, "no-restricted-imports"],
  ["node", `import * as I from "holdfast/internal/x"\nexport const x = I`, "no-restricted-imports"],
  ["node", `import * as W from "ws"\nexport const x = W`, "no-restricted-imports"],
  ["node", `export const x = Date.now()`, "no-restricted-globals"],
  ["node", `export const x = setTimeout(() => undefined, 1)`, "no-restricted-globals"],
  [
    "node",
    `export const f = (x: "a" | "b") => {\n  switch (x) {\n    case "a":\n      return 1\n  }\n  return 2\n}`,
    "switch-exhaustiveness-check"
  ],
  ["node", `export const f = () => {\n  Promise.resolve(1)\n}`, "no-floating-promises"],
  ["node", `import { y } from "./Cycle.ts"\nexport const x = () => y`, "no-cycle"],
  ["node", `export const x: any = 1`, "no-explicit-any"],
  ["node", `${"export {}\n".repeat(401)}export const x = 1`, "max-lines"]
]

/** What a dialect must not do, although its package may. */
const refusedInDialects: ReadonlyArray<readonly [source: string, rule: string]> = [
  [`import { Effect } from "effect"\nexport const x = Effect`, "no-restricted-imports"],
  [`import * as Clock from "effect/Clock"\nexport const x = Clock`, "no-restricted-imports"],
  [`import * as Random from "effect/Random"\nexport const x = Random`, "no-restricted-imports"],
  [`export const x = Date.now()`, "no-restricted-globals"],
  [`export const x = crypto.subtle`, "no-restricted-globals"],
  [`export const x = queueMicrotask`, "no-restricted-globals"],
  [`export const x = Math.random()`, "no-restricted-properties"]
]

const allowedInDialects =
  `import * as Schema from "effect/Schema"\nimport * as Result from "effect/Result"\n` +
  `import * as SchemaBinary from "effect/encoding/SchemaBinary"\nexport const x = [Schema, Result, SchemaBinary]`

const allowed: ReadonlyArray<readonly [inPackage: Package, source: string]> = [
  ["protocol", `import { x } from "./internal/other.ts"\nexport const y = x + Math.floor(1.5)`],
  [
    "holdfast",
    `import { Effect } from "effect"\nimport * as Clock from "effect/Clock"\nexport const x = [Effect, Clock]`
  ],
  [
    "holdfast",
    `import * as P from "@holdfast/protocol"\nimport * as F from "@holdfast/protocol/Frame"\nexport const x = [P, F]`
  ],
  ["testing", `import * as L from "holdfast/Link"\nimport { Effect } from "effect"\nexport const x = [L, Effect]`],
  ["node", `import * as Net from "node:net"\nimport * as Fs from "node:fs/promises"\nexport const x = [Net, Fs]`],
  ["node", `export const x = import("koffi")`],
  [
    "node",
    `import * as S from "@effect/platform-node/NodeSocket"\nimport * as L from "holdfast/Link"\nexport const x = [S, L]`
  ]
]

describe("the linter", () => {
  it("refuses what a package must not do, and nothing else", async () => {
    const folder = workspaceCopy()
    refusedByLint.forEach(([inPackage, source], n) => write(folder, inPackage, `Refused${n}.ts`, source))
    refusedByLint.forEach(([, source], n) => {
      if (source.includes("./Cycle.ts"))
        write(folder, "node", "Cycle.ts", `import { x } from "./Refused${n}.ts"\nexport const y = x`)
    })
    allowed.forEach(([inPackage, source], n) => write(folder, inPackage, `Allowed${n}.ts`, source))
    write(folder, "protocol", "internal/other.ts", "export const x = 1")

    const { output, stdout } = await tool("oxlint", ["-f", "json", "packages"], folder)
    const found = diagnostics(stdout)
    assert.isAbove(found.length, 0, output)

    refusedByLint.forEach(([inPackage, source, rule], n) => {
      const here = found.filter((d) => d.filename === `packages/${inPackage}/src/Refused${n}.ts`)
      assert.isTrue(
        here.some((d) => d.code.includes(`(${rule})`)),
        `in packages/${inPackage} this should be refused by ${rule}, but got [${here.map((d) => d.code).join(", ")}]:\n${source}`
      )
    })
    allowed.forEach(([inPackage, source], n) => {
      const here = found.filter(
        (d) => d.filename === `packages/${inPackage}/src/Allowed${n}.ts` && /restricted|nodejs-modules/.test(d.code)
      )
      assert.deepEqual(here, [], `in packages/${inPackage} this should be allowed:\n${source}`)
    })
  })

  it("refuses in a dialect whatever is not pure, and nothing else", async () => {
    for (const [source, rule] of [...refusedInDialects, [allowedInDialects, undefined] as const]) {
      const folder = workspaceCopy()
      write(folder, "holdfast", "Dialect.ts", source)
      const { output, stdout } = await tool("oxlint", ["-f", "json", "packages"], folder)
      const codes = diagnostics(stdout).map(({ code }) => code)
      if (rule === undefined) assert.deepEqual(codes, [], output)
      else
        assert.isTrue(
          codes.some((code) => code.includes(`(${rule})`)),
          `not refused by ${rule}:\n${source}\n${output}`
        )
    }
  })
})

describe("the compiler", () => {
  it("knows no clock, timer, console or environment in packages/protocol", async () => {
    const folder = workspaceCopy()
    write(folder, "protocol", "Fine.ts", "export const x = Math.floor(1.5)")
    const fine = await tool("tsc", ["-p", "packages/protocol/tsconfig.src.json", "--noEmit"], folder)
    assert.strictEqual(fine.code, 0, fine.output)

    const banned = ["setTimeout", "performance", "process", "console", "crypto", "fetch", "TextEncoder", "Buffer"]
    banned.forEach((name) => write(folder, "protocol", `Uses-${name}.ts`, `export const x: unknown = ${name}`))
    const { output } = await tool("tsc", ["-p", "packages/protocol/tsconfig.src.json", "--noEmit"], folder)
    for (const name of banned) assert.match(output, new RegExp(`Uses-${name}\\.ts.*Cannot find name '${name}'`))
  })

  it("refuses a relative import from one package into another", async () => {
    const folder = workspaceCopy()
    write(folder, "protocol", "index.ts", "export const x = 1")
    write(folder, "holdfast", "index.ts", `import { x } from "../../protocol/src/index.ts"\nexport const y = x`)
    const { code, output } = await tool("tsc", ["-b", "packages/holdfast/tsconfig.src.json"], folder)
    assert.notStrictEqual(code, 0)
    assert.match(output, /error TS(2878|6059|6307)/)
  })
})

/** A folder with the same configuration and no sources. */
const workspaceCopy = () => {
  const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "holdfast-boundaries-"))
  onTestFinished(() => Fs.rmSync(folder, { recursive: true, force: true }))
  const copy = (file: string) => {
    Fs.mkdirSync(Path.dirname(Path.join(folder, file)), { recursive: true })
    Fs.copyFileSync(Path.join(root, file), Path.join(folder, file))
  }
  // All of them: where one that is referenced is missing, the linter resolves no import and sees no cycle.
  for (const file of [
    ".oxlintrc.json",
    "package.json",
    "tsconfig.json",
    "bench/tsconfig.json",
    "examples/tsconfig.json",
    "test/tsconfig.json"
  ])
    copy(file)
  for (const name of ["protocol", "holdfast", "node", "testing"]) {
    for (const file of ["package.json", "tsconfig.src.json", "tsconfig.test.json"]) copy(`packages/${name}/${file}`)
  }
  Fs.symlinkSync(Path.join(root, "node_modules"), Path.join(folder, "node_modules"))
  return folder
}

const write = (folder: string, inPackage: Package, name: string, source: string) => {
  const path = Path.join(folder, "packages", inPackage, "src", name)
  Fs.mkdirSync(Path.dirname(path), { recursive: true })
  Fs.writeFileSync(path, source + "\n")
}

interface Diagnostic {
  readonly filename: string
  readonly code: string
}

const diagnostics = (json: string): ReadonlyArray<Diagnostic> => {
  const parsed: { readonly diagnostics: ReadonlyArray<Diagnostic> } = JSON.parse(json)
  return parsed.diagnostics
}
