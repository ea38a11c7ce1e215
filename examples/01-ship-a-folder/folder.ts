/**
 * Both ends of a file: what a folder holds, and a place where files that arrive are written.
 *
 * Names are bytes throughout. A file system may hold names that are no text in any encoding, and a name that
 * went through a string would come out as another file.
 */
import { Data, Effect } from "effect"
import { createHash } from "node:crypto"
import { constants, type Dirent } from "node:fs"
import { type FileHandle, lstat, mkdir, open, readdir, rm } from "node:fs/promises"
import { pipeline } from "node:stream/promises"

export interface Folder {
  readonly files: ReadonlyArray<FolderFile>
  readonly bytes: number
  /** Symbolic links, sockets, devices: seen and not shipped. A link may point out of the folder. */
  readonly skipped: number
}

export interface FolderFile {
  /** relative to the folder, `/` between its parts */
  readonly name: Buffer
  readonly path: Buffer
}

export class FolderError extends Data.TaggedError("FolderError")<{ readonly message: string }> {}

/** Every regular file below `root`, in the order of the bytes of their names. */
export const list = (root: string): Effect.Effect<Folder, FolderError> =>
  attempt(async () => {
    const files: Array<FolderFile> = []
    let bytes = 0
    let skipped = 0
    const visit = async (path: Buffer, prefix: Buffer): Promise<void> => {
      const entries: Array<Dirent<Buffer>> = await readdir(path, { encoding: "buffer", withFileTypes: true })
      for (const entry of entries.toSorted((a, b) => Buffer.compare(a.name, b.name))) {
        const below = join(path, entry.name)
        const name = prefix.length === 0 ? entry.name : join(prefix, entry.name)
        if (entry.isDirectory()) {
          await visit(below, name)
        } else if (entry.isFile()) {
          files.push({ name, path: below })
          bytes += (await lstat(below)).size
        } else {
          skipped++
        }
      }
    }
    await visit(Buffer.from(root), Buffer.alloc(0))
    return { files, bytes, skipped }
  })

/** Reads one file piece by piece; `null` at its end. The scope closes it. */
export const reader = (path: Buffer) =>
  Effect.map(
    Effect.acquireRelease(
      attempt(() => open(path, readOnly)),
      (handle) => Effect.promise(() => handle.close())
    ),
    (handle) =>
      (bytesMax: number): Effect.Effect<Uint8Array | null, FolderError> =>
        attempt(async () => {
          const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(bytesMax), 0, bytesMax, null)
          return bytesRead === 0 ? null : buffer.subarray(0, bytesRead)
        })
  )

/** A name that stays inside: relative, without empty, `.` or `..` parts, without a zero byte, no part too long. */
export const isSafeName = (name: Uint8Array): boolean => {
  const parts = split(Buffer.from(name))
  return (
    name.length <= 4096 &&
    !name.includes(0) &&
    parts.every((part) => part.length > 0 && part.length <= 255 && !part.equals(dot) && !part.equals(dotDot))
  )
}

/** Where files arrive: one at a time, each new, none outside of `root`. */
export class Inbox {
  private current: { readonly path: Buffer; readonly handle: FileHandle } | undefined
  private readonly root: Buffer

  constructor(root: string) {
    this.root = Buffer.from(root)
  }

  /** Forgets the files that arrived so far. */
  readonly clear = attempt(async () => {
    await this.current?.handle.close()
    this.current = undefined
    for (const entry of await readdir(this.root, { encoding: "buffer" })) {
      await rm(join(this.root, entry), { recursive: true })
    }
  })

  begin(name: Uint8Array): Effect.Effect<void, FolderError> {
    if (this.current !== undefined) return refuse("a file began before the last one had ended")
    if (!isSafeName(name)) return refuse(`the name ${JSON.stringify(Buffer.from(name).toString())} leads elsewhere`)
    return attempt(async () => {
      const path = join(this.root, Buffer.from(name))
      await mkdir(path.subarray(0, path.lastIndexOf(slash)), { recursive: true })
      this.current = { path, handle: await open(path, "wx") }
    })
  }

  write(bytes: Uint8Array): Effect.Effect<void, FolderError> {
    const { current } = this
    return current === undefined
      ? refuse("bytes came outside of any file")
      : attempt(async () => {
          let written = 0
          while (written < bytes.length) written += (await current.handle.write(bytes, written)).bytesWritten
        })
  }

  /** Closes the file and answers with the SHA-256 of what is on the disk, read back. */
  readonly end: Effect.Effect<Uint8Array, FolderError> = Effect.suspend(() => {
    const { current } = this
    return current === undefined
      ? refuse("a file ended that had not begun")
      : attempt(async () => {
          this.current = undefined
          await current.handle.close()
          return using(current.path, readOnly, async (handle) => {
            const hash = createHash("sha256")
            await pipeline(handle.createReadStream({ autoClose: false }), hash)
            return hash.digest()
          })
        })
  })
}

const readOnly = constants.O_RDONLY | constants.O_NOFOLLOW
const slash = 0x2f
const dot = Buffer.from(".")
const dotDot = Buffer.from("..")

const join = (folder: Buffer, name: Buffer): Buffer => Buffer.concat([folder, Buffer.of(slash), name])

const split = (name: Buffer): ReadonlyArray<Buffer> => {
  const end = name.indexOf(slash)
  return end === -1 ? [name] : [name.subarray(0, end), ...split(name.subarray(end + 1))]
}

const using = async <A>(path: Buffer, flags: number, use: (handle: FileHandle) => Promise<A>): Promise<A> => {
  const handle = await open(path, flags)
  try {
    return await use(handle)
  } finally {
    await handle.close()
  }
}

const refuse = (message: string) => Effect.fail(new FolderError({ message }))

const attempt = <A>(work: () => Promise<A>): Effect.Effect<A, FolderError> =>
  Effect.tryPromise({ try: work, catch: (error) => new FolderError({ message: String(error) }) })
