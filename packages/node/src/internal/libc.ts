/**
 * The C library's calls about a socket, through koffi. koffi is an optional dependency: it is imported when somebody
 * asks for the first time, and where it is missing, or the system is not Linux, there are no such calls.
 */
import { endianness } from "node:os"

export interface Libc {
  readonly ioctl: (descriptor: number, request: number, argument: Uint8Array) => number
  readonly getsockopt: (
    descriptor: number,
    level: number,
    name: number,
    value: Uint8Array,
    length: Uint32Array
  ) => number
  readonly setsockopt: (descriptor: number, level: number, name: number, value: Uint8Array, length: number) => number
  readonly socket: (domain: number, type: number, protocol: number) => number
  readonly close: (descriptor: number) => number
  /** The name of the error of the call before, such as ENOPROTOOPT. */
  readonly error: () => string
}

/** The calls of this process, bound once. */
export const load = (): Promise<Libc | undefined> => (loading ??= bind().then((libc) => (bound = libc)))

/** The calls, if they are bound by now. The first question begins to bind them. */
export const ifLoaded = (): Libc | undefined => {
  if (loading === undefined) void load()
  return bound
}

let loading: Promise<Libc | undefined> | undefined
let bound: Libc | undefined

/** Imports nothing where the numbers of these calls would be others. */
const bind = async (): Promise<Libc | undefined> => {
  if (process.platform !== "linux" || endianness() !== "LE" || !architectures.has(process.arch)) return undefined
  try {
    const { default: koffi } = await import("koffi")
    const library = koffi.load(null)
    return {
      ioctl: library.func("int ioctl(int fd, unsigned long request, void *argument)"),
      getsockopt: library.func("int getsockopt(int fd, int level, int name, void *value, void *length)"),
      setsockopt: library.func("int setsockopt(int fd, int level, int name, const void *value, uint32_t length)"),
      socket: library.func("int socket(int domain, int type, int protocol)"),
      close: library.func("int close(int fd)"),
      error() {
        const number = koffi.errno()
        return Object.entries(koffi.os.errno).find(([, code]) => code === number)?.[0] ?? `errno ${number}`
      }
    }
  } catch {
    return undefined
  }
}

/** Those with Linux's generic numbers for ioctl and socket options. */
const architectures: ReadonlySet<string> = new Set(["x64", "arm64", "arm", "ia32", "riscv64", "loong64"])
