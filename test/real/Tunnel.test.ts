// Programs that nobody here wrote talk through the tunnel while its link is reset, blackholed and stalled every second or so.
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import { createHash, randomBytes } from "node:crypto"
import * as Fs from "node:fs"
import * as Net from "node:net"
import { userInfo } from "node:os"
import * as Path from "node:path"
import * as Plain from "./harness/Plain.ts"
import * as Program from "./harness/Program.ts"
import type { End } from "./harness/TunnelEnd.ts"
import { missing, TunnelRig } from "./harness/TunnelRig.ts"

if (missing !== undefined && process.env["CI"] !== undefined) throw new Error(missing)

/** Long enough for each kind of harm to strike. */
const cutsMin = 3

const name = `through a tunnel in bad weather${missing === undefined ? "" : `: ${missing}`}`

layer(TunnelRig.layer, { excludeTestServices: true, timeout: "60 seconds" })(name, (it) => {
  const through = it.effect.skipIf(missing !== undefined)

  through("redis-benchmark counts exactly what it has sent", () =>
    Effect.gen(function* () {
      const { port, redisPort, weather } = yield* TunnelRig
      const increments = 500
      const args = ["-n", String(increments), "-c", "20", "-t", "incr", "--csv"]
      const cuts = yield* Effect.forkChild(weather.more(cutsMin))
      let sent = 0
      while (cuts.pollUnsafe() === undefined) {
        yield* Program.run("redis-benchmark", "-p", String(port("redis")), ...args)
        sent += increments
      }
      const counted = yield* Program.run("redis-cli", "-p", String(redisPort), "GET", "counter:__rand_int__")
      assert.strictEqual(Number(counted), sent)
    })
  )

  through("a subscriber of redis gets every message once and in order", () =>
    Effect.gen(function* () {
      const { port, weather } = yield* TunnelRig
      const subscriber = yield* Program.start("redis-cli", "-p", String(port("redis")), "SUBSCRIBE", "news")
      yield* subscriber.prints(/subscribe\nnews\n1\n/)
      const publisher = yield* Program.start("redis-cli", "-p", String(port("redis")))
      const cuts = yield* Effect.forkChild(weather.more(cutsMin))
      let published = 0
      while (cuts.pollUnsafe() === undefined) {
        publisher.write(`PUBLISH news number-${published++}\n`)
        yield* Effect.sleep("20 millis")
      }
      yield* subscriber.prints(new RegExp(`number-${published - 1}\n`))
      const received = Array.from(subscriber.printed().matchAll(/message\nnews\nnumber-(\d+)\n/g), ([, n]) => Number(n))
      assert.deepStrictEqual(
        received,
        Array.from({ length: published }, (_, n) => n)
      )
    }).pipe(Effect.scoped)
  )

  for (const [direction, ...reversed] of [["up"], ["down", "--reverse"]]) {
    through(`iperf3 measures ${direction} without an error`, () =>
      Effect.gen(function* () {
        const { port, weather } = yield* TunnelRig
        const cuts = yield* Effect.forkChild(weather.more(cutsMin))
        const args = ["--client", "127.0.0.1", "--port", String(port("iperf")), "--time", "3", "--json", ...reversed]
        const report = yield* decodeReport(yield* Program.run("iperf3", ...args))
        assert.isUndefined(report.error)
        assert.isAbove(report.end.sum_received.bytes, 1_000_000)
        assert.isAtMost(report.end.sum_received.bytes, report.end.sum_sent.bytes)
        yield* Fiber.join(cuts)
      })
    )
  }

  through("curl gets a large file whole", () =>
    Effect.gen(function* () {
      const { folder, large, port, weather } = yield* TunnelRig
      const cuts = yield* Effect.forkChild(weather.more(cutsMin))
      const got = Path.join(folder, "got")
      const url = `http://127.0.0.1:${port("http")}/`
      yield* Program.run("curl", "-sS", "--fail", "--limit-rate", paced(large.bytes), "-o", got, url)
      assert.strictEqual(yield* Program.run("sha256sum", got), `${large.hash}  ${got}\n`)
      yield* Fiber.join(cuts)
    })
  )

  through("curl sends a large file whole", () =>
    Effect.gen(function* () {
      const { large, port, weather } = yield* TunnelRig
      const cuts = yield* Effect.forkChild(weather.more(cutsMin))
      const url = `http://127.0.0.1:${port("http")}/`
      const hash = yield* Program.run(
        "curl",
        "-sS",
        "--fail",
        "--limit-rate",
        paced(large.bytes),
        "-T",
        large.file,
        url
      )
      assert.strictEqual(hash, large.hash)
      yield* Fiber.join(cuts)
    })
  )

  through("an ssh session keeps its shell", () =>
    Effect.gen(function* () {
      const { folder, port, weather } = yield* TunnelRig
      const options = [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "IdentitiesOnly=yes",
        "LogLevel=ERROR"
      ]
      const session = yield* Program.start(
        "ssh",
        ...["-F", "none", "-tt", "-i", Path.join(folder, "user"), "-p", String(port("ssh"))],
        ...options.flatMap((option) => ["-o", option]),
        ...[`${userInfo().username}@127.0.0.1`, "exec sh"]
      )
      session.write(`held=kept\n`)
      const shells = new Set<string>()
      for (let round = 0; round <= cutsMin; round++) {
        session.write(`echo "<$((round=${round})) $$ $held>"\n`)
        const [, shell, held] = yield* session.prints(new RegExp(`<${round} (\\d+) (\\w+)>`))
        assert.strictEqual(held, "kept")
        shells.add(shell!)
        if (round < cutsMin) yield* weather.more(1)
      }
      assert.strictEqual(shells.size, 1)
      session.write("exit 7\n")
      assert.strictEqual(yield* session.code, 7)
    }).pipe(Effect.scoped)
  )

  through("a hundred connections at once get everything back", () =>
    Effect.gen(function* () {
      const { dialling, port, serving, weather } = yield* TunnelRig
      const before = [dialling, serving].map(descriptors)
      const cuts = yield* Effect.forkChild(weather.more(cutsMin))
      const echoes = yield* Effect.forEach(Array.from({ length: 100 }), () => echo(port("echo"), cuts), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(
        echoes.filter(({ received, sent }) => received !== sent),
        []
      )
      // All but the links, of which there may be one more than before at any instant.
      yield* Plain.until(() => [dialling, serving].every((end, n) => descriptors(end) <= before[n]! + 1))
    })
  )

  through("the ends have noticed every cut, and no connection was reset by one", () =>
    Effect.gen(function* () {
      const { dialling, serving, weather } = yield* TunnelRig
      const dialledAgain = dialling.events().filter(({ event }) => event === "retrying")
      const felt = weather.cuts.filter((cut) => cut !== "stall")
      assert.isAtLeast(dialledAgain.length, felt.length - 1)
      assert.strictEqual(
        dialling.events().filter((event) => event.event === "linkUp" && event.opened !== "Resumed").length,
        1
      )
      for (const { events } of [dialling, serving]) {
        // iperf3 resets its own connections
        const broken = events().filter(
          (event) => event.event === "closed" && event.how !== "ended" && event.name !== "iperf"
        )
        assert.deepStrictEqual(broken, [])
      }
    })
  )
})

const decodeReport = Schema.decodeEffect(
  Schema.fromJsonString(
    Schema.Struct({
      error: Schema.optional(Schema.String),
      end: Schema.Struct({
        sum_sent: Schema.Struct({ bytes: Schema.Number }),
        sum_received: Schema.Struct({ bytes: Schema.Number })
      })
    })
  )
)

/** How many files and sockets an end has open. */
const descriptors = ({ program }: End): number => Fs.readdirSync(`/proc/${program.process.pid}/fd`).length

/** Bytes per second, so that it takes as long as a few cuts do. */
const paced = (bytes: number): string => String(Math.ceil(bytes / 3))

/** Sends random bytes for as long as the fiber runs, then half-closes, and compares what comes back. */
const echo = (port: number, meanwhile: Fiber.Fiber<void>) =>
  Effect.callback<{ readonly sent: string; readonly received: string }>((resume) => {
    const socket = Net.connect({ port, host: "127.0.0.1", allowHalfOpen: true })
    const sent = createHash("sha256")
    const received = createHash("sha256")
    const sending = setInterval(() => {
      if (meanwhile.pollUnsafe() !== undefined) {
        clearInterval(sending)
        return socket.end()
      }
      const piece = randomBytes(4096)
      sent.update(piece)
      socket.write(piece)
    }, 50)
    const done = (how: string) => {
      clearInterval(sending)
      resume(Effect.succeed({ sent: sent.digest("hex"), received: how + received.digest("hex") }))
    }
    socket.on("data", (chunk) => received.update(chunk))
    socket.once("error", (error) => done(error.message))
    socket.once("end", () => done(""))
    return Effect.sync(() => {
      clearInterval(sending)
      socket.destroy()
    })
  })
