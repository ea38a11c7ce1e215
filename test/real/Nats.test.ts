// The NATS example against a real server: what it promises of messages, of subscriptions, and of a login.
import { assert, describe, it } from "@effect/vitest"
import { NodeLink } from "@holdfast/node"
import { Context, Effect, Exit, Layer, Schedule } from "effect"
import { Presets } from "holdfast"
import { layer, Nats, type Options } from "../../examples/04-nats/nats.ts"
import { collected, eventually, lives, policy, running, survivesCut } from "./harness/Example.ts"
import * as Namespace from "./harness/Namespace.ts"
import * as Server from "./harness/Server.ts"

const missing = Server.missingOf("nats-server")
const without = missing ?? Namespace.missing
if (without !== undefined && process.env["CI"] !== undefined) throw new Error(without)

const onServer = it.live.skipIf(missing !== undefined)
const onCable = it.live.skipIf(without !== undefined)

const subject = "numbers"

/** The example, and what it hears. */
const use = Effect.fnUntraced(function* ({ host, port }: Server.Server, options: Partial<Options> = {}) {
  const context = yield* Layer.build(layer({ servers: [{ host, port }], subjects: [subject], policy, ...options }))
  const nats = Context.get(context, Nats)
  const heard = yield* collected(nats.messages)
  const numbers = () => heard.flatMap((message) => (message._tag === "Message" ? [Number(message.text)] : []))
  const publish = (n: number) => nats.send({ _tag: "Publish", subject, text: String(n) })
  return { nats, numbers, publish, told: yield* lives(nats.events) }
})

const upTo = (count: number) => Array.from({ length: count }, (_, n) => n)

const isUp = ({ told }: { readonly told: { readonly opened: number } }, times = 1) =>
  eventually(() => told.opened >= times)

