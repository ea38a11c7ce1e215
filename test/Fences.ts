// The code that documents show: every `ts` fence of a Markdown file, and every `ts` fence in a docstring.

export interface Fence {
  /** Where it stands, relative to the root. */
  readonly path: string
  /** The line of its first line of code, counted from 1. */
  readonly line: number
  readonly code: string
}

/** The `ts` fences of a text. In a docstring the leading ` * ` is taken off. */
export const fencesOf = (path: string, text: string): ReadonlyArray<Fence> => {
  const fences: Array<Fence> = []
  let open: { readonly line: number; readonly indent: string; readonly code: Array<string> } | undefined
  text.split("\n").forEach((line, n) => {
    if (open === undefined) {
      const start = /^(\s*(?:\* )?)```ts\s*$/.exec(line)
      if (start !== null) open = { line: n + 2, indent: start[1] ?? "", code: [] }
    } else if (line.trim().replace(/^\*\s*/, "") === "```") {
      fences.push({ path, line: open.line, code: open.code.join("\n") })
      open = undefined
    } else {
      open.code.push(line.startsWith(open.indent) ? line.slice(open.indent.length) : line.trim().replace(/^\*$/, ""))
    }
  })
  return fences
}
