import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Option, Schema } from "effect"
import { ConnectionError } from "holdfast"

const evidence = { missingFor: Duration.seconds(10), asked: 1 }
const last = ConnectionError.make(
  new ConnectionError.LinkFailed({ cause: new Error("x"), code: "ECONNRESET", during: "read" })
)
const refused = (code: ConnectionError.Refused["code"]) =>
  new ConnectionError.Refused({ code, detail: "no", retryAfter: Option.none() })

/** Every reason once, with who ended it, whether another attempt can help, and a figure its message must show. */
const reasons: ReadonlyArray<
  readonly [reason: ConnectionError.Reason, endedBy: ConnectionError.EndedBy, retryable: boolean, shows: string]
> = [
  [new ConnectionError.OpenTimedOut({ ...evidence, stage: "dial" }), "us", true, "within 10s"],
  [new ConnectionError.CloseTimedOut({ ...evidence, unacknowledged: 3, untaken: 4 }), "us", false, "3 messages"],
  [
    new ConnectionError.PeerSilent({ ...evidence, roundTripTime: Option.some(Duration.millis(12)) }),
    "us",
    true,
    "round trip 12ms"
  ],
  [
    new ConnectionError.Stalled({ missingFor: Duration.millis(1002.49353), asked: 1, outstandingBytes: 78 }),
    "us",
    true,
    "for 1s 2ms;"
  ],
  [new ConnectionError.WriteStuck({ ...evidence, outstandingBytes: 77 }), "us", true, "77 bytes"],
  [new ConnectionError.Stalled({ ...evidence, outstandingBytes: 78 }), "us", true, "78 bytes"],
  [last.reason, "network", true, "during read: ECONNRESET"],
  [
    new ConnectionError.LinkFailed({
      cause: Object.assign(new Error("not in plaintext"), { retryable: false }),
      during: "dial"
    }),
    "network",
    false,
    "not in plaintext"
  ],
  [new ConnectionError.LinkClosed({ code: 1000, unacknowledgedBytes: 5 }), "peer", true, "5 bytes"],
  [new ConnectionError.ProtocolViolated({ rule: "a frame too long", by: "peer" }), "us", false, "a frame too long"],
  [new ConnectionError.ProtocolViolated({ rule: "a frame too long", by: "us" }), "peer", false, "this side"],
  [new ConnectionError.MessageInvalid({ direction: "send", cause: new Error("no string") }), "us", false, "no string"],
  [
    new ConnectionError.MessageInvalid({ direction: "receive", cause: new Error("no string") }),
    "peer",
    false,
    "decode"
  ],
  [new ConnectionError.MessageTooLarge({ bytes: 9, bytesMax: 8 }), "us", false, "at most 8"],
  [new ConnectionError.MessageRejected({ detail: "duplicate order" }), "peer", false, "duplicate order"],
  [new ConnectionError.Fenced({ epoch: 4, byEpoch: 5 }), "peer", false, "epoch 5, ours was 4"],
  [refused("Unauthorized"), "peer", false, "(Unauthorized): no"],
  [refused("Version"), "peer", false, "Version"],
  [refused("Definition"), "peer", false, "Definition"],
  [refused("Policy"), "peer", false, "Policy"],
  [refused("Malformed"), "peer", false, "Malformed"],
  [refused("Full"), "peer", true, "Full"],
  [refused("Draining"), "peer", true, "Draining"],
  [new ConnectionError.GoneAway({ retryAfter: Option.some(Duration.seconds(3)) }), "peer", true, "after 3s"],
  [
    new ConnectionError.BacklogExceeded({ messages: 9, bytes: 10, messagesMax: 8, bytesMax: 100 }),
    "us",
    true,
    "9 of 8 messages"
  ],
  [new ConnectionError.DetectorFired({ detector: "disk", detail: "full" }), "us", true, "disk"],
  [new ConnectionError.AnswerOverdue({ ...evidence, unanswered: 3 }), "us", true, "owes 3 answers, the oldest for 10s"],
  [new ConnectionError.RequestFailed({ channel: "a", outcome: "Died" }), "peer", false, "which its own log tells"],
  [new ConnectionError.RequestFailed({ channel: "a", outcome: "Interrupted" }), "peer", false, "was interrupted"],
  [new ConnectionError.RequestFailed({ channel: "a", outcome: "Invalid" }), "peer", false, "have the same definition"],
  [new ConnectionError.RetriesExhausted({ attempts: 7, last }), "us", false, "after 7 attempts"],
  [
    new ConnectionError.SessionLost({ lost: "Unknown", notSent: 1, fateUnknown: 2 }),
    "peer",
    false,
    "1 messages were not sent, the fate of 2"
  ],
  [new ConnectionError.Expired({ resumeWindow: Duration.minutes(5) }), "us", false, "5m"],
  [
    new ConnectionError.ChannelReset({ channel: "quotes", code: "Refused", detail: "unknown", by: "peer" }),
    "peer",
    false,
    'the channel "quotes" (Refused): unknown'
  ],
  [
    new ConnectionError.ChannelRefused({ channel: "quotes", detail: "2 are open" }),
    "us",
    true,
    '"quotes" was not opened: 2 are open'
  ],
  [new ConnectionError.MessageSkipped({ channel: "quotes" }), "us", true, '"quotes" was skipped'],
  [new ConnectionError.EndedByPeer({ code: "Failed", detail: "bye" }), "peer", false, "(Failed): bye"],
  [new ConnectionError.Closed(), "us", false, "closed by this side"]
]

