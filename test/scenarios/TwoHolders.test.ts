// Two holders of one session, as when a machine is restored from a snapshot while the original lives on.
import { assert, describe, it } from "@effect/vitest"
import { Fault, SimHost } from "@holdfast/testing"
import { Effect, Latch, Schedule } from "effect"
import * as Socket from "effect/socket/Socket"
import type { Link } from "holdfast"
import { plainClient, type PlainServer, plainServer } from "./Plain.ts"
import { complete, connecting, dialsOf, endings, message, port, sending, serving, simulate, upTo } from "./Sessions.ts"

/** A link that keeps what it read. */
const recorded = (link: Link.Link, into: Array<Uint8Array>): Link.Link => ({
  ...link,
  ...Socket.make({
    reader: Effect.map(link.reader, ({ pull, upgrade }) => ({
      pull: Effect.tap(pull, (chunks) => Effect.sync(() => void into.push(...(chunks as ReadonlyArray<Uint8Array>)))),
      upgrade
    })),
    writer: link.writer
  })
})

/** A link over which the server seems to answer the first word with what it once told somebody else; then it is cut. */
const replayed = (told: ReadonlyArray<Uint8Array>): Link.Link => {
  const asked = Latch.makeUnsafe(false)
  let isOver = false
  const pull = Effect.andThen(
    asked.await,
    Effect.suspend(() => {
      const [first, ...rest] = isOver ? [] : told
      isOver = true
      if (first !== undefined) return Effect.succeed([first, ...rest] as const)
      return Effect.fail(new Socket.SocketError({ reason: new Socket.SocketCloseError({ code: 1006 }) }))
    })
  )
  const write = () => asked.open
  return Socket.make({
    reader: Effect.succeed({
      pull: Effect.map(pull, ([first, ...rest]) => [first, ...rest]),
      upgrade: Socket.SocketUpgradeError.unsupported
    }),
    writer: Effect.succeed({ write: () => Effect.asVoid(write()), writeAll: () => Effect.asVoid(write()) })
  })
}

describe("two holders of one session", () => {
  it.effect("evict each other for ever where the last dial wins and everybody dials again", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const server: PlainServer = yield* plainServer(network, {
          received: () => Effect.forEach(server.links.slice(0, -1), (link) => link.destroy!, { discard: true })
        })
        const holder = Effect.gen(function* () {
          const plain = yield* plainClient(network)
          yield* plain.opened.write([message(0)])
          yield* Effect.repeat(Effect.sleep("10 millis"), { until: () => plain.ended !== undefined })
        })
        const forever = Effect.repeat(Effect.scoped(Effect.ignore(holder)), Schedule.spaced("100 millis"))
        for (const name of ["original", "copy"]) yield* network.host(name).run(Effect.forkScoped(forever))
        yield* Effect.sleep("1 minute")
        assert.isAbove(dialsOf(network).length, 400)
      })
    )
  )

  it.effect("settle it by one eviction: the loser ends as fenced and never dials again, the winner is left alone", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network)
        const told: Array<Uint8Array> = []
        const dial = SimHost.dial({ host: "server", port })
        const original = yield* connecting(
          network,
          { link: Effect.map(dial, (link) => recorded(link, told)) },
          "original"
        )
        yield* Effect.sleep("1 second")
        const welcome = told.slice(0, 1)
        let dials = 0
        const copy = yield* connecting(
          network,
          {
            link: Effect.suspend(() => (dials++ === 0 ? Effect.succeed(replayed(welcome)) : dial))
          },
          "copy"
        )
        yield* Effect.sleep("10 seconds")
        assert.strictEqual(endings(original).join(), "Fenced")
        yield* copy.host.run(copy.session.deliver(message(0)))
        yield* network.play([Fault.at("1 minute", Fault.cut("copy", "server"))])
        yield* Effect.sleep("10 minutes")
        yield* copy.host.run(copy.session.deliver(message(1)))
        assert.deepStrictEqual(served.taken, [0, 1])
        assert.strictEqual(dialsOf(network, "original").length, 1)
        assert.strictEqual(dialsOf(network, "copy").length, 2)
      })
    )
  )

  it.effect("are not suspected where the only one comes back, however often: nobody is fenced", () =>
    simulate(
      Effect.fnUntraced(function* (network) {
        const served = yield* serving(network)
        const client = yield* connecting(network)
        yield* network.play(upTo(10).map((n) => Fault.at(`${n * 20 + 5} seconds`, Fault.cut("client", "server"))))
        yield* sending(client, 220, 1000)
        yield* complete(client, served, 220)
        assert.deepStrictEqual(endings(client), [...upTo(10).map(() => "LinkFailed"), "Closed"])
      })
    )
  )
})
