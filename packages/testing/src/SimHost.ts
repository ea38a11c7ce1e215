/**
 * A simulated machine, and what programs on it do: `dial` and `listen`, in place of the real ones.
 *
 * A program is an ordinary Effect. What it finds in its context is the machine's: clock, scheduler, random numbers,
 * secrets and HMAC without promises. Fibers of a frozen machine do not run, timers that were due fire when it thaws;
 * those of a crashed one never run again, not even their finalizers.
 *
 * ```ts
 * import { SimHost } from "@holdfast/testing"
 * import { Effect, Layer } from "effect"
 * import { Session } from "holdfast"
 *
 * class Plain extends Session.Service<Plain>()("app/Plain") {}
 *
 * const Server = Plain.serve((session) => session.handle(() => Effect.void)).pipe(
 *   Layer.provide(SimHost.layerListener({ port: 7000 }))
 * )
 * const Client = Plain.make({ link: SimHost.dial({ host: "server", port: 7000 }) })
 * ```
 */
import { Context, Effect, Layer, type Scope, Stream } from "effect"
import type { Mac, SecureRandom } from "effect/crypto"
import * as SocketServer from "effect/socket/SocketServer"
import type { Link, Session } from "holdfast"
import { tellings } from "./internal/tellings.ts"
import type { SocketOptions } from "./Kernel.ts"
import type { Fact } from "./Transcript.ts"

/** Where to connect to. */
export interface DialOptions extends SocketOptions {
  /** Name of a machine. One that does not exist fails with ENOTFOUND. */
  readonly host: string
  readonly port: number
}

/** Where to listen. */
export interface ListenOptions {
  /** 0: any that is free. A port that is taken fails. */
  readonly port: number
  /** Connections that wait to be accepted. Default: the kernel's `backlogMax`. */
  readonly backlog?: number | undefined
}

/** One end of a connection, as the kernel sees it. */
export interface Connection {
  /** Both ends: `client:49152>server:7000`. */
  readonly name: string
  /** Written by the program here and not acknowledged by the other machine (Send-Q). */
  readonly unacknowledgedBytes: number
  /** Arrived and not read by the program here (Recv-Q). */
  readonly unreadBytes: number
}

/** What a machine gives to the programs on it. */
export type Provided = Scope.Scope | CurrentHost | SecureRandom.SecureRandom | Mac.Mac

/** A simulated machine, from outside. */
export interface SimHost {
  readonly name: string
  /** Its address, which is what peers see. */
  readonly address: string
  /**
   * Runs an effect as part of the machine's program, which begins with the first one. What it acquires lives until the
   * program ends. When the machine crashes meanwhile, or is down, it is interrupted.
   */
  readonly run: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, Exclude<R, Provided>>
  /**
   * What the machine runs when it starts: now, and again after every crash. When it fails, the simulation fails.
   */
  readonly boot: <E, R>(program: Effect.Effect<unknown, E, R>) => Effect.Effect<void, never, Exclude<R, Provided>>
  /** Ends the program in good order: everything that it has acquired is released. */
  readonly stop: Effect.Effect<void>
  /** Writes a line into the transcript. */
  readonly note: (text: string) => Effect.Effect<void>
  /** Writes a fact into the transcript. */
  readonly record: (fact: Fact) => void
  /** Wall and monotonic time of this machine, in milliseconds. */
  readonly clocks: () => { readonly wallMillis: number; readonly monotonicMillis: number }
  /** Its connections, those included that its program has left. */
  readonly connections: () => ReadonlyArray<Connection>
  /** Fibers of its present program, or those that the last one has left behind when it was stopped. */
  readonly fibers: () => number
  /** {@link dial} from this machine. */
  readonly dial: (options: DialOptions) => Effect.Effect<Link.Link>
  /** {@link listen} on this machine. */
  readonly listen: (
    options: ListenOptions
  ) => Effect.Effect<SocketServer.SocketServer["Service"], SocketServer.SocketServerError, Scope.Scope>
}

/** The machine on which a program runs. */
export class CurrentHost extends Context.Service<CurrentHost, SimHost>()("@holdfast/testing/SimHost/CurrentHost") {}

/** Makes a link to another machine, or to the same; nothing is dialled until its reader is acquired. */
export const dial = (options: DialOptions): Effect.Effect<Link.Link, never, CurrentHost> =>
  CurrentHost.use((host) => host.dial(options))

/** Listens, until the scope closes. */
export const listen = (
  options: ListenOptions
): Effect.Effect<SocketServer.SocketServer["Service"], SocketServer.SocketServerError, CurrentHost | Scope.Scope> =>
  CurrentHost.use((host) => host.listen(options))

/**
 * Writes what a session tells, its states and its events, into the transcript, under a name. Checkers and pictures are
 * made from that.
 */
export const observe = <Send, Receive>(
  name: string,
  session: Session.Session<Send, Receive>
): Effect.Effect<void, never, CurrentHost | Scope.Scope> =>
  CurrentHost.use((host) =>
    Effect.asVoid(
      Effect.forkScoped(
        Stream.runForEach(tellings(session), (telling) =>
          Effect.sync(() => host.record({ _tag: "Session", host: host.name, session: name, ...telling }))
        ),
        { startImmediately: true }
      )
    )
  )

/** {@link listen} as a layer. */
export const layerListener = (
  options: ListenOptions
): Layer.Layer<SocketServer.SocketServer, SocketServer.SocketServerError, CurrentHost> =>
  Layer.effect(SocketServer.SocketServer, listen(options))
