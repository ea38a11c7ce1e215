/**
 * The core with one thing broken, each a mistake that somebody could make. Nothing in the sources is changed: windows and
 * peers get another prototype, decisions are replaced.
 */
import { type Frame, Peer, type Positions, ReceiveWindow, SendWindow, type Violation } from "@holdfast/protocol"
import type { Ends } from "@holdfast/protocol/Ends"
import { channelMutants } from "./ChannelMutants.ts"
import { type ClientRules, type Core, limits, real, type ServerRules } from "./Core.ts"
import { listOf } from "./Essence.ts"
import { type Mutant, mutant, withClass } from "./Mutant.ts"
import { fieldsOf, frozen } from "./Snapshot.ts"

class AcknowledgesOnArrival extends ReceiveWindow.ReceiveWindow {
  override data(offset: number, bytes: Uint8Array): Violation.Violation | undefined {
    const before = this.waitingCount
    const failed = super.data(offset, bytes)
    if (this.waitingCount > before) this.taken = fieldsOf(this)["recordStart"] as number
    return failed
  }
}

class TakesWhatIsHalfReceived extends ReceiveWindow.ReceiveWindow {
  override take(count: number): void {
    super.take(count)
    if (count > 0 && this.waitingCount === 0) this.taken = this.received
  }
}

class TakesBeyondReceived extends ReceiveWindow.ReceiveWindow {
  override take(count: number): void {
    super.take(count)
    if (count > 0) this.taken++
  }
}

class KeepsDuplicates extends ReceiveWindow.ReceiveWindow {
  override data(offset: number, bytes: Uint8Array): Violation.Violation | undefined {
    return super.data(Math.max(offset, this.received), bytes)
  }
}

class WithdrawsTheLimit extends ReceiveWindow.ReceiveWindow {
  override get grantable(): number {
    this.limit = 0
    const grantable = super.grantable
    this.limit = grantable
    return grantable
  }
}

class NeverGrantsMoreThanAWindow extends ReceiveWindow.ReceiveWindow {
  override get grantable(): number {
    return Math.max(this.limit, this.taken + limits.windowBytes)
  }
}

class ResumesOneTooFar extends SendWindow.SendWindow {
  override resume(received: number, taken: number, limit: number): Violation.Violation | undefined {
    const failed = super.resume(received, taken, limit)
    if (this.sent < Math.min(this.sentMax, this.limit)) this.sent++
    return failed
  }
}

class CountsTheWindowTwice extends SendWindow.SendWindow {
  override resume(received: number, taken: number, limit: number): Violation.Violation | undefined {
    const failed = super.resume(received, taken, limit)
    if (received > 0) this.limit = limit + (limit - taken)
    return failed
  }
}

class DoesNotRewind extends SendWindow.SendWindow {
  override cut(): void {}

  override resume(received: number, taken: number, limit: number): Violation.Violation | undefined {
    return this.acknowledge(received, taken, limit)
  }
}

class ReleasesWhatIsReceived extends SendWindow.SendWindow {
  override acknowledge(received: number, taken: number, limit: number): Violation.Violation | undefined {
    const ends = listOf(fieldsOf(this)["ends"] as Ends)
    return super.acknowledge(received, ends.includes(received) ? received : taken, limit)
  }
}

class ForgetsRejectedAtResume extends Peer.Peer {
  override positions(): ReadonlyArray<Positions.Positions> {
    return super.positions().map((positions) => ({ ...positions, rejected: [] }))
  }
}

class TellsRejectedAgain extends Peer.Peer {
  override resume(theirs: ReadonlyArray<Positions.Positions>): Violation.Violation | undefined {
    const failed = super.resume(theirs)
    const news = fieldsOf(this)["told"] as Peer.Facts
    for (const { rejected } of theirs)
      if (rejected.length > 0 && news.rejected.length === 0) news.rejected.push({ channel: this.main, ordinal: 0 })
    return failed
  }
}

class PromisesWhatItDoesNotKeep extends Peer.Peer {
  override positions(): ReadonlyArray<Positions.Positions> {
    const { limit } = this.receive
    const positions = super.positions()
    this.receive.limit = limit
    return positions
  }
}

class ForgetsTheHalfReceived extends Peer.Peer {
  override cut(): void {
    super.cut()
    Object.assign(this.receive, { headerLength: 0, payloadLength: 0, payloadNeeded: 0, payload: undefined })
  }
}

