import { assert, it } from "@effect/vitest"
import { Duration, Effect, Fiber, type Scope } from "effect"
import * as Net from "node:net"
import type { Fault, FaultKind } from "../../examples/01-ship-a-folder/faults.ts"
import { make, type Relay } from "../../examples/01-ship-a-folder/relay.ts"

/** A socket that remembers what came, and how it ended. */
class End {
  bytes = 0
  ended = false
  failed: string | undefined
  private readonly waiting = new Set<() => void>()
  readonly socket: Net.Socket

  constructor(socket: Net.Socket) {
    this.socket = socket
    socket.on("data", (data) => this.wake(() => (this.bytes += data.length)))
    socket.on("end", () => this.wake(() => (this.ended = true)))
    socket.on("error", (error: NodeJS.ErrnoException) => this.wake(() => (this.failed = error.code)))
    socket.on("close", () => this.wake(() => {}))
  }

  until(condition: (end: End) => boolean): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const look = () => {
        if (!condition(this)) return
        this.waiting.delete(look)
        resume(Effect.void)
      }
      this.waiting.add(look)
      look()
    })
  }

  private wake(change: () => unknown): void {
    change()
    for (const look of this.waiting) look()
  }
}

interface Bench {
  readonly relay: Relay
  readonly dial: Effect.Effect<{ readonly client: End; readonly server: End }, never, Scope.Scope>
}

