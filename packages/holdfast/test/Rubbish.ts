/**
 * What arrives at an open port: other protocols, broken peers, and peers that mean harm. Each with the event it causes.
 */
import { Frame } from "@holdfast/protocol"
import { createHash } from "node:crypto"
import * as RawClient from "./RawClient.ts"
import { bytes } from "./SessionTesting.ts"

type Rubbish = readonly [what: string, sent: Uint8Array, rule: string]

const noise = Buffer.concat(Array.from({ length: 64 }, (_, i) => createHash("sha256").update(`noise ${i}`).digest()))

/** A ClientHello of TLS 1.3, as far as it matters. */
const tlsHello = Buffer.concat([
  Buffer.from("16030102000100 01fc0303".replaceAll(" ", ""), "hex"),
  noise.subarray(0, 508)
])

const oversized = Buffer.concat([Buffer.from("0180011170", "hex"), noise])

const hello = Frame.encode(RawClient.hello())

/** Instead of a Hello. */
export const first: ReadonlyArray<Rubbish> = [
  ["random bytes", noise, "frame-type"],
  ["a request of HTTP", bytes(`GET / HTTP/1.1\r\nCookie: ${"a".repeat(2000)}\r\n\r\n`), "frame-type"],
  ["a hello of TLS", tlsHello, "frame-type"],
  ["zeros", new Uint8Array(1000), "frame-type"],
  ["a frame that is too large", oversized, "frame-length"],
  [
    "a Hello with a byte too many",
    Buffer.concat([hello.subarray(0, 1), Buffer.of(0), hello.subarray(2)]),
    "frame-body"
  ],
  ["data instead of a Hello", RawClient.data(0, bytes("x")), "frame-order"],
  ["a heartbeat instead of a Hello", Frame.encode({ _tag: "Heartbeat" }), "frame-order"],
  ["data behind the Hello", Buffer.concat([hello, RawClient.data(0, bytes("x"))]), "frame-order"],
  ["a second Hello", Buffer.concat([hello, hello]), "frame-order"],
  ["10,000 heartbeats", Buffer.concat(Array.from({ length: 10_000 }, () => Buffer.of(0x12, 0))), "frame-order"]
]

/** On a link that was opened, of a peer that has received and sent nothing. */
export const later: ReadonlyArray<Rubbish> = [
  ["random bytes", noise, "frame-type"],
  ["an unknown frame", Uint8Array.of(0x7f, 0), "frame-type"],
  ["a frame that is too large", oversized, "frame-length"],
  ["a second Hello", hello, "frame-order"],
  ["positions beyond what was sent", Frame.encode({ ...RawClient.nowhere, received: 1 }), "received"],
  ["a limit that is withdrawn", Frame.encode({ ...RawClient.nowhere, limit: 1 }), "limit"],
  ["an unknown channel", Frame.encode({ ...RawClient.nowhere, channel: 3 }), "channel"],
  ["data that leaves a gap", RawClient.data(10, bytes("x")), "data-gap"],
  ["data beyond the window", RawClient.data(0, ...Array.from({ length: 30 }, () => new Uint8Array(60))), "data-limit"]
]

/** The length of a record that nobody accepts. It stays in the stream, so the session cannot be saved. */
export const tooLong = Buffer.concat([Frame.dataHeader(0, 0, 8), Buffer.alloc(8, 0xdf)])
