// A relay between the two ends of something that is to survive: every second it does harm to the links that pass.
import { Effect, type Scope } from "effect"
import * as Net from "node:net"
import * as Plain from "./Plain.ts"

/** What happens to a link. A stall passes by itself, a blackhole never does, and nobody is told of either. */
export type Cut = "reset" | "blackhole" | "stall"

export interface Weather {
  readonly port: number
  /** Harm done so far to links that were passing bytes. */
  readonly cuts: ReadonlyArray<Cut>
  /** Waits for so many more, counted from now. */
  readonly more: (count: number) => Effect.Effect<void>
}

const sequence = ["reset", "blackhole", "stall"] as const satisfies ReadonlyArray<Cut>
const calmMillis = 700
const stallMillis = 400

/** Relays to `target`, and harms all links a while after one of them has begun to pass bytes: about one cut a second. */
export const make = Effect.fnUntraced(function* (target: number): Effect.fn.Return<Weather, never, Scope.Scope> {
  const pairs = new Set<Pair>()
  const cuts: Array<Cut> = []
  const listener = yield* Plain.listen((client) => {
    const server = Net.connect({ port: target, host: "127.0.0.1", allowHalfOpen: true, noDelay: true })
    client.setNoDelay(true)
    server.on("error", () => undefined)
    const pair: Pair = { client, server, passed: 0, isDark: false }
    pairs.add(pair)
    pump(pair, client, server)
    pump(pair, server, client)
    for (const socket of [client, server]) socket.once("close", () => pairs.delete(pair))
  })
  const alive = () => [...pairs].filter((pair) => !pair.isDark)

  const harm = Effect.gen(function* () {
    yield* Plain.until(() => alive().some(({ passed }) => passed > 0))
    yield* Effect.sleep(calmMillis)
    const cut = sequence[cuts.length % sequence.length]!
    const struck = alive()
    if (struck.length === 0) return
    cuts.push(cut)
    for (const pair of struck) strike(pair, cut)
    if (cut !== "stall") return
    yield* Effect.sleep(stallMillis)
    for (const { client, server } of struck) {
      client.resume()
      server.resume()
    }
  })
  yield* Effect.forkScoped(Effect.forever(harm))
  yield* Effect.addFinalizer(() => Effect.sync(() => pairs.forEach((pair) => strike(pair, "reset"))))

  return {
    port: listener.port,
    cuts,
    more: (count) =>
      Effect.suspend(() => {
        const until = cuts.length + count
        return Plain.until(() => cuts.length >= until)
      })
  }
})

interface Pair {
  readonly client: Net.Socket
  readonly server: Net.Socket
  passed: number
  /** What arrives is thrown away. */
  isDark: boolean
}

const strike = (pair: Pair, cut: Cut): void => {
  const { client, server } = pair
  switch (cut) {
    case "reset":
      client.resetAndDestroy().destroy()
      server.resetAndDestroy().destroy()
      return
    case "blackhole":
      pair.isDark = true
      return
    case "stall":
      client.pause()
      server.pause()
  }
}

const pump = (pair: Pair, from: Net.Socket, to: Net.Socket): void => {
  from.on("data", (chunk) => {
    if (pair.isDark || to.destroyed || to.writableEnded) return
    pair.passed += chunk.length
    if (to.write(chunk)) return
    from.pause()
    to.once("drain", () => from.resume())
  })
  from.on("end", () => {
    if (!pair.isDark) to.end()
  })
  from.on("close", () => {
    if (!pair.isDark || from.destroyed) to.destroy()
  })
  from.resume()
}