class AnswersWhereItStands extends Peer.Peer {
  override control(frame: Frame.Control): Violation.Violation | undefined {
    const failed = super.control(frame)
    if (frame._tag === "Positions") this.announce()
    return failed
  }
}

class CallsUnsentWhatIsNotKnownToBeReceived extends SendWindow.SendWindow {
  override outstanding(): SendWindow.Outstanding {
    const { sentMax } = this
    this.sentMax = this.received
    const outstanding = super.outstanding()
    this.sentMax = sentMax
    return outstanding
  }
}

const withServer = (rules: Partial<ServerRules>): Core =>
  frozen<Core>({ ...real, server: frozen({ ...real.server, ...rules }) })

const withClient = (rules: Partial<ClientRules>): Core =>
  frozen<Core>({ ...real, client: frozen({ ...real.client, ...rules }) })

/** All of them, by what they do. */
export const mutants: ReadonlyArray<Mutant> = [
  mutant("acknowledges a message when it arrives", withClass("receive", AcknowledgesOnArrival), /count as taken/),
  mutant(
    "acknowledges half a message with the one before",
    withClass("receive", TakesWhatIsHalfReceived),
    /not the end of a message/,
    { messages: 2 }
  ),
  mutant("acknowledges more than it received", withClass("receive", TakesBeyondReceived), /must not fall/),
  mutant("does not cut off what it has already", withClass("receive", KeepsDuplicates), /data-limit/, {
    incarnations: 2
  }),
  mutant("withdraws a limit", withClass("receive", WithdrawsTheLimit), /limit/),
  mutant(
    "never grants more than a window",
    withClass("receive", NeverGrantsMoreThanAWindow),
    /nothing more can happen/
  ),
  mutant("resumes one byte too far", withClass("send", ResumesOneTooFar), /data-gap/, { incarnations: 2 }),
  mutant("counts the window twice after a resume", withClass("send", CountsTheWindowTwice), /limit/, {
    incarnations: 2
  }),
  mutant("does not rewind what it sent", withClass("send", DoesNotRewind), /data-gap/, { incarnations: 2 }),
  mutant("releases what is received and not taken", withClass("send", ReleasesWhatIsReceived), /count as taken/),
  mutant(
    "calls unsent what is only not known to be received",
    withClass("send", CallsUnsentWhatIsNotKnownToBeReceived),
    /taken twice/,
    { incarnations: 3 }
  ),
  mutant(
    "forgets declined messages in the handshake",
    withClass("peer", ForgetsRejectedAtResume),
    /the sender was told ""/,
    { incarnations: 2 }
  ),
  mutant("tells of declined messages once for each link", withClass("peer", TellsRejectedAgain), /told "00"/, {
    incarnations: 2
  }),
  mutant(
    "promises a limit in the handshake and does not keep it",
    withClass("peer", PromisesWhatItDoesNotKeep),
    /limit/,
    { incarnations: 2 }
  ),
  mutant("forgets half a message when the link is cut", withClass("peer", ForgetsTheHalfReceived), /growth/, {
    incarnations: 2
  }),
  mutant("answers every Positions with its own", withClass("peer", AnswersWhereItStands), /can go on for ever/),
  mutant(
    "accepts an old epoch",
    withServer({ judge: (_at, _hello, claimed) => (claimed === undefined ? "Unknown" : undefined) }),
    /is accepted after epoch/,
    { incarnations: 3 }
  ),
  mutant(
    "judges the epoch at the Hello only",
    withServer({
      judge: (at, hello, claimed) =>
        at === "Proof" && claimed !== undefined ? undefined : real.server.judge(at, hello, claimed)
    }),
    /is accepted after epoch/,
    { incarnations: 3 }
  ),
  mutant("goes on listening to a link that was evicted", withServer({ isEvictedDeaf: false }), /accuses/, {
    incarnations: 2
  }),
  mutant(
    "lets a link carry a session although a newer one came between",
    withServer({ mayAttach: () => true }),
    /accuses/,
    { incarnations: 2 }
  ),
  mutant(
    "dials with the same epoch until a dial succeeds",
    withClient({ nextEpoch: (epoch, wasUp) => (wasUp ? epoch + 1 : epoch) }),
    /refused its own session/,
    { incarnations: 3 }
  ),
  mutant(
    "sends again after a Gap what may have been taken",
    withClient({ sendAgain: ({ fateUnknown, notSent }) => [...fateUnknown, ...notSent] }),
    /taken twice/,
    { incarnations: 3 }
  ),
  ...channelMutants
]
