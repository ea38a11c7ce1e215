/** One row of the conformance table: what the simulated kernel did beside what a real one was measured to do. */
import { Fault, type SimHost, SimNetwork } from "@holdfast/testing"
import { Effect } from "effect"

/** A figure of a scenario. */
export interface Figure {
  /** What was measured on Linux 6.18, as text for the table. */
  readonly measured: string
  /** The simulation must be within, or equal. */
  readonly accepts: readonly [from: number, to: number] | string | number
  /** Why it may differ. */
  readonly why?: string | undefined
}

/** A fault, what happens in the simulation, and which figures are held against the real ones. */
export interface Row<Name extends string = string> {
  readonly fault: string
  readonly simulate: Effect.Effect<Readonly<Record<Name, number | string>>, unknown>
  readonly figures: Readonly<Partial<Record<Name, Figure>>>
}

export const row = <Name extends string>(row: Row<Name>): Row => row

/** Two machines on Ethernet, as the namespaces of the measurements; loopback is the same with larger packets. */
export const simulate = <A, E>(
  body: (network: SimNetwork.SimNetwork, client: SimHost.SimHost, server: SimHost.SimHost) => Effect.Effect<A, E>,
  options: Partial<SimNetwork.Options> = {}
): Effect.Effect<A, E> =>
  SimNetwork.run({ seed: 1, link: { latency: "20 micros" }, ...options }, (network) =>
    body(network, network.host("client"), network.host("server"))
  )

export const loopback = { link: { latency: "20 micros", segmentBytesMax: 65_483 } } as const

/** Lets a fault begin now and last. */
export const inflict = (network: SimNetwork.SimNetwork, fault: Fault.Fault): Effect.Effect<void> =>
  Effect.andThen(network.play([Fault.at(0, fault)]), Effect.sleep(0))