describe.concurrent(`NATS${without === undefined ? "" : `: ${without}`}`, () => {
  onServer("hears every number at least once, while the server is killed, frozen and restarted", () =>
    Effect.gen(function* () {
      const server = yield* Server.start("nats-server")
      const used = yield* use(server)
      const { numbers, publish, told } = used
      let published = 0
      yield* Effect.suspend(() => publish(published++)).pipe(
        Effect.repeat(Schedule.spaced("10 millis")),
        Effect.forkScoped
      )
      const flows = Effect.suspend(() => {
        const from = published
        return eventually(() => numbers().includes(from + 10))
      })
      yield* flows
      yield* server.kill
      yield* Effect.sleep("500 millis")
      yield* server.start
      yield* flows
      yield* server.freeze
      yield* eventually(() => told.ends.includes("PeerSilent"))
      yield* server.thaw
      yield* flows
      yield* server.stop
      yield* server.start
      yield* flows
      const heard = new Set(numbers())
      const last = Math.max(...heard)
      assert.deepStrictEqual(
        upTo(last).filter((n) => !heard.has(n)),
        []
      )
    })
  )

  onServer("sends what no link has seen, once and in order, when there is a link again", () =>
    Effect.gen(function* () {
      const server = yield* Server.start("nats-server")
      const used = yield* use(server)
      yield* isUp(used)
      yield* server.kill
      yield* eventually(() => used.told.ends.length > 0)
      yield* Effect.forEach(upTo(1000), used.publish)
      yield* server.start
      yield* eventually(() => used.numbers().length >= 1000)
      yield* Effect.sleep("200 millis")
      assert.deepStrictEqual(used.numbers(), upTo(1000))
    })
  )

  onServer("knows what a server had handled before it froze, and gives back the rest where that is the choice", () =>
    Effect.gen(function* () {
      const server = yield* Server.start("nats-server")
      const { host, port } = server
      const nats = yield* Nats.make({ link: NodeLink.tcp({ host, port }), fateUnknown: "giveBack", policy })
      const told = yield* lives(nats.events)
      const returned = yield* collected(nats.returned)
      const publish = (n: number) => nats.send({ _tag: "Publish", subject, text: String(n) })
      const numbers = () => returned.map((message) => message._tag === "Publish" && Number(message.text))
      yield* Effect.forEach(upTo(10), publish)
      yield* Effect.repeat(Effect.delay(nats.leftovers, "10 millis"), {
        until: ({ fateUnknown, notSent }) => fateUnknown.length + notSent.length === 0
      })
      yield* server.freeze
      yield* Effect.forEach(upTo(10), (n) => publish(10 + n))
      yield* eventually(() => told.ends.length > 0)
      yield* server.thaw
      yield* nats.close
      assert.deepStrictEqual(
        numbers(),
        upTo(10).map((n) => 10 + n)
      )
      assert.deepStrictEqual(yield* nats.leftovers, { fateUnknown: [], notSent: [] })
    })
  )

  onServer("gives back at the end what no link has seen", () =>
    Effect.gen(function* () {
      const server = yield* Server.start("nats-server")
      const used = yield* use(server, { policy: { ...policy, close: "1 second" } })
      yield* isUp(used)
      yield* server.kill
      yield* eventually(() => used.told.ends.length > 0)
      yield* Effect.forEach(upTo(10), used.publish)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(used.nats.close)))
      const { fateUnknown, notSent } = yield* used.nats.leftovers
      assert.deepStrictEqual(fateUnknown, [])
      assert.deepStrictEqual(
        notSent.map((message) => message._tag === "Publish" && Number(message.text)),
        upTo(10)
      )
    })
  )

  onServer("goes on at the next server of a cluster at once, when the first is killed", () =>
    Effect.gen(function* () {
      const [first, second] = yield* Effect.all([Server.start("nats-server"), Server.start("nats-server")])
      const slow = { ...policy, reconnect: Schedule.spaced("1 hour") } // so that only the prompt try is in time
      const used = yield* use(first, { servers: [first, second], policy: slow })
      yield* isUp(used)
      yield* first.kill
      yield* isUp(used, 2)
      yield* used.publish(1)
      yield* eventually(() => used.numbers().includes(1))
      const state = yield* used.nats.state
      assert.strictEqual(state._tag === "Up" && state.endpoint, 1)
    })
  )

  onCable("hears again, without being asked, when a cable that was cut is healed", () =>
    Effect.gen(function* () {
      assert.include(["PeerSilent", "WriteStuck"], yield* survivesCut("nats", "nats-server"))
    })
  )

  onServer("counts as its program says", () =>
    Effect.gen(function* () {
      const { port } = yield* Server.start("nats-server")
      const { printed } = yield* running("04-nats", String(port))
      yield* eventually(() => printed().includes("text: '2'"))
      assert.include(printed(), "opened, incarnation 1")
    })
  )

  onServer("is refused for good with a wrong password, and let in with the right one", () =>
    Effect.gen(function* () {
      const server = yield* Server.start("nats-server", { args: ["--user", "a", "--pass", "right"] })
      const wrong = yield* use(server, { login: { user: "a", pass: "wrong" } })
      const error = yield* Effect.flip(wrong.nats.join)
      assert.strictEqual(error.reason._tag, "Refused")
      assert.include(error.message, "Authorization Violation")
      const right = yield* use(server, { login: { user: "a", pass: "right" } })
      yield* right.publish(1)
      yield* eventually(() => right.numbers().includes(1))
    })
  )

  onServer("leaves an idle healthy server alone, and answers what it asks", () =>
    Effect.gen(function* () {
      const server = yield* Server.start("nats-server", { args: ["--trace", "--debug"] })
      const used = yield* use(server, { policy: { ...policy, silence: Presets.openVSwitch("2 seconds") } })
      yield* isUp(used)
      yield* Effect.sleep("6 seconds")
      assert.deepStrictEqual([used.told.opened, used.told.ends], [1, []])
      assert.match(server.log(), /<<- \[PING\]/) // ours
      assert.match(server.log(), /<<- \[PONG\]/) // the answer to its own
    })
  )
})
