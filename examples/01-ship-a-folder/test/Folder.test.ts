import { assert, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { createHash } from "node:crypto"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { FolderError, Inbox, isSafeName, list, reader } from "../folder.ts"

const temporary: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "holdfast-test-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

const below = (root: string, name: Buffer) => Buffer.concat([Buffer.from(`${root}/`), name])

const oddNames = [
  Buffer.from("-rf"),
  Buffer.from("a\nb"),
  Buffer.from("Größe 漢字 🪸"),
  Buffer.from([0x66, 0xff, 0xfe, 0x80]),
  Buffer.from(" "),
  Buffer.from("..."),
  Buffer.from("a\\b")
]

it.live("ships any name and any content: what arrives is what was there, byte by byte", () =>
  Effect.gen(function* () {
    const [from, to] = [yield* temporary, yield* temporary]
    mkdirSync(below(from, Buffer.from([0x64, 0xff])))
    const names = [...oddNames, Buffer.concat([Buffer.from([0x64, 0xff, 0x2f]), Buffer.from("inner")])]
    names.forEach((name, index) => {
      writeFileSync(
        below(from, name),
        new Uint8Array(index * 1000).map((_, at) => at * index)
      )
    })
    const folder = yield* list(from)
    assert.deepStrictEqual(
      folder.files.map((file) => file.name.toString("hex")),
      names.toSorted((a, b) => Buffer.compare(a, b)).map((name) => name.toString("hex"))
    )
    assert.strictEqual(folder.bytes, 28_000)

    const inbox = new Inbox(to)
    for (const file of folder.files) {
      yield* inbox.begin(file.name)
      const next = yield* reader(file.path)
      for (let bytes = yield* next(999); bytes !== null; bytes = yield* next(999)) yield* inbox.write(bytes)
      const sent = createHash("sha256").update(readFileSync(file.path)).digest("hex")
      assert.strictEqual(Buffer.from(yield* inbox.end).toString("hex"), sent)
      assert.isTrue(readFileSync(below(to, file.name)).equals(readFileSync(file.path)))
    }
    yield* inbox.clear
    assert.deepStrictEqual((yield* list(to)).files, [])
  }).pipe(Effect.scoped)
)

it.live("does not follow symbolic links, neither to files nor to folders, and says how many it saw", () =>
  Effect.gen(function* () {
    const [from, elsewhere] = [yield* temporary, yield* temporary]
    writeFileSync(join(elsewhere, "secret"), "x")
    writeFileSync(join(from, "plain"), "abc")
    symlinkSync(join(elsewhere, "secret"), join(from, "file-link"))
    symlinkSync(elsewhere, join(from, "folder-link"))
    symlinkSync("nowhere", join(from, "dangling"))
    const folder = yield* list(from)
    assert.deepStrictEqual(
      folder.files.map((file) => file.name.toString()),
      ["plain"]
    )
    assert.deepStrictEqual([folder.bytes, folder.skipped], [3, 3])
    const error = yield* Effect.flip(Effect.scoped(reader(Buffer.from(join(from, "file-link")))))
    assert.instanceOf(error, FolderError)
  }).pipe(Effect.scoped)
)

it.live("refuses names that lead out of the inbox, and writes nothing", () =>
  Effect.gen(function* () {
    const to = yield* temporary
    mkdirSync(join(to, "inbox"))
    const inbox = new Inbox(join(to, "inbox"))
    for (const name of ["../x", "/etc/x", "a/../../x", "", "a//b", "./x", "x/", "..", "a\0b", "a".repeat(256)]) {
      assert.isFalse(isSafeName(Buffer.from(name)), name)
      const error = yield* Effect.flip(inbox.begin(Buffer.from(name)))
      assert.match(error.message, /leads elsewhere/)
    }
    assert.deepStrictEqual((yield* list(to)).files, [])
    for (const name of oddNames) assert.isTrue(isSafeName(name))
  }).pipe(Effect.scoped)
)

it.live("refuses a second file of the same name, a file within a file, and bytes outside of any", () =>
  Effect.gen(function* () {
    const inbox = new Inbox(yield* temporary)
    assert.match((yield* Effect.flip(inbox.write(Uint8Array.of(1)))).message, /outside/)
    assert.match((yield* Effect.flip(inbox.end)).message, /had not begun/)
    yield* inbox.begin(Buffer.from("x"))
    assert.match((yield* Effect.flip(inbox.begin(Buffer.from("y")))).message, /before the last one/)
    yield* inbox.end
    assert.match((yield* Effect.flip(inbox.begin(Buffer.from("x")))).message, /EEXIST/)
  }).pipe(Effect.scoped)
)
