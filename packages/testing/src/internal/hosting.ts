/** The public face of a machine. */
import { Context, Effect, Latch } from "effect"
import * as NetAddress from "effect/net/NetAddress"
import * as SocketServer from "effect/socket/SocketServer"
import { CurrentHost, type DialOptions, type ListenOptions, type SimHost } from "../SimHost.ts"
import type { Fabric } from "./Fabric.ts"
import type { Machine } from "./Machine.ts"
import { linkOf, openFailed, Stream } from "./SimSocket.ts"

export const hostOf = (machine: Machine, fabric: Fabric): SimHost => {
  const { kernel, name, time } = machine
  const withHost = <A, E>(use: (context: Context.Context<never>) => Effect.Effect<A, E>) =>
    Effect.contextWith((context: Context.Context<never>) =>
      use(Context.add(context, CurrentHost, host) as Context.Context<never>)
    )
  const host: SimHost = {
    name,
    address: machine.options.address,
    run: (effect) => withHost((context) => machine.run(effect as Effect.Effect<never>, context)) as never,
    boot: (program) =>
      withHost((context) =>
        Effect.sync(() => machine.boot(program as Effect.Effect<unknown, unknown>, context))
      ) as never,
    stop: machine.stop,
    note: (text) => Effect.sync(() => fabric.journal.record({ _tag: "Noted", host: name, text })),
    record: (fact) => fabric.journal.record(fact),
    clocks: () => ({ wallMillis: time.wall() / 1000, monotonicMillis: time.monotonic() / 1000 }),
    connections: () =>
      kernel.connections.map((endpoint) => ({
        name: endpoint.options.connection,
        unacknowledgedBytes: endpoint.unacknowledgedBytes,
        unreadBytes: endpoint.unreadBytes
      })),
    fibers: () => machine.fibersLive,
    dial: (options) => Effect.sync(() => dial(machine, fabric, options)),
    listen: (options) => listen(machine, fabric, options)
  }
  return host
}

const dial = (machine: Machine, fabric: Fabric, { host, port, ...socket }: DialOptions) =>
  linkOf(
    Effect.suspend(() => {
      if (!fabric.machines.has(host)) return Effect.fail(openFailed("ENOTFOUND"))
      const endpoint = machine.kernel.dial(host, port, socket)
      const stream = new Stream(endpoint, machine, machine.process)
      return stream
        .until(() => {
          if (endpoint.failure !== undefined) return Effect.fail(openFailed(endpoint.failure))
          return endpoint.isOpen ? Effect.succeed(stream) : undefined
        })
        .pipe(Effect.onInterrupt(() => Effect.sync(() => stream.close(1006))))
    }),
    addressOf(fabric)
  )

const listen = Effect.fnUntraced(function* (machine: Machine, fabric: Fabric, options: ListenOptions) {
  const { kernel, process } = machine
  const listener = yield* Effect.acquireRelease(
    Effect.suspend(() => {
      const listener = kernel.listen(options.port, options.backlog)
      if (listener !== undefined) return Effect.succeed(listener)
      const cause = Object.assign(new Error(`listen EADDRINUSE: ${machine.name}:${options.port}`), {
        code: "EADDRINUSE"
      })
      return Effect.fail(
        new SocketServer.SocketServerError({ reason: new SocketServer.SocketServerOpenError({ cause }) })
      )
    }),
    (listener) => Effect.sync(() => kernel.unlisten(listener))
  )
  const arrived = Latch.makeUnsafe(false)
  listener.onWaiting = () => process.post(() => arrived.openUnsafe())

  const accept: Effect.Effect<Stream> = Effect.suspend(() => {
    const endpoint = listener.waiting.shift()
    if (endpoint !== undefined) {
      kernel.record("Accepted", endpoint.options.connection)
      return Effect.succeed(new Stream(endpoint, machine, process))
    }
    arrived.closeUnsafe()
    return Effect.andThen(arrived.await, accept)
  })
  const server: SocketServer.SocketServer["Service"] = {
    address: NetAddress.inetAddressFromIpStringUnsafe(machine.options.address, listener.port),
    run: (handler) =>
      Effect.gen(function* () {
        while (true) {
          const stream = yield* accept
          const link = linkOf(openOnce(stream), addressOf(fabric), stream)
          const handled = Effect.ensuring(
            handler(link),
            Effect.sync(() => stream.close(1000))
          )
          yield* Effect.forkScoped(Effect.ignoreCause(handled, { log: "Debug" }))
        }
      }).pipe(Effect.scoped) as Effect.Effect<never>
  }
  return server
})

const openOnce = (stream: Stream) =>
  Effect.suspend(() => (stream.closedAs === undefined ? Effect.succeed(stream) : Effect.fail(openFailed("EBADF"))))

const addressOf = (fabric: Fabric) => (stream: Stream) =>
  fabric.machines.get(stream.endpoint.options.remote)?.options.address ?? stream.endpoint.options.remote