const bench = Effect.gen(function* () {
  const accepted: Array<(server: End) => void> = []
  const listener = yield* Effect.acquireRelease(
    Effect.callback<Net.Server>((resume) => {
      const server = Net.createServer({ allowHalfOpen: true }, (socket) => accepted.shift()?.(new End(socket)))
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  )
  const relay = yield* make({ targetPort: (listener.address() as Net.AddressInfo).port, bytesPerSecond: 50_000_000 })
  const dial = Effect.acquireRelease(
    Effect.callback<{ readonly client: End; readonly server: End }>((resume) => {
      const client = new End(Net.connect({ host: "127.0.0.1", port: relay.port, allowHalfOpen: true }))
      accepted.push((server) => resume(Effect.succeed({ client, server })))
    }),
    ({ client, server }) => Effect.sync(() => [client, server].forEach((end) => end.socket.destroy()))
  )
  return { relay, dial } satisfies Bench
})

const fault = (kind: FaultKind, afterBytes = 1000, lastsMs = 0): Fault => ({ kind, afterBytes, lastsMs })

/** Strikes a link that has passed 1,000 bytes, with another 1,000 in the relay's hands. */
const struck = Effect.fnUntraced(function* (kind: FaultKind, lastsMs = 0) {
  const { dial, relay } = yield* bench
  const link = yield* dial
  const strike = yield* Effect.forkChild(relay.strike(fault(kind, 2000, lastsMs)), { startImmediately: true })
  link.client.socket.write(new Uint8Array(1000))
  yield* link.server.until((end) => end.bytes === 1000)
  link.client.socket.write(new Uint8Array(1000))
  return { relay, dial, ...link, strike: yield* Fiber.join(strike) }
})

/** Bytes in both directions over a link that must be in order. */
const works = Effect.fnUntraced(function* ({ client, server }: { readonly client: End; readonly server: End }) {
  const [before, after] = [server.bytes, client.bytes]
  client.socket.write(new Uint8Array(300_000))
  server.socket.write(new Uint8Array(200_000))
  yield* server.until((end) => end.bytes === before + 300_000)
  yield* client.until((end) => end.bytes === after + 200_000)
})

it.live("passes bytes both ways, and ends, each by itself", () =>
  Effect.gen(function* () {
    const { dial } = yield* bench
    const link = yield* dial
    yield* works(link)
    link.client.socket.end()
    yield* link.server.until((end) => end.ended)
    link.server.socket.end(new Uint8Array(5))
    yield* link.client.until((end) => end.bytes === 200_005 && end.ended)
  }).pipe(Effect.scoped)
)

it.live("passes a reset on, in both directions", () =>
  Effect.gen(function* () {
    const { dial } = yield* bench
    const [one, two] = [yield* dial, yield* dial]
    one.client.socket.resetAndDestroy()
    two.server.socket.resetAndDestroy()
    yield* one.server.until((end) => end.failed === "ECONNRESET")
    yield* two.client.until((end) => end.failed === "ECONNRESET")
  }).pipe(Effect.scoped)
)

it.live("strikes only while it holds bytes that the receiver has not got, and never forwards those of a cut", () =>
  Effect.gen(function* () {
    const { client, dial, relay, server, strike } = yield* struck("reset")
    yield* client.until((end) => end.failed === "ECONNRESET")
    yield* server.until((end) => end.failed === "ECONNRESET")
    assert.strictEqual(server.bytes, 1000)
    assert.strictEqual(strike.heldBytes, 1000)

    const link = yield* dial
    const second = yield* Effect.forkChild(relay.strike(fault("reset", 10)), { startImmediately: true })
    link.client.socket.write(new Uint8Array(100)) // as small as a heartbeat
    yield* link.server.until((end) => end.bytes === 100)
    assert.isUndefined(second.pollUnsafe())
    link.client.socket.write(new Uint8Array(128))
    assert.strictEqual((yield* Fiber.join(second)).heldBytes, 128)
  }).pipe(Effect.scoped)
)

it.live("closes without reading: both sides see an end in good order, and the rest is gone", () =>
  Effect.gen(function* () {
    const { client, server } = yield* struck("closeWithoutReading")
    yield* client.until((end) => end.ended)
    yield* server.until((end) => end.ended)
    assert.deepStrictEqual([server.bytes, client.failed, server.failed], [1000, undefined, undefined])
  }).pipe(Effect.scoped)
)

it.live("swallows one direction while the other goes on, and tells nobody of an end that way", () =>
  Effect.gen(function* () {
    const toServer = yield* struck("blackholeToServer")
    toServer.server.socket.write(new Uint8Array(500))
    yield* toServer.client.until((end) => end.bytes === 500)
    toServer.client.socket.resetAndDestroy()
    yield* works(yield* toServer.dial)
    assert.deepStrictEqual(
      [toServer.server.bytes, toServer.server.failed, toServer.server.ended],
      [1000, undefined, false]
    )

    const toClient = yield* struck("blackholeToClient")
    toClient.server.socket.write(new Uint8Array(500))
    toClient.client.socket.write(new Uint8Array(1000))
    yield* toClient.server.until((end) => end.bytes === 3000)
    toClient.server.socket.resetAndDestroy()
    yield* works(yield* toClient.dial)
    assert.deepStrictEqual(
      [toClient.client.bytes, toClient.client.failed, toClient.client.ended],
      [0, undefined, false]
    )
  }).pipe(Effect.scoped)
)

it.live("tells a side that ends of nothing but the direction that still works", () =>
  Effect.gen(function* () {
    const { client, server } = yield* struck("blackholeToServer")
    server.socket.resetAndDestroy()
    yield* client.until((end) => end.failed === "ECONNRESET")
  }).pipe(Effect.scoped)
)

it.live("takes links that are dialled during a blackhole and never answers them; later ones work", () =>
  Effect.gen(function* () {
    const { client, dial, server } = yield* struck("blackholeBoth", 1000)
    const during = yield* dial
    during.client.socket.write(new Uint8Array(1000))
    during.server.socket.write(new Uint8Array(1000))
    yield* Effect.sleep("1050 millis")
    yield* works(yield* dial)
    assert.deepStrictEqual([during.client.bytes, during.server.bytes, client.bytes, server.bytes], [0, 0, 0, 1000])
    assert.deepStrictEqual(
      [client.ended, server.ended, client.failed, server.failed],
      [false, false, undefined, undefined]
    )
  }).pipe(Effect.scoped)
)

it.live("lets bytes trickle to a slow reader, and loses none", () =>
  Effect.gen(function* () {
    const { client, server } = yield* struck("slowReader", 1000)
    yield* server.until((end) => end.bytes > 1000)
    assert.isBelow(server.bytes, 1100)
    server.socket.write(new Uint8Array(500))
    yield* client.until((end) => end.bytes === 500)
    assert.isBelow(server.bytes, 1100, "heartbeats pass the other way while it trickles")
    yield* server.until((end) => end.bytes === 2000)
    yield* works({ client, server })
  }).pipe(Effect.scoped)
)

it.live("leaves one side open when the other is reset, and lets new links through", () =>
  Effect.gen(function* () {
    for (const kind of ["halfOpenAtSender", "halfOpenAtReceiver"] as const) {
      const link = yield* struck(kind)
      const [open, cut] = kind === "halfOpenAtSender" ? [link.client, link.server] : [link.server, link.client]
      yield* cut.until((end) => end.failed === "ECONNRESET")
      open.socket.write(new Uint8Array(5000))
      yield* works(yield* link.dial)
      assert.deepStrictEqual([open.ended, open.failed, open.socket.destroyed], [false, undefined, false])
    }
  }).pipe(Effect.scoped)
)

it.live("keeps to its rate until that is lifted", () =>
  Effect.gen(function* () {
    const accepted: Array<End> = []
    const server = Net.createServer((socket) => accepted.push(new End(socket)))
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
      () => Effect.sync(() => server.close())
    )
    const relay = yield* make({ targetPort: (server.address() as Net.AddressInfo).port, bytesPerSecond: 1_000_000 })
    const client = Net.connect({ host: "127.0.0.1", port: relay.port })
    yield* Effect.addFinalizer(() => Effect.sync(() => client.destroy()))
    const [limited] = yield* Effect.timed(
      Effect.gen(function* () {
        client.write(new Uint8Array(200_000))
        while (accepted.length === 0) yield* Effect.sleep("1 millis")
        yield* accepted[0]!.until((end) => end.bytes === 200_000)
      })
    )
    assert.isAtLeast(Duration.toMillis(limited), 190)
    yield* relay.unlimit
    client.write(new Uint8Array(20_000_000))
    yield* accepted[0]!.until((end) => end.bytes === 20_200_000)
  }).pipe(Effect.scoped)
)
