import { assert, describe, it } from "@effect/vitest"
import { Fault, SimHost, SimNetwork, type Transcript } from "@holdfast/testing"
import { Effect, type Scope } from "effect"
import { accepting, believing, type Believer, dialing, port, writing } from "./Programs.ts"

type Network = SimNetwork.SimNetwork

interface Stage {
  readonly network: Network
  readonly client: SimHost.SimHost
  readonly server: SimHost.SimHost
  readonly believer: Believer
  readonly accepted: ReadonlyArray<unknown>
}

/** A client that writes 100 bytes every 100 ms to a server that reads them. */
const onStage = <A, E>(
  body: (stage: Stage) => Effect.Effect<A, E, Scope.Scope>,
  options: Partial<SimNetwork.Options> = {}
) =>
  SimNetwork.run({ seed: 1, ...options }, (network) =>
    Effect.gen(function* () {
      const [client, server] = [network.host("client"), network.host("server")]
      const accepted: Array<unknown> = []
      yield* server.run(
        Effect.gen(function* () {
          const listener = yield* SimHost.listen({ port })
          yield* Effect.forkScoped(
            listener.run((socket) =>
              Effect.andThen(
                Effect.orDie(Effect.map(believing(network, socket), (believer) => accepted.push(believer))),
                Effect.never
              )
            )
          )
        })
      )
      const believer = yield* dialing(network, client)
      yield* writing(client, believer, 100, 100)
      yield* Effect.sleep("1 second")
      return yield* body({ network, client, server, believer, accepted })
    })
  )

/** Bytes that the server's programs have read by now. */
const readBytes = ({ accepted }: Stage) =>
  (accepted as ReadonlyArray<Believer>).reduce((sum, { received }) => sum + received, 0)

const packets = (network: Network, from: string, where: (packet: Transcript.Packet) => boolean) =>
  network.transcript.filter((entry) => entry._tag === "Packet" && entry.from === from && where(entry)).length

/** Bytes read during a fault of 10 s, and in the 30 s after it. */
const during = (stage: Stage, fault: Fault.Fault) =>
  Effect.gen(function* () {
    const before = readBytes(stage)
    yield* Effect.scoped(Effect.andThen(stage.network.inflict(fault), Effect.sleep("10 seconds")))
    const meanwhile = readBytes(stage) - before
    yield* Effect.sleep("30 seconds")
    return { meanwhile, afterwards: readBytes(stage) - before - meanwhile }
  })

const written = 10_000

