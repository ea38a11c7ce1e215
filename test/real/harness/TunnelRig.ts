// The tunnel as a user starts it, with bad weather between its ends, and servers that nobody here wrote behind it.
import { Context, Effect, Layer } from "effect"
import { createHash, randomBytes } from "node:crypto"
import * as Fs from "node:fs"
import * as Http from "node:http"
import * as Net from "node:net"
import * as Path from "node:path"
import * as Plain from "./Plain.ts"
import * as Program from "./Program.ts"
import * as TunnelEnd from "./TunnelEnd.ts"
import * as Weather from "./Weather.ts"

/** What the tests need of the machine. */
export const missing = Program.missing(
  "redis-server",
  "redis-benchmark",
  "redis-cli",
  "iperf3",
  "curl",
  "ssh",
  "/usr/sbin/sshd"
)

export class TunnelRig extends Context.Service<
  TunnelRig,
  {
    readonly weather: Weather.Weather
    readonly serving: TunnelEnd.End
    readonly dialling: TunnelEnd.End
    readonly port: (name: Target) => number
    /** What is served and what is sent: `file` holds `bytes` whose SHA-256 is `hash`. */
    readonly large: { readonly file: string; readonly bytes: number; readonly hash: string }
    readonly folder: string
    /** The port of redis itself, without the tunnel. */
    readonly redisPort: number
  }
>()("test/TunnelRig") {
  static readonly layer = Layer.effect(
    TunnelRig,
    Effect.gen(function* () {
      const folder = yield* TunnelEnd.folder
      const large = makeLarge(folder)
      const targets = {
        redis: yield* redis(folder),
        iperf: yield* iperf,
        http: yield* http(large.file),
        ssh: yield* sshd(folder),
        echo: (yield* Plain.listen((socket) => void socket.pipe(socket))).port
      } satisfies Record<Target, number>
      const secretFile = yield* TunnelEnd.secretFile
      const serving = yield* TunnelEnd.serve(secretFile, targets)
      const weather = yield* Weather.make(TunnelEnd.portOf(serving))
      const dialling = yield* TunnelEnd.dial(secretFile, weather.port, Object.keys(targets))
      return {
        weather,
        serving,
        dialling,
        port: (name: Target) => TunnelEnd.portOf(dialling, name),
        large,
        folder,
        redisPort: targets.redis
      }
    })
  )
}

export type Target = "redis" | "iperf" | "http" | "ssh" | "echo"

/** A port that nobody uses at the moment, for programs that cannot choose one by themselves. */
const freePort = Effect.callback<number>((resume) => {
  const server = Net.createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address() as Net.AddressInfo
    server.close(() => resume(Effect.succeed(port)))
  })
})

const makeLarge = (folder: string) => {
  const bytes = 48 * 1024 * 1024
  const file = Path.join(folder, "large")
  const content = randomBytes(bytes)
  Fs.writeFileSync(file, content)
  return { file, bytes, hash: createHash("sha256").update(content).digest("hex") }
}

const redis = Effect.fnUntraced(function* (folder: string) {
  const port = yield* freePort
  const server = yield* Program.start(
    "redis-server",
    ...["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
  )
  yield* server.prints(/Ready to accept connections/)
  return port
})

const iperf = Effect.gen(function* () {
  const port = yield* freePort
  const server = yield* Program.start(
    "iperf3",
    "--server",
    "--bind",
    "127.0.0.1",
    "--port",
    String(port),
    "--forceflush"
  )
  yield* server.prints(/Server listening/)
  return port
})

/** Gives the file, and answers whatever is sent with its hash. */
const http = (file: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<Http.Server>((resume) => {
        const server = Http.createServer((request, response) => {
          if (request.method === "GET") return void Fs.createReadStream(file).pipe(response)
          const hash = createHash("sha256")
          request
            .on("data", (chunk: Uint8Array) => hash.update(chunk))
            .on("end", () => response.end(hash.digest("hex")))
        }).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          server.closeAllConnections()
        })
    ),
    (server) => (server.address() as Net.AddressInfo).port
  )

/** Lets in whoever has the key that it makes, as the user who runs the tests. */
const sshd = Effect.fnUntraced(function* (folder: string) {
  const port = yield* freePort
  const path = (name: string) => Path.join(folder, name)
  for (const name of ["host", "user"])
    yield* Program.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path(name))
  // sshd wants this folder when root runs it; distributions make it when the service starts.
  if (process.getuid?.() === 0) Fs.mkdirSync("/run/sshd", { recursive: true })
  Fs.writeFileSync(
    path("sshd_config"),
    [
      `Port ${port}`,
      "ListenAddress 127.0.0.1",
      `HostKey ${path("host")}`,
      `AuthorizedKeysFile ${path("user.pub")}`,
      "PidFile none",
      "StrictModes no",
      "UsePAM no",
      "PasswordAuthentication no",
      "KbdInteractiveAuthentication no",
      "PermitRootLogin prohibit-password\n"
    ].join("\n")
  )
  const server = yield* Program.start("/usr/sbin/sshd", "-D", "-e", "-f", path("sshd_config"))
  yield* Plain.until(() => server.output().includes("Server listening"))
  return port
})
