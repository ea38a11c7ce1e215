// The mechanical rules of this repository, each as a function from one file to its complaints. A complaint says where and what
// to do. The rules know nothing about the disk, so that each can be shown a wrong text.

export interface SourceFile {
  /** Relative to the root, with `/`. */
  readonly path: string
  readonly text: string
}

export type Rule = (file: SourceFile) => ReadonlyArray<string>

const isCode = (path: string) => /\.(ts|mjs)$/.test(path)
const isPublicModule = (path: string) => /^packages\/[^/]+\/src\/[^/]+\.ts$/.test(path)
const ownsNoTime = (path: string) => /^packages\/(protocol|holdfast|testing)\/(src|test)\//.test(path) && isCode(path)

/** Reports each line that matches, by what `say` makes of the match. */
const eachLine = (file: SourceFile, pattern: RegExp, say: (found: string) => string): ReadonlyArray<string> =>
  file.text.split("\n").flatMap((line, n) => {
    const found = pattern.exec(line)
    return found === null ? [] : [`${file.path}:${n + 1}: ${say(found[0])}`]
  })

/** Nothing is left for later. */
export const noLeftovers: Rule = (file) => [
  ...eachLine(
    file,
    /\b(T[O]DO|F[I]XME|X[X]X|H[A]CK)\b/,
    (word) => `do it or open an issue; ${word} is found by nobody`
  ),
  ...(isCode(file.path)
    ? eachLine(
        file,
        /\b(it|test|describe)(\.\w+)*\.(only|skip|todo|fails)\b/,
        (call) => `remove ${call}; a test runs or does not exist`
      )
    : [])
]

/** Text that every tool reads the same way. */
export const plainText: Rule = (file) => [
  ...eachLine(file, /\t/, () => "indent with two spaces, not with a tab"),
  ...eachLine(file, /\r$/, () => "end lines with \\n, not with \\r\\n"),
  ...eachLine(file, /[ \u00a0]+$/, () => "remove the spaces at the end of the line"),
  ...(file.text.length > 0 && !/[^\n]\n$/.test(file.text)
    ? [`${file.path}:${file.text.split("\n").length}: end the file with exactly one newline`]
    : [])
]

/** A file is named after its one subject. */
export const namedAfterSubject: Rule = (file) =>
  /(^|[^a-z])(utils?|helpers?|managers?|misc|common)([^a-z]|$)|(Utils?|Helpers?|Manager|Misc)\b/.test(
    baseName(file.path)
  )
    ? [`${file.path}:1: name the file after its subject; a place for anything collects everything`]
    : []

/** A public module opens with what it guarantees. */
export const opensWithHeader: Rule = (file) =>
  isPublicModule(file.path) && !/^(\/\*\*|\/\/)/.test(file.text)
    ? [`${file.path}:1: open with a comment that says what the module guarantees`]
    : []

/** Everything a user can import says what it is for. A type and a value of one name share a docstring, as do overloads. */
export const exportsDocumented: Rule = (file) => {
  if (!isPublicModule(file.path)) return []
  const lines = file.text.split("\n")
  const exports = lines.flatMap((line, n) => {
    const name =
      /^export (?:declare )?(?:abstract )?(?:async )?(?:const|let|function\*?|class|interface|type|namespace|enum) (\w+)/.exec(
        line
      )?.[1]
    return name === undefined ? [] : [{ name, line: n, documented: lines[n - 1]?.trimEnd().endsWith("*/") === true }]
  })
  const documented = new Set(exports.filter((e) => e.documented).map((e) => e.name))
  return exports
    .filter((e) => !documented.has(e.name))
    .map((e) => `${file.path}:${e.line + 1}: give ${e.name} a docstring: what it is for, units, defaults, errors`)
}

/** Time and chance come from outside. */
export const noAmbientTime: Rule = (file) =>
  ownsNoTime(file.path)
    ? eachLine(
        file,
        /^(?!\s*(\*|\/\/|\/\*)).*?\b(Date\.now|new Date|Math\.random|performance\.now|hrtime|setTimeout|setInterval)\b/,
        () => "take the time from Clock or `now`, chance from Random or a seed, and wait by Effect"
      )
    : []

/** Whoever switches a check off says why, on the same line. */
export const reasonedExceptions: Rule = (file) =>
  isCode(file.path)
    ? eachLine(
        file,
        /(oxlint|eslint)-disable(?!.* -- \S)|@ts-(expect-error|ignore|nocheck)(?! \S)/,
        (switched) => `say why, on the same line, behind ${switched}${switched.includes("disable") ? " ... -- " : " "}`
      )
    : []

/** The linter's configuration gives the reason above each relaxed rule. */
export const reasonedRelaxations: Rule = (file) => {
  if (file.path !== ".oxlintrc.json") return []
  const lines = file.text.split("\n")
  return lines.flatMap((line, n) => {
    if (!line.includes(`"off"`)) return []
    const above = lines[n - 1]?.trim() ?? ""
    return above.startsWith("//") || above.includes(`"off"`)
      ? []
      : [`${file.path}:${n + 1}: say in a comment above why this rule is off`]
  })
}

export const rules = {
  noLeftovers,
  plainText,
  namedAfterSubject,
  opensWithHeader,
  exportsDocumented,
  noAmbientTime,
  reasonedExceptions,
  reasonedRelaxations
}

const baseName = (path: string) => path.slice(path.lastIndexOf("/") + 1)