describe("ConnectionError", () => {
  it("covers every reason of the union here", () => {
    const tags = new Set(reasons.map(([reason]) => reason._tag))
    assert.strictEqual(tags.size, ConnectionError.Reason.members.length)
  })

  for (const [reason, endedBy, retryable, shows] of reasons) {
    it(`${reason._tag}, ended by ${endedBy}, ${retryable ? "can" : "cannot"} be helped by another attempt (${shows})`, () => {
      assert.deepStrictEqual([reason.endedBy, reason.retryable], [endedBy, retryable])
      assert.include(reason.message, shows)
      assert.strictEqual(ConnectionError.make(reason).message, reason.message)
    })
  }

  it.effect("every reason survives being encoded as JSON and decoded, instances and messages included", () =>
    Effect.gen(function* () {
      const codec = Schema.fromJsonString(Schema.toCodecJson(ConnectionError.ConnectionError))
      for (const [reason] of reasons) {
        const error = ConnectionError.make(reason, { upFor: "3 seconds", openingFor: 20 })
        const back = yield* Schema.decodeEffect(codec)(yield* Schema.encodeEffect(codec)(error))
        assert.isTrue(ConnectionError.isConnectionError(back))
        assert.deepStrictEqual([back.reason._tag, back.message], [reason._tag, error.message])
        assert.deepStrictEqual([Duration.toMillis(back.upFor), Duration.toMillis(back.openingFor)], [3000, 20])
      }
    })
  )

  it.effect("a reason is handled by its tag, and the times default to nothing", () =>
    Effect.gen(function* () {
      assert.strictEqual(Duration.toMillis(last.upFor) + Duration.toMillis(last.openingFor), 0)
      const handled = yield* Effect.fail(last).pipe(
        Effect.catchReason("ConnectionError", "LinkFailed", (reason) => Effect.succeed(reason.code))
      )
      assert.strictEqual(handled, "ECONNRESET")
    })
  )

  it("isConnectionError says no to what merely looks like one", () => {
    assert.isTrue(ConnectionError.isConnectionError(last))
    const lookalikes = [
      undefined,
      null,
      "ConnectionError",
      {},
      { _tag: "ConnectionError" },
      new Error("x"),
      last.reason,
      { ...last }
    ]
    for (const other of lookalikes) assert.isFalse(ConnectionError.isConnectionError(other))
  })
})
