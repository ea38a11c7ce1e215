// The main job as a user starts it: processes, sockets, faults and signals are all real.
import { assert, describe, it } from "@effect/vitest"
import { type ChildProcess, spawn } from "node:child_process"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import type { Ledger } from "../../examples/01-ship-a-folder/ledger.ts"
import { root } from "../Tool.ts"

interface Run {
  readonly child: ChildProcess
  readonly output: () => string
  readonly complaints: () => string
  readonly code: Promise<number | null>
}

const start = (args: ReadonlyArray<string>): Run => {
  const main = Path.join(root, "examples/01-ship-a-folder/main.ts")
  const child = spawn(process.execPath, ["--conditions=source", main, ...args], { stdio: ["ignore", "pipe", "pipe"] })
  let output = ""
  let complaints = ""
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text))
  child.stderr.setEncoding("utf8").on("data", (text: string) => (complaints += text))
  const code = new Promise<number | null>((resolve) => void child.on("close", resolve))
  return { child, output: () => output, complaints: () => complaints, code }
}

const withFolder = async <A>(use: (path: string) => Promise<A>): Promise<A> => {
  const path = Fs.mkdtempSync(Path.join(tmpdir(), "holdfast-job-"))
  try {
    return await use(path)
  } finally {
    Fs.rmSync(path, { recursive: true })
  }
}

/** Names and contents that break programs which take names for text and files for lines. */
const fillWithOddFiles = (path: string): number => {
  const names = ["-rf", "a\nb", "Größe 漢字", " ", "...", "#", "a\\b", "$(x)"].map((name) => Buffer.from(name))
  names.push(Buffer.from([0x66, 0xff, 0xfe]))
  names.forEach((name, index) => {
    const content = Buffer.alloc(index * index * 4000, index)
    for (let at = 0; at < content.length; at += 7) content[at] = (at * 31) % 256
    Fs.writeFileSync(Buffer.concat([Buffer.from(`${path}/`), name]), content)
  })
  Fs.mkdirSync(Path.join(path, "below/further"), { recursive: true })
  Fs.writeFileSync(Path.join(path, "below/further/empty"), "")
  Fs.symlinkSync("/etc", Path.join(path, "link"))
  return names.length + 1
}

describe("the main job", () => {
  it.each([1, 2, 3])(
    "keeps its account balanced with seed %i, whatever the names and the contents of the files",
    { timeout: 90_000 },
    (seed) =>
      withFolder(async (path) => {
        const files = fillWithOddFiles(path)
        const run = start(["--from", path, "--seed", String(seed), "--seconds", "1", "--json"])
        const code = await run.code
        const ledger: Ledger = JSON.parse(run.output().trimEnd().split("\n").at(-1) ?? "")
        assert.deepStrictEqual([ledger.faulted, code], [[], 0], run.output() + run.complaints())
        assert.deepStrictEqual(
          [ledger.ok, ledger.lost, ledger.duplicated, ledger.reordered, ledger.files, ledger.filesMatched],
          [true, 0, 0, 0, files, files]
        )
        assert.isAtLeast(ledger.incarnations, 10)
        assert.strictEqual(ledger.filesSkipped, 1)
        assert.isTrue(Object.values(ledger.faults).every((count) => count > 0))
        for (const one of ledger.detections) {
          assert.isAtLeast(one.heldBytes, 128)
          assert.isAtMost(one.noticedAfterMs ?? 0, one.boundMs + busyMillis, JSON.stringify(one))
        }
        const noticed = ledger.detections.filter(({ noticedAfterMs }) => noticedAfterMs !== null)
        const inTime = noticed.filter(({ boundMs, noticedAfterMs }) => noticedAfterMs! <= boundMs)
        assert.isAbove(inTime.length, noticed.length / 2, JSON.stringify(noticed))
      })
  )

  it("ends cleanly on an interrupt: exit code 130, no process and no folder left", { timeout: 30_000 }, () =>
    withFolder(async (path) => {
      fillWithOddFiles(path)
      const before = temporaryFolders()
      const run = start(["--from", path])
      while (!run.output().includes("incarnation 1,") && !/by the sender/.test(run.output())) await pause(100)
      const children = childrenOf(run.child.pid!)
      assert.strictEqual(children.length, 2)
      run.child.kill("SIGINT")
      assert.strictEqual(await run.code, 130, run.complaints())
      assert.deepStrictEqual(children.filter(isRunning), [])
      assert.deepStrictEqual(temporaryFolders(), before)
      assert.strictEqual(run.complaints(), "")
    })
  )

  it("answers a command line that makes no sense with one sentence and exit code 2", () =>
    withFolder(async (path) => {
      for (const args of [["--seed", "x"], ["--nothing"], ["--from", path]]) {
        const run = start(args)
        assert.strictEqual(await run.code, 2)
        assert.match(run.complaints(), /^[^\n]+ Try --help\.\n$/)
        assert.strictEqual(run.output(), "")
      }
      const help = start(["--help"])
      assert.strictEqual(await help.code, 0)
      assert.include(help.output(), "--seconds S")
    }))
})

/** Whoever wakes late on a busy machine asks once more, with 400 ms of patience, and may wake late again. */
const busyMillis = 1000

const pause = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))

const childrenOf = (pid: number): ReadonlyArray<number> =>
  Fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number)

const isRunning = (pid: number): boolean => Fs.existsSync(`/proc/${pid}`)

const temporaryFolders = (): ReadonlyArray<string> =>
  Fs.readdirSync(tmpdir()).filter((name) => name.startsWith("holdfast-ship-"))
