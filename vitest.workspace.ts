import { defineConfig } from "vitest/config"

// vitest does not look for this file: every script names it with `--config`.
const project = (name: string, root: string) => ({
  resolve: { conditions: ["source", "node", "import", "default"] },
  ssr: { resolve: { conditions: ["source", "node", "import", "default"] } },
  test: { name, root, include: ["test/**/*.test.ts"], testTimeout: 20_000 }
})

export default defineConfig({
  test: {
    projects: [
      project("protocol", "packages/protocol"),
      project("holdfast", "packages/holdfast"),
      project("node", "packages/node")
    ]
  }
})
