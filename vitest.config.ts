// For a bare `npx vitest`, as a failing simulation says how to repeat it.
export { default } from "./vitest.workspace.ts"
