/**
 * Holdfast's session protocol as pure code: see `SPEC.md`.
 */
export * as Channel from "./Channel.ts"
export * as Decoder from "./Decoder.ts"
export * as Frame from "./Frame.ts"
export * as Handshake from "./Handshake.ts"
export * as Openings from "./Openings.ts"
export * as Peer from "./Peer.ts"
export * as Positions from "./Positions.ts"
export * as ReceiveWindow from "./ReceiveWindow.ts"
export * as SendWindow from "./SendWindow.ts"
export * as Varint from "./Varint.ts"
export * as Violation from "./Violation.ts"
