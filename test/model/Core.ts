/**
 * What is explored: the session core as it is, or with one thing broken, and how much of everything there is.
 */
import { type Handshake, type Openings, Peer } from "@holdfast/protocol"
import type { Fineness } from "./Wire.ts"

/** The parts that a mutant replaces. */
export interface Core {
  readonly peer: (limits: Peer.Limits, side: Openings.Side) => Peer.Peer
  readonly server: ServerRules
  readonly client: ClientRules
}

/** What the server knows of a session when a dial claims it. */
export interface Claimed {
  readonly epoch: number
}

/** The decisions of `packages/holdfast/src/internal/admission.ts`. */
export interface ServerRules {
  /** `find` in `resume`: asked at the Hello, and again at the Proof, since another dial may have come between. */
  readonly judge: (
    at: "Hello" | "Proof",
    hello: Handshake.Hello,
    claimed: Claimed | undefined
  ) => Handshake.RefusedCode | undefined
  /** The eviction in `resume`: nothing that still arrives on the older link moves the session. */
  readonly isEvictedDeaf: boolean
  /** `converse` in `server.ts`, when the answer of the handshake is written: this dial still has the session. */
  readonly mayAttach: (epoch: number, claimed: Claimed) => boolean
}

/** The decisions of `packages/holdfast/src/internal/client.ts`. */
export interface ClientRules {
  /** `greet`: the epoch of the next dial. `wasUp` tells whether the last one came to anything. */
  readonly nextEpoch: (epoch: number, wasUp: boolean) => number
  /** `surrender`: what the application sends first after a Gap. */
  readonly sendAgain: (outstanding: {
    readonly fateUnknown: ReadonlyArray<Uint8Array>
    readonly notSent: ReadonlyArray<Uint8Array>
  }) => ReadonlyArray<Uint8Array>
}

/** The real one. */
export const real: Core = Object.freeze<Core>({
  peer: (limits, side) => new Peer.Peer(limits, side),
  server: Object.freeze<ServerRules>({
    judge: (_at, hello, claimed) => {
      if (claimed === undefined) return "Unknown"
      return hello.epoch > claimed.epoch ? undefined : "Fenced"
    },
    isEvictedDeaf: true,
    mayAttach: (epoch, claimed) => epoch === claimed.epoch
  }),
  client: Object.freeze<ClientRules>({
    nextEpoch: (epoch) => epoch + 1,
    sendAgain: ({ notSent }) => notSent
  })
})

/** How much there is of everything. Every run is exhaustive within it. */
export interface Extent {
  /** Messages of each application. */
  readonly messages: number
  /** Links that a session may come to need; each but the last ends by a fault. */
  readonly incarnations: number
  /** How many of those faults may be a restart of a side without its state. */
  readonly restarts: number
  /** Messages of each application, counted from the first, that the other one may decline. */
  readonly declines: number
  /** Each application ends its direction after its last message. */
  readonly ends: boolean
  /** Channels that one side opens, one after the other or at once, and which side that is. */
  readonly channels: number
  readonly opener: "client" | "server"
  /** How many of them may be open at once. */
  readonly channelsMax: number
  /** Messages on each of them, to the server and to the client. */
  readonly channelMessages: readonly [number, number]
  /** Each application ends its direction of each channel. */
  readonly channelEnds: boolean
  /** Either side may reset any of them at any time. */
  readonly resets: boolean
  /** Messages of each channel that may be skipped while no link was handed them. */
  readonly skips: number
  /** What all channels may hold beyond their reserves. If it is not 0, windows are twice as large as those. */
  readonly growthBytes: number
  /** In what pieces frames arrive on a link that goes on; on one that breaks they arrive up to any byte that matters. */
  readonly pieces: Fineness
}

/** Small enough for a mended mistake to show at once, large enough that a message is wider than the window. */
export const limits: Peer.Limits = Object.freeze({
  windowBytes: 8,
  channelWindowBytes: 8,
  windowBytesMax: 8,
  growthBytes: 0,
  channelsMax: 0,
  messageBytesMax: 12,
  frameBytesMax: 4096
})

/** An extent with nothing in it but links. */
export const plain: Omit<Extent, "incarnations"> = Object.freeze<Omit<Extent, "incarnations">>({
  messages: 0,
  restarts: 0,
  declines: 0,
  ends: false,
  channels: 0,
  opener: "client",
  channelsMax: 0,
  channelMessages: [0, 0],
  channelEnds: false,
  resets: false,
  skips: 0,
  growthBytes: 0,
  pieces: "frames"
})

/** The limits of both sides. */
export const limitsOf = ({ channelsMax, growthBytes }: Extent): Peer.Limits => {
  const windowBytesMax = growthBytes === 0 ? limits.channelWindowBytes : limits.channelWindowBytes * 2
  return Object.freeze({ ...limits, windowBytesMax, growthBytes, channelsMax })
}

/** Bytes of the messages, in turn. Ten bytes make a record that is larger than the window of eight. */
export const messageBytes = { toServer: [5, 10], toClient: [10, 2] } as const
