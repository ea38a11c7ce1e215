// Bundles a program as a browser gets it, and tells what it is made of.
import { isBuiltin } from "node:module"
import * as Path from "node:path"
import { gzipSync } from "node:zlib"
import { rolldown } from "rolldown"
import { root } from "./Tool.ts"

export interface Bundle {
  readonly code: string
  /** Minified and gzipped. */
  readonly gzipBytes: number
  /** Modules of the platform that something asks for, with who does. A browser has none of them. */
  readonly platformModules: ReadonlyArray<string>
  /** The packages that it is made of. */
  readonly packages: ReadonlySet<string>
}

/** Bundles what `source` says, as if it stood in the file `name` of this repository. */
export const bundle = async (
  name: string,
  source: string,
  external: ReadonlyArray<string | RegExp> = []
): Promise<Bundle> => {
  const entry = Path.join(root, name)
  const platformModules: Array<string> = []
  const build = await rolldown({
    input: entry,
    platform: "browser",
    external: [...external],
    resolve: { conditionNames: ["source", "browser", "import", "default"] },
    plugins: [
      {
        name: "entry, and who asks for the platform",
        resolveId(id, importer) {
          if (id === entry) return entry
          if (!isBuiltin(id)) return null
          platformModules.push(`${id} of ${Path.relative(root, importer ?? "")}`)
          return { id, external: true }
        },
        load: (id) => (id === entry ? source : null)
      }
    ],
    onLog(_level, log) {
      // Whatever cannot be found is not merely left out.
      if (log.code === "UNRESOLVED_IMPORT") throw new Error(log.message)
    }
  })
  const { output } = await build.generate({ format: "esm", minify: true })
  await build.close()
  const [chunk] = output
  const packages = chunk.moduleIds.map((id) => /(?:packages|node_modules)\/((?:@[^/]+\/)?[^/]+)/.exec(id)?.[1] ?? "")
  return {
    code: chunk.code,
    gzipBytes: gzipSync(chunk.code).length,
    platformModules,
    packages: new Set(packages.filter((name) => name !== ""))
  }
}