describe("a fault that lasts", () => {
  for (const fault of [
    Fault.partition("client", "server"),
    Fault.oneWay("client", "server"),
    Fault.blackhole("server"),
    Fault.blackhole("client"),
    Fault.synOnly("client", "server"),
    Fault.mtuBlackhole("client", "server", 99),
    Fault.freeze("server"),
    Fault.blockedLoop("server"),
    Fault.suspend("server"),
    Fault.slowReader("server", 0),
    Fault.all(Fault.freeze("server"), Fault.latency("client", "server", "5 millis"))
  ]) {
    it.effect(`stops the flow while ${Fault.describe(fault)}, and everything arrives afterwards`, () =>
      onStage((stage) =>
        Effect.gen(function* () {
          const { afterwards, meanwhile } = yield* during(stage, fault)
          assert.isAtMost(meanwhile, 200) // what was on its way
          assert.isAtLeast(afterwards, 3 * written)
          assert.strictEqual(stage.believer.ended, undefined)
        })
      )
    )
  }

  it.effect("leaves the flow alone where it should", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        for (const fault of [
          Fault.mtuBlackhole("client", "server", 100),
          Fault.clockJump("server", "1 day"),
          Fault.drift("server", 500),
          Fault.lostWindowUpdates("server", "client"),
          Fault.freeze("bystander"),
          Fault.slowReader("client", 0)
        ]) {
          stage.network.host("bystander")
          const { meanwhile } = yield* during(stage, fault)
          assert.isAtLeast(meanwhile, written - 200)
        }
      })
    )
  )

  it.effect("slows what it should: reading, a direction, the way", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const { meanwhile: slowly } = yield* during(stage, Fault.slowReader("server", 500))
        assert.closeTo(slowly, 5000, 300)
        const { meanwhile: limited } = yield* during(stage, Fault.rateLimit("client", "server", 760))
        assert.isAtMost(limited, 7600) // each packet has 52 bytes of headers
        assert.isAtLeast(limited, 5000)
        const far = Fault.latency("client", "server", "2 seconds")
        const { meanwhile: late } = yield* during(stage, far)
        assert.isAtMost(late, written - 1800)
      })
    )
  )

  it.effect("goes by itself on a timeline, at the instants that it says", () =>
    onStage(({ network }) =>
      Effect.gen(function* () {
        yield* network.play([
          Fault.at("2 seconds", Fault.freeze("server"), { for: "3 seconds" }),
          Fault.at("1 second", Fault.partition("client", "server"), { until: "4 seconds" })
        ])
        const from = network.now()
        yield* Effect.sleep("10 seconds")
        const told = network.transcript.flatMap((entry) =>
          entry._tag === "Inflicted" || entry._tag === "Healed" ? [[entry.at - from, entry._tag, entry.fault._tag]] : []
        )
        assert.deepStrictEqual(told, [
          [1000, "Inflicted", "Partition"],
          [2000, "Inflicted", "Freeze"],
          [4000, "Healed", "Partition"],
          [5000, "Healed", "Freeze"]
        ])
      })
    )
  )

  it.effect("may overlap with others like it: the way is as the latest says, and in the end as it was", () =>
    onStage(({ network, server }) =>
      Effect.gen(function* () {
        const roundTrip = Effect.gen(function* () {
          const from = network.now()
          yield* dialing(network, network.host("other"))
          return Math.round(network.now() - from)
        })
        assert.strictEqual(server.name, "server")
        const far = (millis: number) => Fault.latency("other", "server", millis)
        network.host("other")
        yield* network.play([
          Fault.at(0, far(50), { for: "10 seconds" }),
          Fault.at("5 seconds", far(200), { for: "10 seconds" })
        ])
        yield* Effect.sleep("1 second")
        assert.strictEqual(yield* roundTrip, 100)
        yield* Effect.sleep("5 seconds")
        assert.strictEqual(yield* roundTrip, 400)
        yield* Effect.sleep("5 seconds")
        assert.strictEqual(yield* roundTrip, 400)
        yield* Effect.sleep("5 seconds")
        assert.strictEqual(yield* roundTrip, 2)
      })
    )
  )
})

describe("a fault that is an instant", () => {
  it.effect("cut: both ends get a reset, and later dials are well", () =>
    onStage(({ accepted, believer, client, network }) =>
      Effect.gen(function* () {
        yield* network.play([Fault.at(0, Fault.cut("client", "server"))])
        yield* Effect.sleep("100 millis")
        assert.deepStrictEqual(
          [believer, ...(accepted as ReadonlyArray<Believer>)].map(({ ended }) => ended?.how),
          ["ECONNRESET", "ECONNRESET"]
        )
        yield* dialing(network, client)
      })
    )
  )

  it.effect("closeWithoutReading: both ends see an ordinary end, and what was under way is nowhere", () =>
    onStage(
      ({ accepted, believer, client, network }) =>
        Effect.gen(function* () {
          yield* client.run(believer.opened.write([new Uint8Array(50_000)]))
          const [serving] = accepted as ReadonlyArray<Believer>
          const before = serving?.received
          yield* network.play([Fault.at(0, Fault.closeWithoutReading("client", "server"))])
          yield* Effect.sleep("5 seconds")
          assert.strictEqual(serving?.received, before)
          assert.deepStrictEqual([believer.ended?.how, serving?.ended?.how], ["LinkClosed", "LinkClosed"])
        }),
      { link: { latency: "500 millis" } }
    )
  )

  it.effect("closeWithoutReading: a program that stood still reads what had arrived, and nothing that came later", () =>
    onStage(
      ({ accepted, network, server }) =>
        Effect.gen(function* () {
          yield* network.play([
            Fault.at(0, Fault.freeze("server"), { for: "10 seconds" }),
            Fault.at("1 second", Fault.closeWithoutReading("client", "server"))
          ])
          yield* Effect.sleep("999 millis")
          const waiting = server.connections().reduce((sum, { unreadBytes }) => sum + unreadBytes, 0)
          const [serving] = accepted as ReadonlyArray<Believer>
          const before = serving?.received ?? 0
          yield* Effect.sleep("20 seconds")
          assert.isAbove(waiting, 0)
          assert.strictEqual(((serving?.received ?? 0) - before) % 100, 0)
          assert.isAtMost((serving?.received ?? 0) - before, waiting + 100)
        }),
      { link: { latency: "250 millis" } }
    )
  )

  it.effect("natForgets: what was connected is silent for good, what dials anew is well", () =>
    onStage((stage) =>
      Effect.gen(function* () {
        const { believer, client, network } = stage
        yield* network.play([Fault.at(0, Fault.natForgets("client", "server"))])
        yield* Effect.sleep("50 millis") // what was under way arrives
        const before = readBytes(stage)
        yield* Effect.sleep("2 minutes")
        assert.strictEqual(readBytes(stage), before)
        assert.strictEqual(believer.ended, undefined)
        const again = yield* dialing(network, client)
        yield* client.run(again.opened.write([new Uint8Array(7)]))
        yield* Effect.sleep("1 second")
        assert.strictEqual(readBytes(stage), before + 7)
      })
    )
  )

  it.effect(
    "kill: the kernel closes what the program had open; input that nobody will read is answered by a reset",
    () =>
      onStage(({ believer, network, server }) =>
        Effect.gen(function* () {
          yield* network.play([Fault.at(50, Fault.kill("server"))])
          yield* Effect.sleep("1 second")
          assert.include(["LinkClosed", "ECONNRESET"], believer.ended?.how)
          yield* Effect.sleep("1 minute") // in which late packets would still be answered
          assert.strictEqual(server.connections().length, 0)
        })
      )
  )
})

