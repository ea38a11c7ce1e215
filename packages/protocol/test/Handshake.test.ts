import { Frame, Handshake } from "@holdfast/protocol"
import { assert, describe, it } from "@effect/vitest"
import { challenge, hello, hex, positions, proof } from "./Samples.ts"

const isRefused = (frame: Frame.Control): boolean => {
  const bytes = Frame.encode(frame)
  const decoded = Frame.decode(bytes[0]!, bytes.subarray(1 + (1 << (bytes[1]! >> 6))))
  return decoded._tag === "Violation" && decoded.rule === "frame-body"
}

describe("Handshake", () => {
  it("agrees on the highest version that both speak, and on none if there is none", () => {
    assert.strictEqual(Handshake.negotiate([1]), 1)
    assert.strictEqual(Handshake.negotiate([9, 1, 7]), 1)
    assert.isUndefined(Handshake.negotiate([2, 3]))
    assert.isUndefined(Handshake.negotiate([]))
  })

  it("takes a session of no bytes or of 16, and nothing else", () => {
    for (const [length, refused] of [
      [0, false],
      [16, false],
      [1, true],
      [15, true],
      [17, true]
    ] as const) {
      assert.strictEqual(isRefused({ ...hello, session: new Uint8Array(length) }), refused, `${length} bytes`)
    }
  })

  it("takes at most 1024 versions and 1024 channels", () => {
    const versions = (length: number) => isRefused({ ...hello, versions: Array.from({ length }, () => 1) })
    const channels = (length: number) =>
      isRefused({ ...challenge, positions: Array.from({ length }, () => ({ ...positions, rejected: [] })) })
    assert.deepStrictEqual([versions(1024), versions(1025)], [false, true])
    assert.deepStrictEqual([channels(1024), channels(1025)], [false, true])
  })

  it("proves something else as soon as any value differs: versions, limits, session, epoch, nonces, any position", () => {
    const first = challenge.positions[0]!
    const mine = proof.positions[0]!
    const otherBytes = (bytes: Uint8Array) =>
      Uint8Array.from(bytes, (byte, i) => (i === bytes.length - 1 ? byte ^ 1 : byte))
    const hellos: ReadonlyArray<Handshake.Hello> = [
      { ...hello, versions: [1, 2] },
      { ...hello, definition: "app/telemetry" },
      { ...hello, messageBytesMax: 1 },
      { ...hello, heartbeatMillisMax: 1 },
      ...(["limit", "reserve", "channelLimit", "growth", "channels"] as const).map((key) => ({
        ...hello,
        terms: { ...hello.terms, [key]: 1 }
      })),
      { ...hello, session: otherBytes(hello.session) },
      { ...hello, epoch: hello.epoch + 1 },
      { ...hello, nonce: otherBytes(hello.nonce) },
      { ...hello, credentials: otherBytes(hello.credentials) }
    ]
    const changed = (positions: Handshake.Proof["positions"][number]) => [
      [],
      [positions, positions],
      ...(["channel", "received", "taken", "limit", "released"] as const).map((key) => [{ ...positions, [key]: 1 }]),
      [{ ...positions, rejected: [...positions.rejected, 1] }]
    ]
    const challenges: ReadonlyArray<Handshake.Challenge> = [
      { ...challenge, version: 2 },
      { ...challenge, heartbeatMillisMax: 1 },
      { ...challenge, nonce: otherBytes(challenge.nonce) },
      ...changed(first).map((positions) => ({ ...challenge, positions }))
    ]
    const proofs: ReadonlyArray<Handshake.Proof> = [
      ...changed(mine).map((positions) => ({ ...proof, positions })),
      { ...proof, mac: otherBytes(proof.mac) }
    ]

    const proven = [
      Handshake.proofTranscript(hello, challenge, proof.positions),
      ...hellos.map((one) => Handshake.proofTranscript(one, challenge, proof.positions)),
      ...challenges.map((one) => Handshake.proofTranscript(hello, one, proof.positions)),
      ...proofs.slice(0, -1).map((one) => Handshake.proofTranscript(hello, challenge, one.positions))
    ]
    const resumed = [
      Handshake.resumedTranscript(hello, challenge, proof),
      ...hellos.map((one) => Handshake.resumedTranscript(one, challenge, proof)),
      ...challenges.map((one) => Handshake.resumedTranscript(hello, one, proof)),
      ...proofs.map((one) => Handshake.resumedTranscript(hello, challenge, one))
    ]
    const all = [...proven, ...resumed].map(hex)
    assert.strictEqual(new Set(all).size, all.length)
  })

  it("covers the bodies of the frames as they are on the wire, behind a label", () => {
    const body = (frame: Frame.Control) => {
      const bytes = Frame.encode(frame)
      return hex(bytes.subarray(1 + (1 << (bytes[1]! >> 6))))
    }
    const label = (text: string) => hex(Uint8Array.of(text.length)) + hex(new TextEncoder().encode(text))
    const positionsOnly = body(proof).slice(0, -64)
    assert.strictEqual(
      hex(Handshake.proofTranscript(hello, challenge, proof.positions)),
      label("holdfast 1 proof") + body(hello) + body(challenge) + positionsOnly
    )
    assert.strictEqual(
      hex(Handshake.resumedTranscript(hello, challenge, proof)),
      label("holdfast 1 resumed") + body(hello) + body(challenge) + body(proof)
    )
  })
})
