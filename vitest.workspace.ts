import { defineConfig } from "vitest/config"

// Every script names this file with `--config`; a bare `npx vitest` comes to it by vitest.config.ts.
const conditions = ["source", "node", "import", "default"]

const project = (name: string, test: Record<string, unknown>) => ({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: { name, testTimeout: 60_000, ...test }
})

const inPackage = (name: string) => project(name, { root: `packages/${name}`, include: ["test/**/*.test.ts"] })

export default defineConfig({
  test: {
    projects: [
      inPackage("protocol"),
      inPackage("holdfast"),
      inPackage("node"),
      inPackage("testing"),
      project("examples", { include: ["examples/**/*.test.ts"] }),
      // What concerns the repository as a whole: tidiness, boundaries, public surface, documentation.
      project("repository", {
        include: ["test/**/*.test.ts"],
        exclude: ["model", "real", "pack", "scenarios", "conformance", "sim"].map((name) => `test/${name}/**`),
        testTimeout: 120_000
      }),
      // Every order of events in a small world; how small, test/model/Extents.ts says.
      project("model", { include: ["test/model/*.test.ts"], testTimeout: 120_000 }),
      // The simulated kernel, held to what a real one was measured to do.
      project("conformance", { include: ["test/conformance/*.test.ts"] }),
      // The seed scenarios and the pains of the field, each beside the naive way that it breaks. Virtual time.
      project("scenarios", { include: ["test/scenarios/*.test.ts"], testTimeout: 60_000 }),
      // The swarm: a fixed set of seeds, and a fresh one each time.
      project("sim", { include: ["test/sim/*.test.ts"], testTimeout: 60_000, sequence: { groupOrder: 3 } }),
      // After the others: it builds and installs, and would slow down tests that watch real sockets.
      project("pack", { include: ["test/pack/*.test.ts"], testTimeout: 180_000, sequence: { groupOrder: 1 } }),
      // Real sockets, processes and namespaces: one file at a time, so that a verdict is about the link, not the load.
      project("real", {
        include: ["test/real/**/*.test.ts"],
        testTimeout: 120_000,
        fileParallelism: false,
        maxConcurrency: 8,
        sequence: { groupOrder: 2 }
      })
    ],
    coverage: {
      provider: "v8",
      // Relative to the root of the project that is measured.
      include: ["src/**/*.ts"],
      reporter: ["text"],
      thresholds: { branches: 100, functions: 100, lines: 100, statements: 100 }
    }
  }
})