describe("the transcript of a fault", () => {
  it.effect("tells of each packet what took it", () =>
    onStage(({ network }) =>
      Effect.gen(function* () {
        yield* network.play([Fault.at(0, Fault.oneWay("client", "server"), { for: "1 second" })])
        yield* Effect.sleep("5 seconds")
        assert.isAbove(
          packets(network, "client", ({ lostTo }) => lostTo === "OneWay"),
          0
        )
        assert.strictEqual(
          packets(network, "server", ({ lostTo }) => lostTo !== undefined),
          0
        )
      })
    )
  )

  it("cannot be of one that ends before it begins, or of a machine that is not there", () => {
    assert.throws(() => Fault.at("2 seconds", Fault.freeze("a"), { until: "1 second" }), /it would end/)
    const nobody = SimNetwork.run({ seed: 1 }, (network) => network.inflict(Fault.freeze("nobody")))
    return Effect.runPromiseExit(nobody).then((exit) => assert.include(String(exit), "no machine called nobody"))
  })
})

describe("a router that says host unreachable", () => {
  it.effect("ends a dial at once, and tells a connection that is up nothing, which goes on when it is healed", () =>
    onStage(
      Effect.fnUntraced(function* (stage) {
        const { believer, client, network } = stage
        const { afterwards, meanwhile } = yield* during(stage, Fault.unreachable("client", "server"))
        assert.isAtMost(meanwhile, 100) // what was under way
        assert.isUndefined(believer.ended)
        assert.isAbove(afterwards, 20_000)
        yield* network.inflict(Fault.unreachable("client", "server"))
        const from = network.now()
        const error = yield* Effect.flip(dialing(network, client))
        assert.include(String(error), "EHOSTUNREACH")
        assert.isBelow(network.now() - from, 10)
      })
    )
  )
})

describe("the first timeout of a connection", () => {
  for (const age of ["1 second", "1 hour"] as const) {
    it.effect(`follows its own round trip, also ${age} after the beginning of the world`, () =>
      SimNetwork.run({ seed: 1 }, (network) =>
        Effect.gen(function* () {
          const [client, server] = [network.host("client"), network.host("server")]
          yield* accepting(server)
          yield* Effect.sleep(age)
          yield* network.inflict(Fault.synOnly("client", "server"))
          const { opened } = yield* dialing(network, client)
          yield* client.run(opened.write([new Uint8Array(100)]))
          yield* Effect.sleep("1 second")
          // At once, after 0.2 s and after 0.6 s.
          assert.strictEqual(
            packets(network, "client", ({ kind }) => kind === "data"),
            3
          )
        })
      )
    )
  }
})
